"""What became of a report that was sent: a server took it, refused it, or fell silent and nobody knows.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """How a delivery ended. Only what was refused may be sent again by itself."""

    SENT = "sent"
    REFUSED = "refused"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server made of a report; `why` is one inert line without addresses and credentials, empty if all is well.

    What was sent may have a `why` too: some recipients were refused.
    """

    fate: Fate
    why: str = ""
