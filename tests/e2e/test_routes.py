"""One office's report: none of its faces and attachments has a word of the other office in it."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.message import EmailMessage
from html import unescape
from pathlib import Path
from typing import Any

import orjson
import pytest

from reconciler import reporting
from reconciler.config import load
from reconciler.config.sections import Route
from reconciler.delivering import Order, Sending, Step, deliver
from reconciler.errors import UsageError
from reconciler.report import chat, render, tables
from reconciler.reporting import Asked, Made
from tests.e2e.world import NOW, World, event
from tests.postbox import Postbox, postbox

Make = Callable[..., World]
ANN, BOB, DEE = "ann@acme.example", "bob@acme.example", "dee@acme.example"
DAY = timedelta(days=1)

PEOPLE = """agent,calendar,aliases,crm_owner,office
ann@acme.example,ann.ics,annie@oakhouse.example,Ann Oakwood,north
bob@acme.example,bob.ics,bobby@harbour.example,Robert Palmer,south
dee@acme.example,dee.ics,,,south
"""
SOURCES = '[[source]]\nkind = "ics"\nagents = { file = "agents.csv" }\n'
ROUTES = """
[report]
timezone = "America/Chicago"
mail = { to = ["ops@acme.example"], from = "reconcile@acme.example", smtp = "smtp://127.0.0.1" }
[[report.route]]
to = ["north@acme.example"]
office = "north"
[[report.route]]
to = ["south@acme.example"]
office = ["south"]
[[report.route]]
to = ["ann@acme.example"]
agent = "annie@oakhouse.example"
"""

# What only one office has to do with: its people, clients, titles, places and records.
NORTHERN = (
    "ann@acme",
    "annie@oakhouse",
    "ann oakwood",
    "nora@",
    "ned@",
    "oak cottage",
    "elm row",
    "4 elm street",
    *map(str, range(8133701, 8133706)),
)
SOUTHERN = (
    "bob@acme",
    "bobby@harbour",
    "robert palmer",
    "dee@acme",
    "sam@",
    "sue@",
    "villa azul",
    "loft",
    "9 palm road",
    *map(str, range(7133701, 7133706)),
)


def fill(world: World) -> None:
    """Let both offices have every sort of trouble, some of it with each other."""
    (world.folder / "agents.csv").write_text(PEOPLE)
    place = "LOCATION:{}\r\n"
    world.write(
        ANN,
        event("n1@x", client="nora@mail.example", title="Oak cottage", extra=place.format("4 Elm Street")),
        event(
            "n2@x", NOW + 3 * DAY, client="ned@mail.example", title="Elm row with Robert Palmer, bobby@harbour.example"
        ),
        event("n3@x", NOW + 4 * DAY, client="nora@mail.example", title="Oak cottage"),
        event("s9@x", NOW + 5 * DAY, client="ned@mail.example", title="Elm row"),
        event("n6@x", NOW + 6 * DAY, client="ned@mail.example", title="Elm row", extra=f"ATTENDEE:mailto:{BOB}\r\n"),
    )
    world.write(
        BOB,
        event("s1@x", client="sam@mail.example", title="Villa Azul", extra=place.format("9 Palm Road")),
        event("s2@x", NOW + 3 * DAY, client="sue@mail.example", title="Loft with Ann Oakwood, annie@oakhouse.example"),
        event("s3@x", NOW + 4 * DAY, client="sam@mail.example", title="Villa Azul"),
        event("n9@x", NOW + 5 * DAY, client="sue@mail.example", title="Loft"),
    )
    world.write(DEE)
    for office, agent, client, title, first in (
        ("n", ANN, "nora@mail.example", "Oak cottage", 8133701),
        ("s", BOB, "sam@mail.example", "Villa Azul", 7133701),
    ):
        values: dict[str, Any] = {"agent_email": agent, "contact_email": client, "title": title}
        world.insert(f"{office}3@x", NOW + 4 * DAY, **values | {"id": first})  # a wrong owner, soon
        world.insert(f"{office}9@x", NOW + 9 * DAY, **values | {"id": first + 1})  # the key of the other office's event
        world.insert(None, NOW + 7 * DAY, **values | {"id": first + 2})  # twice the same
        world.insert(None, NOW + 7 * DAY, **values | {"id": first + 3})
        world.insert(f"{office}8@x", NOW + 8 * DAY, **values | {"id": first + 4})  # no event


def morning(world: World) -> None:
    """Let two runs find and fix, one calendar of each office vanish, and somebody accept something."""
    world.run()
    for agent, title in ((ANN, "Oak cottage"), (BOB, "Villa Azul")):
        is_hers = agent == ANN
        world.write(
            agent,
            event(
                "n1@x" if is_hers else "s1@x",
                NOW + 6 * DAY + timedelta(hours=3),
                client="nora@mail.example" if is_hers else "sam@mail.example",
                title=title,
                modified="20261122T160000Z",
            ),
        )
    for first, other in ((8133701, "Robert Palmer"), (7133701, "Ann Oakwood")):
        world.sql("UPDATE appointments SET agent_email = ?, version = version + 1 WHERE id = ?", other, first)
    world.file(DEE).unlink()
    world.now += timedelta(hours=1)
    world.run()


@contextmanager
def made_for(world: World, route: int | None, **asked: Any) -> Iterator[Made]:
    job = load(world.job(), world.environ)
    with reporting.desk(job, world.environ, clock=world.clock) as desk:
        meant = None if route is None else desk.job.report.route[route]
        with reporting.report_of(desk, Asked(word="acme", route=meant, **asked)) as made:
            yield made


def leaks(shown: Mapping[str, str], words: tuple[str, ...]) -> list[str]:
    """Quote every place where one of these words stands."""
    return [
        f"{name}: {face[max(at - 100, 0) : at + 50]!r}"
        for name, face in shown.items()
        for word in words
        if (at := face.lower().find(word)) >= 0
    ]


def faces(made: Made, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield every form in which a report leaves the house, and the values that it is made of."""
    yield "page", unescape(render.page(made.report))
    yield "mail", unescape(render.mail_page(made.report))
    yield "text", render.text(made.report)
    yield "csv", b"".join(tables.csv_chunks(made.report)).decode()
    yield "json", "".join(tables.json_chunks(made.recorded, made.report))
    for name, said in (("slack", chat.slack), ("teams", chat.teams), ("plain", chat.plain)):
        yield name, orjson.dumps(said(made.report)).decode()
    tables.write_xlsx(made.report, folder / "report.xlsx")
    with zipfile.ZipFile(folder / "report.xlsx") as book:
        yield "xlsx", unescape("".join(book.read(name).decode("utf-8", "replace") for name in book.namelist()))
    yield "value", f"{made.report} {[*made.report.rows()]}"
    yield "recorded", f"{made.recorded} {[*made.recorded.findings]} {[*made.recorded.fixes]}"


@pytest.mark.parametrize(
    ("route", "own", "foreign"),
    [(0, NORTHERN, SOUTHERN), (1, SOUTHERN, NORTHERN), (2, NORTHERN, SOUTHERN)],
    ids=["north", "south", "ann"],
)
def test_no_face_of_a_part_has_a_word_of_the_other_office(
    make: Make, tmp_path: Path, route: int, own: tuple[str, ...], foreign: tuple[str, ...]
) -> None:
    world = make(sources=SOURCES, limits=ROUTES, agents=(ANN, BOB, DEE))
    fill(world)
    morning(world)
    with made_for(world, None) as made:
        whole = dict(faces(made, tmp_path))["recorded"].lower()
    assert [word for word in (*own, *foreign) if word not in whole] == [], "the whole report has to have them all"
    with made_for(world, route) as made:
        assert made.report.part
        shown = dict(faces(made, tmp_path))
    assert leaks(shown, foreign) == []
    assert [word for word in own[:1] if word not in shown["json"].lower()] == []


def mailed(world: World, box: Postbox) -> dict[str, list[str]]:
    """Send what is due; return by recipient all that a mail is, taken apart and decoded, its headers too."""
    job = load(world.job(), world.environ)
    with reporting.desk(job, world.environ, clock=world.clock) as desk:
        outcome = deliver(Sending(desk=desk, environ=world.environ), Order(word="acme"))
    assert {one.step for one in outcome.each} == {Step.SENT}
    return {letter["To"]: [*taken_apart(letter)] for letter in box.letters}


def taken_apart(letter: EmailMessage) -> Iterator[str]:
    for part in letter.walk():
        yield from (f"{name}: {value}" for name, value in part.items())
        content = None if part.is_multipart() else part.get_payload(decode=True)
        if isinstance(content, bytes):
            whole = gzip.decompress(content) if part.get_content_type() == "application/gzip" else content
            yield unescape(whole.decode())
    yield letter.as_string()


@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
def test_no_mail_to_a_part_has_a_word_of_the_other_office(
    make: Make, monkeypatch: pytest.MonkeyPatch, *, is_packed: bool
) -> None:
    monkeypatch.setattr("reconciler.report.mail.AS_IT_IS", 100 if is_packed else 1_000_000)
    with postbox() as box:
        limits = ROUTES.replace("smtp://127.0.0.1", f"smtp://127.0.0.1:{box.port}")
        world = make(sources=SOURCES, limits=limits, agents=(ANN, BOB, DEE))
        fill(world)
        morning(world)
        found = mailed(world, box)
        world.now += timedelta(hours=30)  # the second one says that no run has ended
        later = mailed(world, box)
    assert len(box.letters) == 8
    whole = "\n".join(found["ops@acme.example"]).lower()
    assert [word for word in (*NORTHERN[:1], *SOUTHERN[:1]) if word not in whole] == []
    for letters in (found, later):
        for to, own, foreign in (
            ("north", NORTHERN, SOUTHERN),
            ("south", SOUTHERN, NORTHERN),
            ("ann", NORTHERN, SOUTHERN),
        ):
            shown = {f"{to} {number}": said for number, said in enumerate(letters[f"{to}@acme.example"])}
            assert leaks(shown, foreign) == []
            assert any(own[0] in said.lower() for said in shown.values())


def test_a_refusal_is_told_in_numbers_to_those_whom_it_does_not_concern(make: Make, tmp_path: Path) -> None:
    world = make(sources=SOURCES, limits='create = "1"\nagent_cancel = "0"\n' + ROUTES, agents=(ANN, BOB, DEE))
    fill(world)
    result = world.run()
    assert result.status == "refused"
    with made_for(world, 0) as made:
        shown = dict(faces(made, tmp_path))
        assert made.recorded.last is not None
        assert made.recorded.last.status == "refused"
    assert leaks(shown, SOUTHERN) == []


def test_what_an_office_sees_is_not_less_than_its_own(make: Make) -> None:
    world = make(sources=SOURCES, limits=ROUTES, agents=(ANN, BOB, DEE))
    fill(world)
    morning(world)
    with made_for(world, None) as made:
        everything = {row.key for row in made.report.rows() if row.agent == ANN}
        found = sum(day.found for day in made.recorded.days)
    with made_for(world, 0) as made:
        assert {row.key for row in made.report.rows()} == everything
        assert {fix.agent for fix in made.recorded.fixes} == {ANN}
        assert [each.place.agent for each in made.recorded.calendars] == [ANN]
        assert made.recorded.has_days
        assert len(everything) <= sum(day.found for day in made.recorded.days) < found
    with made_for(world, 2) as made:
        assert not made.recorded.has_days  # her days and her office's are not told apart
        assert made.report.trends == ()


def test_an_office_that_nobody_is_in_is_a_mistake_and_no_empty_report(make: Make) -> None:
    world = make(sources=SOURCES, agents=(ANN, BOB, DEE))
    (world.folder / "agents.csv").write_text(PEOPLE)
    world.run()
    with reporting.desk(load(world.job(), world.environ), world.environ, clock=world.clock) as desk:
        route = Route.model_validate({"to": ("x@acme.example",), "office": ("norht",)})
        with pytest.raises(UsageError, match="names norht, and no agent of this job is that"):
            reporting.part_of(desk, route)
        route = Route.model_validate({"to": ("x@acme.example",), "agent": (ANN, "gone@acme.example")})
        with reporting.report_of(desk, Asked(word="acme", route=route)) as made:  # who left takes no report along
            assert "names gone@acme.example, and no agent of this job is that" in " ".join(made.report.notes)


def test_who_is_in_an_office_is_not_guessed_where_nobody_can_say(make: Make, tmp_path: Path) -> None:
    query = "SELECT agent, calendar, aliases, crm_owner, office FROM people"
    sources = f'[[source]]\nkind = "ics"\nagents = {{ query = "{query}" }}\n'
    world = make(sources=sources, limits=ROUTES, agents=(ANN, BOB, DEE))
    world.sql("CREATE TABLE people (agent TEXT, calendar TEXT, aliases TEXT, crm_owner TEXT, office TEXT)")
    for line in PEOPLE.splitlines()[1:]:
        world.sql("INSERT INTO people VALUES (?, ?, ?, ?, ?)", *line.split(","))
    fill(world)
    morning(world)
    (world.folder / "crm.db").rename(world.folder / "crm.away")
    with pytest.raises(UsageError, match="not known now"), made_for(world, 0):
        pass
    with reporting.desk(load(world.job(), world.environ), world.environ, clock=world.clock) as desk:
        route = Route.model_validate({"to": ("x@acme.example",), "agent": (ANN,)})
        with reporting.report_of(desk, Asked(word="acme", route=route)) as made:
            shown = dict(faces(made, tmp_path))
    assert ANN in shown["json"]
    known = tuple(word for word in SOUTHERN if "palmer" not in word)  # a name that only the CRM could have told of
    assert leaks(shown, known) == []
