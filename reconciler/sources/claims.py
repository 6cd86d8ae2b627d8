"""Claims: the ids that we compute for events we create, so that an event of ours is known again without any state.

The same job, calendar and CRM record give the same ids for ever. A deleted event may keep its id (Google's does), so
each claim has a few generations; which characters an id may have is Google's rule, the narrowest of the providers'.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model import Calendar

GENERATIONS = 4
"""How often an appointment is put back after its event was deleted; beyond that a person has to look."""

LENGTH = 32
"""Characters of an id: 160 bits. Google takes 5 to 1024 of `a` to `v` and the digits (discovery document, Event.id)."""

RECORD_LIMIT = 200
"""Characters of a CRM id that the mark shows; a longer one is named by its claim alone (Google keeps 1024)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one CRM record claims on one calendar. `place` names the calendar for good, never as `primary`."""

    job: str
    place: str
    crm_id: str

    def id(self, generation: int = 0) -> str:
        """Return the id of the event that stands for the record; `generation` is raised when an id is burnt."""
        parts = json.dumps(["reconciler", self.job, self.place, self.crm_id, generation])
        digest = hashlib.sha256(parts.encode("ascii")).digest()
        return base64.b32hexencode(digest).decode("ascii").lower()[:LENGTH]

    def ids(self) -> Iterator[str]:
        """Yield the ids of all generations, the first one first."""
        return (self.id(generation) for generation in range(GENERATIONS))

    def mark(self, generation: int) -> Mapping[str, str]:
        """Return what is written into the event, where only who may write the calendar can: whose it is."""
        named = len(self.crm_id) <= RECORD_LIMIT and self.crm_id.isprintable()
        mark = {"crmClaim": self.id(generation), "crmGeneration": str(generation)}
        return mark | ({"crmId": self.crm_id} if named else {})


def claim(job: str, calendar: Calendar, crm_id: str) -> Claim:
    """Return what record `crm_id` of `job` claims on `calendar`; a primary calendar is named by its agent."""
    return next(claims(job, calendar, crm_id))


def claims(job: str, calendar: Calendar, crm_id: str) -> Iterator[Claim]:
    """Yield what a record claims on a calendar, then what it claimed under each address its agent had before."""
    agent = calendar.agent
    own = calendar.name.lower() in {"primary", agent.email}
    places = (agent.email, *agent.aliases) if own else (calendar.name,)
    return (Claim(job, place, crm_id) for place in places)
