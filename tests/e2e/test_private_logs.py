"""No line of a log says anything of a client, whatever a command is, however it fails, however much is asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from reconciler import run as pipeline
from reconciler.cli import entry
from reconciler.cli.world import World as Place
from tests.e2e.world import NOW, World, event

ANN, BOB = "ann@acme.example", "bob@acme.example"
CANARIES = ("canary", "Kestrel", "Wren Street", "+1 555 0100")
"""Parts of every name, address, title, place and note of a client in this world, and of the keys of its events."""

REPORT = '[report]\nmail = { to = ["ops@acme.example"], from = "r@acme.example", smtp = "smtp://127.0.0.1:9" }\n'


class Scolding(BaseHTTPRequestHandler):
    """A provider that refuses with a client's data in its words."""

    def do_GET(self) -> None:
        said = json.dumps(
            {"error": {"code": 400, "message": "no canary@home.example", "errors": [{"reason": "Kestrel"}]}}
        )
        self.send_response(400)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *_: object) -> None: ...


@contextmanager
def scolding() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Scolding)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/calendar/v3/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def showing(uid: str, days: float) -> str:
    where = "LOCATION:12 Wren Street\r\nDESCRIPTION:call Kestrel at +1 555 0100\r\n"
    start = NOW + timedelta(days=days)
    return event(uid, start, client="canary@home.example", title="Showing for Kestrel", extra=where)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, agents=(ANN, BOB), section='deadline = "10m"')
    world.write(ANN, *(showing(f"canary-{n}", n) for n in range(1, 9)))
    world.insert("canary-1", NOW + timedelta(days=1, hours=2), title="Kestrel", contact_email="canary@other.example")
    return world


class Said:
    """What commands said on stderr, all of it."""

    def __init__(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self._world, self._capsys = world, capsys
        self.lines: list[str] = []

    def call(self, *words: str, code: int | None = None, environ: dict[str, str] | None = None) -> None:
        path = self._world.job()
        path.write_text(path.read_text() + REPORT)
        place = Place(environ=environ or {}, cwd=self._world.folder, clock=lambda: self._world.now)
        came = entry.call([*words, "-v"], place)
        said = self._capsys.readouterr().err
        self.lines += said.splitlines()
        assert code is None or came == code, said
        assert not [canary for canary in CANARIES if canary in said], (words, said)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith("{")]


def test_no_log_says_anything_of_a_client(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Said(world, capsys)
    said.call("--dry-run", "acme.toml", code=0)
    said.call("run", "acme.toml", code=0)
    for words in _questions(world):
        said.call(*words)
    world.write(ANN, *(showing(f"canary-{n}", n + 0.1) for n in range(1, 9)), showing("canary-x", 3))
    world.sql("UPDATE appointments SET title = 'Kestrel' WHERE id > 2")
    world.limits = 'update = "1"'
    said.call("run", "acme.toml", code=4)  # refused
    world.limits = ""
    world.file(BOB).write_text("BEGIN:VCALENDAR\r\nSUMMARY canary Kestrel\r\nBEGIN:VEVENT\r\n")
    world.sql("UPDATE appointments SET starts_at = 'Kestrel, 12 Wren Street' WHERE id = 3")
    said.call("run", "acme.toml")  # a calendar and a row that can't be read
    said.call("report", "acme.toml", "--send")  # nobody answers
    world.sql("ALTER TABLE appointments RENAME TO canary_appointments")
    said.call("run", "acme.toml", code=4)  # a table is gone
    world.sql("ALTER TABLE canary_appointments RENAME TO appointments")
    monkeypatch.setattr(pipeline, "came_to", _stumbles)
    said.call("run", "acme.toml", code=1)  # a mistake of ours
    events = said.events()
    assert {one["command"] for one in events} >= {"run", "report", "check"}
    assert {one["event"] for one in events} >= {"run", "calendar", "begins", "over", "read", "asked"}
    assert {one["status"] for one in events if one["event"] == "run"} >= {"applied", "refused", "partial", "failed"}


def test_what_a_provider_answers_is_in_no_log(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(world, capsys)
    with scolding() as endpoint:
        google = f'kind = "google"\nagents = ["{ANN}"]\nendpoint = "{endpoint}"\nauth = {{ token = "env:TOKEN" }}'
        world.sources = f"[[source]]\n{google}\n"
        said.call("run", "acme.toml", code=5, environ={"TOKEN": "a-token-nobody-may-see"})
    [calendar] = [one for one in said.events() if one["event"] == "calendar"]
    assert (calendar["state"], calendar["source"], calendar["strikes"]) == ("blind", "google", 1)
    assert "a-token-nobody-may-see" not in "\n".join(said.lines)


def _questions(world: World) -> Sequence[Sequence[str]]:
    key = str(world.rows("id")[0][0])
    return (
        ("status", "acme.toml"),
        ("check", "acme.toml"),
        ("explain", key, "--job", "acme.toml"),
        ("explain", "nobody-knows", "--job", "acme.toml"),
        ("report", "acme.toml"),
        ("resolve", key, "--take", "calendar", "--job", "acme.toml"),
        ("run", "acme.toml", "--only", "nobody@acme.example"),
    )


def _stumbles(*_: object) -> None:
    raise ValueError("canary@home.example at 12 Wren Street")
