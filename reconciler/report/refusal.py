"""What a refusal says: each limit with its numbers, whose it mostly is, who is withheld, and what consents came to.

Pure, as the rest of the report: every line is inert and bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from reconciler.model import Action, Consent, Delta, Outcome, Violation, Waiting
from reconciler.report.words import bounded, moment, plural, zone_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.report.look import Look
    from reconciler.result import Result

PREFIX: Final = 12
"""Hex digits of a digest that people type."""

NOBODYS: Final[Mapping[Action, Counter[str]]] = MappingProxyType({})

# ---- limits ----------------------------------------------------------------------------------------------------------


def refusal(result: Result, look: Look, planned: Mapping[Action, Counter[str]] = NOBODYS) -> Iterable[str]:
    """Yield the numbers of each limit that was exceeded, whose they mostly are, and who is withheld.

    `planned` says of a result without deltas how many of each action are whose.
    """
    for violation in result.violations:
        yield _numbers(violation, look)
        if sentence := _mostly(violation, result, planned):
            yield sentence
    for violation in result.withheld:
        name = bounded(violation.agent or "")
        yield f"WITHHELD {name}: {_withheld_because(violation)}"


def _numbers(violation: Violation, look: Look) -> str:
    """Return one line for a violation: what, how much of what, what is allowed, and where that is written."""
    of_population = violation.population and violation.limit not in _NO_SHARE
    share = f" ({violation.found / violation.population:.1%})".replace("%", " %") if of_population else ""
    name = _RULES.get(violation.limit, violation.limit)
    rule = look.limits.get(name)
    allowed = f"allowed {violation.allowed:,}" + (f" ({rule})" if rule else "")
    what = violation.limit if violation.limit in _WORDS or not violation.action else violation.action.value
    counted = f"{what:<8} {violation.found:,} {bounded(violation.why)}{share}"
    return f"{counted:<58} {allowed:<28} [limits.{name}]"


_RULES: Final = {"scope": "cancel"}
"""Violations that are judged by the limit of something else."""

_WORDS: Final = frozenset({"day", "notify", "scope"})
"""Violations that are no limit of one action in one run."""

_NO_SHARE: Final = frozenset({"day", "notify"})
"""Violations that are no share of what they are counted beside."""


def _withheld_because(violation: Violation) -> str:
    why, waits = bounded(violation.why), "this agent's changes wait, everyone else's don't"
    if violation.limit == "emptied":
        return f"{why}; {waits}."
    allowed = f"allowed {violation.allowed:,} [limits.{violation.limit}]"
    return f"{violation.found:,} {why} would be removed, {allowed}; {waits}."


def _mostly(violation: Violation, result: Result, planned: Mapping[Action, Counter[str]]) -> str:
    """Say whose most of the changes are, if they are mostly one agent's among several, and why that may be."""
    owners = Counter(delta.agent for delta in result.deltas if _is_among(delta, violation) and delta.agent)
    if violation.limit == violation.action and not result.deltas:
        owners = planned.get(violation.action, owners)
    if len(owners) <= 1:
        return ""
    [(agent, most)] = owners.most_common(1)
    if most * 2 <= owners.total():
        return ""
    calendars = [one for one in result.calendars if one.agent == agent and one.mode == "full"]
    full = ", whose calendar was read in full" if calendars else ""
    because = next((f": {bounded(one.because, 200)}" for one in calendars if one.because), "")
    return f"{most:,} of the {owners.total():,} are {bounded(agent)}'s{full}{because}."


def _is_among(delta: Delta, violation: Violation) -> bool:
    """Tell whether a delta is one of those that a violation counts."""
    if delta.outcome is not Outcome.PLANNED:
        return False
    return delta.notify > 0 if violation.limit == "notify" else delta.action == (violation.action or violation.limit)


# ---- consent --------------------------------------------------------------------------------------------------------

DROPPED: Final = 5
"""Keys that are named of what dropped out of a consent; the JSON has all of them."""


def consents(result: Result, look: Look) -> Iterable[str]:
    """Say of each consent what it let through, and what has changed since it was given."""
    for one in result.approvals:
        name, digest = bounded(one.by), one.digest[:PREFIX]
        if one.expired:
            when = moment(one.expired, zone_of(look.zone))
            yield f"{name}'s consent to {digest} expired at {when}: it counts no more."
            continue
        yield f"{name}'s consent to {digest} covers {_of(one.covered)}{_dropped(one)}."


def _of(count: int) -> str:
    return "nothing of what is planned now" if count == 0 else f"{count:,} of what is planned"


def _dropped(one: Consent) -> str:
    if not one.dropped:
        return ""
    named = ", ".join(bounded(key, 60) for key in one.dropped[:DROPPED])
    more = f" and {len(one.dropped) - DROPPED:,} more" if len(one.dropped) > DROPPED else ""
    return f"; {len(one.dropped):,} changed since and dropped out: {named}{more}"


def asked(waiting: Waiting) -> str:
    """Say what there is to consent to: changes, and calendars that the job file would leave out from now on."""
    left_out = f"leaving out {plural(waiting.released, 'calendar')}" if waiting.released else ""
    return " and ".join(part for part in (these(waiting.count) if waiting.count else "", left_out) if part)


def these(count: int) -> str:
    return "this change" if count == 1 else f"these {count:,} changes"
