"""The Outlook calendars of the sample brokerage. What people do leaves what Exchange would leave.

That is exceptions, invitations as copies with ids of their own, and nothing at all of one occurrence that was deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.simulator.graph import CLIENT, TENANT, GraphSimulator
from reconciler.simulator.graph_export import changes, event
from reconciler.simulator.hosted import Hosted, write_secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, datetime
    from pathlib import Path

    from reconciler.simulator.brokerage import Meeting, Person
    from reconciler.simulator.graph_mailboxes import Mailbox

KEPT_IN: Final = "microsoft-secret.txt"
"""Where the job finds the application's secret."""

_TABLE: Final = """
[[source]]
kind = "microsoft"
agents = {{ file = "microsoft.csv" }}
endpoint = "{endpoint}"

[source.auth]
tenant = "{tenant}"
client_id = "{client}"
client_secret = "file:{secret}"
token_uri = "{token_uri}"
"""


class Tenancy(Hosted):
    """The mailboxes of those who keep their calendar in Microsoft 365."""

    kind = "microsoft"
    name = "Microsoft"

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(clock, "outlook")
        self._server = GraphSimulator(clock=self.now)

    @property
    def server(self) -> GraphSimulator:
        """Return the stand-in."""
        return self._server

    def open(self, person: Person) -> None:
        """Give somebody a mailbox."""
        self.server.mailbox(person.email, person.zone)

    def close(self, person: Person) -> None:
        """Take somebody's mailbox away."""
        self.server.mailbox(person.email).revoke()

    def enter(self, meeting: Meeting) -> None:
        """Enter what was not there yet, or receive the invitation to it."""
        self._mailbox(meeting).insert(event(meeting))
        if meeting.status == "CANCELLED":
            self.call_off(meeting)

    def call_off(self, meeting: Meeting) -> None:
        """Cancel a meeting: as its organizer it goes, an invitation stays and says so."""
        self._mailbox(meeting).cancel(meeting.id)

    def skip(self, meeting: Meeting, week: int) -> None:
        """Delete one occurrence of a series, which Graph tells nobody."""
        self._mailbox(meeting).delete_occurrence(meeting.id, meeting.starts[week])

    def move(self, meeting: Meeting, original: date, start: date) -> None:
        """Move one occurrence of a series, which becomes an exception."""
        self._mailbox(meeting).move_occurrence(meeting.id, original, start)

    def change(self, before: Meeting, after: Meeting) -> None:
        """Patch what has changed."""
        if changed := changes(before, after):
            self._mailbox(after).patch(after.id, changed)

    def _mailbox(self, meeting: Meeting) -> Mailbox:
        return self.server.mailbox(meeting.agent.email)

    def sign_up(self, folder: Path) -> str:
        """Write the agents file and the application's secret; return the table of the job file."""
        self.write_people(folder)
        write_secret(folder / KEPT_IN, self.server.accounts.secret)
        where = {"endpoint": self.server.url, "token_uri": self.server.token_uri}
        return _TABLE.format(tenant=TENANT, client=CLIENT, secret=KEPT_IN, **where)

    def way_in(self, folder: Path) -> dict[str, str]:
        """Return what another program needs to be told to talk to the stand-in."""
        return {
            "endpoint": self.server.url,
            "token_uri": self.server.token_uri,
            "tenant": TENANT,
            "client_id": CLIENT,
            "secret_file": str(folder / KEPT_IN),
        }
