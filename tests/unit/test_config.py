"""A job file is read whole or not at all; every mistake has its sentence, and none gives a secret away."""

from __future__ import annotations

import json
import os
import pickle
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.config import (
    CsvCrm,
    FeedUrl,
    Google,
    Ics,
    Job,
    MailUrl,
    Microsoft,
    Rule,
    SqlCrm,
    StateUrl,
    WrongError,
    find,
    load,
    permitted,
)
from reconciler.errors import ConfigError
from reconciler.limit import Limit
from reconciler.model import Action, Direction, First

FOLDER = Path(__file__).resolve().parents[1] / "config"

MINIMAL = """
name = "acme"
state = "sqlite:///var/acme.db"
[[source]]
kind = "ics"
agent = "Dee@Acme.example"
path = "dee.ics"
[crm]
kind = "sql"
url = "sqlite:///crm.db"
table = "appointments"
time = "utc"
columns = { id = "id", agent = "agent_email", start = "starts_at", end = "ends_at", status = "status" }
status = { confirmed = "scheduled", cancelled = "cancelled" }
"""
GOOGLE = """
[[source]]
kind = "google"
agents = ["ann@acme.example"]
auth = {auth}
{more}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "acme.toml"
    path.write_text(text)
    return path


def job_of(folder: Path, text: str, **environ: str) -> Job:
    return load(written(folder, text), environ)


def problems_of(path: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


def google(auth: str = '{ token = "env:TOKEN" }', more: str = "") -> str:
    return MINIMAL + GOOGLE.replace("{auth}", auth).replace("{more}", more)


# ---- one file for each mistake --------------------------------------------------------------------------------------


def expected(path: Path) -> list[str]:
    """Return the sentences that a broken job file says, in its own last lines, it must be answered with."""
    return [line.removeprefix("#> ") for line in path.read_text().splitlines() if line.startswith("#> ")]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_each_mistake_has_its_sentence(path: Path) -> None:
    assert problems_of(path) == expected(path)


def test_there_is_a_file_for_each_mistake_we_know() -> None:
    assert len([path for path in FOLDER.glob("*.toml") if expected(path)]) >= 49


def test_all_problems_are_reported_together_and_the_file_is_named() -> None:
    path = FOLDER / "everything.toml"
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert len(caught.value.problems) >= 14
    assert caught.value.where == str(path)
    assert "hunter2" not in str(caught.value)


# ---- what a job file may say ----------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    job = job_of(tmp_path, MINIMAL)
    assert (job.window.past, job.window.future, job.window.settle) == (
        timedelta(days=7),
        timedelta(days=60),
        timedelta(minutes=10),
    )
    assert (job.run.deadline, job.run.freshness) == (None, timedelta(hours=24))
    assert (job.policy.sync, job.policy.allow, job.policy.remove) == (Direction.CALENDAR_TO_CRM, (), "cancel")
    assert job.policy.compare == ("start", "end", "all_day", "status", "contact")
    assert [str(rule) for rule in job.policy.relevant] == ["client", "linked", "booked"]
    assert job.policy.first is First.NEWER
    assert [str(limit) for limit in (job.limits.create, job.limits.update, job.limits.cancel, job.limits.delete)] == [
        "25 or 10%",
        "25 or 10%",
        "10 or 5%",
        "0",
    ]
    assert (job.limits.cap, job.limits.day, str(job.limits.agent_cancel)) == (1000, 10, "5 or 50%")
    assert (job.limits.over, job.limits.notify, job.limits.unobserved) == ("refuse", 0, Limit())
    assert (job.report.timezone, job.report.when, job.report.mask, job.report.mail) == ("UTC", "always", False, None)


def test_paths_are_relative_to_the_job_file(tmp_path: Path) -> None:
    job = job_of(tmp_path, MINIMAL)
    [source] = job.sources
    assert isinstance(source, Ics)
    assert (job.base, source.path, source.agent, source.name) == (
        tmp_path,
        tmp_path / "dee.ics",
        "dee@acme.example",
        "ics",
    )


def test_only_what_the_crm_has_is_compared(tmp_path: Path) -> None:
    assert job_of(tmp_path, MINIMAL).compared == ("start", "end", "status")


def test_a_source_key_is_optional(tmp_path: Path) -> None:
    assert job_of(tmp_path, MINIMAL).crm.columns.key is None


def test_what_later_releases_use_is_accepted_now(tmp_path: Path) -> None:
    text = (
        google(more='endpoint = "https://www.googleapis.com/calendar/v3"')
        + """
[[source]]
kind = "microsoft"
name = "outlook"
agents = { file = "outlook.csv" }
auth = { tenant = "t", client_id = "c", certificate = "file:key.pem" }
[policy]
sync = "two-way"
allow = ["create", "update", "cancel", "delete"]
remove = "delete"
relevant = ["title:(?i)showing", "all"]
[limits]
create = 5
update = "2.5%"
over = "pace"
[budget.google]
per_minute = 10000
share = 0.25
[report]
mail = { to = ["ops@acme.example"], from = "reconcile@acme.example", smtp = "smtp://localhost:2525?tls=none" }
[[report.route]]
office = "north"
to = ["north@acme.example"]
[metrics]
textfile = "acme.prom"
pushgateway = "http://pushgateway:9091"
"""
    )
    job = job_of(tmp_path, text)
    _, first, second = job.sources
    assert isinstance(first, Google)
    assert first.endpoint == "https://www.googleapis.com/calendar/v3/"
    assert isinstance(second, Microsoft)
    assert (second.name, second.agents.file) == ("outlook", tmp_path / "outlook.csv")
    assert job.policy.allow == (Action.CREATE, Action.UPDATE, Action.CANCEL, Action.DELETE)
    assert (job.limits.create, job.limits.update) == (Limit(5), Limit(0, Decimal("2.5")))
    assert job.budget["google"].share == 0.25
    assert job.report.mail is not None
    assert job.report.mail.sender == "reconcile@acme.example"
    assert job.report.route[0].office == ("north",)
    assert job.metrics.textfile == tmp_path / "acme.prom"


def test_a_csv_export_may_name_its_form(tmp_path: Path) -> None:
    sql = 'kind = "sql"\nurl = "sqlite:///crm.db"\ntable = "appointments"\n'
    csv = 'kind = "csv"\npath = "export.csv"\ndelimiter = ";"\nencoding = "cp1252"\ndate_format = "%d.%m.%Y %H:%M"\n'
    crm = job_of(tmp_path, MINIMAL.replace(sql, csv)).crm
    assert isinstance(crm, CsvCrm)
    assert (crm.path, crm.delimiter, crm.encoding) == (tmp_path / "export.csv", ";", "cp1252")


def test_an_export_may_be_carried_into_calendars(tmp_path: Path) -> None:
    sql = 'kind = "sql"\nurl = "sqlite:///crm.db"\ntable = "appointments"\n'
    text = MINIMAL.replace(sql, 'kind = "csv"\npath = "export.csv"\n')
    ics = text[text.index("[[source]]") : text.index("[crm]")]
    google = '[[source]]\nkind = "google"\nagents = ["ann@acme.example"]\nauth = { token = "env:A" }\n'
    google += 'auth_write = { token = "env:B" }\n'
    policy = '\n[policy]\nsync = "crm-to-calendar"\nallow = ["create", "cancel"]\n'
    job = job_of(tmp_path, text.replace(ics, google) + policy)
    [source] = job.sources
    assert isinstance(source, Google)
    assert (str(source.auth.token), str(source.auth_write and source.auth_write.token)) == ("env:A", "env:B")
    assert job.policy.sync is Direction.CRM_TO_CALENDAR


def test_times_say_their_zone(tmp_path: Path) -> None:
    def zone_of(time: str) -> ZoneInfo | None:
        return job_of(tmp_path, MINIMAL.replace('time = "utc"', f'time = "{time}"')).crm.zone

    assert zone_of("local:America/Chicago") == ZoneInfo("America/Chicago")
    assert [zone_of(time) for time in ("utc", "aware", "local:agent")] == [None, None, None]


def test_a_job_cannot_be_changed(tmp_path: Path) -> None:
    job = job_of(tmp_path, MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        job.limits.cap = 10**6  # type: ignore[misc]


# ---- files that are no job files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "acme.toml: is empty (begin with a copy of jobs/ics.toml)"),
        (b" \r\n\t\n", "acme.toml: is empty (begin with a copy of jobs/ics.toml)"),
        (b'name = "acme"\ntitle = "\xff"\n', "acme.toml: is not UTF-8 text (line 2) (save it as UTF-8)"),
        (b"#" * 10_000_000, "acme.toml: is larger than 1,000,000 bytes; a job file has a few thousand"),
        (b"a = " + b"[" * 100_000, "acme.toml: is nested too deeply to be a job file"),
        (b"a = " + b"9" * 10_000, "acme.toml: has a number in it that is too long to be one"),
    ],
    ids=["empty", "blank", "not UTF-8", "10 MB", "nested", "endless number"],
)
def test_what_is_no_job_file_is_said_in_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "acme.toml"
    path.write_bytes(content)
    assert problems_of(path) == [sentence]


def test_a_missing_file_is_named_with_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path, MINIMAL)
    assert problems_of(tmp_path / "amce.toml") == ["amce.toml: does not exist (job files beside it: acme.toml)"]


def test_a_folder_is_no_job_file(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == [f"{tmp_path.name}: is a folder (name one job file in it)"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_said_to_be_so(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    path.chmod(0)
    assert problems_of(path) == ["acme.toml: can't be read: Permission denied"]


def test_a_name_that_no_file_can_have_is_no_crash(tmp_path: Path) -> None:
    assert len(problems_of(tmp_path / ("x" * 5000))) == 1


def test_windows_editors_are_welcome(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load(path, {}).name == "acme"


@pytest.mark.parametrize("word", ["link", "creat"])
def test_what_a_job_may_be_allowed_is_to_write_and_never_to_link_by_nature(tmp_path: Path, word: str) -> None:
    [problem] = problems_of(written(tmp_path, f'{MINIMAL}[policy]\nallow = ["{word}"]\n'))
    assert problem.startswith("policy.allow[1]: ")
    assert "create" in problem


@given(st.binary(max_size=200))
def test_arbitrary_bytes_end_in_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "acme.toml"
    path.write_bytes(content)
    assert problems_of(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["name", "state", "window", "run", "source", "crm", "policy", "limits", "report"]), VALUES)
def test_arbitrary_values_end_in_sentences(tmp_path_factory: pytest.TempPathFactory, key: str, value: object) -> None:
    text = f"{key} = {_toml(value)}\n"
    assert problems_of(written(tmp_path_factory.mktemp("values"), text))


def _toml(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{_toml(str(key))} = {_toml(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(_toml(inner) for inner in value) + "]"
        case str():
            return json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False).replace("\x7f", "")
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            return "nan"


# ---- secrets --------------------------------------------------------------------------------------------------------

SECRETS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"], exclude_characters='"\\'), min_size=4).map(
    "hunter2{}".format
)
PLACES = {
    "state": ('state = "sqlite:///var/acme.db"', 'state = "postgresql://u:{}@h/state"'),
    "crm.url": ('url = "sqlite:///crm.db"', 'url = "postgresql://u:{}@h/crm"'),
    "crm.write_url": ('url = "sqlite:///crm.db"', 'url = "sqlite:///crm.db"\nwrite_url = "mysql://u:{}@h/crm"'),
    "source.url": ('path = "dee.ics"', 'url = "https://h.example/feed.ics?token={}"'),
}


@pytest.mark.parametrize("key", PLACES)
@given(secret=SECRETS)
def test_a_literal_secret_is_refused_and_never_shown(
    tmp_path_factory: pytest.TempPathFactory, key: str, secret: str
) -> None:
    plain, private = PLACES[key]
    path = written(tmp_path_factory.mktemp("secret"), MINIMAL.replace(plain, private.format(secret)))
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert [problem.key for problem in caught.value.problems] == [key]
    assert secret not in f"{caught.value}{caught.value!r}{caught.value.problems!r}"


@given(secret=SECRETS)
def test_what_the_environment_holds_is_never_shown(tmp_path_factory: pytest.TempPathFactory, secret: str) -> None:
    text = MINIMAL.replace('url = "sqlite:///crm.db"', 'url = "env:CRM_URL"')
    job = job_of(tmp_path_factory.mktemp("secret"), text, CRM_URL=secret)
    assert isinstance(job.crm, SqlCrm)
    assume("://" not in secret)  # that is a database's, of whatever kind
    with pytest.raises(ConfigError) as caught:
        job.crm.url.reveal({"CRM_URL": secret})
    assert str(caught.value).startswith("crm.url: what env:CRM_URL holds is not a database URL")
    shown = f"{job!r}{job}{job.model_dump()}{job.model_dump_json()}{job.crm.url!r}{caught.value!r}{caught.value}"
    assert secret not in shown


def test_a_secret_is_read_when_it_is_used_and_not_before(tmp_path: Path) -> None:
    job = job_of(tmp_path, google(auth='{ service_account = "file:google.json" }'))
    source = job.sources[1]
    assert isinstance(source, Google)
    assert source.auth.service_account is not None
    with pytest.raises(ConfigError) as caught:
        source.auth.service_account.reveal({})
    assert str(caught.value) == (
        "source[2].auth.service_account: the file google.json can't be read: No such file or directory "
        "(it must hold the secret and nothing else)"
    )
    (tmp_path / "google.json").write_text('{"type": "service_account"}\n')
    assert source.auth.service_account.reveal({}) == '{"type": "service_account"}'


@pytest.mark.parametrize(
    ("environ", "why"), [({}, "is not set"), ({"TOKEN": ""}, "is empty"), ({"TOKEN": " \n"}, "is empty")]
)
def test_a_variable_that_is_not_there_says_what_to_set(tmp_path: Path, environ: dict[str, str], why: str) -> None:
    source = job_of(tmp_path, google()).sources[1]
    assert isinstance(source, Google)
    assert source.auth.token is not None
    with pytest.raises(ConfigError) as caught:
        source.auth.token.reveal(environ)
    expected = f"source[2].auth.token: the environment variable TOKEN {why} (set TOKEN where the job runs)"
    assert str(caught.value) == expected


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 1_000_001], ids=["empty", "binary", "huge"])
def test_a_file_that_holds_no_secret_is_said_to_be_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    source = job_of(tmp_path, google(auth='{ token = "file:token" }')).sources[1]
    assert isinstance(source, Google)
    assert source.auth.token is not None
    with pytest.raises(ConfigError, match=r"the file token (is empty|can't be read|is too large)"):
        source.auth.token.reveal({})


def test_a_sqlite_file_is_relative_to_the_job_file_wherever_it_is_named(tmp_path: Path) -> None:
    job = job_of(tmp_path, MINIMAL)
    assert job.state.reveal({}) == f"sqlite:///{tmp_path}/var/acme.db"
    assert isinstance(job.crm, SqlCrm)
    assert job.crm.url.reveal({}) == f"sqlite:///{tmp_path}/crm.db"
    outside = job_of(tmp_path, MINIMAL.replace('"sqlite:///crm.db"', '"env:CRM_URL"')).crm
    assert isinstance(outside, SqlCrm)
    assert outside.url.reveal({"CRM_URL": "sqlite:///x.db?timeout=5"}) == f"sqlite:///{tmp_path}/x.db?timeout=5"
    assert outside.url.reveal({"CRM_URL": "sqlite:////data/x.db"}) == "sqlite:////data/x.db"
    assert outside.url.reveal({"CRM_URL": "postgresql://u:p@h/x"}) == "postgresql://u:p@h/x"


def test_a_state_in_memory_is_refused() -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(WrongError, match="in memory"):
            StateUrl.of(url, Path())


def test_a_secret_survives_copies_without_being_shown() -> None:
    secret = pickle.loads(pickle.dumps(MailUrl.of("smtp://mail.example", Path())))  # noqa: S301 - our own bytes
    assert repr(secret) == "MailUrl((given in the job file))"
    assert secret.reveal({}) == "smtp://mail.example"


@pytest.mark.parametrize(
    "url",
    [
        "smtp://mail.example:587?tls=none",
        "smtp://mail.example?verify=no",
        "http://mail.example",
        "smtp://mail.example:port",
    ],
)
def test_mail_goes_over_tls_except_on_loopback(url: str) -> None:
    with pytest.raises(WrongError):
        MailUrl.of(url, Path())
    assert MailUrl.of("smtp://127.0.0.1:25?tls=none", Path()).reveal({})


@pytest.mark.parametrize(
    "url",
    [
        "webcal://h.example/a.ics",
        "ftp://h.example/a.ics",
        "https:///a.ics",
        "https://h.example/a b.ics",
        "https://h.example\\@evil.example/a.ics",
        "https://h.example:99999/a.ics",
        "https://user@h.example/a.ics",
    ],
)
def test_a_feed_is_a_plain_https_address(url: str) -> None:
    with pytest.raises(WrongError):
        FeedUrl.of(url, Path())


def test_a_feed_on_loopback_may_use_http() -> None:
    assert FeedUrl.of("http://127.0.0.1:8000/a.ics", Path()).reveal({}) == "http://127.0.0.1:8000/a.ics"


@pytest.mark.parametrize("value", ["env:", "env:not a name", "env:A-B", "file:", "file: ", "hunter2", ""])
def test_a_secret_is_a_reference(tmp_path: Path, value: str) -> None:
    [problem] = problems_of(written(tmp_path, google(auth=f'{{ token = "{value}" }}')))
    assert problem.startswith("source[2].auth.token: ")
    assert "hunter2" not in problem


# ---- where credentials may go ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://www.googleapis.com/calendar/v3/",
        "http://127.0.0.1:8080/calendar/v3/",
        "http://[::1]:8080/",
        "http://localhost/",
    ],
)
def test_known_hosts_and_loopback_may_have_credentials(url: str) -> None:
    assert permitted(url, "google", {}) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://graph.microsoft.com/",
        "http://www.googleapis.com/",
        "https://www.googleapis.com@evil.example/",
        "https://user:hunter2@www.googleapis.com/",
        "https://www.googleapis.com.evil.example/",
        "https://evil-www.googleapis.com/",
        "https://localhost.evil.example/",
        "https://www.googleapis.com/?to=evil",
        "http://127.0.0.1.evil.example/",
        "https://evil.example#www.googleapis.com",
        "https://evil.example\\.www.googleapis.com/",
        "https://169.254.169.254/",
        "file:///etc/passwd",
        "www.googleapis.com",
    ],
)
def test_no_other_host_may_have_credentials(url: str) -> None:
    with pytest.raises(WrongError):
        permitted(url, "google", {})


def test_the_environment_alone_allows_another_host(tmp_path: Path) -> None:
    text = google(more='endpoint = "https://calendar.proxy.example/v3"')
    assert "RECONCILE_ALLOW_HOSTS=calendar.proxy.example" in problems_of(written(tmp_path, text))[0]
    allowed = "other.example, Calendar.Proxy.example"
    source = job_of(tmp_path, text, RECONCILE_ALLOW_HOSTS=allowed).sources[1]
    assert isinstance(source, Google)
    assert source.endpoint == "https://calendar.proxy.example/v3/"


def test_a_token_address_is_judged_like_an_endpoint(tmp_path: Path) -> None:
    text = google(auth='{ token = "env:T", token_uri = "https://evil.example/token" }')
    assert problems_of(written(tmp_path, text))[0].startswith('source[2].auth.token_uri: "evil.example" is no host')


@pytest.mark.parametrize(
    ("auth", "delegated"),
    [
        ('{ service_account = "file:a.json" }', True),
        ('{ service_account = "file:a.json", delegate = true }', True),
        ('{ service_account = "file:a.json", delegate = false }', False),
        ('{ impersonate = "robot@acme.example" }', True),
        ('{ impersonate = "robot@acme.example", token = "env:TOKEN" }', True),
        ('{ impersonate = "robot@acme.example", service_account = "file:a.json" }', True),
        ('{ token = "env:TOKEN" }', False),
    ],
)
def test_ways_into_google_say_whether_a_token_is_for_one_agent(tmp_path: Path, auth: str, delegated: bool) -> None:
    source = job_of(tmp_path, google(auth=auth)).sources[1]
    assert isinstance(source, Google)
    assert source.auth.delegated is delegated


def test_the_address_that_signs_is_judged_like_an_endpoint(tmp_path: Path) -> None:
    uri = "https://iamcredentials.googleapis.com"
    source = job_of(tmp_path, google(auth=f'{{ impersonate = "robot@acme.example", iam_uri = "{uri}" }}')).sources[1]
    assert isinstance(source, Google)
    assert source.auth.iam_uri == f"{uri}/"
    assert permitted(uri, "google", {}) == uri
    with pytest.raises(WrongError):
        permitted(uri, "microsoft", {})


# ---- rules ----------------------------------------------------------------------------------------------------------


def test_a_title_rule_finds_its_regex() -> None:
    rule = Rule.of("title:(?i)showing|viewing")
    assert rule.matches_title("Second Viewing, 12 Elm St")
    assert not rule.matches_title("Lunch")
    assert not Rule.of("all").matches_title("showing")
    assert str(rule) == "title:(?i)showing|viewing"


def test_a_hostile_title_costs_linear_time() -> None:
    assert not Rule.of("title:(a+)+$").matches_title("a" * 100_000 + "b")


@pytest.mark.parametrize(
    ("pattern", "where"),
    [
        ("a[b", "missing ] at character 2"),
        ("a(?=b)", "invalid perl operator at character 2"),
        ("(a{1000}){1000}", "invalid repetition size at character"),
        (r"a\1", "invalid escape sequence at character 2"),
        ("\\pL{900}", "pattern too large"),
    ],
)
def test_a_regex_that_does_not_compile_says_where(pattern: str, where: str) -> None:
    with pytest.raises(WrongError, match="does not compile") as caught:
        Rule.of(f"title:{pattern}")
    assert where in caught.value.what


# ---- which job ------------------------------------------------------------------------------------------------------


def jobs_in(folder: Path, *names: str) -> Path:
    (folder / "jobs").mkdir()
    for name in names:
        (folder / "jobs" / f"{name}.toml").write_text(MINIMAL)
    return folder


def refusal(argument: str | None, cwd: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        find(argument, environ, cwd)
    return str(caught.value)


def test_a_job_is_named_by_path_or_by_name(tmp_path: Path) -> None:
    cwd = jobs_in(tmp_path, "acme", "bolt")
    acme = cwd / "jobs" / "acme.toml"
    assert find("acme", {}, cwd) == acme
    assert find("acme.toml", {}, cwd) == acme
    assert find("jobs/acme.toml", {}, cwd) == acme
    assert find(str(acme), {"RECONCILE_JOB": "bolt"}, Path("/")) == acme


def test_without_an_argument_the_environment_names_the_job(tmp_path: Path) -> None:
    cwd = jobs_in(tmp_path, "acme", "bolt")
    assert find(None, {"RECONCILE_JOB": "bolt"}, cwd) == cwd / "jobs" / "bolt.toml"
    assert refusal(None, cwd, RECONCILE_JOB="blot").startswith("RECONCILE_JOB: ")


def test_without_both_the_only_job_is_meant(tmp_path: Path) -> None:
    cwd = jobs_in(tmp_path, "acme")
    assert find(None, {}, cwd) == cwd / "jobs" / "acme.toml"


def test_several_jobs_are_listed(tmp_path: Path) -> None:
    cwd = jobs_in(tmp_path, "acme", "bolt")
    assert refusal(None, cwd) == "JOB: several jobs are possible (jobs in jobs/: acme, bolt)"


def test_no_job_at_all_says_what_to_type(tmp_path: Path) -> None:
    assert refusal(None, tmp_path).startswith("JOB: there is no job file in jobs/ (name a job file")


@pytest.mark.parametrize("word", ["amce", "amce.toml"])
def test_a_name_that_is_nearly_right_gets_a_hint(tmp_path: Path, word: str) -> None:
    assert refusal(word, jobs_in(tmp_path, "acme")) == f'JOB: there is no job file "{word}" (did you mean "acme"?)'


def test_a_folder_or_a_hostile_name_is_no_job(tmp_path: Path) -> None:
    cwd = jobs_in(tmp_path, "acme")
    assert refusal("jobs", cwd) == 'JOB: "jobs" is a folder (name one job file in it)'
    for word in ("x" * 5000, "a\x00b", "\ud800"):
        assert "there is no job file" in refusal(word, cwd)
