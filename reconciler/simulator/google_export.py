"""Say what stands in a diary as Google's API does: an event resource, as it looks on its organizer's own calendar.

What equals its default is left out (discovery document, `schemas.Event`). A cancelled or moved occurrence is no part of
its series: Google keeps these as rows of their own. Etags are the server's.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.simulator.brokerage import Meeting
    from reconciler.simulator.google_series import Resource


def event(meeting: Meeting) -> Resource:
    """Return the event resource of a meeting."""
    return {
        "kind": "calendar#event",
        "id": meeting.id,
        "iCalUID": meeting.uid,
        "status": "tentative" if meeting.status == "TENTATIVE" else "confirmed",
        "created": _stamp(meeting.modified - timedelta(days=9)),
        "updated": _stamp(meeting.modified),
        "creator": {"email": meeting.home},
        "organizer": {"email": meeting.home},
        "reminders": {"useDefault": True},
        "eventType": "default",
        "sequence": 0,
        **_told(meeting),
    }


def changes(before: Meeting, after: Meeting) -> Resource:
    """Return what a person changes to get from one to the other, as a patch: None takes a field away."""
    old, new = _told(before), _told(after)
    return {name: new.get(name) for name in (*new, *(old.keys() - new.keys())) if old.get(name) != new.get(name)}


def _told(meeting: Meeting) -> Resource:
    """Return what a person says of an event, which is also what may be changed."""
    said: Resource = {
        "summary": meeting.title,
        "location": meeting.location,
        "description": meeting.text,
        "start": _at(meeting.start),
        "end": _at(meeting.start + meeting.lasts),
        "recurrence": _rule(meeting),
        "attendees": _people(meeting),
        "visibility": "private" if meeting.private else "",
        "transparency": "" if meeting.busy else "transparent",
    }
    return {name: value for name, value in said.items() if value}


def _at(moment: datetime | date) -> Resource:
    if not isinstance(moment, datetime):
        return {"date": moment.isoformat()}
    return {"dateTime": moment.isoformat(), "timeZone": str(moment.tzinfo)}


def _rule(meeting: Meeting) -> list[str]:
    """Return the rule of a series. How a cut one ends is for the calendar to say that cuts it."""
    return [f"RRULE:FREQ=WEEKLY;COUNT={meeting.weeks}"] if meeting.weeks else []


def _people(meeting: Meeting) -> list[Resource]:
    """Return the guests and, where there are any, the organizer and the agent among them."""
    guests = (*meeting.colleagues, *meeting.clients)
    if not guests and not meeting.organizer:
        return []
    answers = {meeting.home: "accepted"} | dict.fromkeys(guests, "accepted") | {meeting.agent.email: _answer(meeting)}
    return [{"email": address, "responseStatus": answer} for address, answer in answers.items()]


def _answer(meeting: Meeting) -> str:
    return "declined" if meeting.answer == "DECLINED" else "accepted"


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"
