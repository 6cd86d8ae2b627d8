"""A plan is data: ordered deltas and the digest that names exactly these. Applying takes nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from reconciler.model import Action, Delta, Outcome, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable

_ORDER = {Action.CANCEL: 0, Action.UPDATE: 1, Action.CREATE: 2, Action.DELETE: 3, Action.LINK: 4}


@dataclass(frozen=True, slots=True)
class Turns:
    """What earlier runs make of the order, each a (side, key): what was put off, and what fails every time."""

    waiting: frozenset[tuple[str, str]] = frozenset()
    stubborn: frozenset[tuple[str, str]] = frozenset()


FIRST_TURN = Turns()


def build(job: str, crm: str, deltas: Iterable[Delta], turns: Turns = FIRST_TURN) -> Plan:
    """Return the plan of `job` against `crm`, most urgent first; the digest covers only what is planned."""
    ordered = tuple(sorted(deltas, key=lambda delta: _urgency(delta, turns)))
    return Plan(ordered, digest(job, crm, ordered))


def _urgency(delta: Delta, turns: Turns) -> tuple[bool, int, bool, int, bool, str, str, str, str]:
    """Order deltas: the most urgent first, then what was put off, by what they do, the nearest; unknown starts last.

    What failed every time lets all others go first: five of its kind would end each run before the rest was reached.
    """
    mark, tie = (delta.side, delta.key), (delta.key, identity(delta), delta.outcome)
    kept_waiting = mark in turns.waiting
    urgency = (mark in turns.stubborn, delta.severity.rank, not kept_waiting, _ORDER[delta.action])
    return (*urgency, not delta.start, delta.start, *tie)


def digest(job: str, crm: str, deltas: Iterable[Delta], besides: Iterable[str] = ()) -> str:
    """Return SHA-256 over job, CRM identity and the sorted planned deltas, as hex digits.

    `besides` are identities of what else a run would do: to let go of calendars that the job file no longer names.
    """
    planned = sorted([*(identity(delta) for delta in deltas if delta.outcome is Outcome.PLANNED), *besides])
    return hashlib.sha256(orjson.dumps([job, crm, planned])).hexdigest()


def identity(delta: Delta) -> str:
    """Return a digest of what one delta would do and on what it was decided: equal means it recomputed identically."""
    return hashlib.sha256(orjson.dumps(_essence(delta), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _essence(delta: Delta) -> list[Any]:
    preconditions = [delta.version, delta.seen_digest.hex()]
    return [
        delta.action,
        delta.side,
        delta.key,
        delta.crm_id,
        delta.event,
        delta.agent,
        dict(delta.want),
        preconditions,
    ]
