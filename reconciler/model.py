"""The domain as frozen values: what a calendar shows, what the CRM holds, what both agreed on, and what follows.

Instants are aware datetimes in UTC with whole seconds; all-day values are dates with an exclusive end. `Fields` hold
the compared values in one canonical spelling (times as RFC 3339 text), so that equality, digests and JSON all agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = str | bool | tuple[str, ...] | None
Fields: TypeAlias = Mapping[str, Value]

COMPARABLE = ("start", "end", "all_day", "title", "location", "status", "contact", "participants")
"""What `policy.compare` may name. The owner (`agent`) is always compared beside them."""


# ---- people and calendars -------------------------------------------------------------------------------------------


class Role(StrEnum):
    """What an address stands for. Only an agent owns records."""

    AGENT = "agent"
    ASSISTANT = "assistant"
    TEAM = "team"
    ROOM = "room"


class AgentState(StrEnum):
    """Whether the brokerage still counts this agent; one who left is frozen and reported."""

    ACTIVE = "active"
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A person of the brokerage. `email` and `aliases` are lower case; `crm_owner` is how the CRM names the owner."""

    email: str
    aliases: tuple[str, ...] = ()
    crm_owner: str | None = None
    timezone: str | None = None
    office: str | None = None
    role: Role = Role.AGENT
    state: AgentState = AgentState.ACTIVE
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """One calendar to observe: which source reads it, whose it is, and where it is.

    `name` is the provider's calendar id (`primary` unless said otherwise; for ICS a name that gives nothing away).
    `location` is the address or path the source reads and is never printed.
    """

    source: str
    kind: str
    agent: Agent
    name: str = "primary"
    location: str = field(default="", repr=False)

    @property
    def label(self) -> str:
        """Name this calendar for people."""
        return self.agent.email if self.name in {"primary", self.agent.email} else f"{self.agent.email} ({self.name})"


# ---- time -----------------------------------------------------------------------------------------------------------


def rfc3339(moment: datetime | date) -> str:
    """Spell an instant as `2026-11-24T15:00:00Z`, a date as `2026-11-24`."""
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return moment.isoformat()


@dataclass(frozen=True, slots=True)
class Span:
    """When something happens: two aware UTC instants, or two dates (all-day, `end` exclusive)."""

    start: datetime | date
    end: datetime | date

    @property
    def all_day(self) -> bool:
        """Tell whether this span is made of dates."""
        return not isinstance(self.start, datetime)

    @property
    def starts_at(self) -> datetime:
        """Return the start as an instant; midnight UTC stands for a date."""
        return _instant(self.start)

    @property
    def ends_at(self) -> datetime:
        """Return the end as an instant; midnight UTC stands for a date."""
        return _instant(self.end)


def _instant(moment: datetime | date) -> datetime:
    return moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """The time range a read is authoritative for: [start, end), aware UTC instants."""

    start: datetime
    end: datetime

    @classmethod
    def around(cls, now: datetime, past: timedelta, future: timedelta) -> Window:
        """Return the window of a run at `now`, rounded down to the day (UTC): it stands still between midnights."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(today - past, today + future)

    def holds(self, span: Span) -> bool:
        """Tell whether `span` touches this window. A date is given the width of all zones (UTC-12 to UTC+14)."""
        slack = timedelta(hours=14) if span.all_day else timedelta()
        ends = max(span.ends_at, span.starts_at + timedelta(seconds=1))
        return span.starts_at - slack < self.end and ends + slack > self.start

    def contains(self, other: Window) -> bool:
        """Tell whether `other` lies inside this window."""
        return self.start <= other.start and other.end <= self.end


# ---- the calendar side ----------------------------------------------------------------------------------------------


class Status(StrEnum):
    """What an appointment says of itself. `closed` is the CRM's own outcome (completed, no-show): like confirmed."""

    CONFIRMED = "confirmed"
    TENTATIVE = "tentative"
    CANCELLED = "cancelled"
    CLOSED = "closed"


class Response(StrEnum):
    """An attendee's answer."""

    NEEDS_ACTION = "needs_action"
    ACCEPTED = "accepted"
    TENTATIVE = "tentative"
    DECLINED = "declined"


class AttendeeKind(StrEnum):
    """Who can be invited."""

    PERSON = "person"
    GROUP = "group"
    RESOURCE = "resource"  # rooms too


class EventKind(StrEnum):
    """What sort of entry an event is; only the default kind is an appointment unless linked."""

    DEFAULT = "default"
    OUT_OF_OFFICE = "out_of_office"
    FOCUS_TIME = "focus_time"
    WORKING_LOCATION = "working_location"
    BIRTHDAY = "birthday"
    DRAFT = "draft"
    OTHER = "other"  # made by the provider itself (from a mail), or of a type that is not known yet


@dataclass(frozen=True, slots=True)
class Attendee:
    """One invited address (lower case)."""

    email: str
    response: Response = Response.NEEDS_ACTION
    kind: AttendeeKind = AttendeeKind.PERSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event or occurrence as its source shows it, cleaned and bounded; it lives in memory only, during a pull.

    `id` is native and unique in its calendar; for an occurrence it names the occurrence, `series` its series and
    `original_start` the start the series gave it. `uid` is the iCalUID and may be missing. `scheduler_key` is a booking
    tool's key (`calendly:UUID`) found where only the tool or the agent can write. `modified` is the provider's time.
    `response` is the calendar owner's own answer. Addresses are lower case. `absence` is set for an entry that its
    source still describes but says is gone: cancelled (STATUS, METHOD) or excluded (EXDATE); status is the one it had.
    `attendees_omitted` says that the source shows only some of the attendees: clients and colleagues are not known.
    `claim` is the mark that a job of this program left where only who may write the calendar can, and `claimed` the CRM
    record that it names; a source that does not show marks leaves both empty.
    """

    id: str
    uid: str | None
    span: Span
    series: str | None = None
    original_start: datetime | date | None = None
    status: Status = Status.CONFIRMED
    title: str = ""
    location: str = ""
    organizer: str | None = None
    attendees: tuple[Attendee, ...] = ()
    response: Response | None = None
    private: bool = False
    busy: bool = True
    kind: EventKind = EventKind.DEFAULT
    scheduler_key: str | None = None
    modified: datetime | None = None
    etag: str = ""
    absence: Absence | None = None
    attendees_omitted: bool = False
    claim: str = ""
    claimed: str = ""


class Absence(StrEnum):
    """Why an event is not there. Only the first three are evidence (law 1: absence is not deletion)."""

    CANCELLED = "cancelled"  # the provider's own tombstone
    GONE = "gone"  # an item-level answer, or two whole reads of a feed whose job says so
    EXCLUDED = "excluded"  # a series read whole no longer contains this occurrence (EXDATE, cancelled exception)
    LEFT_WINDOW = "left_window"
    UNSEEN = "unseen"

    @property
    def is_evidence(self) -> bool:
        """Tell whether this absence may end in a cancel or a delete."""
        return self in {Absence.CANCELLED, Absence.GONE, Absence.EXCLUDED}


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A source's own bare statement that `id` is gone. `id` may name a series: then all its occurrences are meant."""

    id: str
    absence: Absence
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An entry of a calendar that could not be read: which (as far as known), and why in one sentence."""

    id: str
    why: str


class Mode(StrEnum):
    """How a calendar was read."""

    FULL = "full"
    INCREMENTAL = "incremental"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A provider's token with the window and scope it is bound to, and when it was last made by a full read."""

    token: str
    window: Window
    scope: str
    full_at: datetime


@dataclass(frozen=True, slots=True)
class Audit:
    """What an independent list of `window` shows, beside what the token chain led to: spans by event id.

    `touched` are the ids (events and series) that changed since the last read: those the chain had no chance to miss.
    """

    spans: Mapping[str, Span]
    touched: frozenset[str]
    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """One complete read of one calendar.

    `mode` full: `events` is everything the window holds (and every `known` id that is still there, wherever it moved);
    incremental: what changed since the cursor. `series` names the masters that were read whole. `proves_absence` is
    false when something was left out (a cap, an entry without an identity): then nothing is missing, only unseen.
    `zone` is the calendar's own IANA zone. `unchanged` are known ids that stand as they were, though their series was
    read anew. `rules` is what the source wants to know again of a series, opaque text by series id: None forgets one, a
    full read replaces all. `pending` are ids whose look-up did not fit this read. `audit` is there once a week.
    """

    calendar: Calendar
    mode: Mode
    cursor: Cursor
    at: datetime
    events: Sequence[Event] = ()
    tombstones: Sequence[Tombstone] = ()
    quarantined: Sequence[Quarantined] = ()
    series: frozenset[str] = frozenset()
    proves_absence: bool = True
    zone: str | None = None
    unchanged: frozenset[str] = frozenset()
    rules: Mapping[str, str | None] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    audit: Audit | None = None


@dataclass(frozen=True, slots=True)
class Unobserved:
    """A calendar that was not read whole: nothing it did not show means anything. `why` is a sentence for people.

    `pause` is how long trying again makes no sense. `lost` says that access itself was lost or lessened: what a cursor
    leads to from there can't be trusted, the next read is a whole one.
    """

    calendar: Calendar
    why: str
    pause: timedelta | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Postponed:
    """A calendar whose read was left for a later run: a budget or the time was used up. That is no failure of it."""

    calendar: Calendar
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One row of the mirror: an event as last observed, reduced to what is compared.

    `meeting` groups the copies of one meeting over calendars; `keys` are the source key and its weaker spellings,
    strongest first. `relevance` is the rule that makes it an appointment, None if no rule does: then `fields`, `keys`
    and `meeting` are empty. `digest` covers the compared fields. `first_seen` is when this content was first read,
    None for rows of a baseline. A private event has times and status only. `etag` is the version that a write to it
    must carry; `guests` are the people beside its owner whom a provider may tell of a write (of a private event at most
    one: that there are some). `claim` is the CRM record that this job made it for, if it did. `withheld` says of a
    private one that the calendar has it open, and somebody it is about asked to be forgotten.
    """

    event: str
    span: Span
    digest: bytes
    meeting: str = ""
    keys: tuple[str, ...] = ()
    series: str | None = None
    relevance: str | None = None
    fields: Fields = field(default_factory=dict)
    organizer: str | None = None
    private: bool = False
    declined: bool = False
    busy: bool = True  # confirmed, not free, not declined: what can double-book
    modified: datetime | None = None
    first_seen: datetime | None = None
    absence: Absence | None = None
    absent_since: datetime | None = None
    absent_token: str | None = None
    stale: bool = False  # its series is still there, but its rule no longer makes this occurrence
    etag: str = ""
    guests: int = 0
    claim: str | None = None
    withheld: bool = False


# ---- the CRM side ---------------------------------------------------------------------------------------------------


class Presence(StrEnum):
    """The three states a side can be in."""

    LIVE = "live"
    CANCELLED = "cancelled"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One appointment of the CRM, normalised. `version` is the precondition that a write must carry.

    `fields` are canonical; the agent in them is the directory's address where the owner is known, else the CRM's own
    value. `presence` absent means a soft delete. `closed` marks an outcome the CRM recorded itself. `origin` is what
    names the writer in the CRM. `problem` says why the row can't be compared (its times make no sense, its status is
    not in the map); such a record is held. `first_seen` is when this content was first read, for a row that does not
    credibly say when it changed; None for rows of a baseline. `withheld`: somebody it is about asked to be forgotten,
    and of its fields only those are here that say when it is and whose.
    """

    id: str
    fields: Fields
    version: str
    key: str | None = None
    presence: Presence = Presence.LIVE
    closed: bool = False
    updated: datetime | None = None
    origin: str | None = None
    problem: str | None = None
    first_seen: datetime | None = None
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """How one CRM keeps values, so that both sides are compared as the CRM would keep them.

    `mapped` names the fields it has; `lengths` the characters its text columns hold; `statuses` what each status reads
    back as after a round trip (tentative may come back as confirmed). `can` lists the actions its schema allows.
    """

    mapped: frozenset[str]
    lengths: Mapping[str, int] = field(default_factory=dict)
    statuses: Mapping[Status, Status] = field(default_factory=dict)
    can: frozenset[Action] = frozenset()


# ---- comparing ------------------------------------------------------------------------------------------------------


class Tier(StrEnum):
    """How a pair was matched, strongest first."""

    LINK = "link"
    CLAIM = "claim"  # an event that we made for the record
    KEY = "key"
    UID = "uid"
    NATURAL = "natural"


@dataclass(frozen=True, slots=True)
class Link:
    """A pairing that holds: a CRM record, the copy of the meeting it follows, and the base both agreed on last.

    The base is kept in both spellings: `base` as the calendar said it, `base_crm` as the CRM kept it (a shorter title,
    one client of two). Both are None for a pair that never agreed. `version` is the record's when we last agreed on or
    wrote it: as long as it stands, nobody else touched the record. `cancelled_by_us` says that our journal wrote the
    record's cancel, `removed_by_us` that it removed the event: that the event is gone is then no evidence of anything.
    An `is_open` one is judged in every run, until both sides were compared as they stand.
    """

    crm_id: str
    calendar: int
    event: str
    meeting: str
    tier: Tier
    base: Fields | None = None
    base_crm: Fields | None = None
    version: str | None = None
    cancelled_by_us: bool = False
    removed_by_us: bool = False
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both sides of one appointment as they stand, and why they may not be judged (`holds`).

    `is_gone` says that the record of its link is in no complete snapshot, and that a look-up by id found none.
    """

    seen: Seen | None
    calendar: Calendar | None
    record: Record | None
    link: Link | None
    tier: Tier | None = None
    calendar_id: int | None = None
    holds: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    is_gone: bool = False


class Situation(StrEnum):
    """The named rows of the decision table."""

    IN_SYNC = "in_sync"
    UNAGREED = "unagreed"
    CALENDAR_CHANGED = "calendar_changed"
    CRM_CHANGED = "crm_changed"
    BOTH_CHANGED = "both_changed"
    REOPENED = "reopened"
    FALSE_CANCEL = "false_cancel"
    NEW_IN_CALENDAR = "new_in_calendar"
    REMOVED_FROM_CRM = "removed_from_crm"
    REMOVED_FROM_CALENDAR = "removed_from_calendar"
    REMOVED_AND_EDITED = "removed_and_edited"
    NEW_IN_CRM = "new_in_crm"
    HOLD = "hold"


class Side(StrEnum):
    """The two sides."""

    CALENDAR = "calendar"
    CRM = "crm"


class Action(StrEnum):
    """What a delta does to a side. A link writes to neither: it is noted that two belong together, or may differ."""

    CREATE = "create"
    UPDATE = "update"
    CANCEL = "cancel"
    DELETE = "delete"
    LINK = "link"


class Step(StrEnum):
    """What the decision table asks for."""

    NOTHING = "nothing"
    REFRESH_BASE = "refresh_base"
    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"
    FINDING = "finding"
    CONFLICT = "conflict"
    HOLD = "hold"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the decision table says of one pair.

    `side` is the side a create or remove would write; `to_crm` and `to_calendar` name the fields an update would write;
    `conflicts` moved on both sides; `foreign` moved on the side that this direction does not write from. `reason` is a
    clause for people.
    """

    situation: Situation
    step: Step
    side: Side | None = None
    to_crm: tuple[str, ...] = ()
    to_calendar: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    reason: str = ""


class Direction(StrEnum):
    """Which way `policy.sync` lets changes travel."""

    CALENDAR_TO_CRM = "calendar-to-crm"
    CRM_TO_CALENDAR = "crm-to-calendar"
    TWO_WAY = "two-way"


class First(StrEnum):
    """Who wins between two sides that never agreed (`policy.first`)."""

    NEWER = "newer"
    CALENDAR = "calendar"
    REPORT = "report"


# ---- what follows ---------------------------------------------------------------------------------------------------


class Severity(StrEnum):
    """How urgent a finding is."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Order severities, the most urgent first."""
        return tuple(Severity).index(self)


class Kind(StrEnum):
    """The report's vocabulary of discrepancies."""

    MISSING_IN_CRM = "missing_in_crm"
    RESCHEDULE_NOT_PROPAGATED = "reschedule_not_propagated"
    TZ_SHIFT = "tz_shift"
    ALL_DAY_OFF_BY_ONE = "all_day_off_by_one"
    WRONG_OWNER = "wrong_owner"
    CONTACT_MISSING = "contact_missing"
    WRONG_CONTACT = "wrong_contact"
    FIELD_DRIFT = "field_drift"
    CANCEL_NOT_PROPAGATED = "cancel_not_propagated"
    ORPHAN_IN_CRM = "orphan_in_crm"
    STALE_SERIES = "stale_series"
    REMOVED_BY_HAND = "removed_by_hand"
    MISSING_IN_CALENDAR = "missing_in_calendar"
    FALSE_CANCEL = "false_cancel"
    CONFLICT = "conflict"
    DUPLICATE_IN_CRM = "duplicate_in_crm"
    DOUBLE_BOOKED_AGENT = "double_booked_agent"
    AMBIGUOUS = "ambiguous"
    QUARANTINED = "quarantined"
    COVERAGE_GAP = "coverage_gap"


class Remedy(StrEnum):
    """What a finding asks of whom: we fix it, it is held, a person decides, nothing."""

    FIX = "fix"
    HOLD = "hold"
    HUMAN = "human"
    NONE = "none"


class Outcome(StrEnum):
    """What became of a delta."""

    PLANNED = "planned"
    DONE = "done"
    ALREADY = "already"
    DEFERRED = "deferred"
    HELD = "held"
    CONFLICT = "conflict"
    FAILED = "failed"
    UNKNOWN = "unknown"


Change: TypeAlias = tuple[Value, Value]

WRITABLE = frozenset({"start", "end", "all_day", "title", "location", "status"})
"""The fields of an event that may be written. Who attends is never one of them: people would be told, or not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A discrepancy for a person: a stable key, what differs (before, after) and one sentence why.

    `has` is what each side held then, of what is compared; a side that held nothing is not in it. `changed` is when the
    side that moved last did so, where it says so. `clues` are short words by which findings of one cause know each
    other: `origin:zapier`, `scheduler:calendly`, `shift:-21600`, `copy`, `pending`. `calendar` stands for the event's
    calendar in the state.
    """

    key: str
    kind: Kind
    severity: Severity
    remedy: Remedy
    why: str
    agent: str | None = None
    event: str | None = None
    crm_id: str | None = None
    fields: Mapping[str, Change] = field(default_factory=dict)
    start: str | None = None
    tier: Tier | None = None
    sides: bytes = b""  # how both sides stand: what a person accepts, and until when that holds
    has: Mapping[Side, Fields] = field(default_factory=dict)
    changed: datetime | None = None
    clues: tuple[str, ...] = ()
    calendar: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """A person's word that a finding is known, as both `sides` stood then; None once it has lapsed."""

    by: str
    why: str
    at: datetime
    until: datetime  # midnight after the last day, UTC
    sides: bytes | None = None

    @property
    def last_day(self) -> date:
        """Return the last day that it is meant for."""
        return (self.until - timedelta(seconds=1)).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """One create, update, cancel or delete, with the version it was decided on as its precondition.

    `want` holds the fields to write and `was` what the written side held of them (all of it, where all of it goes):
    what a revert restores; `fields` shows (before, after) to people. `seen_digest` is the calendar side's digest when
    it was decided. `key` names the pair in every run: the source key, where there is one. `notify` counts the people
    whom a provider would tell.
    """

    action: Action
    side: Side
    key: str
    kind: Kind
    severity: Severity
    agent: str | None = None
    event: str | None = None
    calendar_id: int | None = None
    meeting: str = ""
    crm_id: str | None = None
    version: str | None = None
    want: Fields = field(default_factory=dict)
    was: Fields = field(default_factory=dict)
    notify: int = 0
    fields: Mapping[str, Change] = field(default_factory=dict)
    start: str = ""
    seen_digest: bytes = b""
    outcome: Outcome = Outcome.PLANNED
    why: str = ""
    finding: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit that a plan exceeds, with the numbers. `action` is what there is too much of, where it is one action."""

    limit: str
    found: int
    allowed: int
    population: int
    why: str
    agent: str | None = None
    action: Action | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits for a person's consent: the digest to name it by, and how much it is.

    `released` are the calendars among it that the job file no longer names.
    """

    digest: str
    count: int
    released: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What became of one person's consent in one run: how much of the plan it let through, and what dropped out.

    `dropped` are the keys of what was consented to and did not recompute identically. An `expired` one covers nothing.
    """

    digest: str
    by: str
    covered: int
    dropped: tuple[str, ...] = ()
    expired: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The deltas of one run in the order they are applied, and the digest that names exactly these."""

    deltas: tuple[Delta, ...]
    digest: str
