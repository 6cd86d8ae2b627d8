"""What manifests are made of: jobs with their files, and the calls of the program that a schedule makes on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

Manifest = dict[str, Any]

NAMESPACE: Final = "reconcile"
FOLDER: Final = "/srv/reconcile"
"""Where a command stands: pages that it writes land there, and job files lie in `jobs/` below it."""
JOBS: Final = f"{FOLDER}/jobs"
CRONTAB: Final = "crontab"


@dataclass(frozen=True, slots=True)
class Held:
    """One key of a Secret, and how the program sees it: as a variable, or as a file of that path."""

    key: str
    variable: str | None = None
    path: str | None = None


class Whereto(StrEnum):
    """Which addresses lie at the other end."""

    ANYWHERE = "anywhere"
    INTERNET = "internet"  # no private network, and not the address at which a cloud tells its machines their secrets
    CLUSTER = "cluster"
    METADATA = "metadata"  # that very address


@dataclass(frozen=True, slots=True)
class Reach:
    """What a command talks to: what it is called, at which TCP ports, and where."""

    name: str
    ports: tuple[int, ...]
    whereto: Whereto = Whereto.ANYWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """One job: its name in the cluster, how many calendars it has, and its files by their path below `jobs/`."""

    name: str
    files: Mapping[str, str | bytes]
    calendars: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call by the schedule: a CronJob. `kind` is its command, whose calls share an account and a Secret.

    With `shards` so many start at once, each with its part of the calendars.
    """

    office: Office
    kind: str
    name: str
    words: tuple[str, ...]
    schedule: str
    zone: str
    starting: int
    active: int
    held: tuple[Held, ...] = ()
    reaches: tuple[Reach, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    shards: int = 0

    @property
    def account(self) -> str:
        """Return what account, Secret and policies of this kind of call are named by."""
        return f"{self.office.name}-{self.kind}"

    @property
    def labels(self) -> dict[str, str]:
        """Return what a pod of this kind of call is selected by."""
        return {**COMMON, "app.kubernetes.io/instance": self.office.name, "app.kubernetes.io/component": self.kind}


COMMON: Final = {"app.kubernetes.io/name": "reconcile"}


def manifest(api: str, kind: str, name: str, labels: Mapping[str, str], **content: object) -> Manifest:
    """Return a manifest: its head, and its content."""
    metadata = {"name": name, "namespace": NAMESPACE, "labels": dict(labels)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}
