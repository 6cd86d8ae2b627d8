"""Two calls have one command if they do the same, however they are spelled and whatever they show of it."""

from __future__ import annotations

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.core import TyperGroup

from reconciler.cli import commands
from reconciler.schedule import Called, called
from reconciler.schedule.calls import LONGEST, OWN, VALUED


def of(words: str) -> Called:
    return called(words.split(), commands.NAMES)


@pytest.mark.parametrize(
    ("words", "command", "job"),
    [
        ("", "run", None),
        ("acme", "run", "acme"),
        ("run acme --scheduled --quiet", "run", "acme"),
        ("-q --format json --mask acme", "run", "acme"),
        ("run --full --job acme", "run --full", "acme"),
        ("run --job=acme", "run", "acme"),
        ("report acme --send --urgent -q", "report --send --urgent", "acme"),
        ("--quiet report --urgent --scheduled --send acme", "report --send --urgent", "acme"),
        ("report --html=m.html --since 31d", "report --html m.html --since 31d", None),
        ("report --since=31d --html m.html", "report --html m.html --since 31d", None),
        ("pull --shard 1/4 acme", "pull --shard 1/4", "acme"),
        ("state prune acme", "state prune", "acme"),
        ("state forget jane@mail.example --job acme", "state forget jane@mail.example", "acme"),
        ("explain 17", "explain 17", None),
        ("run -- acme", "run", "acme"),
    ],
)
def test_a_call_is_told_by_its_words(words: str, command: str, job: str | None) -> None:
    assert (of(words).command, of(words).job) == (command, job)


def test_only_what_says_so_is_scheduled() -> None:
    assert of("run acme --scheduled").is_scheduled
    assert not of("run acme").is_scheduled


@pytest.mark.parametrize(
    ("words", "is_followed"),
    [
        ("run acme --scheduled", True),
        ("state prune acme --scheduled", True),
        ("run acme", False),
        ("status acme --scheduled", False),
        ("run acme --dry-run --scheduled", False),
        (f"run acme --only {'a' * 300} --scheduled --dry-run", False),
    ],
)
def test_slots_are_noted_of_what_serves_any_and_a_dry_run_serves_none(words: str, *, is_followed: bool) -> None:
    assert of(words).is_followed is is_followed


def test_commands_that_differ_are_others() -> None:
    said = ["run", "run --full", "run --only a", "run --only b", "report --html a", "report --csv a", "report a b"]
    assert len({of(words).command for words in said}) == len(said)


@given(st.lists(st.text(min_size=1)))
def test_any_words_make_a_bounded_command(words: list[str]) -> None:
    command = called(words, commands.NAMES).command
    assert len(command) <= LONGEST
    assert command == called([*words], commands.NAMES).command


def test_long_commands_that_differ_at_their_end_are_others() -> None:
    one, other = (called(["report", "--html", "x" * 500 + end], commands.NAMES).command for end in "ab")
    assert one != other
    assert len(one) <= LONGEST


def test_what_takes_a_value_and_what_takes_an_argument_is_what_the_commands_say() -> None:
    program = typer.main.get_command(commands.app)
    assert isinstance(program, TyperGroup)
    valued, own = set[str](), set[str]()
    groups = [each for each in program.commands.values() if isinstance(each, TyperGroup)]
    for group in (program, *groups):
        for name, command in group.commands.items():
            for parameter in command.params:
                if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", True):
                    valued.update(parameter.opts)
                elif parameter.param_type_name == "argument" and parameter.name != "job":
                    own.add(name)
    shared = {
        option for parameter in program.params for option in parameter.opts if not getattr(parameter, "is_flag", 1)
    }
    assert {option for option in valued | shared if option.startswith("--")} <= VALUED
    assert own <= OWN
