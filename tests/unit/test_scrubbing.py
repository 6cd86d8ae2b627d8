"""What stays of the rows that are about somebody who is forgotten: no title of theirs in any sentence, and no image."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.forgotten import WITHHELD
from reconciler.model import Record, Seen, Span
from reconciler.store import codec
from reconciler.store.scrubbing import Terms, changes, leave_of
from reconciler.store.state import State
from reconciler.store.subject import GONE, Person, Traces

JANE = "jane@client.example"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
NOWHERE: Any = None
STATE = State(engine=NOWHERE, job=1, name="acme", salt=b"s" * 32)
TERMS = Terms(compare=("start", "title"), is_ours=lambda who: who.endswith("@acme.example"), now=NOW)


def seen(title: str) -> Traces:
    kept = Seen(event="e", span=Span(NOW, NOW + timedelta(hours=1)), digest=b"d", meeting="m", fields={"title": title})
    row: Any = {"event": "e", "digest": b"d", "meeting": "m", "absence": None, "payload": codec.seen_payload(kept)}
    return Traces(events={(1, "e"): row})


def record(place: str) -> Traces:
    kept = Record(id="7", fields={"location": place, "contact": (JANE,)}, version="1")
    row: Any = {"crm_id": "7", "presence": "live", "payload": codec.record_payload(kept), "digest": b"", "agent": None}
    return Traces(records={"7": row})


def finding(why: str, *taken: str) -> Traces:
    payload = {"why": why, "fields": {"title": ["a", "b"]}, "taken": [{"why": each, "fields": {}} for each in taken]}
    row: Any = {"crm_id": "7", "event": None, "payload": json.dumps(payload), "agent": None, "sides": None}
    return Traces(findings={"k": row})


def write(why: str | None) -> Traces:
    row: Any = {"before": "{}", "after": "{}", "content": b"c", "why": why, "agent": "ann@acme.example"}
    return Traces(journal={1: row})


def becomes(part: Traces, *known: Traces, name: str = "") -> list[dict[str, Any]]:
    """Return what becomes of the rows of `part`, where these are known as well."""
    found = Traces()
    for each in (part, *known):
        found.add(each)
    leave = leave_of(STATE, Person([JANE], [name]), TERMS, found)
    return [dict(change.values or {}) for change in changes(NOWHERE, part, leave)]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("The CRM refused 'Castle viewing' at Canary Close 5", f"The CRM refused '{GONE}' at {GONE}"),
        ("Castle viewing and Castle", f"{GONE} and Castle"),
        (f"asked by {JANE.upper()}, Jane  Doe", f"asked by {GONE}, {GONE}"),
        ("castle viewing of another", "castle viewing of another"),
    ],
)
def test_what_their_appointments_are_called_leaves_all_sentences(said: str, left: str) -> None:
    known = (seen("Castle viewing"), record("Canary Close 5"))
    [wrote] = becomes(write(said), *known, name="Jane Doe")
    assert wrote == {"before": None, "after": None, "content": b"", "why": left, "agent": "ann@acme.example"}
    [found] = becomes(finding(said, said), *known, name="Jane Doe")
    payload = json.loads(found["payload"])
    assert (payload["why"], payload["taken"][0]["why"]) == (f"{left} ({WITHHELD})", left)
    assert payload["fields"] == {}


def test_a_title_that_is_part_of_another_is_taken_out_after_it_and_a_short_one_not_at_all() -> None:
    both = Traces()
    both.add(seen("Castle"))
    both.add(record("Castle Road 5"))
    assert becomes(write("to Castle Road 5, of Castle"), both)[0]["why"] == f"to {GONE}, of {GONE}"
    assert becomes(write("at the Inn"), seen("Inn"))[0]["why"] == "at the Inn"


def test_what_is_scrubbed_already_stays_as_it_is() -> None:
    part = finding(f"It moved ({WITHHELD})")
    [values] = becomes(part)
    same: Any = {**part.findings["k"], **values}
    assert becomes(Traces(findings={"k": same})) == []
