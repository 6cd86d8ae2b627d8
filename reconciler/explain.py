"""Answer "why": one appointment with both sides, base, match, verdict and history, as it was last observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler import judge
from reconciler.model import Mode
from reconciler.observe import Observed
from reconciler.run import Setup, world_of
from reconciler.store import ledger, state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.findings import Outlook
    from reconciler.model import Pair, Verdict


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of one appointment. `history` is the journal, oldest first; `finding` the stored one, if any."""

    key: str
    pair: Pair
    verdict: Verdict
    outlook: Outlook
    history: Sequence[dict[str, Any]]
    finding: dict[str, Any] | None


def explain(setup: Setup, key: str) -> Explanation | None:
    """Explain the appointment that `key` (a finding's key, a source key or a CRM id) names; None when it is unknown.

    Reads the state database alone: it says what the last run saw.
    """
    with setup.state.begin() as connection:
        shape = state.shape(connection, setup.state)
        if shape is None:
            return None
        observed = [_as_last_read(each) for each in state.watch(connection, setup.state, setup.directory.calendars)]
        world = world_of(setup, observed, setup.clock(), shape)
        found = judge.explain(connection, setup.state, world, key)
        if found is None:
            return None
        name, record = _source_key(found.pair), found.pair.record
        history = ledger.history(connection, setup.state, name or key, record.id if record else None)
        return Explanation(
            key, found.pair, found.verdict, found.outlook, history, ledger.find_finding(connection, setup.state, key)
        )


def _as_last_read(watched: state.Watched) -> Observed:
    readable = watched.strikes == 0 and watched.seen_at is not None
    entries = tuple((entry.id, entry.why) for entry in watched.quarantined)
    return Observed(watched=watched, mode=Mode.INCREMENTAL if readable else None, why=watched.why, quarantined=entries)


def _source_key(pair: Pair) -> str | None:
    if pair.seen and pair.seen.keys:
        return pair.seen.keys[0]
    return pair.record.key if pair.record else None
