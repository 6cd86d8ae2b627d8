"""README and docs/ do not lie: commands parse, tables are the code's, screens are what is printed."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from reconciler.cli import commands, demonstration, entry, running
from reconciler.cli.arguments import arranged
from reconciler.cli.world import World
from reconciler.config import Job
from reconciler.config.problems import models_in
from reconciler.decide import Rules, decide
from reconciler.errors import CrmUnreachableError, LockedError, ReconcilerError, RefusedError, UsageError
from reconciler.model import (
    Absence,
    Direction,
    First,
    Kind,
    Link,
    Pair,
    Presence,
    Record,
    Seen,
    Situation,
    Span,
    Step,
    Tier,
)
from reconciler.result import BUCKETS, Result
from reconciler.simulator import brokerage, exporters, office

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
DOCS = {page.stem: page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md")}
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def block(mark: str, text: str = README) -> str:
    """Return the fenced block that follows the comment `mark`."""
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```\w*\n(.*?)```", text, re.DOTALL)
    assert found, f"there is no block {mark}"
    return found[1]


def table(heading: str, page: str = README) -> list[list[str]]:
    """Return the rows of the first table below a heading, without its head."""
    text = f"\n{page}".split(f"\n{heading}\n", 1)[1]
    rows = [line for line in text.split("\n#", 1)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def call(folder: Path, *words: str) -> int:
    return entry.call(words, World(environ={}, cwd=folder, clock=lambda: NOW))


# ---- commands -------------------------------------------------------------------------------------------------------


def typed() -> list[str]:
    text = "\n".join([README, *DOCS.values()])
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("reconcile ")]
    inline = [one.replace("\n", " ") for one in re.findall(r"`(reconcile [^`]+)`", text)]
    known = rf"reconcile (--dry-run\b|{'|'.join(commands.NAMES)}\b)"
    shown = (re.sub(r"[\[\]]", "", one.split(" #")[0]) for one in [*lines, *inline] if re.match(known, one))
    return sorted({skeleton(one): one for one in shown}.values())


def skeleton(command: str) -> tuple[str, ...]:
    """Return what of a command line can be misspelt: its first words, where they are fixed, and its options."""
    words = shlex.split(command)
    return (*[word for word in words[1:3] if word.islower()], *sorted(word for word in words if word[:2] == "--"))


@pytest.mark.parametrize("command", typed())
def test_every_command_that_is_shown_exists_with_its_options(command: str, tmp_path: Path) -> None:
    assert call(tmp_path, *shlex.split(command)[1:], "--help") == 0


def test_every_option_of_run_is_described() -> None:
    [row] = [row for row in table("## Commands") if row[0] == "`reconcile run [JOB]`"]
    for option in ("--dry-run", "--full", "--only", "--approve", "--scheduled", "--exit-code"):
        assert option in row[1]
    assert arranged(["--dry-run", "x"], commands.NAMES)[0] == "run"


def test_every_command_is_described() -> None:
    described = {row[0].split()[1].strip("`") for row in table("## Commands")}
    assert described == set(commands.NAMES)


def test_each_page_that_is_named_is_there_and_each_page_is_named() -> None:
    named = set(re.findall(r"\]\((docs/[\w-]+\.md|[A-Z]+\.md)", README))
    assert all((ROOT / page).is_file() for page in named)
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= named


def test_the_exit_codes_are_the_codes() -> None:
    listed = {int(row[0]): row[1] for row in table("### Exit codes")}
    errors = (ReconcilerError, UsageError, RefusedError, CrmUnreachableError, LockedError)
    assert set(listed) == {0, running.DIFFERENCES, *(error.exit_code for error in errors)}
    assert "--exit-code" in listed[running.DIFFERENCES]
    assert "--scheduled" in listed[LockedError.exit_code]


# ---- the decision table ---------------------------------------------------------------------------------------------

DECIDED = table("# What is decided, and what is found", DOCS["rules"])
AT = {"start": "2026-11-24T15:00:00Z", "end": "2026-11-24T16:00:00Z", "agent": "ann@acme.example"}
LATER = {**AT, "start": "2026-11-24T15:30:00Z"}
EARLIER = {**AT, "start": "2026-11-24T14:30:00Z"}
COMPARE = ("agent", "end", "start")


def seen(fields: dict[str, str] = AT, absence: Absence | None = None) -> Seen:
    return Seen(event="e", span=Span(NOW, NOW), digest=b"", relevance="client", fields=dict(fields), absence=absence)


def record(fields: dict[str, str] = AT, presence: Presence = Presence.LIVE) -> Record:
    return Record(id="17", fields=dict(fields), version="1", presence=presence)


def link(base: dict[str, str] | None = AT) -> Link:
    kept = dict(base) if base else None
    return Link("17", 1, "e", "m", Tier.LINK, kept, kept)


def pair(event: Seen | None, row: Record | None, joined: Link | None, *holds: str) -> Pair:
    return Pair(seen=event, calendar=None, record=row, link=joined, holds=holds)


GONE, CANCELLED = Absence.CANCELLED, Presence.CANCELLED
EXAMPLES = {
    ("live", "live, equal", "any"): [pair(seen(), record(), None)],
    ("live", "live, differs", "none"): [pair(seen(LATER), record(), None), pair(seen(LATER), record(), link(None))],
    ("live, moved", "live", "yes"): [pair(seen(LATER), record(), link())],
    ("live", "live, moved", "yes"): [pair(seen(), record(EARLIER), link())],
    ("live, moved", "live, same field moved", "yes"): [pair(seen(LATER), record(EARLIER), link())],
    ("live", "cancelled by us", "yes"): [
        pair(seen(), record(presence=CANCELLED), replace(link(), cancelled_by_us=True))
    ],
    ("live", "cancelled by others", "any"): [
        pair(seen(), record(presence=CANCELLED), link()),
        pair(seen(), record(presence=CANCELLED), None),
    ],
    ("live", "absent", "none"): [pair(seen(), None, None)],
    ("live", "deleted, and the CRM says so", "yes"): [pair(seen(), record(presence=Presence.ABSENT), link())],
    ("gone, with evidence", "live, as agreed", "yes"): [pair(seen(absence=GONE), record(), link())],
    ("gone, with evidence", "live, edited", "yes"): [pair(seen(absence=GONE), record(LATER), link())],
    ("never known", "live", "none"): [pair(None, record(), None)],
    ("gone, with evidence", "cancelled or absent", "yes"): [
        pair(seen(absence=GONE), record(presence=CANCELLED), link()),
        pair(seen(absence=GONE), None, link()),
    ],
    ("not seen, or not safe to judge", "any", "any"): [
        pair(seen(absence=Absence.UNSEEN), record(), link()),
        pair(seen(LATER), record(), link(), "unobserved"),
    ],
}
STEPS = {
    "agree": {Step.REFRESH_BASE, Step.NOTHING},
    "by `policy.first`": {Step.FINDING, Step.UPDATE},
    **{step.value: {step} for step in Step},
}


@pytest.mark.parametrize("row", DECIDED, ids=lambda row: row[3].strip("`"))
def test_the_decision_table_is_what_the_code_decides(row: list[str]) -> None:
    calendar, crm, base, situation, *directions = row
    for example in EXAMPLES[calendar, crm, base]:
        for direction, cell in zip(Direction, directions, strict=True):
            verdict = decide(example, Rules(direction, First.NEWER, COMPARE))
            assert verdict.situation == situation.strip("`")
            assert verdict.step in STEPS[cell], (row, direction)


def test_the_decision_table_names_every_situation() -> None:
    rows = DECIDED
    assert {row[3].strip("`") for row in rows} == set(Situation)
    assert {tuple(row[:3]) for row in rows} == set(EXAMPLES)


def test_every_kind_of_finding_is_explained() -> None:
    rows = table("## What is found", DOCS["rules"])
    assert {kind for row in rows for kind in re.findall(r"`(\w+)`", row[0])} == set(Kind)


# ---- job file and JSON ----------------------------------------------------------------------------------------------


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        if name not in {"path", "listed", "sources", "budget"} or model is not Job:
            yield field.alias or name
        if model is Job:
            for each in inner:
                yield from keys(each)


def test_every_key_of_a_job_file_is_in_the_reference() -> None:
    reference = " ".join(" ".join(row) for row in table("# The job file", DOCS["job-file"]))
    named = set(re.findall(r"\w+", reference))
    assert set(keys(Job)) - named == set()


def test_the_json_that_is_shown_has_the_keys_that_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json.loads(block("keys: result", DOCS["result"]))
    assert call(tmp_path, "demo", "--dir", "box", "--format", "json") == 0
    written = json.loads(capsys.readouterr().out)["runs"][2]
    assert list(shown) == list(written)
    assert list(shown["counts"]) == list(written["counts"])
    assert set(shown["counts"]) > set(BUCKETS)
    for name in ("deltas", "findings", "calendars"):
        assert set(shown[name][0]) == set(written[name][0]), name
    assert {field for field in Result.__dataclass_fields__ if field in shown}


# ---- screens --------------------------------------------------------------------------------------------------------


def settled(said: str, folder: Path) -> str:
    """Replace what differs from machine to machine: folders, run ids and digests."""
    said = said.replace(str(folder), "/tmp/brokerage")  # noqa: S108  # a name for readers
    said = re.sub(r"\b01[0-9A-HJKMNP-TV-Z]{24}\b", "01K...", said)
    return re.sub(r"(plan |approve )[0-9a-f]{12}", r"\g<1>7f3c9a1e52b0", said)


def test_the_demo_prints_what_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "demo", "--dir", "box") == 0
    assert settled(capsys.readouterr().out, tmp_path / "box") == block("output: demo")


def test_a_refusal_reads_as_it_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = office.furnish(tmp_path)
    job.write_text(job.read_text().replace("[report]", '[limits]\nupdate = "1"\n\n[report]'))
    quiet = brokerage.agreed(NOW)
    office.settle_in(tmp_path, quiet, NOW - demonstration.EARLIER)
    call(tmp_path, "run", "sample", "-q")
    office.settle_in(tmp_path, brokerage.edited(quiet, NOW), NOW)
    capsys.readouterr()
    assert call(tmp_path, "run", "sample") == 4
    said = settled(capsys.readouterr().out, tmp_path)
    head, following = said.split("\n\n", 1)[0], said.rsplit("\n\n", 1)[1]
    consent = "\n".join(following.splitlines()[:4])
    assert f"{head}\n\n{consent}\n" == block("output: refusal", DOCS["consent"])


def test_five_minutes_work_as_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/mine.toml").write_text(block("file: jobs/mine.toml"))
    with closing(sqlite3.connect(tmp_path / "crm.db")) as crm:
        crm.executescript(block("file: crm.sql"))
    diary = brokerage.agreed(NOW)
    (tmp_path / "calendar.ics").write_bytes(exporters.export(brokerage.ANN, diary.of(brokerage.ANN), NOW))
    assert call(tmp_path, "check", "mine") == 0
    assert call(tmp_path, "--dry-run", "mine") == 0
    said = capsys.readouterr().out
    assert "mine is ready to run" in said
    assert "missing_in_crm" in said
    mine = (tmp_path / "jobs/mine.toml").read_text()
    (tmp_path / "jobs/mine.toml").write_text(mine.replace("allow = []", 'allow = ["create", "update", "cancel"]'))
    assert call(tmp_path, "run", "mine") == 0
    capsys.readouterr()
    assert call(tmp_path, "status", "mine") == 0
    assert "; 1 open finding (1 high)" in capsys.readouterr().out.splitlines()[0]
    with closing(sqlite3.connect(tmp_path / "crm.db")) as crm:
        assert crm.execute("SELECT count(*) FROM appointments").fetchone()[0] > 10
    assert call(tmp_path, "explain", "1", "--job", "mine") == 0


# ---- promises -------------------------------------------------------------------------------------------------------


def test_every_promise_names_a_test_that_exists() -> None:
    rows = table("## What it promises")
    assert [row[0] for row in rows] == [str(number) for number in range(1, 11)]
    every = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for row in rows:
        names = re.findall(r"`(\w+)`", row[-1])
        assert names, row
        assert [name for name in names if f"def {name}(" not in every] == []


def anchors(page: Path) -> set[str]:
    """Return what headings of a page are called in addresses."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    heads = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        place, _, anchor = target.partition("#")
        if not place.startswith("https://"):
            found = (page.parent / place).resolve() if place else page
            assert found.is_file(), target
            assert not anchor or anchor in anchors(found), target
