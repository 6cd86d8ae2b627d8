"""Recognise what a booking tool made by the links it leaves in a calendar event."""

from __future__ import annotations

import re

# Calendly puts `https://calendly.com/cancellations/<uuid>` and `https://calendly.com/reschedulings/<uuid>` into the
# text of the calendar event: the `cancel_url` and `reschedule_url` of its API v2, which name the invitee. A link that
# names the scheduled event (`.../events/<uuid>`, as in its API's URIs) says more and is preferred. Both ids are UUIDs,
# or 16 characters in older accounts.
_CALENDLY_EVENT = re.compile(r"\bcalendly\.com/(?:\S{0,200}?[/_])?events/([0-9A-Za-z-]{16,36})\b", re.IGNORECASE)
_CALENDLY = re.compile(r"\bcalendly\.com/(?:cancellations|reschedulings)/([0-9A-Za-z-]{16,36})\b", re.IGNORECASE)

# Acuity links its own appointment: `https://acuityscheduling.com/appointments/view/<id>` for the owner (also on
# `app.acuityscheduling.com`), and `.../schedule.php?...&id[]=<id>` style links; the id is the number of its API v1.
_ACUITY = re.compile(
    r"\bacuityscheduling\.com/(?:appointments/view/|\S{0,200}?[?&](?:id(?:\[\]|%5B%5D)?|apptId)=)(\d{4,20})\b",
    re.IGNORECASE,
)


def key(written: str) -> str | None:
    """Return `calendly:UUID` or `acuity:ID` for the first link of a booking tool in `written`, else None."""
    if "calendly.com/" in written.casefold():
        found = _CALENDLY_EVENT.search(written) or _CALENDLY.search(written)
        if found:
            return f"calendly:{found[1]}"
    found = _ACUITY.search(written)
    return f"acuity:{found[1]}" if found else None
