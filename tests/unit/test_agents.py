"""The directory knows each agent once, by every name they have; what is wrong with it is said with its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.agents import PROBLEM_LIMIT, Directory, directory, rows_of_file
from reconciler.config import load
from reconciler.errors import ConfigError
from reconciler.model import Agent, AgentState, Role

CRM = """
name = "acme"
state = "sqlite:///var/acme.db"
[crm]
kind = "sql"
url = "sqlite:///crm.db"
table = "appointments"
time = "utc"
columns = { id = "id", agent = "agent", start = "starts_at", end = "ends_at" }
"""
GOOGLE = '[[source]]\nkind = "google"\nauth = { token = "env:TOKEN" }\n'
ICS = '[[source]]\nkind = "ics"\n'
FILE = 'agents = { file = "agents.csv" }\n'


def known(folder: Path, sources: str, csv: str | bytes = "", **environ: str) -> Directory:
    (folder / "acme.toml").write_text(CRM + sources)
    (folder / "agents.csv").write_bytes(csv.encode() if isinstance(csv, str) else csv)
    return directory(load(folder / "acme.toml", environ), environ)


def wrong(folder: Path, csv: str | bytes, sources: str = GOOGLE + FILE, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        known(folder, sources, csv, **environ)
    assert caught.value.where.endswith("acme.toml")
    return [str(problem) for problem in caught.value.problems]


# ---- what is understood ---------------------------------------------------------------------------------------------


def test_a_list_names_primary_calendars(tmp_path: Path) -> None:
    people = known(tmp_path, GOOGLE + 'agents = ["Ann@Acme.example", "bob@acme.example"]\n')
    assert [agent.email for agent in people.agents] == ["ann@acme.example", "bob@acme.example"]
    assert [(one.source, one.kind, one.name, one.location) for one in people.calendars] == [
        ("google", "google", "primary", "")
    ] * 2


def test_a_file_says_all_there_is_to_say_about_an_agent(tmp_path: Path) -> None:
    csv = (
        "agent,calendar,aliases,crm_owner,timezone,office,role,state,until\n"
        "ann@acme.example,showings@acme.example, A.Lee@acme.example; alee@acme.example ,101,America/Chicago,north,"
        "Assistant,LEFT,2026-10-31\n"
    )
    people = known(tmp_path, GOOGLE + FILE, csv)
    assert people.agents == (
        Agent(
            email="ann@acme.example",
            aliases=("a.lee@acme.example", "alee@acme.example"),
            crm_owner="101",
            timezone="America/Chicago",
            office="north",
            role=Role.ASSISTANT,
            state=AgentState.LEFT,
            until=date(2026, 10, 31),
        ),
    )
    assert people.calendars[0].name == "showings@acme.example"


@pytest.mark.parametrize(
    "csv",
    [
        "agent,office\r\nann@acme.example,north\r\n",
        "\ufeffagent,office\nann@acme.example,north\n",
        "OFFICE , Agent\nnorth,ann@acme.example",
        'agent,office\n\n  \n"ann@acme.example","north"\n,\n',
        "agent,office,crm_owner\nann@acme.example,north\n",
    ],
    ids=["CRLF", "BOM", "any order and case", "blank lines", "short rows"],
)
def test_files_may_be_written_by_any_editor(tmp_path: Path, csv: str) -> None:
    assert known(tmp_path, GOOGLE + FILE, csv).agents == (Agent(email="ann@acme.example", office="north"),)


def test_every_name_of_an_agent_finds_them_whatever_its_case(tmp_path: Path) -> None:
    people = known(tmp_path, GOOGLE + FILE, "agent,aliases,crm_owner\nann@acme.example,al@acme.example,Ann LEE\n")
    [ann] = people.agents
    for name in ("ann@acme.example", " ANN@acme.example", "al@ACME.example", "ann lee"):
        assert people.agent_of(name) is ann
    for stranger in (None, "", "bob@acme.example"):
        assert people.agent_of(stranger) is None


def test_rows_of_a_query_are_read_like_a_file(tmp_path: Path) -> None:
    rows = [
        {"AGENT": "Ann@acme.example", "crm_owner": 101, "office": None, "until": datetime(2026, 10, 31, tzinfo=UTC)}
    ]
    asked = []

    def query(statement: str) -> Iterable[Mapping[str, Any]]:
        asked.append(statement)
        return rows

    (tmp_path / "acme.toml").write_text(CRM + GOOGLE + 'agents = { query = "SELECT 1" }\n')
    people = directory(load(tmp_path / "acme.toml", {}), {}, query)
    assert people.agents == (Agent(email="ann@acme.example", crm_owner="101", until=date(2026, 10, 31)),)
    assert asked == ["SELECT 1"]


def test_an_agent_may_have_several_calendars_and_a_calendar_several_agents(tmp_path: Path) -> None:
    csv = "agent,calendar\nann@acme.example,\nann@acme.example,team@acme.example\nbob@acme.example,team@acme.example\n"
    people = known(tmp_path, GOOGLE + FILE, csv)
    assert [agent.email for agent in people.agents] == ["ann@acme.example", "bob@acme.example"]
    assert [calendar.name for calendar in people.calendars] == ["primary", "team@acme.example", "team@acme.example"]


def test_sources_complete_what_they_say_about_one_agent(tmp_path: Path) -> None:
    sources = GOOGLE + FILE + ICS + 'agent = "ann@acme.example"\npath = "feeds/ann.ics"\n'
    people = known(tmp_path, sources, "agent,crm_owner\nann@acme.example,101\n")
    assert people.agents == (Agent(email="ann@acme.example", crm_owner="101"),)
    assert [(one.source, one.name, one.agent.crm_owner) for one in people.calendars] == [
        ("google", "primary", "101"),
        ("ics", "feeds/ann.ics", "101"),
    ]
    assert people.calendars[1].location == str(tmp_path / "feeds/ann.ics")


def test_feeds_are_named_so_that_their_address_is_not_given_away(tmp_path: Path) -> None:
    csv = "agent,calendar\na@x.example,https://h.example/secret-path.ics\nb@x.example,env:B_ICS\nc@x.example,c.ics\n"
    people = known(tmp_path, ICS + FILE, csv, B_ICS="https://h.example/hunter2.ics")
    first, second, third = people.calendars
    assert first.name.startswith("h.example#")
    assert (second.name, third.name) == ("env:B_ICS", "c.ics")
    assert [one.location for one in people.calendars] == [
        "https://h.example/secret-path.ics",
        "https://h.example/hunter2.ics",
        str(tmp_path / "c.ics"),
    ]
    assert "secret-path" not in repr(people)
    assert "hunter2" not in repr(people)


def test_a_directory_of_known_agents_needs_no_job() -> None:
    ann = Agent(email="ann@acme.example", crm_owner="7")
    assert Directory.of([ann]).agent_of("7") is ann


def test_a_directory_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Directory.of([]).agents = ()  # type: ignore[misc]


# ---- what is wrong, and where ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("csv", "sentence"),
    [
        ("", "agents.csv: names no agents (one line for each agent, below a line with the column names)"),
        ("agent,office\n", "agents.csv: names no agents (one line for each agent, below a line with the column names)"),
        (
            "office\nnorth\n",
            "agents.csv line 1: has no column agent (the first line names the columns: agent,calendar,...)",
        ),
        ("agnet\na@x.example\n", 'agents.csv line 1: has an unknown column "agnet" (did you mean "agent"?)'),
        ("agent,ofice\na@x.example,n\n", 'agents.csv line 1: has an unknown column "ofice" (did you mean "office"?)'),
        ("agent,agent\na@x.example,b@x.example\n", "agents.csv line 1: has the column agent 2 times"),
        ("agent;office\na@x.example;north\n", "agents.csv line 1: has one column (separate the columns with commas)"),
        (
            "agent\nann\n",
            'agents.csv line 2, agent: "ann" is not an e-mail address (write it bare, like ann@acme.example)',
        ),
        (
            "agent,office\n,north\n",
            'agents.csv line 2, agent: "" is not an e-mail address (write it bare, like ann@acme.example)',
        ),
        (
            "agent,aliases\na@x.example,b@x.example c@x.example\n",
            (
                'agents.csv line 2, aliases: "b@x.example c@x.example" is not an e-mail address '
                "(write it bare, like ann@acme.example)"
            ),
        ),
        (
            "agent,timezone\na@x.example,America/Chigaco\n",
            'agents.csv line 2, timezone: "America/Chigaco" is not a time zone (did you mean "America/Chicago"?)',
        ),
        (
            "agent,until\na@x.example,10/31/2026\n",
            'agents.csv line 2, until: "10/31/2026" is not a date (write it like 2026-10-31)',
        ),
        (
            "agent,role\na@x.example,asistant\n",
            'agents.csv line 2, role: "asistant" is not possible here (did you mean "assistant"?)',
        ),
        (
            "agent,state\na@x.example,gone\n",
            'agents.csv line 2, state: "gone" is not possible here (possible here: active, left)',
        ),
        (
            "agent\na@x.example\n\nA@X.example\n",
            "agents.csv line 2 and agents.csv line 4: a@x.example is listed 2 times (calendar primary)",
        ),
        (
            "agent,aliases\na@x.example,c@x.example\nb@x.example,C@x.example\n",
            (
                'agents: "c@x.example" names both a@x.example and b@x.example '
                "(an address, alias or CRM owner can name one agent only)"
            ),
        ),
        (
            "agent,crm_owner\na@x.example,7\nb@x.example,7\n",
            (
                'agents: "7" names both a@x.example and b@x.example '
                "(an address, alias or CRM owner can name one agent only)"
            ),
        ),
        (
            "agent,calendar,office\na@x.example,one,north\na@x.example,two,south\n",
            "agents.csv line 3: a@x.example has another office than on agents.csv line 2 (make them agree)",
        ),
        (
            "agent,aliases\na@x.example,b@x.example,c@x.example\n",
            "agents.csv line 2: has 3 cells for 2 columns (quote a cell with a comma in it; separate aliases with ;)",
        ),
        (b"agent\na@x.example\n\xff\n", 'agents.csv: is not UTF-8 text (line 3) (save it as "CSV UTF-8")'),
    ],
)
def test_each_mistake_has_its_line_and_its_sentence(tmp_path: Path, csv: str | bytes, sentence: str) -> None:
    assert wrong(tmp_path, csv) == [sentence]


def test_a_quote_that_is_not_closed_is_said_to_be_so(tmp_path: Path) -> None:
    [problem] = wrong(tmp_path, 'agent,office\na@x.example,"north\n')
    assert problem.startswith("agents.csv line")
    assert problem.endswith("(a quote that is not closed?)")


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    sources = GOOGLE + FILE + ICS + 'agent = "dee@acme.example"\nurl = "env:DEE_ICS"\n'
    problems = wrong(tmp_path, "agent,timezone,state\nann,Mars,gone\nb@x.example,,\nb@x.example,,\n", sources)
    assert len(problems) == 5
    assert problems[-1] == "source[2].url: the environment variable DEE_ICS is not set (set DEE_ICS where the job runs)"


def test_a_wrong_file_does_not_flood_the_terminal(tmp_path: Path) -> None:
    problems = wrong(tmp_path, "agent\n" + "nobody\n" * 1000)
    assert len(problems) == PROBLEM_LIMIT + 1
    assert problems[-1] == "agents: 900 more problems are not listed"


def test_a_missing_file_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(CRM + GOOGLE + FILE)
    with pytest.raises(ConfigError) as caught:
        directory(load(tmp_path / "acme.toml", {}), {})
    assert str(caught.value) == (
        "agents.csv: can't be read: No such file or directory (paths are relative to the job file)"
    )


def test_a_query_with_an_unknown_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(CRM + GOOGLE + 'agents = { query = "SELECT 1" }\n')
    job = load(tmp_path / "acme.toml", {})
    with pytest.raises(ConfigError) as caught:
        directory(job, {}, lambda _: [{"email": "a@x.example"}])
    assert "has no column agent" in str(caught.value)
    with pytest.raises(ConfigError, match="names no agents"):
        directory(job, {}, lambda _: [])
    with pytest.raises(ConfigError, match="needs a SQL CRM"):
        directory(job, {})


@pytest.mark.parametrize("calendar", ["", "http://h.example/a.ics", "env:", "https://h.example/a.ics?token=hunter2"])
def test_a_feed_that_cannot_be_is_refused_without_showing_it(tmp_path: Path, calendar: str) -> None:
    [problem] = wrong(tmp_path, f"agent,calendar\na@x.example,{calendar}\n", ICS + FILE)
    assert problem.startswith("agents.csv line 2, calendar: ")
    assert "hunter2" not in problem


# ---- whatever a file says -------------------------------------------------------------------------------------------


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "ignore")))
def test_arbitrary_files_end_in_rows_or_problems(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("agents") / "agents.csv"
    path.write_bytes(content)
    assert all(row is not None for row in rows_of_file(path))


PEOPLE = st.lists(
    st.builds(
        Agent,
        email=st.integers(0, 999).map("agent{}@x.example".format),
        crm_owner=st.none() | st.integers(0, 99).map("owner {}".format),
        role=st.sampled_from(Role),
    ),
    unique_by=(lambda agent: agent.email, lambda agent: agent.crm_owner or agent.email),
)


@given(PEOPLE)
def test_each_agent_is_found_by_each_of_their_names_and_by_no_other(people: list[Agent]) -> None:
    crowd = Directory.of(people)
    for agent in people:
        assert crowd.agent_of(agent.email.upper()) == agent
        if agent.crm_owner:
            assert crowd.agent_of(agent.crm_owner) == agent
    assert crowd.agent_of("stranger@x.example") is None
    assert Directory.of(replace(agent) for agent in people) == crowd
