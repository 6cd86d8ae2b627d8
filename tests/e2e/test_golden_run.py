"""Every face of the report of one seeded run, from calendars and CRM to what is read: it looks as it did.

The sample brokerage is edited and run at one fixed time. What it looks like is in tests/golden/run/: look at what
differs when `GOLDEN=update make test ARGS=tests/e2e/test_golden_run.py` has written it anew.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Final

import openpyxl
import pytest

from reconciler.cli import entry
from reconciler.cli.world import World
from tests.postbox import postbox

NOW: Final = datetime(2026, 10, 28, 9, 0, tzinfo=UTC)  # in the week in which the clocks go back
GOLDEN: Final = Path(__file__).resolve().parents[1] / "golden" / "run"
FACES: Final = ("html", "csv", "xlsx", "json")
MAIL: Final = """
[report.mail]
to = ["ops@acme.example"]
from = "reconcile@acme.example"
smtp = "env:SMTP_URL"
"""


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the demo once and write its report in every form; mails are taken by a real server."""
    place = tmp_path_factory.mktemp("seeded")
    assert entry.call(["demo", "--dir", "box", "-q"], world(place)) == 0
    box = place / "box"
    words = [word for face in FACES for word in (f"--{face}", f"report.{face}")]
    assert entry.call(["report", "sample", "--since", "1d", "-q", *words], world(box)) == 0
    found = {f"report.{face}": (box / f"report.{face}").read_text("utf-8-sig") for face in FACES if face != "xlsx"}
    found["report.html"] = without_looks(found["report.html"])
    return {**found, "report.xlsx.txt": cells(box / "report.xlsx"), **mailed(box)}


def world(place: Path, **environ: str) -> World:
    return World(environ=environ, cwd=place, clock=lambda: NOW)


def without_looks(page: str) -> str:
    """Leave out style and script, which tests/golden/report.html shows."""
    return re.sub(r"(?s)(<(style|script)[^>]*>).*?(</\2>)", r"\1…\3", page)


def cells(path: Path) -> str:
    book = openpyxl.load_workbook(path)
    lines = (
        "\t".join("" if cell is None else str(cell) for cell in row)
        for sheet in book.worksheets
        for row in [(f"== {sheet.title}",), *sheet.iter_rows(values_only=True)]
    )
    return "\n".join(line.rstrip() for line in lines) + "\n"


def mailed(box: Path) -> dict[str, str]:
    job = box / "jobs/sample.toml"
    job.write_text(job.read_text() + MAIL)
    with postbox() as post:
        environ = {"SMTP_URL": f"smtp://127.0.0.1:{post.port}"}
        assert entry.call(["report", "sample", "--send", "-q"], world(box, **environ)) == 0
    message = message_from_bytes(post.letters[0].as_bytes(), policy=policy.default)
    told = {"subject.txt": str(message["Subject"]) + "\n"}
    for kind, name in (("html", "mail.html"), ("plain", "mail.txt")):
        body = message.get_body((kind,))
        assert body is not None
        told[name] = body.get_content().replace("\r\n", "\n")
    return told


RUN_ID: Final = re.compile(r"\b01[0-9A-HJKMNP-TV-Z]{24}\b")
DIGEST: Final = re.compile(r"\b[0-9a-f]{64}\b|(?<=\"digest\">)[0-9a-f]{12}")
NAMES: Final = (
    *("report.html", "report.csv", "report.xlsx.txt", "report.json"),
    *("subject.txt", "mail.html", "mail.txt"),
)


def lasting(face: str) -> str:
    """Leave out what is another in every run: its id, and the digests of what belongs to it and to this folder."""
    return DIGEST.sub("(digest)", RUN_ID.sub("(run)", face))


@pytest.mark.parametrize("name", NAMES)
def test_each_face_of_the_seeded_run_looks_as_it_did(faces: dict[str, str], name: str) -> None:
    shown, file = lasting(faces[name]), GOLDEN / name
    if os.environ.get("GOLDEN") == "update":
        file.write_text(shown, encoding="utf-8", newline="")
    with file.open(encoding="utf-8", newline="") as kept:
        known = kept.read()
    assert shown.splitlines() == known.splitlines(), f"{name} looks otherwise; see at the head of this file"


def test_every_face_tells_of_the_same_findings(faces: dict[str, str]) -> None:
    keys = set(re.findall(r'"key": "([0-9a-f]{12})"', faces["report.json"]))
    assert len(keys) > 30
    told = {key for key in keys if key in faces["report.csv"]}
    assert told == {key for key in keys if key in faces["report.xlsx.txt"]}
    assert keys == told
