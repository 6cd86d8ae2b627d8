"""What only a group shows: an agent's constant shift, duplicates, double bookings, cut series, flapping."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from reconciler import text
from reconciler.model import Fields, Pair, Presence, Record, Seen, Side, Step, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

QUARTER = timedelta(minutes=15)
LONGEST_SHIFT = timedelta(hours=14)
SYSTEMIC = 3
OVERLAP = timedelta(minutes=10)
SAME_TIME = timedelta(minutes=5)
FLAPS = 3
FLAPPING_FOR = timedelta(days=7)
SHOWN = 5

TZ_SHIFT = "tz_shift"
STALE_SERIES = "stale_series"
FLAPPING = "flapping"

Judged = tuple[Pair, Verdict]


def instant(value: object) -> datetime | None:
    """Read a canonical time of `Fields` back: an aware UTC datetime, None for a date or nothing."""
    if not isinstance(value, str) or len(value) <= len("2026-11-24"):
        return None
    return datetime.fromisoformat(value).astimezone(UTC)


# ---- constant shift -------------------------------------------------------------------------------------------------


def shift(calendar: Fields, crm: Fields) -> timedelta | None:
    """Return by how much a record is off, if it looks like a zone mistake: whole quarters, up to 14 h, same length."""
    times = [instant(side.get(name)) for side in (calendar, crm) for name in ("start", "end")]
    if None in times:
        return None
    start, end, crm_start, crm_end = (moment for moment in times if moment is not None)
    off = crm_start - start
    if crm_end - end != off or not off or abs(off) > LONGEST_SHIFT or off % QUARTER:
        return None
    return off


@dataclass(frozen=True, slots=True)
class Shifted:
    """Records of one agent that are all off by the same amount."""

    agent: str
    off: timedelta
    pairs: tuple[Pair, ...]


def shifts(judged: Iterable[Judged], linked: Mapping[str, int]) -> list[Shifted]:
    """Group differing pairs by agent and shift: three or more, or over half of the agent's linked records (two)."""
    groups: defaultdict[tuple[str, timedelta], list[Pair]] = defaultdict(list)
    for pair, verdict in judged:
        apart = {*verdict.to_crm, *verdict.to_calendar, *verdict.foreign, *verdict.conflicts}
        if "start" not in apart or pair.seen is None or pair.seen.absence or pair.record is None:
            continue
        off = shift(pair.seen.fields, pair.record.fields)
        if off is not None and pair.record.presence is Presence.LIVE:
            groups[str(pair.seen.fields.get("agent")), off].append(pair)
    return [
        Shifted(agent, off, tuple(pairs))
        for (agent, off), pairs in sorted(groups.items())
        if len(pairs) >= SYSTEMIC or (len(pairs) > 1 and len(pairs) * 2 > linked.get(agent, 0))
    ]


# ---- series ---------------------------------------------------------------------------------------------------------


def cut_series(judged: Iterable[Judged]) -> set[tuple[int | None, str]]:
    """Return the series (calendar, series) whose rule no longer makes an occurrence that the CRM still holds."""
    return {(pair.calendar_id, series) for pair, _ in judged if (series := _cut_from(pair))}


def hold_new_occurrences(judged: Sequence[Judged], cut: set[tuple[int | None, str]]) -> list[Judged]:
    """Hold the creates of a cut series: a moved series must not leave its old records and make new ones beside them."""
    return [
        (replace(pair, holds=(*pair.holds, STALE_SERIES)), Verdict(verdict.situation, Step.HOLD, reason=STALE_SERIES))
        if verdict.step is Step.CREATE and pair.seen and (pair.calendar_id, pair.seen.series) in cut
        else (pair, verdict)
        for pair, verdict in judged
    ]


@dataclass(frozen=True, slots=True)
class Cut:
    """A series that was cut: the records to come of what its rule no longer makes, their clients and their titles."""

    series: str
    records: tuple[str, ...]
    clients: frozenset[str]
    titles: frozenset[str]


def hold_continuations(judged: Sequence[Judged], now: datetime) -> list[Judged]:
    """Hold the creates of a series that may go on for one that was cut: "this and following" makes two series of one.

    The later one has another id and another iCalUID: only its client, or where none is known its title, tells.
    """
    cuts = _cuts(judged, now)
    return [_continuing(pair, verdict, cuts.get(pair.calendar_id, ())) for pair, verdict in judged]


def _cuts(judged: Iterable[Judged], now: datetime) -> dict[int | None, list[Cut]]:
    left: defaultdict[tuple[int | None, str], list[Pair]] = defaultdict(list)
    for pair, _ in judged:
        if (series := _cut_from(pair)) and pair.seen and pair.seen.span.ends_at > now:
            left[pair.calendar_id, series].append(pair)
    found: defaultdict[int | None, list[Cut]] = defaultdict(list)
    for (calendar, series), pairs in sorted(left.items(), key=lambda one: one[0][1]):
        ids = tuple(sorted(pair.record.id for pair in pairs if pair.record))
        clients = frozenset(client for pair in pairs for client in _clients(pair))
        titles = frozenset(title for pair in pairs if (title := _title(pair)))
        found[calendar].append(Cut(series, ids, clients, titles))
    return found


def _cut_from(pair: Pair) -> str | None:
    """Return the series whose rule no longer makes an occurrence that the CRM still holds."""
    if pair.seen is None or not pair.seen.stale or pair.record is None or pair.record.presence is not Presence.LIVE:
        return None
    return pair.seen.series


def _continuing(pair: Pair, verdict: Verdict, cuts: Iterable[Cut]) -> Judged:
    if verdict.step is not Step.CREATE or pair.seen is None or pair.seen.series is None:
        return pair, verdict
    cut = next((cut for cut in cuts if _is_alike(pair, cut)), None)
    if cut is None:
        return pair, verdict
    some = ", ".join(text.line(crm_id, 40) for crm_id in cut.records[:SHOWN])
    more = f" and {len(cut.records) - SHOWN} more" if len(cut.records) > SHOWN else ""
    why = f"it may go on for the series {text.line(cut.series, 60)}, which was cut while CRM {some}{more} still stand"
    return replace(pair, holds=(*pair.holds, STALE_SERIES)), Verdict(verdict.situation, Step.HOLD, reason=why)


def _is_alike(pair: Pair, cut: Cut) -> bool:
    """Tell whether both are for one client; where one of them has none, whether they have one title."""
    clients = _clients(pair)
    return bool(clients & cut.clients) if clients and cut.clients else _title(pair) in cut.titles


def _clients(pair: Pair) -> frozenset[str]:
    values = (side.fields.get("contact") for side in (pair.seen, pair.record) if side)
    return frozenset(address for value in values if isinstance(value, tuple) for address in value)


def _title(pair: Pair) -> str:
    title = pair.seen.fields.get("title") if pair.seen else None
    return title if isinstance(title, str) else ""


# ---- duplicates and double bookings ---------------------------------------------------------------------------------


def duplicates(records: Iterable[Record]) -> list[tuple[Record, ...]]:
    """Group live records of one owner that start within five minutes for the same client, or share a key."""
    clients: defaultdict[tuple[object, str], list[Record]] = defaultdict(list)
    keys: defaultdict[tuple[object, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.presence is not Presence.LIVE or record.closed:
            continue
        owner, contact = record.fields.get("agent"), record.fields.get("contact")
        for address in contact if isinstance(contact, tuple) else ():
            clients[owner, address].append(record)
        if record.key:
            keys[owner, record.key].append(record)
    runs = [run for sharing in clients.values() for run in _runs(sharing)]
    return _maximal([run for run in (*runs, *keys.values()) if len(run) > 1])


def _runs(records: list[Record]) -> list[list[Record]]:
    """Cut records that share a client into runs whose neighbours start within five minutes of each other."""
    timed = sorted(
        ((start, record) for record in records if (start := _starts_at(record)) is not None),
        key=lambda one: (one[0], one[1].id),
    )
    runs: list[list[Record]] = []
    last: datetime | None = None
    for start, record in timed:
        if last is not None and start - last <= SAME_TIME:
            runs[-1].append(record)
        else:
            runs.append([record])
        last = start
    return runs


def _starts_at(record: Record) -> datetime | None:
    """Return when a record starts; midnight UTC stands for a day, so that only equal days are near each other."""
    start = record.fields.get("start")
    if not isinstance(start, str) or not start:
        return None
    return instant(start) or datetime.fromisoformat(start).replace(tzinfo=UTC)


def _maximal(groups: Iterable[list[Record]]) -> list[tuple[Record, ...]]:
    """Drop groups that lie inside another one (the same two rows share a client and a key)."""
    by_ids = {frozenset(record.id for record in group): group for group in groups}
    return [
        tuple(sorted(group, key=lambda record: record.id))
        for ids, group in sorted(by_ids.items(), key=lambda item: sorted(item[0]))
        if not any(ids < other for other in by_ids)
    ]


def double_bookings(events: Iterable[tuple[str, Seen]]) -> list[tuple[str, Seen, Seen]]:
    """Return pairs of one agent's busy, timed events of different meetings that overlap by ten minutes or more."""
    diaries: defaultdict[str, list[Seen]] = defaultdict(list)
    for agent, seen in events:
        if seen.busy and seen.absence is None and not seen.span.all_day:
            diaries[agent].append(seen)
    return [(agent, *clash) for agent, diary in sorted(diaries.items()) for clash in _clashes(diary)]


def _clashes(diary: list[Seen]) -> list[tuple[Seen, Seen]]:
    """Compare each event with the one running longest before it: every clash shows, the work stays linear."""
    found: list[tuple[Seen, Seen]] = []
    longest: Seen | None = None
    for seen in sorted(_one_a_meeting(diary), key=lambda seen: (seen.span.starts_at, seen.event)):
        if longest and min(longest.span.ends_at, seen.span.ends_at) - seen.span.starts_at >= OVERLAP:
            found.append((longest, seen))
        if longest is None or seen.span.ends_at > longest.span.ends_at:
            longest = seen
    return found


def _one_a_meeting(diary: list[Seen]) -> list[Seen]:
    """Keep one copy of each meeting: an agent may have it on several calendars."""
    return list({seen.meeting or seen.event: seen for seen in sorted(diary, key=lambda seen: seen.event)}.values())


# ---- flapping -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wrote:
    """One write of ours, done or meant: on which side, of which appointment, and a digest of what it leaves there.

    Both its names count: what deletes a record and enters it anew gives it another id, and keeps its key.
    """

    side: Side
    key: str
    crm_id: str | None
    content: bytes

    def names(self) -> Iterable[tuple[Side, bytes, str, str]]:
        """Return what tells that two writes left the same in the same place."""
        yield self.side, self.content, "key", self.key
        if self.crm_id is not None:
            yield self.side, self.content, "crm_id", self.crm_id


def flapping(meant: Iterable[Wrote], done: Iterable[Wrote]) -> set[Wrote]:
    """Return what we mean to write although it was `done` three times already in the days that `done` covers."""
    found: defaultdict[tuple[Side, bytes, str, str], set[int]] = defaultdict(set)
    for number, wrote in enumerate(done):
        for name in wrote.names():
            found[name].add(number)
    return {wrote for wrote in meant if len(set().union(*(found.get(name, ()) for name in wrote.names()))) >= FLAPS}
