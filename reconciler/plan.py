"""A plan is data: ordered deltas and the digest that names exactly these. Applying takes nothing else."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from reconciler.model import Action, Delta, Outcome, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable

_ORDER = {Action.CANCEL: 0, Action.UPDATE: 1, Action.CREATE: 2, Action.DELETE: 3}


def build(job: str, crm: str, deltas: Iterable[Delta]) -> Plan:
    """Return the plan of `job` against `crm`, most urgent first; the digest covers only what is planned."""
    ordered = tuple(sorted(deltas, key=_urgency))
    return Plan(ordered, digest(job, crm, ordered))


def _urgency(delta: Delta) -> tuple[int, int, bool, str, str, str, str]:
    """Order deltas: the most urgent first, then by what they do, then the nearest; an unknown start comes last."""
    tie = (delta.key, identity(delta), delta.outcome)
    return (delta.severity.rank, _ORDER[delta.action], not delta.start, delta.start, *tie)


def digest(job: str, crm: str, deltas: Iterable[Delta]) -> str:
    """Return SHA-256 over job, CRM identity and the sorted planned deltas, as hex digits."""
    planned = sorted(identity(delta) for delta in deltas if delta.outcome is Outcome.PLANNED)
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
