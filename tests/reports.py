"""Reports to lay out, as values: a bad morning with something in every part, a quiet one, and a very long one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from reconciler.model import Kind, Severity
from reconciler.report.finding import MATCHED, Changed
from reconciler.report.look import Mood, Next
from reconciler.report.report import Brand, Cause, Figure, Report, Row, Section, Standing, Trend, Unseen

MADE_AT: Final = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
UNTIL: Final = datetime(2026, 11, 23, 12, 55, tzinfo=UTC)
SINCE: Final = datetime(2026, 11, 22, 12, 55, tzinfo=UTC)

ANN, BOB, CID, DEE = (f"{name}@acme.example" for name in ("ann", "bob", "cid", "dee"))
OFFICES: Final = {ANN: "Lakeview", BOB: "Lakeview", CID: "Riverside", DEE: "Riverside"}
TEN: Final = "Tue 24 Nov 2026 10:00 CST (16:00 UTC)"
ELEVEN: Final = "Tue 24 Nov 2026 11:00 CST (17:00 UTC)"

SECTIONS: Final = {
    "new": "New",
    "open": "Still open",
    "undone": "Not done",
    "held": "Held back by the job file",
    "fixed": "Fixed",
    "resolved": "Settled without us",
    "accepted": "Accepted",
}


def row(key: str, kind: Kind, standing: Standing, **given: Any) -> Row:
    """Return one finding; what is not given is as with most."""
    usual = Row(
        key=key,
        standing=standing,
        is_new=False,
        kind=kind,
        severity=Severity.HIGH,
        agent=ANN,
        office="",
        client="jo@home.example",
        title="Showing 12 Oak St",
        calendar_time=ELEVEN,
        crm_time=TEN,
        calendar_start="2026-11-24T17:00:00Z",
        calendar_end="2026-11-24T18:00:00Z",
        crm_start="2026-11-24T16:00:00Z",
        crm_end="2026-11-24T17:00:00Z",
        changes=(),
        matched=MATCHED[next(iter(MATCHED))],
        why="The calendar moved and the CRM did not.",
        fate="update: will be written by a run",
        source="google",
        event="evt1",
        crm_id="17",
        calendar_link="https://www.google.com/calendar/event?eid=ZXZ0MQ",
        crm_link="https://crm.acme.example/appointments/17",
        first_seen=UNTIL - timedelta(hours=3),
        last_seen=UNTIL,
        resolved_at=None,
        age="3 hours",
        sightings=36,
        cause="",
    )
    made = replace(usual, **given)
    return made if made.office else replace(made, office=OFFICES.get(made.agent, ""))


def _needing() -> Iterator[Row]:
    yield row(
        "5f2c9a1e52b0",
        Kind.DOUBLE_BOOKED_AGENT,
        Standing.NEEDS_YOU,
        is_new=True,
        severity=Severity.CRITICAL,
        title="Closing 4 Elm Ct",
        client="pat@home.example",
        calendar_time="Mon 23 Nov 2026 09:00 CST (15:00 UTC)",
        crm_time="",
        crm_start="",
        crm_end="",
        matched="",
        why="Two appointments with clients at the same time: Closing 4 Elm Ct and Showing 9 Pine Rd.",
        fate="a person decides: ask the agent to move one",
        crm_id="",
        crm_link="",
        age="1 hour",
        sightings=12,
    )
    yield row(
        "81d07743cc19",
        Kind.CONFLICT,
        Standing.NEEDS_YOU,
        agent=BOB,
        severity=Severity.MEDIUM,
        title="Listing appointment 77 Cedar Ave",
        client="sam@home.example",
        changes=(
            Changed("start", f"CRM: {TEN} · calendar: {ELEVEN}"),
            Changed("end", f"CRM: {ELEVEN} · calendar: Tue 24 Nov 2026 12:00 CST (18:00 UTC)"),
        ),
        why="Both sides moved since they last agreed: the calendar at 08:12, the CRM at 08:40.",
        fate="a person decides: settle which side is right, and change the other",
        first_seen=UNTIL - timedelta(days=6),
        age="6 days",
        sightings=1728,
    )
    yield row(
        "0c55e1a90b7d",
        Kind.REMOVED_BY_HAND,
        Standing.NEEDS_YOU,
        agent=BOB,
        severity=Severity.MEDIUM,
        title="Inspection 3 Birch Ln",
        crm_time="",
        crm_start="",
        crm_end="",
        why="Somebody removed the record; the event is still in the calendar.",
        fate="a person decides: cancel the event, or bring the record back",
        crm_id="44",
        age="2 days",
        first_seen=UNTIL - timedelta(days=2),
    )
    yield row(
        "ffb21c6093aa",
        Kind.AMBIGUOUS,
        Standing.NEEDS_YOU,
        agent=CID,
        severity=Severity.MEDIUM,
        title="",
        client="",
        source="microsoft",
        calendar_link="",
        crm_link="",
        why="Two records fit this private event equally well.",
        fate="a person decides: say which record it is: `link --suggested`, `resolve`, or the source key",
        is_new=True,
    )


def _shifted() -> Iterator[Row]:
    for place in range(1, 5):
        yield row(
            f"7a{place:010x}",
            Kind.TZ_SHIFT,
            Standing.HELD,
            agent=CID,
            source="microsoft",
            title=f"Showing {place} Harbor Dr",
            client=f"client{place}@home.example",
            changes=(Changed("start", f"CRM: Wed 25 Nov 2026 04:00 CST (10:00 UTC) · calendar: {TEN}"),),
            why="The record stands six hours earlier than the event, as the others of this agent do.",
            fate="held back: one zone is wrong for all of them",
            crm_id=f"{60 + place}",
            cause="shift-cid",
            is_new=True,
            age="5 hours",
        )


def _waiting() -> Iterator[Row]:
    yield row(
        "3b7e00c1d2aa",
        Kind.MISSING_IN_CRM,
        Standing.FAILED,
        severity=Severity.HIGH,
        crm_time="",
        crm_start="",
        crm_end="",
        title="Open house 150 Lake Shore",
        changes=(Changed("title", "Open house 150 Lake Shore"), Changed("start", ELEVEN)),
        why="In the calendar since Friday; the CRM has no record of it.",
        fate="create: failed, the next run tries again (the CRM refused the contact)",
        crm_id="",
        crm_link="",
        matched="",
        cause="webhook",
    )
    yield row(
        "3b7e00c1d2ab",
        Kind.MISSING_IN_CRM,
        Standing.DEFERRED,
        agent=BOB,
        crm_time="",
        crm_start="",
        crm_end="",
        title="Second showing 12 Oak St",
        why="In the calendar since Friday; the CRM has no record of it.",
        fate="create: deferred to the next run (the budget of google is spent)",
        crm_id="",
        crm_link="",
        matched="",
        cause="webhook",
    )
    yield row(
        "3b7e00c1d2ac",
        Kind.WRONG_CONTACT,
        Standing.WAITS,
        agent=BOB,
        severity=Severity.LOW,
        changes=(Changed("contact", "sam@home.example → kim@home.example"),),
        why="The calendar names another client than the record.",
        is_new=True,
    )


def _fixed() -> Iterator[Row]:
    for place, (agent, title) in enumerate(
        ((ANN, "Showing 12 Oak St"), (BOB, "Walk-through 8 Maple Way"), (CID, "Call with Jo"), (ANN, "Photos 5 Ash St"))
    ):
        yield row(
            f"f1{place:010x}",
            Kind.RESCHEDULE_NOT_PROPAGATED,
            Standing.FIXED,
            agent=agent,
            title=title,
            changes=(Changed("start", f"{TEN} → {ELEVEN}"),),
            fate="update: done",
            crm_id=f"{17 + place}",
            is_new=True,
            resolved_at=UNTIL - timedelta(minutes=5),
        )
    yield row(
        "f200000000aa",
        Kind.CANCEL_NOT_PROPAGATED,
        Standing.FIXED,
        title="Showing 31 Willow Bend",
        calendar_time="",
        calendar_start="",
        calendar_end="",
        why="Cancelled in the calendar, still scheduled in the CRM.",
        changes=(Changed("status", "scheduled → cancelled"),),
        fate="cancel: done",
        calendar_link="",
        severity=Severity.CRITICAL,
    )


def _over() -> Iterator[Row]:
    yield row(
        "9e00000000aa",
        Kind.FIELD_DRIFT,
        Standing.RESOLVED,
        severity=Severity.INFO,
        changes=(Changed("location", "CRM: 12 Oak St · calendar: 12 Oak Street, Chicago"),),
        why="The place was spelled in two ways.",
        fate="nothing: both sides agree again",
        resolved_at=UNTIL - timedelta(hours=8),
        age="4 days",
    )
    yield row(
        "9e00000000ab",
        Kind.FIELD_DRIFT,
        Standing.ACCEPTED,
        agent=DEE,
        source="ics",
        severity=Severity.INFO,
        calendar_link="",
        why="The titles differ, and are meant to.",
        fate="nothing: pat@acme.example accepted it until 2026-12-31 (the CRM has its own titles)",
        age="12 days",
        first_seen=UNTIL - timedelta(days=12),
    )


CAUSES: Final = (
    Cause(
        key="token-dee",
        title="The access to dee@acme.example is dead",
        evidence=(
            "Google answered `invalid_grant` to each of 9 tries.",
            "Its last whole read was Sun 22 Nov 2026 22:10 CST.",
        ),
        severity=Severity.CRITICAL,
        since=datetime(2026, 11, 23, 4, 20, tzinfo=UTC),
        since_said="since Sun 22 Nov 2026 22:20 CST (Mon 23 04:20 UTC)",
        count=14,
        agents=1,
        is_new=True,
        following=Next("To see what the sign-in answers", "reconcile check acme"),
    ),
    Cause(
        key="webhook",
        title="Calendly has been silent: no booking reached the CRM by itself",
        evidence=(
            "38 bookings were made since then, and all 38 were found by this audit.",
            "Before, 212 of 214 arrived by themselves.",
        ),
        severity=Severity.CRITICAL,
        since=datetime(2026, 11, 22, 17, 2, tzinfo=UTC),
        since_said="since Sun 22 Nov 2026 11:02 CST (17:02 UTC)",
        count=38,
        agents=4,
        is_new=True,
    ),
    Cause(
        key="shift-cid",
        title="Records of cid@acme.example stand six hours early",
        evidence=("27 of 29 records share one shift of -6 h; what wrote them took local time for UTC.",),
        severity=Severity.HIGH,
        since=datetime(2026, 11, 20, 15, 0, tzinfo=UTC),
        since_said="since Fri 20 Nov 2026 09:00 CST (15:00 UTC)",
        count=27,
        agents=1,
        is_new=False,
        following=Next(
            "To correct them once the writer is repaired", "reconcile resolve --agent cid@acme.example --take calendar"
        ),
    ),
)
UNSEEN: Final = (
    Unseen(
        name=DEE,
        source="google",
        why="the access was withdrawn (invalid_grant)",
        since="since Sun 22 Nov 2026 22:20 CST (Mon 23 04:20 UTC), 8 hours",
        is_new=True,
        next_try="next try Mon 23 Nov 2026 08:00 CST (14:00 UTC)",
    ),
    Unseen(
        name="eve@acme.example",
        source="microsoft",
        why="there is no such mailbox",
        since="since Tue 17 Nov 2026 09:00 CST (15:00 UTC), 6 days",
        is_new=False,
    ),
)


def trends(days: int = 30) -> tuple[Trend, ...]:
    """Return the five charts of a month; on one day nothing ran."""
    return (
        _trend(
            "found", "Drift found", "", [float((7 * day * day) % 23 + 38 * (day == days - 1)) for day in range(days)]
        ),
        _trend("fixed", "Fixed", "", [float((5 * day * day) % 19) for day in range(days)]),
        _trend("open", "Open", "", [float(9 + day % 4 + 24 * (day > days - 3)) for day in range(days)]),
        _trend("delay", "Detection delay", "minutes", [float(4 + (day * 3) % 5) for day in range(days)]),
        _trend("coverage", "Coverage", "%", [100.0 if day < days - 6 else 96.4 for day in range(days)]),
    )


def _trend(name: str, title: str, unit: str, values: list[float]) -> Trend:
    first = date(2026, 11, 23) - timedelta(days=len(values))
    days = [first + timedelta(days=day) for day in range(len(values))]
    last = f"{values[-1]:g} {unit}".strip()
    return Trend(
        name=name,
        title=title,
        unit=unit,
        points=tuple(
            (day, None if day == days[10 % len(days)] else value) for day, value in zip(days, values, strict=True)
        ),
        said=f"{title}: {last} yesterday, between {min(values):g} and {max(values):g} in {len(days)} days.",
    )


def _section(name: str, rows: Iterable[Row], count: int, *unlisted: str) -> Section:
    return Section(name=name, title=SECTIONS[name], count=count, rows=tuple(rows), unlisted=unlisted)


def sample_report(**given: Any) -> Report:
    """Return a bad morning with something in every part of a report."""
    needing = tuple(_needing())
    waiting = tuple(_waiting())
    sections = (
        _section(
            "new", [each for each in (*needing, *waiting[2:]) if each.is_new], 38, "35 more belong to the causes above"
        ),
        _section("open", [each for each in needing if not each.is_new], 2),
        _section("undone", waiting[:2], 2),
        _section("held", tuple(_shifted()), 27, "23 more belong to the causes above"),
        _section("fixed", tuple(_fixed()), 12, "7 more: Missing in the CRM"),
        _section("resolved", [each for each in _over() if each.resolved_at], 1),
        _section("accepted", [each for each in _over() if not each.resolved_at], 1),
    )
    every = tuple(each for section in sections for each in section.rows)
    report = Report(
        job="acme",
        brand=Brand(title="Acme Realty"),
        part="",
        mood=Mood.BLIND,
        headline="2 of 14 calendars were not seen, and 4 findings need you",
        subject="2 critical, 12 fixed, 4 need you · Acme Realty · 2026-11-23",
        summary=(
            "3 causes stand behind 79 of 86 open findings.",
            "12 appointments were put right since the last report.",
        ),
        period="Sun 22 Nov 2026 06:55 CST (12:55 UTC) to Mon 23 Nov 2026 06:55 CST (12:55 UTC)",
        since=SINCE,
        until=UNTIL,
        made_at=MADE_AT,
        made_said="Mon 23 Nov 2026 07:00 CST (13:00 UTC)",
        is_urgent=False,
        is_quiet=False,
        coverage="Compared 1,204 appointments of 12 of 14 calendars, Mon 16 Nov to Fri 22 Jan.",
        unseen=UNSEEN,
        unseen_more="",
        refusal=(
            "The plan of Mon 23 Nov 2026 06:10 CST was refused, nothing of it was applied:",
            "cancel   41 of 260 linked records (15.8 %)      allowed 13 (10 or 5%)      [limits.cancel]",
        ),
        causes=CAUSES,
        figures=(
            Figure("not_seen", "Not seen", 2, 1),
            Figure("critical", "Critical", 2, 1),
            Figure("needs_you", "Need you", 4, 2),
            Figure("open", "Open", 86, 41),
            Figure("fixed", "Fixed", 12, 12),
            Figure("resolved", "Settled", 1, 1),
            Figure("failed", "Failed", 1),
            Figure("deferred", "Put off", 1),
            Figure("held", "Held back", 27, 4),
        ),
        sections=sections,
        trends=trends(),
        lines=(
            "288 runs, of which 1 was refused and 2 were partial.",
            "12 writes to the CRM, none to calendars; nobody was mailed by a provider.",
        ),
        notes=("The report of Sun 22 Nov 2026 may not have arrived: the server fell silent after it was sent.",),
        following=(
            Next(
                "To consent to these 41 (what moves meanwhile drops out)",
                "reconcile approve 7f3c9a1e52b0 --by YOU --why TEXT",
            ),
            Next("To settle a conflict for the calendar", "reconcile resolve 81d07743cc19 --take calendar"),
        ),
        digest="c2a94f0d77e1b80566c3a94f0d77e1b80566c3a94f0d77e1b80566c3a94f0d77",
        zone="America/Chicago",
        rows=lambda: iter(every),
    )
    return replace(report, **given)


def safe_report(**given: Any) -> Report:
    """Return the heartbeat: nothing to tell but that it was looked at."""
    return sample_report(
        **{
            "mood": Mood.SAFE,
            "headline": "All 14 calendars agree with the CRM",
            "subject": "All is well · Acme Realty · 2026-11-23",
            "summary": (),
            "is_quiet": True,
            "coverage": "Compared 1,240 appointments of 14 calendars, Mon 16 Nov to Fri 22 Jan.",
            "unseen": (),
            "refusal": (),
            "causes": (),
            "figures": (
                Figure("critical", "Critical", 0),
                Figure("needs_you", "Need you", 0),
                Figure("open", "Open", 0),
                Figure("fixed", "Fixed", 0),
                Figure("resolved", "Settled", 0),
            ),
            "sections": (),
            "lines": ("288 runs, all of them complete.",),
            "notes": (),
            "following": (),
            "rows": lambda: iter(()),
            **given,
        }
    )


def many_rows(count: int) -> Iterator[Row]:
    """Walk through `count` findings of many agents without ever holding them."""
    for place in range(count):
        agent = f"agent{place % 997}@acme.example"
        yield row(
            f"{place:012x}",
            Kind.MISSING_IN_CRM,
            Standing.WAITS,
            agent=agent,
            title=f"Showing {place} Oak St",
            client=f"client{place}@home.example",
        )


def long_report(count: int, listed: int = 50, **given: Any) -> Report:
    """Return a report over `count` findings, of which `listed` are in its section."""
    rows = tuple(each for each, _ in zip(many_rows(count), range(listed), strict=False))
    section = _section("open", rows, count, f"{count - len(rows):,} more: Missing in the CRM")
    return sample_report(**{"sections": (section,), "rows": lambda: many_rows(count), **given})
