"""Turn both sides into the same fields: what the CRM would keep of an event is compared, digested and written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import orjson

from reconciler import text
from reconciler.forgotten import Forgotten
from reconciler.model import (
    Absence,
    Agent,
    AttendeeKind,
    Calendar,
    Event,
    EventKind,
    Fields,
    Response,
    Role,
    Seen,
    Shape,
    Status,
    Value,
    rfc3339,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 2
"""Of the normaliser. Digests made by another version are recomputed, never compared.

Since 2, rows know their event's version and guests: all are read once more, so that nothing has to be looked up before
each write, nor a row without a version be told from one that has it.
"""

SCHEDULERS = ("acuity:", "calendly:")
"""How the keys of booking tools begin."""

RESERVED = (*SCHEDULERS, "sha256:")
"""How keys begin that only a scheduler, the agent or we may make."""

KEY_LIMIT = 191
"""Characters of a source key that every database can index (DESIGN 3.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What decides how an event becomes a row of the mirror, taken from the job file, the agents and the CRM's shape.

    `relevant` holds the rules that need no code (`client`, `linked`, ...), `titles` the compiled `title:` rules.
    `people` maps every known address of the brokerage to its agent. `salt` keys the digests of what is not stored.
    `contact_known` and `key_known` ask the last CRM snapshot. `is_own` tells whether a claim that an event carries, on
    this calendar and for the record it names, is this job's. `forgotten` are those of whom nothing is kept: events that
    are about them are taken as private.
    """

    compare: tuple[str, ...]
    shape: Shape
    relevant: frozenset[str]
    internal_domains: frozenset[str]
    people: Mapping[str, Agent]
    salt: bytes
    titles: Mapping[str, Callable[[str], bool]] = field(default_factory=dict)
    record_per_agent: bool = False
    contact_known: Callable[[str], bool] = lambda _: False
    key_known: Callable[[str], bool] = lambda _: False
    is_own: Callable[[Calendar, str, str], bool] = lambda _calendar, _record, _claim: False
    forgotten: Forgotten = field(default_factory=Forgotten)

    @property
    def fingerprint(self) -> str:
        """Return a digest of everything here that shapes a row, apart from the snapshot."""
        parts = (
            VERSION,
            self.compare,
            sorted(self.shape.mapped),
            sorted(self.shape.lengths.items()),
            sorted(self.shape.statuses.items()),
            sorted(self.relevant),
            sorted(self.titles),
            sorted(self.internal_domains),
            sorted((address, agent.email, agent.role, agent.timezone or "") for address, agent in self.people.items()),
            self.record_per_agent,
        )
        return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()


# ---- fields and digests ---------------------------------------------------------------------------------------------


def compared(policy: Iterable[str], shape: Shape) -> tuple[str, ...]:
    """Return the fields a job compares, in a fixed order: what the policy names and the CRM has, always the owner."""
    wanted = set(policy) & shape.mapped | {"agent"}
    if "start" in wanted and "all_day" in shape.mapped:
        wanted.add("all_day")
    return tuple(sorted(wanted))


def digest(fields: Fields, compare: tuple[str, ...]) -> bytes:
    """Return 16 bytes over the compared fields; a field that is unknown counts as null."""
    return hashlib.blake2b(orjson.dumps([fields.get(name) for name in compare]), digest_size=16).digest()


def same(name: str, calendar: Value, crm: Value) -> bool:
    """Tell whether the CRM's value says what the calendar's says. Of several clients, one is enough for a contact."""
    if name == "contact" and isinstance(calendar, tuple) and isinstance(crm, tuple):
        return bool(crm) and set(crm) <= set(calendar)
    if name == "status" and crm == Status.CLOSED:  # the CRM's own outcome equals confirmed
        return calendar == Status.CONFIRMED
    return calendar == crm or (not calendar and not crm)  # a CRM may have no way to say that something is empty


def differing(calendar: Fields, crm: Fields, compare: tuple[str, ...]) -> tuple[str, ...]:
    """Return the compared fields in which two sides differ. What the calendar side does not know is not compared."""
    return tuple(name for name in compare if name in calendar and not same(name, calendar[name], crm.get(name)))


# ---- keys -----------------------------------------------------------------------------------------------------------


def bounded_key(key: str) -> str:
    """Return a source key that any database can hold: ASCII of at most 191 characters, else its SHA-256."""
    if len(key) <= KEY_LIMIT and key.isascii() and key.isprintable() and key == key.strip():
        return key
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def occurrence_key(uid: str, original_start: datetime | date) -> str:
    """Return `UID/20261124T150000Z` (original start in UTC), `UID/20261124` for an all-day occurrence."""
    if isinstance(original_start, datetime):
        return f"{uid}/{original_start.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    return f"{uid}/{original_start:%Y%m%d}"


def _own_words(uid: str | None) -> str | None:
    """Return a UID that can't pass for a key of another kind: whoever sends an invitation chooses its UID."""
    return f"uid:{uid}" if uid and uid.startswith(RESERVED) else uid


def source_keys(event: Event, calendar: Calendar) -> tuple[str, ...]:
    """Return the spellings under which the CRM may know `event`, the one we write first (DESIGN 3.4)."""
    keys = [event.scheduler_key] if event.scheduler_key else []
    uid = _own_words(event.uid)
    if uid and event.original_start is not None:
        keys.append(occurrence_key(uid, event.original_start))
    elif uid:
        keys.append(uid)
    else:
        keys.append(f"{calendar.source}:{_place(calendar)}:{event.id}")
    return tuple(dict.fromkeys(bounded_key(key) for key in keys))


def own_keys(event: Event, calendar: Calendar, terms: Terms) -> tuple[str, ...]:
    """Return the source keys of `event`; where each agent has a row of a meeting, ours names the agent."""
    return _for_agent(source_keys(event, calendar), calendar, terms)


def _for_agent(keys: Iterable[str], calendar: Calendar, terms: Terms) -> tuple[str, ...]:
    plain = tuple(keys)
    if not terms.record_per_agent:
        return plain
    return (*(bounded_key(f"{calendar.agent.email}|{key}") for key in plain), *plain)


def _place(calendar: Calendar) -> str:
    """Name a calendar so that it is told from all others of its source: everybody has a primary one."""
    return calendar.agent.email if calendar.name == "primary" else calendar.name


def own_key(keys: Iterable[str]) -> str | None:
    """Return that of an event's source keys which its own UID and original start make, on whatever calendar it is."""
    return next((key for key in keys if not key.startswith(SCHEDULERS)), None)


def other_spellings(event: Event) -> tuple[str, ...]:
    """Return under which keys the CRM may know `event` from before: a single event that became a series, or back."""
    uid = _own_words(event.uid)
    if not uid:
        return ()
    spelling = occurrence_key(uid, event.span.start) if event.original_start is None else uid
    return (bounded_key(spelling),)


def key_digest(key: str, salt: bytes) -> bytes:
    """Return 16 keyed bytes that stand for a source key, so that what is not stored can still be recognised."""
    return hashlib.blake2b(key.encode(), digest_size=16, key=salt).digest()


def meeting_of(event: Event, calendar: Calendar, terms: Terms) -> str:
    """Name the meeting that `event` is a copy of: iCalUID, original start, organizer; without a UID it is its own.

    An organizer from outside is named by a keyed digest: the copy may be private, and so is who invites.
    """
    own = f"{calendar.source}:{calendar.agent.email}:{calendar.name}:{event.id}"
    if not event.uid:
        return bounded_key(own)
    name = occurrence_key(event.uid, event.original_start) if event.original_start is not None else event.uid
    organizer = owner_of(event.organizer, terms) or calendar.agent.email
    if not _is_internal(organizer, terms) or terms.forgotten.has(organizer):
        organizer = key_digest(organizer, terms.salt).hex()
    whose = f"|{calendar.agent.email}" if terms.record_per_agent else ""
    return bounded_key(f"{name}|{organizer}{whose}")


def owner_of(address: str | None, terms: Terms) -> str | None:
    """Return the address under which the brokerage knows `address`, else the address itself."""
    if address is None:
        return None
    agent = terms.people.get(address)
    return agent.email if agent else address


# ---- relevance ------------------------------------------------------------------------------------------------------


def clients(event: Event, terms: Terms) -> tuple[str, ...]:
    """Return the attendees from outside the brokerage, sorted: no colleague, alias, room or resource."""
    return tuple(
        sorted(
            {
                attendee.email
                for attendee in event.attendees
                if attendee.kind is AttendeeKind.PERSON and _is_client(attendee.email, terms)
            }
        )
    )


def _is_client(address: str, terms: Terms) -> bool:
    return "@" in address and not _is_internal(address, terms)


def _is_internal(address: str, terms: Terms) -> bool:
    return address in terms.people or address.rpartition("@")[2] in terms.internal_domains


def relevance(event: Event, calendar: Calendar, terms: Terms) -> str | None:
    """Return the first rule that makes `event` an appointment, None if it is nobody's business (DESIGN 6)."""
    if calendar.agent.role is not Role.AGENT:
        return None
    if "linked" in terms.relevant and any(terms.key_known(key) for key in own_keys(event, calendar, terms)):
        return "linked"
    if _is_made(event):  # from a record of a CRM: of ours, or of one that is no business of this job
        return "linked" if made_for(event, calendar, terms) is not None else None
    if _is_noise(event):
        return None
    return next((rule for rule, holds in _rules(event, calendar, terms) if holds()), None)


def _is_made(event: Event) -> bool:
    """Tell whether a job of this program made `event`. A copy that a person made of it carries its claim, too."""
    return bool(event.claim) and event.claim in {event.id, event.series}


def made_for(event: Event, calendar: Calendar, terms: Terms) -> str | None:
    """Return the CRM record that this job made `event` for; None for any other event."""
    own = _is_made(event) and terms.is_own(calendar, event.claimed, event.claim)
    return event.claimed if own else None


def _is_noise(event: Event) -> bool:
    free_marker = event.span.all_day and not event.busy
    return event.kind is not EventKind.DEFAULT or event.response is Response.DECLINED or free_marker


def _rules(event: Event, calendar: Calendar, terms: Terms) -> list[tuple[str, Callable[[], bool]]]:
    rules: list[tuple[str, Callable[[], bool]]] = [
        ("client", lambda: bool(clients(event, terms)) and _is_ours(event, calendar, terms)),
        ("contact", lambda: any(terms.contact_known(address) for address in clients(event, terms))),
        ("booked", lambda: event.scheduler_key is not None),
        ("all", lambda: True),
    ]
    asked = [(rule, holds) for rule, holds in rules if rule in terms.relevant]
    if event.private:  # which rule holds is kept, and must not tell what the title says
        return asked
    return asked + [(rule, lambda match=match: match(event.title)) for rule, match in terms.titles.items()]


def _is_ours(event: Event, calendar: Calendar, terms: Terms) -> bool:
    """Tell whether the agent or a colleague organizes `event`, or the agent accepted it."""
    organizer = event.organizer
    if organizer is None or organizer in {calendar.agent.email, calendar.name}:  # a second calendar organizes as itself
        return True
    return _is_internal(organizer, terms) or event.response is Response.ACCEPTED


# ---- events to rows -------------------------------------------------------------------------------------------------


def seen(
    event: Event, calendar: Calendar, terms: Terms, *, linked: bool, zone: str | None, withheld: bool = False
) -> Seen:
    """Reduce `event` to its row of the mirror. Of irrelevant events only id, time and a keyed digest remain.

    `withheld` says that what is known of it is withheld already; what it is about may not show in itself.
    """
    withheld = not event.private and (withheld or terms.forgotten.is_event(event))
    event = replace(event, private=True) if withheld else event
    rule = relevance(event, calendar, terms) or ("linked" if linked else None)
    absence = Absence.CANCELLED if event.absence is None and event.status is Status.CANCELLED else event.absence
    if rule is None:
        key = own_keys(event, calendar, terms)[0]
        return Seen(event=event.id, span=event.span, digest=key_digest(key, terms.salt), absence=absence)
    fields = _fields(event, calendar, terms, zone)
    return Seen(
        event=event.id,
        span=event.span,
        digest=digest(fields, terms.compare),
        meeting=meeting_of(event, calendar, terms),
        keys=_for_agent(dict.fromkeys((*source_keys(event, calendar), *other_spellings(event))), calendar, terms),
        series=event.series,
        relevance=rule,
        fields=fields,
        organizer=_organizer(event, terms),
        private=event.private,
        declined=event.response is Response.DECLINED,
        busy=event.busy and event.status is Status.CONFIRMED and event.response is not Response.DECLINED,
        modified=event.modified,
        absence=absence,
        etag=event.etag,
        guests=_guests(event, calendar),
        claim=made_for(event, calendar, terms),
        withheld=withheld,
    )


def _guests(event: Event, calendar: Calendar) -> int:
    """Count who has to do with `event` beside the calendar's owner, rooms included; of a private one, whether any."""
    own = {calendar.agent.email, *calendar.agent.aliases, calendar.name}
    organizer = {event.organizer} if event.organizer else set()
    others = len(({attendee.email for attendee in event.attendees} | organizer) - own)
    others = max(others, int(event.attendees_omitted))
    return min(others, 1) if event.private else others


def _organizer(event: Event, terms: Terms) -> str | None:
    """Return who speaks for the meeting; of a private event only if it is one of us, and nobody who is forgotten."""
    organizer = owner_of(event.organizer, terms)
    if organizer is None or terms.forgotten.has(organizer):
        return None
    return organizer if not event.private or _is_internal(organizer, terms) else None


def _fields(event: Event, calendar: Calendar, terms: Terms, zone: str | None) -> dict[str, Value]:
    fields: dict[str, Value] = {
        **_times(event, terms.shape, calendar.agent.timezone or zone),
        "agent": calendar.agent.email,
    }
    status = Status.CONFIRMED if event.status is Status.CANCELLED else event.status  # `absence` says that it is gone
    fields["status"] = terms.shape.statuses.get(status, status).value
    if event.private:
        return fields
    fields["title"] = text.line(event.title, _length("title", terms))
    fields["location"] = text.line(event.location, _length("location", terms))
    if event.attendees_omitted:  # who is not shown is unknown, and what is unknown is not compared
        return fields
    fields["participants"] = _colleagues(event, calendar, terms)
    if outside := clients(event, terms):
        fields["contact"] = outside
    return fields


def _length(name: str, terms: Terms) -> int:
    """Return how many characters are kept: what the CRM's column holds, within our own bound."""
    return min(terms.shape.lengths.get(name, text.LINE_LIMIT), text.LINE_LIMIT)


def _times(event: Event, shape: Shape, zone: str | None) -> dict[str, Value]:
    start, end = event.span.start, event.span.end
    if event.span.all_day and "all_day" not in shape.mapped:
        start, end = _midnight(start, zone), _midnight(end, zone)  # such a CRM knows instants only
    return {"start": rfc3339(start), "end": rfc3339(end), "all_day": event.span.all_day}


def _midnight(day: date, zone: str | None) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone or "UTC")).astimezone(UTC)


def _colleagues(event: Event, calendar: Calendar, terms: Terms) -> tuple[str, ...]:
    attending = (
        terms.people.get(attendee.email) for attendee in event.attendees if attendee.response is not Response.DECLINED
    )
    others = {agent.email for agent in attending if agent and agent.role is Role.AGENT} - {calendar.agent.email}
    return tuple(sorted(others))
