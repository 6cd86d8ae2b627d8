"""What takes a write of ours back: from the journal's images and from how things stand to a delta, or to why not.

A record is put back only where it still is as we left it. What was changed since is never overwritten, what has ended
is never written, and nothing but what we made ourselves is removed without evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler import normalise
from reconciler.findings import ends_at, inert, severity_at
from reconciler.model import Action, Delta, Fields, Kind, Outcome, Pair, Presence, Side, Status, Value

if TYPE_CHECKING:
    from reconciler.findings import Context
    from reconciler.model import Change

HELD = "held: "
"""How the reasons begin that are the job file's, or the CRM's, and not the record's."""

CHANGED = "it was changed since"
BETWEEN = "we wrote it again since, and what people changed before that would be lost with it"
REMOVED = "it is not there any more"
INEXACT = "it was written before the journal kept what was there exactly"
DROPPED = "what was there before and after is not kept any more ([retention] images, or it was forgotten)"
INCOMPLETE = "the journal does not hold all that was there"
DELETED = "what was deleted can't be restored: enter it by hand"
CANCELLED = "an event that was cancelled can't be restored: its agent can enter it again"
LINKED = "a link changes neither side: there is nothing to put back"
ENDED = "it has ended; what is past is never written"
UNPROVEN = "it would be cancelled again, and nothing says that its event is gone"
ATTENDED = "somebody attends it by now, and would have to be told"

_TIMES = frozenset({"start", "end", "all_day"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One write that was done, as the journal has it: to what, and what was there before and after.

    `version` is what it had since. `is_exact` is false for images that were made for people to read; `again` names the
    last later run of ours that wrote the same record or event once more, and `latest` the version it left. `is_dropped`
    says that the journal had images and has none any more.
    """

    action: Action
    side: Side
    key: str
    agent: str | None = None
    calendar: int | None = None
    event: str | None = None
    crm_id: str | None = None
    before: Fields = field(default_factory=dict)
    after: Fields = field(default_factory=dict)
    version: str | None = None
    is_exact: bool = True
    again: str | None = None
    latest: str | None = None
    is_dropped: bool = False

    @property
    def subject(self) -> tuple[str, str, str]:
        """Name the record or event that was written to."""
        if self.side is Side.CRM:
            return self.side, "", self.crm_id or ""
        return self.side, str(self.calendar), self.event or ""


def folded(entries: Iterable[Entry]) -> list[Entry]:
    """Return one entry for each record and event: from how the first write found it to how the last one left it.

    `entries` are in the order they were written; the last to be written comes first.
    """
    found: dict[tuple[str, str, str], Entry] = {}
    for entry in entries:
        earlier = found.pop(entry.subject, None)
        found[entry.subject] = _both(earlier, entry) if earlier else entry
    return list(reversed(found.values()))


def _both(first: Entry, last: Entry) -> Entry:
    action = Action.UPDATE
    if first.action is Action.CREATE or last.action is Action.DELETE:
        action = Action.CREATE if first.action is Action.CREATE else Action.DELETE
    elif first.action is last.action:
        action = first.action
    return replace(
        last,
        action=action,
        before={**last.before, **first.before},
        after={**first.after, **last.after},
        is_exact=first.is_exact and last.is_exact,
        is_dropped=first.is_dropped or last.is_dropped,
    )


def inverse(entry: Entry, pair: Pair, context: Context) -> Delta | None:
    """Return what takes a write back; None where there is nothing to take back any more.

    One that must not be written has the outcome `conflict` (it was changed since) or `held`, and says why. `pair` is
    the record as it is now, with the event that it follows; for a write to a calendar the other way round.
    """
    if _is_back(entry, pair):
        return None
    delta = _draft(entry, pair, context)
    if why := _impossible(entry, delta, pair, context):
        return replace(delta, outcome=Outcome.HELD, why=why)
    if why := _moved(entry, delta, pair):
        return replace(delta, outcome=Outcome.CONFLICT, why=why)
    return delta


# ---- how it stands --------------------------------------------------------------------------------------------------


def _now(entry: Entry, pair: Pair) -> Fields | None:
    """Return what the written side holds now; None where it holds nothing any more."""
    seen, record = pair.seen, pair.record
    if entry.side is Side.CALENDAR:
        gone = seen is None or (seen.absence is not None and seen.absence.is_evidence)
        return None if gone or seen is None else seen.fields
    if record is None or record.presence is Presence.ABSENT:
        return None
    return record.fields


def _is_cancelled(entry: Entry, pair: Pair) -> bool:
    return entry.side is Side.CRM and pair.record is not None and pair.record.presence is Presence.CANCELLED


def _is_back(entry: Entry, pair: Pair) -> bool:
    """Tell whether what was written is not there any more, and what was there before is."""
    now = _now(entry, pair)
    if entry.action is Action.CREATE:
        return (now is None and not _is_lost(entry, pair)) or _is_cancelled(entry, pair)
    if now is None or entry.action in {Action.DELETE, Action.LINK} or entry.is_dropped or _is_incomplete(entry):
        return False
    return all(_equal(value, now.get(name)) for name, value in _put_back(entry).items())


def _is_lost(entry: Entry, pair: Pair) -> bool:
    """Tell whether nothing at all is known of an event any more: that says nothing about it."""
    return entry.side is Side.CALENDAR and pair.seen is None


def _equal(one: Value, other: Value) -> bool:
    """Tell whether two values of one side are the same; a CRM may have no way to say that something is empty."""
    return one == other or (not one and not other)


def _moved(entry: Entry, delta: Delta, pair: Pair) -> str:
    """Say why what is there is not what we left; empty if it is."""
    now = _now(entry, pair)
    if now is None:
        return REMOVED
    version = pair.seen.etag if entry.side is Side.CALENDAR and pair.seen else _version(pair)
    says_it_still = all(normalise.same(name, value, now.get(name)) for name, value in entry.after.items())
    if entry.version == version or (entry.version is None and says_it_still):
        return ""
    if entry.again is None or not says_it_still or entry.latest != version:
        return f"run {entry.again} wrote it again: take that back first" if entry.again else CHANGED
    # nobody but us touched it since our last write, which left what this one wrote, or put it back
    return BETWEEN if _is_lost_with(entry, delta) else ""


def _is_lost_with(entry: Entry, delta: Delta) -> bool:
    """Tell whether taking a write back leaves nothing of what else is there."""
    return delta.action is Action.DELETE or (entry.action is Action.CREATE and entry.side is Side.CALENDAR)


def _version(pair: Pair) -> str | None:
    return pair.record.version if pair.record else None


# ---- what must not be written ---------------------------------------------------------------------------------------


def _impossible(entry: Entry, delta: Delta, pair: Pair, context: Context) -> str:
    """Say why a write can't be taken back, however it is now; empty if it can."""
    reasons: tuple[tuple[bool, str], ...] = (
        (entry.action is Action.LINK, LINKED),
        (entry.action is Action.DELETE, DELETED),
        (entry.action is Action.CANCEL and entry.side is Side.CALENDAR, CANCELLED),
        (entry.is_dropped, DROPPED),
        (entry.action is Action.UPDATE and not entry.is_exact, INEXACT),
        (entry.action is not Action.CREATE and _is_incomplete(entry), INCOMPLETE),
        (_has_ended(entry, delta, pair, context), ENDED),
        (entry.action is not Action.CREATE and delta.action is Action.CANCEL and not _is_proven(pair), UNPROVEN),
        (entry.side is Side.CALENDAR and pair.seen is not None and pair.seen.guests > 0, ATTENDED),
        (delta.action not in context.allow, f'{HELD}[policy].allow does not include "{delta.action}"'),
        (
            entry.side is Side.CRM and delta.action not in context.can,
            f"{HELD}this CRM can't {delta.action} records",
        ),
    )
    return next((why for holds, why in reasons if holds), "")


def _is_incomplete(entry: Entry) -> bool:
    """Tell whether something was written of which it is not known what was there; every record has a status."""
    unknown = entry.after.keys() - entry.before.keys()
    return bool(unknown) or ("status" in entry.after and entry.before.get("status") is None)


def _has_ended(entry: Entry, delta: Delta, pair: Pair, context: Context) -> bool:
    """Tell whether all there is has ended: what is there now, and what would be there again."""
    now = _now(entry, pair) or {}
    ends = [end for fields in (now, {**now, **delta.want}) if (end := ends_at(fields)) is not None]
    return bool(ends) and max(ends) <= context.now


def _is_proven(pair: Pair) -> bool:
    """Tell whether the event is known to be gone: nothing else may end in a cancel (promise 4)."""
    return pair.seen is not None and pair.seen.absence is not None and pair.seen.absence.is_evidence


# ---- the delta ------------------------------------------------------------------------------------------------------


def _draft(entry: Entry, pair: Pair, context: Context) -> Delta:
    seen, now = pair.seen, _now(entry, pair) or {}
    action = _action(entry, context)
    want = _want(entry, action)
    kind = _kind(entry)
    start = want.get("start") or now.get("start") or entry.before.get("start")
    spelled = start if isinstance(start, str) else ""
    return Delta(
        action=action,
        side=entry.side,
        key=entry.key,
        kind=kind,
        severity=severity_at(kind, spelled, context.now),
        agent=entry.agent,
        event=entry.event,
        calendar_id=entry.calendar if entry.calendar is not None else pair.calendar_id,
        meeting=seen.meeting if seen else pair.link.meeting if pair.link else "",
        crm_id=entry.crm_id,
        version=(seen.etag if seen else None) if entry.side is Side.CALENDAR else _version(pair),
        want=want,
        was=_was(action, want, now),
        fields=_changes(action, want, now),
        start=spelled,
        seen_digest=seen.digest if seen else b"",
    )


def _want(entry: Entry, action: Action) -> Fields:
    if action is Action.CREATE:  # never written: it shows what has to be entered again
        return entry.before
    return _put_back(entry) if action is Action.UPDATE else {}


def _put_back(entry: Entry) -> Fields:
    """Return what was there of all that was written."""
    return {name: value for name, value in sorted(entry.before.items()) if name in entry.after}


def _action(entry: Entry, context: Context) -> Action:
    """Return what takes a write back. A calendar's events are cancelled, what else a record is is the job's choice."""
    match entry.action:
        case Action.CREATE if entry.side is Side.CALENDAR:
            return Action.CANCEL
        case Action.CREATE:
            impossible = context.remove is Action.CANCEL and Action.CANCEL not in context.can
            return Action.DELETE if impossible else context.remove
        case Action.DELETE:
            return Action.CREATE
        case _:
            return Action.CANCEL if entry.before.get("status") == Status.CANCELLED else Action.UPDATE


def _was(action: Action, want: Fields, now: Fields) -> dict[str, Value]:
    """Return the before-image of taking it back, so that this too can be taken back."""
    if action is Action.CANCEL:
        return {"status": now.get("status")}
    return dict(now) if action is Action.DELETE else {name: now.get(name) for name in want}


def _changes(action: Action, want: Fields, now: Fields) -> Mapping[str, Change]:
    if action in {Action.CANCEL, Action.DELETE}:
        return {"status": (now.get("status"), Status.CANCELLED.value if action is Action.CANCEL else None)}
    return {
        name: (inert(now.get(name)), inert(value)) for name, value in want.items() if not _equal(value, now.get(name))
    }


def _kind(entry: Entry) -> Kind:
    """Name what was put right, and will not be any more."""
    in_crm = entry.side is Side.CRM
    match entry.action:
        case Action.CREATE:
            return Kind.MISSING_IN_CRM if in_crm else Kind.MISSING_IN_CALENDAR
        case Action.CANCEL | Action.DELETE:
            return Kind.CANCEL_NOT_PROPAGATED if in_crm else Kind.FALSE_CANCEL
        case _:
            return _field_kind(entry)


def _field_kind(entry: Entry) -> Kind:
    changed = {name for name, value in entry.after.items() if not _equal(value, entry.before.get(name))}
    kinds = (
        ({"status"}, Kind.FALSE_CANCEL),
        (_TIMES, Kind.RESCHEDULE_NOT_PROPAGATED),
        ({"agent"}, Kind.WRONG_OWNER),
        ({"contact"}, Kind.WRONG_CONTACT),
    )
    return next((kind for names, kind in kinds if names & changed), Kind.FIELD_DRIFT)
