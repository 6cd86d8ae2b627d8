"""A crontab is read as cron reads it: its calls of the program, their jobs and slots, and what it would refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import schedule
from reconciler.cli.commands import NAMES
from reconciler.errors import ConfigError
from reconciler.schedule import Entry, Rhythm, called, concerns, find, parse, read, reads, rhythm, slots

ROOT = Path(__file__).resolve().parents[2]
SINCE = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
JOB = Path("/srv/acme/jobs/acme.toml")
MINUTE = timedelta(minutes=1)


def words(command: str) -> list[str]:
    return [" ".join(entry.words) for entry in parse(f"*/5 * * * * {command}\n").entries]


def read_by(entry: Entry, job: Path) -> bool:
    call = called(entry.words, NAMES)
    return reads(call) and concerns(entry, call, job)


def beat(*expressions: str, zone: str = "UTC") -> Rhythm | None:
    entries = [Entry(1, expression, (), zone) for expression in expressions]
    return rhythm(slots(entries, SINCE, ZoneInfo("UTC")))


# ---- lines ----------------------------------------------------------------------------------------------------------


def test_our_own_crontab_runs_and_reports_and_nothing_is_wrong_with_it() -> None:
    found = read(ROOT / "crontab")
    assert found.problems == ()
    assert {entry.zone for entry in found.entries} == {"UTC"}
    assert [(entry.expression, entry.words[0]) for entry in found.entries] == [
        ("*/5 * * * *", "run"),
        ("7-59/15 * * * *", "report"),
        ("0 12 * * *", "report"),
        ("30 12 1 * *", "report"),
        ("0 4 * * 0", "state"),
    ]
    assert found.entries[0].words == ("run", "acme", "--scheduled", "--quiet")
    calls = [called(entry.words, NAMES) for entry in found.entries]
    assert all(call.is_scheduled and call.job == "acme" for call in calls)
    assert len({call.command for call in calls}) == len(calls), "each line has slots of its own"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("reconcile run acme", ["run acme"]),
        ("/opt/venv/bin/reconcile acme", ["acme"]),
        ("root  reconcile run acme", ["run acme"]),  # /etc/cron.d has a user there
        ("timeout 240 reconcile run acme", ["run acme"]),
        ("python3 -m reconciler run acme", ["run acme"]),
        ("cd /srv/reconcile && reconcile run acme", ["run acme"]),
        ("reconcile run acme; reconcile report acme", ["run acme", "report acme"]),
        ("reconcile run acme >> /var/log/acme.log 2>&1", ["run acme"]),
        ("reconcile run 2>/dev/null acme", ["run acme"]),
        ("reconcile run 'my job' # nightly", ["run my job"]),
        ("reconcile", [""]),
        ("mail -s 'reconcile failed' ops@acme.example", []),
        ("test -x /usr/bin/reconcile", []),
        ("backup --all", []),
    ],
)
def test_the_words_after_the_program_are_found_as_a_shell_finds_them(command: str, said: list[str]) -> None:
    assert words(command) == said


def test_settings_count_from_their_line_on() -> None:
    text = "0 * * * * reconcile\nCRON_TZ = 'America/Chicago'\nRECONCILE_JOB=acme\n0 * * * * reconcile\n"
    first, second = parse(text).entries
    assert (first.zone, first.job, first.number) == (None, None, 1)
    assert (second.zone, second.job, second.number) == ("America/Chicago", "acme", 4)
    [third] = parse("0 * * * * RECONCILE_JOB=beta reconcile\n").entries
    assert third.job == "beta"


def test_names_of_cron_stand_for_their_times_and_a_reboot_has_none() -> None:
    text = "@hourly reconcile acme\n@reboot reconcile acme\n@daily\tbackup\n@daily\treconcile acme\n"
    found = parse(text)
    assert [entry.expression for entry in found.entries] == ["0 * * * *", "0 0 * * *"]
    assert found.at_boot == (2,)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("*/5 * * * *", "no command"),
        ("61 * * * * reconcile", "no time that cron knows"),
        ("*/0 * * * * backup", "no time that cron knows"),
        ("r * * * * reconcile", "no time that cron knows"),
        ("0 12 l * * reconcile", "no time that cron knows"),
        ("0 12 * * mon#1 reconcile", "no time that cron knows"),
        ("* 22-6 * * * reconcile", "no time that cron knows"),  # taken, and never started
        ("0 12 * * fri-mon reconcile", "no time that cron knows"),
        ("0 12 * dec-feb * reconcile", "no time that cron knows"),
        ("5/10 * * * * reconcile", "no time that cron knows"),
        ("@fortnightly reconcile", "names that cron knows"),
        ("CRON_TZ=Mars/Olympus", "no time zone"),
        ("CRON_TZ=../../etc/passwd", "no time zone"),
        ("*/5 * * * * reconcile report --since %Y", "write \\%"),
        ("*/5 * * * * reconcile run 'acme", "never closed"),
        ("*/5 * * * * reconcile run acme --quiet\r", "carriage return"),
        ("CRON_TZ=UTC\r", "carriage return"),
    ],
)
def test_a_line_that_cron_refuses_or_reads_otherwise_is_named(line: str, says: str) -> None:
    found = parse(f"# first\n{line}\n*/5 * * * * reconcile run acme\n")
    [problem] = found.problems
    assert problem.key == "crontab line 2"
    assert says in problem.what
    assert [entry.number for entry in found.entries] == [3], "the other lines are read"


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("30-30 7-7/2 * * *", "30 7 * * *"),
        ("0,15-15 * * jan-jan mon-mon", "0,15 * * jan mon"),
        ("0 6 * jan-mar mon-fri", "0 6 * jan-mar mon-fri"),
        ("0 6 * * sun-sat,5-7", "0 6 * * sun-sat,5-7"),
    ],
)
def test_a_range_of_one_is_that_one(written: str, means: str) -> None:
    [entry] = parse(f"{written} reconcile run acme\n").entries
    assert entry.expression == means


def test_what_is_not_about_us_is_left_alone() -> None:
    found = parse("0 4 * * 0 date +%F > /tmp/x\n0 4 * * 0 echo it's\n\n  # reconcile run acme\n")
    assert (found.entries, found.problems) == ((), ())


def test_a_last_line_without_its_end_is_a_problem() -> None:
    assert "does not read it" in parse("0 * * * * reconcile").problems[0].what


@given(st.text())
def test_no_text_breaks_the_reading(text: str) -> None:
    found = parse(text)
    assert len(found.problems) <= 21
    assert all(len(str(problem).splitlines()) == 1 and len(str(problem)) < 200 for problem in found.problems)


# ---- the file -------------------------------------------------------------------------------------------------------


def test_the_crontab_is_the_named_one_or_lies_beside_the_folder_of_jobs(tmp_path: Path) -> None:
    job = tmp_path / "brokerage/jobs/acme.toml"
    job.parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert find(job, {}, elsewhere) is None
    (elsewhere / "crontab").write_text("")
    assert find(job, {}, elsewhere) == elsewhere / "crontab"
    (tmp_path / "brokerage/crontab").write_text("")
    assert find(job, {}, elsewhere) == tmp_path / "brokerage/crontab"
    assert find(job, {"RECONCILE_CRONTAB": "other"}, elsewhere) == elsewhere / "other"


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"#" * 1_000_001])
def test_a_crontab_that_can_not_be_read_is_one_problem(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "crontab"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"crontab: .*RECONCILE_CRONTAB"):
        read(path)


# ---- which job ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("run acme", True),
        ("acme", True),
        ("acme.toml", True),
        ("--quiet run --scheduled acme", True),
        ("run jobs/acme.toml", True),
        ("./jobs/acme.toml", True),
        ("../jobs/acme.toml", True),
        ("/srv/acme/jobs/acme.toml", True),
        ("pull --shard 1/4 acme", True),
        ("pull --job acme", True),
        ("pull --job=jobs/acme.toml", True),
        ("--format json acme", True),
        ("run --dry-run acme", True),
        ("/srv/beta/jobs/acme.toml", False),
        ("run beta", False),
        ("beta/acme.toml", False),
        ("report acme --send", False),
        ("status acme", False),
        ("state prune --job acme", False),
        ("run acme --only ann@acme.example", False),
        ("run --approve acme", False),
        ("run", False),
    ],
)
def test_a_call_reads_the_job_that_its_words_mean(said: str, meant: bool) -> None:
    assert read_by(Entry(1, "* * * * *", tuple(said.split())), JOB) is meant


def test_a_call_without_a_job_means_the_one_of_the_environment_or_the_only_one(tmp_path: Path) -> None:
    job = tmp_path / "acme.toml"
    job.touch()
    bare = Entry(1, "* * * * *", ("run", "--quiet"))
    assert read_by(bare, job)
    (tmp_path / "beta.toml").touch()
    assert not read_by(bare, job)
    assert read_by(Entry(1, "* * * * *", ("--quiet",), job="acme"), job)
    assert not read_by(Entry(1, "* * * * *", ("run", "beta"), job="acme"), job)


# ---- slots ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "per_day", "shortest", "longest"),
    [
        ("*/5 * * * *", 288, 5, 5),
        ("* * * * *", 1440, 1, 1),
        ("*/7 * * * *", 216, 4, 7),
        ("0 * * * *", 24, 60, 60),
        ("0 12 * * *", 1, 1440, 1440),
        ("*/10 9-17 * * mon-fri", 54, 10, 10 + 15 * 60 + 2 * 1440),
        ("0 6 * * 0", 1, 7 * 1440, 7 * 1440),
        ("0 0 1 * *", 1, 31 * 1440, 31 * 1440),
    ],
)
def test_slots_come_as_often_as_cron_starts_them(expression: str, per_day: int, shortest: int, longest: int) -> None:
    assert beat(expression) == Rhythm(per_day, shortest * MINUTE, longest * MINUTE)


def test_lines_are_counted_together_and_a_slot_once() -> None:
    assert beat("*/30 * * * *", "0 * * * *") == Rhythm(48, 30 * MINUTE, 30 * MINUTE)
    assert beat("0 * * * *", "20 * * * *") == Rhythm(48, 20 * MINUTE, 40 * MINUTE)


def test_a_rare_line_does_not_stretch_what_a_busy_one_shows() -> None:
    assert beat("* * * * *", "0 6 * * 0") == Rhythm(1440, MINUTE, MINUTE)
    assert beat("0 * * * *", "0 0 1 1 *") == Rhythm(24, 60 * MINUTE, 60 * MINUTE)


def test_slots_follow_their_zone() -> None:
    [first, *_] = slots([Entry(1, "0 9 * * *", (), "America/Chicago")], SINCE, ZoneInfo("UTC"))
    [other, *_] = slots([Entry(1, "0 9 * * *", ())], SINCE, ZoneInfo("Asia/Tokyo"))
    assert (first.hour, other.hour) == (15, 0)


def test_what_never_runs_has_no_rhythm() -> None:
    assert beat("0 0 31 2 *") is None
    assert beat() is None


def test_what_is_looked_at_is_bounded() -> None:
    assert len(slots([Entry(1, "* * * * *", ())] * 5, SINCE, ZoneInfo("UTC"))) == schedule.SLOT_LIMIT
