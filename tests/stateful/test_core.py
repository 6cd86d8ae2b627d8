"""The pure core against anything: every input there can be, and a small brokerage that lives through hostile days."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reconciler import mirror, normalise, plan
from reconciler.decide import UNSETTLED, Rules, decide
from reconciler.findings import Context, Outlook, outlook
from reconciler.match import Candidates, contest, match
from reconciler.model import (
    Absence,
    Action,
    Agent,
    AgentState,
    Attendee,
    Calendar,
    Cursor,
    Delta,
    Direction,
    Event,
    Fields,
    First,
    Link,
    Mode,
    Outcome,
    Pair,
    Presence,
    Pull,
    Record,
    Role,
    Seen,
    Shape,
    Side,
    Situation,
    Span,
    Step,
    Tier,
    Tombstone,
    Value,
    Verdict,
    Window,
    rfc3339,
)
from reconciler.normalise import Terms

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ANN, BOB = Agent(email="ann@acme.example"), Agent(email="bob@acme.example")
COMPARE = ("agent", "all_day", "contact", "end", "location", "start", "status", "title")
ALL = frozenset(Action)
CONTEXT = Context(now=NOW, allow=ALL, can=ALL, compare=COMPARE, mapped=frozenset(COMPARE))
QUIET = {Step.NOTHING, Step.REFRESH_BASE, Step.FORGET}
BUCKETS = {"in_sync", "create", "update", "cancel", "delete", "held", "human", "conflict"}

# ---- anything -------------------------------------------------------------------------------------------------------


def timed(slot: int) -> dict[str, Value]:
    start = NOW + slot * HOUR
    return {"start": rfc3339(start), "end": rfc3339(start + HOUR), "all_day": False}


def whole(slot: int) -> dict[str, Value]:
    day = date(2026, 11, 24) + timedelta(days=slot)
    return {"start": day.isoformat(), "end": (day + timedelta(days=1)).isoformat(), "all_day": True}


SLOTS = st.integers(-30, 60)
TIMES = st.one_of(SLOTS.map(timed), st.integers(0, 3).map(whole))
PEOPLE = st.sampled_from(["ann@acme.example", "bob@acme.example"])
CLIENTS = st.sampled_from([("zoe@client.example",), ("amy@client.example", "zoe@client.example")])
MOMENTS = st.sampled_from([None, NOW - DAY, NOW - HOUR, NOW])


@st.composite
def calendar_fields(draw: st.DrawFn) -> dict[str, Value]:
    said = {**draw(TIMES), "agent": draw(PEOPLE), "status": draw(st.sampled_from(["confirmed", "tentative"]))}
    if draw(st.booleans()):  # else it is private
        said |= {
            "title": draw(st.sampled_from(["Showing", "Visit", ""])),
            "location": draw(st.sampled_from(["", "Oak"])),
        }
        if draw(st.booleans()):
            said["contact"] = draw(CLIENTS)
    return said


@st.composite
def crm_fields(draw: st.DrawFn) -> dict[str, Value]:
    said = {**draw(TIMES), "agent": draw(PEOPLE), "status": draw(st.sampled_from(["confirmed", "tentative", "closed"]))}
    said |= {
        "title": draw(st.sampled_from(["Showing", "Call", ""])),
        "location": draw(st.sampled_from([None, "", "Oak"])),
    }
    if draw(st.booleans()):
        said["contact"] = draw(CLIENTS)
    return said


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Draw both sides and what was agreed, each from the other or from nowhere."""
    calendar = draw(calendar_fields())
    crm = {**draw(crm_fields()), **(calendar if draw(st.booleans()) else {})}
    known = draw(st.sampled_from(["both", "calendar", "crm", "neither", "nothing"]))
    base = calendar if known in {"both", "calendar"} else draw(calendar_fields())
    base_crm = crm if known in {"both", "crm"} else draw(crm_fields())
    agreed_on = known != "nothing"
    link = Link(
        crm_id="17",
        calendar=1,
        event="evt1",
        meeting="m1",
        tier=Tier.KEY,
        base=base if agreed_on else None,
        base_crm=base_crm if agreed_on else None,
        cancelled_by_us=draw(st.booleans()),
    )
    agent = draw(st.sampled_from([ANN, BOB, replace(ANN, state=AgentState.LEFT), replace(BOB, role=Role.TEAM)]))
    seen = Seen(
        event="evt1",
        span=Span(NOW, NOW + HOUR),
        digest=normalise.digest(calendar, COMPARE),
        meeting="m1",
        keys=("uid1",),
        relevance=draw(st.sampled_from(["client", "client", "client", None])),
        fields=calendar,
        private="title" not in calendar,
        declined=draw(st.sampled_from([False, False, True])),
        modified=draw(MOMENTS),
        absence=draw(st.sampled_from([None, None, None, *Absence])),
        stale=draw(st.booleans()),
    )
    record = Record(
        id="17",
        fields=crm,
        version="1",
        key=draw(st.sampled_from(["uid1", None])),
        presence=draw(st.sampled_from([Presence.LIVE, *Presence])),
        closed=draw(st.sampled_from([False, False, True])),
        updated=draw(MOMENTS),
        problem=draw(st.sampled_from([None, None, None, "its end is empty"])),
    )
    has_seen = draw(st.sampled_from([True, True, True, False]))
    return Pair(
        seen=seen if has_seen else None,
        calendar=Calendar(source="google", kind="google", agent=agent) if has_seen else None,
        calendar_id=1,
        record=record if draw(st.sampled_from([True, True, True, False])) else None,
        link=link if draw(st.booleans()) else None,
        tier=draw(st.sampled_from([None, *Tier])),
        holds=tuple(draw(st.lists(st.sampled_from([UNSETTLED, "unobserved", "ambiguous", "flapping"]), max_size=1))),
    )


RULES = st.builds(Rules, st.sampled_from(list(Direction)), st.sampled_from(list(First)), st.just(COMPARE))
ONE_WAY = st.builds(Rules, st.just(Direction.CALENDAR_TO_CRM), st.sampled_from(list(First)), st.just(COMPARE))
POLICIES = st.builds(
    replace,
    st.just(CONTEXT),
    allow=st.frozensets(st.sampled_from(list(Action))),
    can=st.frozensets(st.sampled_from(list(Action))),
    remove=st.sampled_from([Action.CANCEL, Action.DELETE]),
)


def is_gone(pair: Pair) -> bool:
    return pair.seen is not None and pair.seen.absence is not None and pair.seen.absence.is_evidence


@given(pairs(), RULES)
def test_every_pair_gets_a_verdict_and_nothing_is_removed_without_evidence(pair: Pair, rules: Rules) -> None:
    verdict = decide(pair, rules)
    assert verdict.step is not Step.REMOVE or not pair.holds
    if verdict.step is Step.REMOVE and verdict.side is Side.CRM:
        assert is_gone(pair)
        assert pair.record is not None
        assert not pair.record.closed
    if verdict.step is Step.REMOVE and verdict.side is Side.CALENDAR:
        assert pair.record is not None
        assert pair.record.presence is not Presence.LIVE
    if rules.direction is Direction.CALENDAR_TO_CRM:
        assert not verdict.to_calendar
        assert verdict.side is not Side.CALENDAR
    if rules.direction is Direction.CRM_TO_CALENDAR:
        assert not verdict.to_crm
        assert verdict.side is not Side.CRM


@given(pairs(), RULES)
def test_each_field_has_one_fate_and_each_difference_is_named(pair: Pair, rules: Rules) -> None:
    verdict = decide(pair, rules)
    named = Counter([*verdict.to_crm, *verdict.to_calendar, *verdict.conflicts, *verdict.foreign])
    assert not [name for name, times in named.items() if times > 1]
    if verdict.step is Step.UPDATE and verdict.situation is not Situation.REOPENED:
        assert pair.seen
        assert pair.record
        apart = set(normalise.differing(pair.seen.fields, pair.record.fields, COMPARE))
        assert set(named) <= apart
        assert apart - set(named) <= {"title", "location"}  # what both sides agreed to spell differently


@given(pairs(), RULES)
def test_a_persons_edit_in_the_crm_is_never_overwritten(pair: Pair, rules: Rules) -> None:
    verdict = decide(pair, rules)
    if not verdict.to_crm or pair.link is None or pair.link.base_crm is None or pair.record is None:
        return
    for name in set(verdict.to_crm) - {"status"}:
        agreed = name in pair.link.base_crm or name == "contact"
        assert not agreed or pair.record.fields.get(name) == pair.link.base_crm.get(name)


@given(pairs(), RULES, POLICIES)
def test_every_pair_is_counted_once_and_its_delta_stays_within_the_policy(
    pair: Pair, rules: Rules, policy: Context
) -> None:
    found = outlook(pair, decide(pair, rules), policy)
    assert found.bucket in BUCKETS
    assert len({finding.key for finding in found.findings}) == len(found.findings)
    delta = found.delta
    if delta is None:
        assert found.bucket not in {"create", "update", "cancel", "delete"}
        return
    assert not pair.holds
    assert (delta.outcome is Outcome.HELD) == (found.bucket == "held")
    assert delta.side is Side.CRM
    assert pair.seen is not None
    assert pair.calendar is None or pair.calendar.agent.state is AgentState.ACTIVE
    assert pair.record is None or not pair.record.problem or pair.record.presence is Presence.ABSENT
    if delta.outcome is Outcome.PLANNED:
        assert delta.action in policy.allow & policy.can
        assert found.bucket == delta.action
    if delta.action in {Action.CANCEL, Action.DELETE}:
        assert is_gone(pair)
    if delta.action is Action.UPDATE:
        assert delta.want
        assert set(delta.want) <= set(COMPARE)
    plan.identity(delta)


# ---- applying -------------------------------------------------------------------------------------------------------


def applied(delta: Delta, record: Record | None, crm_id: str = "17") -> Record | None:
    """Return what a faithful CRM holds after `delta`."""
    if delta.action is Action.DELETE:
        return None
    if delta.action is Action.CREATE or record is None:
        return Record(id=crm_id, fields=dict(delta.want), version="1", key=delta.key)
    if delta.action is Action.CANCEL:
        fields = {**record.fields, "status": "cancelled"}
        return replace(record, fields=fields, presence=Presence.CANCELLED, version=record.version + "+")
    presence = Presence.LIVE if "status" in delta.want else record.presence
    fields = {**record.fields, **delta.want}
    return replace(record, fields=fields, presence=presence, version=record.version + "+")


def agreed(pair: Pair, record: Record, delta: Delta, unsettled: tuple[str, ...] = ()) -> Link:
    """Return the link after `delta`; what is left to a person keeps its old base."""
    assert pair.seen
    old = pair.link
    if delta.action is Action.CANCEL:
        assert old or pair.tier
        return replace(old or link_of(pair, record), cancelled_by_us=True)
    base, base_crm = dict(pair.seen.fields), dict(record.fields)
    for name in unsettled:
        for side, before in ((base, old.base if old else None), (base_crm, old.base_crm if old else None)):
            side.pop(name, None)
            if before and name in before:
                side[name] = before[name]
    return replace(link_of(pair, record), base=base, base_crm=base_crm)


def link_of(pair: Pair, record: Record) -> Link:
    assert pair.seen
    return Link(record.id, pair.calendar_id or 1, pair.seen.event, pair.seen.meeting, pair.tier or Tier.KEY)


@given(pairs(), ONE_WAY)
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_deciding_again_after_applying_finds_nothing_more_to_write(pair: Pair, rules: Rules) -> None:
    verdict = decide(pair, rules)
    delta = outlook(pair, verdict, CONTEXT).delta
    if delta is None:
        return
    record = applied(delta, pair.record)
    left = tuple(name for name in (*verdict.conflicts, *verdict.foreign) if name not in delta.want)
    link = agreed(pair, record, delta, left) if record else None
    again = replace(pair, record=record, link=link)
    after = decide(again, rules)
    following = outlook(again, after, CONTEXT)
    assert following.delta is None
    if delta.action in {Action.CANCEL, Action.DELETE} or not (left or set(verdict.to_crm) - delta.want.keys()):
        assert after.situation is Situation.IN_SYNC
        assert following == Outlook("in_sync")
    else:
        assert after.step in {Step.FINDING, Step.CONFLICT, Step.UPDATE, *QUIET}


@given(pairs(), RULES)
def test_what_agrees_settles_at_once(pair: Pair, rules: Rules) -> None:
    if decide(pair, rules).step is not Step.REFRESH_BASE or pair.seen is None or pair.record is None:
        return
    link = replace(link_of(pair, pair.record), base=pair.seen.fields, base_crm=pair.record.fields)
    assert decide(replace(pair, link=link), rules) == Verdict(Situation.IN_SYNC, Step.NOTHING)


@given(pairs(), RULES)
def test_a_cancelled_record_beside_an_event_that_is_not_alive_stays_quiet(pair: Pair, rules: Rules) -> None:
    if pair.record is None or (pair.seen and pair.seen.absence is None and not pair.seen.declined):
        return
    over = replace(pair, record=replace(pair.record, presence=Presence.CANCELLED), holds=())
    assert outlook(over, decide(over, rules), CONTEXT) == Outlook("in_sync")


# ---- a brokerage's hostile days -------------------------------------------------------------------------------------

WINDOW = Window(NOW - 7 * DAY, NOW + 60 * DAY)
PLACE = Calendar(source="google", kind="google", agent=ANN)
STRANGER = "stranger@else.example"
TERMS = Terms(
    compare=COMPARE,
    shape=Shape(mapped=frozenset(COMPARE), can=ALL),
    relevant=frozenset({"client", "linked"}),
    internal_domains=frozenset({"acme.example"}),
    people={ANN.email: ANN, BOB.email: BOB},
    salt=b"salt",
)
ONE_TO_CRM = Rules(Direction.CALENDAR_TO_CRM, First.NEWER, COMPARE)
NAMES = st.sampled_from(["evt1", "evt2", "evt3"])
TITLES = st.sampled_from(["Showing", "Visit", "Call", "\u202eHidden\x00"])


@dataclass
class Crm:
    """A table that people write to as well. Every write moves the version."""

    records: dict[str, Record] = field(default_factory=dict)
    next_id: int = 1

    def put(self, record: Record | None, crm_id: str) -> None:
        if record is None:
            self.records.pop(crm_id, None)
        else:
            self.records[crm_id] = record

    def add(self, fields: Fields, key: str | None) -> str:
        crm_id = str(self.next_id)
        self.next_id += 1
        self.records[crm_id] = Record(id=crm_id, fields=fields, version="1", key=key, updated=NOW)
        return crm_id


class HostileDays(RuleBasedStateMachine):
    """One agent's calendar, one CRM, agents and office and strangers who do what they like between the runs."""

    def __init__(self) -> None:
        super().__init__()
        self.calendar: dict[str, Event] = {}
        self.tombstones: dict[str, Tombstone] = {}
        self.ever_cancelled: set[str] = set()
        self.rows: mirror.Mirror = {}
        self.crm = Crm()
        self.links: dict[str, Link] = {}
        self.strangers: dict[str, Record] = {}
        self.reads = 0

    # what the agent does

    @rule(name=NAMES, slot=st.integers(1, 40), title=TITLES)
    def book(self, name: str, slot: int, title: str) -> None:
        start = NOW + slot * HOUR
        self.calendar[name] = Event(
            id=name, uid=f"{name}@cal.example", span=Span(start, start + HOUR), title=title, organizer=ANN.email,
            attendees=(Attendee("zoe@client.example"),), modified=NOW + slot * HOUR,
        )  # fmt: skip
        self.tombstones.pop(name, None)

    @rule(name=NAMES)
    def cancel(self, name: str) -> None:
        if self.calendar.pop(name, None):
            self.tombstones[name] = Tombstone(name, Absence.CANCELLED, NOW)
            self.ever_cancelled.add(name)

    @rule(name=NAMES)
    def lose_silently(self, name: str) -> None:
        """Let a provider forget an event without a word."""
        self.calendar.pop(name, None)

    # what the office does

    @rule(name=NAMES, title=TITLES)
    def edit_in_crm(self, name: str, title: str) -> None:
        if (link := self.links.get(name)) and link.crm_id in self.crm.records:
            record = self.crm.records[link.crm_id]
            edited = replace(
                record, fields={**record.fields, "title": title}, version=record.version + "p", updated=NOW
            )
            self.crm.put(edited, record.id)

    @rule(name=NAMES, presence=st.sampled_from([Presence.CANCELLED, Presence.ABSENT]))
    def remove_in_crm(self, name: str, presence: Presence) -> None:
        if (link := self.links.get(name)) and link.crm_id in self.crm.records:
            record = self.crm.records[link.crm_id]
            self.crm.put(replace(record, presence=presence, version=record.version + "p"), record.id)
            if presence is Presence.CANCELLED:
                self.links[name] = replace(link, cancelled_by_us=False)

    @rule(name=NAMES, agent=st.sampled_from([BOB.email, STRANGER]), slot=st.integers(1, 40))
    def add_a_strangers_record_under_our_key(self, name: str, agent: str, slot: int) -> None:
        if len(self.strangers) < 3:
            crm_id = self.crm.add(
                {**timed(slot), "agent": agent, "status": "confirmed", "title": "Theirs"}, f"{name}@cal.example"
            )
            self.strangers[crm_id] = self.crm.records[crm_id]

    # what the job does

    @rule(whole_read=st.booleans(), proves=st.booleans())
    def run(self, *, whole_read: bool, proves: bool) -> None:
        self.pull(whole_read=whole_read, proves=proves)
        for pair, delta in self.judged():
            self.apply(pair, delta)
        assert [delta for _, delta in self.judged()] == [], "a second run has nothing to do"

    def pull(self, *, whole_read: bool, proves: bool) -> None:
        self.reads += 1
        mode = Mode.FULL if whole_read else Mode.INCREMENTAL
        read = Pull(
            calendar=PLACE,
            mode=mode,
            cursor=Cursor(f"t{self.reads}", WINDOW, "scope", NOW),
            at=NOW + self.reads * HOUR,
            tombstones=tuple(self.tombstones.values()),
            proves_absence=proves,
        )
        linked = {link.event for link in self.links.values()}
        events = {
            name: normalise.seen(event, PLACE, TERMS, linked=name in linked, zone=None)
            for name, event in self.calendar.items()
        }
        self.rows = mirror.fold(self.rows, read, events, baseline=self.reads == 1)

    def judged(self) -> list[tuple[Pair, Delta]]:
        pairs = [self.paired(seen) for seen in self.rows.values()]
        claims = Counter(pair.record.id for pair in pairs if pair.record)
        pairs = [
            contest(pair) if pair.record and not pair.link and claims[pair.record.id] > 1 else pair for pair in pairs
        ]
        found = []
        for pair in pairs:
            verdict = decide(pair, ONE_TO_CRM)
            outlook_ = outlook(pair, verdict, CONTEXT)
            assert outlook_.bucket in BUCKETS
            if verdict.step is Step.REFRESH_BASE and pair.seen and pair.record:
                link = link_of(pair, pair.record)
                self.links[pair.seen.event] = replace(link, base=pair.seen.fields, base_crm=pair.record.fields)
            if outlook_.delta:
                found.append((pair, outlook_.delta))
        return found

    def paired(self, seen: Seen) -> Pair:
        link = self.links.get(seen.event)
        bare = Pair(seen=seen, calendar=PLACE, calendar_id=1, record=None, link=link)
        if link:
            return replace(bare, record=self.crm.records.get(link.crm_id), tier=Tier.LINK)
        taken = frozenset(link.crm_id for link in self.links.values())
        keyed = [
            one for one in self.crm.records.values() if one.key in seen.keys and one.presence is not Presence.ABSENT
        ]
        return match(bare, Candidates(keyed, spoken_for=taken))

    def apply(self, pair: Pair, delta: Delta) -> None:
        assert pair.seen
        name = pair.seen.event
        if delta.action in {Action.CANCEL, Action.DELETE}:
            assert name in self.ever_cancelled, "only what the calendar itself called off is ever cancelled"
        crm_id = delta.crm_id
        if crm_id is None:
            crm_id = self.crm.add({}, delta.key)
        else:
            assert self.crm.records[crm_id].version == delta.version
        assert crm_id not in self.strangers
        record = applied(delta, pair.record if delta.crm_id else None, crm_id)
        self.crm.put(record, crm_id)
        assert record is not None
        verdict = decide(pair, ONE_TO_CRM)
        self.links[name] = agreed(pair, record, delta, (*verdict.conflicts, *verdict.foreign))

    @invariant()
    def strangers_records_stand_as_they_were(self) -> None:
        assert {crm_id: self.crm.records[crm_id] for crm_id in self.strangers} == self.strangers


TestHostileDays = HostileDays.TestCase
TestHostileDays.settings = settings(stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow])
