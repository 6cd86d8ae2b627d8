"""From a feed to every face: a private event tells its time and no more, and what is public is text and no more."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import html5lib
import pytest

from reconciler import reporting
from reconciler.config import load
from reconciler.report import chat
from reconciler.report.render import mail_page, page, text
from reconciler.report.tables import csv_chunks, json_chunks
from reconciler.reporting import Asked, Made
from tests.e2e.world import CLIENT, NOW, World, event

Make = Callable[..., World]
ANN = "ann@acme.example"
SCRIPT = "<script>window.pwned=1</script>"


@contextmanager
def reported(world: World) -> Iterator[Made]:
    job = load(world.job(), world.environ)
    with (
        reporting.desk(job, world.environ, clock=world.clock) as desk,
        reporting.report_of(desk, Asked(word="acme")) as made,
    ):
        yield made


def faces(made: Made) -> dict[str, str]:
    return {
        "page": page(made.report),
        "mail": mail_page(made.report),
        "text": text(made.report),
        "csv": b"".join(csv_chunks(made.report)).decode("utf-8-sig"),
        "json": "".join(json_chunks(made.recorded, made.report)),
        "chat": str([chat.slack(made.report), chat.teams(made.report), chat.plain(made.report)]),
    }


def test_a_private_event_tells_its_time_in_every_face_and_nothing_else(make: Make) -> None:
    world = make()
    start = NOW + timedelta(days=2)
    world.write(ANN, event("p", start, title="Surgery", extra="CLASS:PRIVATE\r\nLOCATION:Clinic\r\n"))
    world.run()
    with reported(world) as made:
        shown = faces(made)
        [row] = made.report.rows()
    assert row.calendar_start == f"{start:%Y-%m-%dT%H:%M:%SZ}"
    assert (row.title, row.client) == ("", "")
    for name in ("page", "mail", "text", "csv"):
        assert row.calendar_time in shown[name], name
    for name, face in shown.items():
        assert not [word for word in ("Surgery", "Clinic", CLIENT) if word in face], name


TITLES = (SCRIPT, "=1+1", "x" * 10_000, "{{ 7 * 7 }}", "Oak\\nBcc: eve@evil.example", "\u202eevil")


@pytest.mark.parametrize("title", TITLES)
def test_what_a_feed_says_is_bounded_text_in_every_face(make: Make, title: str) -> None:
    world = make()
    world.write(ANN, event("e1", title=title))
    world.allow = ()
    world.run()
    with reported(world) as made:
        shown = faces(made)
        [row] = made.report.rows()
    assert row.title
    assert len(row.title) <= 120
    for name in ("page", "mail"):
        tree = html5lib.parse(shown[name], treebuilder="etree", namespaceHTMLElements=False)
        assert row.title in "".join(tree.itertext()), name
        assert SCRIPT not in shown[name]
    assert not [cell for line in csv.reader(io.StringIO(shown["csv"])) for cell in line if cell.startswith("=")]
    for name, face in shown.items():
        assert "x" * 2_000 not in face, name
        assert "\u202e" not in face, name
        assert "\nBcc:" not in face, name
