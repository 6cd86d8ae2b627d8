"""Say what stands in a diary as Microsoft Graph does: an event resource, as it looks in its owner's mailbox.

What somebody else organizes is an invitation: a copy of the mailbox's own, with an id of its own and the organizer's
iCalUId (https://learn.microsoft.com/graph/api/resources/event). A deleted or moved occurrence is no part of its series.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from reconciler.simulator.graph_resources import attendee, person
from reconciler.simulator.graph_series import named, wall

if TYPE_CHECKING:
    from reconciler.simulator.brokerage import Meeting
    from reconciler.simulator.graph_series import Resource

NO_ZONE: Final = "tzone://Microsoft/Custom"
"""What Exchange calls a zone that somebody's program made up: it says that there is one, and not which."""


def event(meeting: Meeting) -> Resource:
    """Return the event resource of a meeting. Change keys, and when it was last changed, are the mailbox's to say."""
    return {
        "id": meeting.id,
        "iCalUId": meeting.uid,
        "createdDateTime": wall(meeting.modified.astimezone(UTC) - timedelta(days=9)) + "Z",
        **_told(meeting),
        **({} if _is_own(meeting) else _invitation(meeting)),
    }


def changes(before: Meeting, after: Meeting) -> Resource:
    """Return what a person changes to get from one to the other, as a patch."""
    old, new = _told(before), _told(after)
    changed = {name: value for name, value in new.items() if old[name] != value}
    # Graph moves a start alone and leaves the end where it was.
    return changed | ({name: new[name] for name in ("start", "end")} if changed.keys() & {"start", "end"} else {})


def _told(meeting: Meeting) -> Resource:
    """Return what a person says of an event, which is also what may be changed."""
    return {
        "subject": meeting.title,
        "location": {"displayName": meeting.location, "locationType": "default", "uniqueIdType": "unknown"},
        "body": {"contentType": "text", "content": meeting.text},
        "isAllDay": not isinstance(meeting.start, datetime),
        "start": _at(meeting, meeting.start),
        "end": _at(meeting, meeting.start + meeting.lasts),
        "recurrence": _recurrence(meeting),
        "attendees": _people(meeting),
        "sensitivity": "private" if meeting.private else "normal",
        "showAs": _shown(meeting),
    }


def _is_own(meeting: Meeting) -> bool:
    return meeting.home == meeting.agent.email


def _shown(meeting: Meeting) -> str:
    if meeting.status == "TENTATIVE":
        return "tentative"
    return "busy" if meeting.busy else "free"


def _invitation(meeting: Meeting) -> Resource:
    answer = {"response": _answer(meeting), "time": wall(meeting.modified.astimezone(UTC)) + "Z"}
    return {"isOrganizer": False, "organizer": person(meeting.home), "responseStatus": answer}


def _at(meeting: Meeting, moment: datetime | date) -> Resource:
    """Write a time on the clock of the agent, under the name that Windows has for it; a day floats."""
    if not isinstance(moment, datetime):
        return {"dateTime": wall(datetime.combine(moment, time())), "timeZone": "UTC"}
    return {"dateTime": wall(moment), "timeZone": NO_ZONE if meeting.broken else named(str(moment.tzinfo))}


def _recurrence(meeting: Meeting) -> Resource | None:
    if not meeting.weeks:
        return None
    day = f"{meeting.start:%A}".lower()
    bounds = {"type": "numbered", "startDate": f"{meeting.start:%Y-%m-%d}", "numberOfOccurrences": meeting.weeks}
    return {
        "pattern": {"type": "weekly", "interval": 1, "daysOfWeek": [day], "firstDayOfWeek": "sunday"},
        "range": {**bounds, "recurrenceTimeZone": named(meeting.agent.zone)},
    }


def _people(meeting: Meeting) -> list[Resource]:
    """Return the guests: not the organizer, who is none in Graph."""
    own = () if _is_own(meeting) else (meeting.agent.email,)
    answers = dict.fromkeys((*meeting.colleagues, *meeting.clients), "accepted") | dict.fromkeys(own, _answer(meeting))
    return [_guest(address, answer) for address, answer in answers.items() if address != meeting.home]


def _guest(address: str, answer: str) -> Resource:
    found = attendee(address)
    return found | {"status": found["status"] | {"response": answer}}


def _answer(meeting: Meeting) -> str:
    return "declined" if meeting.answer == "DECLINED" else "accepted"
