"""The house is in order: exceptions are counted, functions are short, nothing names the machine it was made on."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = sorted((ROOT / "reconciler").rglob("*.py"))

# Every exception that the program takes from its own rules: file, how many, and why. An exact list: a new exception
# needs a line here that a reviewer can disagree with, and one that is gone takes its line along.
HATCHES = {
    "type: ignore": re.compile(r"#\s*type:\s*ignore"),
    "noqa": re.compile(r"#\s*(ruff:\s*)?noqa", re.IGNORECASE),
    "pragma: no cover": re.compile(r"#\s*pragma:\s*no cover"),
    "print(": re.compile(r"(?<![\w.])print\("),
}
ALLOWED: dict[str, dict[str, tuple[int, str]]] = {
    "type: ignore": {},
    "noqa": {
        "reconciler/cli/commands.py": (
            3,
            "typer reads an option from a parameter; `run`, `accept` and `report` have as many as they have options",
        ),
        "reconciler/cli/entry.py": (1, "the last line of defence turns any error into a sentence and an exit code"),
        "reconciler/cli/personal.py": (2, "JSON is anything"),
        "reconciler/crm/checks.py": (1, "a path is looked at as the database spells it"),
        "reconciler/crm/csv.py": (1, "a statement is put together from question marks alone"),
        "reconciler/crm/engines.py": (1, "a driver's connection has no type of its own"),
        "reconciler/crm/faults.py": (1, "every driver has its own class of errors"),
        "reconciler/crm/queries.py": (2, "a driver's cursor has no type; False is a value there, not a flag"),
        "reconciler/crm/reflect.py": (1, "dialects add keys of their own to what they reflect"),
        "reconciler/crm/sql.py": (2, "a driver's cursor has no type of its own"),
        "reconciler/crm/times.py": (3, "the length of a spelling; one kind of error for one caller, twice"),
        "reconciler/kubernetes/cronjob.py": (1, "a container's own folder for temporary files, gone with it"),
        "reconciler/store/codec.py": (1, "JSON is anything"),
        "reconciler/store/compare.py": (1, "mirror or records, whose columns have one name"),
        "reconciler/store/database.py": (2, "a driver's connection has no type; a statement of our own words"),
        "reconciler/store/erasing.py": (1, "what a pragma answers is a number, a word or nothing"),
        "reconciler/store/subject.py": (1, "JSON is anything"),
    },
    "pragma: no cover": {},
    "print(": {},
}

LONGEST_AT_P90 = 35  # lines of a function; the best of this field keep nine of ten under it
COMMON_FOLDERS = {"/", "/home", "/opt", "/srv", "/tmp", "/usr", "/usr/local", "/usr/src", "/var", "/var/tmp"}  # noqa: S108 - only names


def count(pattern: re.Pattern[str], sources: Iterable[tuple[str, str]]) -> dict[str, int]:
    return {name: found for name, source in sources if (found := len(pattern.findall(source)))}


@pytest.mark.parametrize("hatch", HATCHES)
def test_escape_hatches_are_counted(hatch: str) -> None:
    found = count(HATCHES[hatch], ((path.relative_to(ROOT).as_posix(), path.read_text()) for path in PROGRAM))
    listed = {name: number for name, (number, _) in ALLOWED[hatch].items()}
    assert found == listed, (
        f"`{hatch}` is at {found}, but ALLOWED in this file lists {listed}: remove it, or say why it must be"
    )
    assert all(why.strip() for _, why in ALLOWED[hatch].values()), "every exception says why"


@pytest.mark.parametrize(
    ("hatch", "line"),
    [
        ("type: ignore", "x = f()  # type: ignore[arg-type]"),
        ("noqa", "x = f()  # noqa: S603"),
        ("noqa", "# ruff: noqa"),
        ("pragma: no cover", "if x:  # pragma: no cover"),
        ("print(", "    print(x)"),
    ],
)
def test_an_escape_hatch_is_seen(hatch: str, line: str) -> None:
    assert count(HATCHES[hatch], [("a.py", line)]) == {"a.py": 1}


def test_printing_elsewhere_is_no_print() -> None:
    assert count(HATCHES["print("], [("a.py", "console.print(x)\nfingerprint(x)\n")]) == {}


def lengths(source: str) -> list[int]:
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [(node.end_lineno or node.lineno) - node.lineno + 1 for node in functions]


def test_functions_are_short() -> None:
    everything = sorted(length for path in PROGRAM for length in lengths(path.read_text()))
    p90 = everything[len(everything) * 9 // 10] if everything else 0
    assert p90 <= LONGEST_AT_P90


def test_lengths_are_measured() -> None:
    assert lengths("def f():\n    x = 1\n    return x\n\nasync def g(): pass\n") == [3, 1]


@pytest.fixture(scope="module")
def tracked() -> dict[str, str]:
    """Read every file that is under version control."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git checkout: there is no list of files to look through")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return {str(path.relative_to(ROOT)): path.read_text(errors="replace") for path in paths if path.is_file()}


def machine_paths() -> set[str]:
    candidates = {str(ROOT), str(ROOT.parent), str(Path.home())}
    return {path for path in candidates if path not in COMMON_FOLDERS}


def registry_hosts() -> set[str]:
    """Name the public package registries, and whatever this machine's pip was told to use."""
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    words = re.findall(r"https?://[^\s'\"]+", " ".join([configured.stdout, *map(str, os.environ.values())]))
    mirrors = {urlsplit(word).hostname or "" for word in words if "/simple" in word or "pypi" in word}
    public = {".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs", "org"))}
    return (public | mirrors) - {"", "localhost", "127.0.0.1", "::1"}


def mentions(needles: Iterable[str], files: dict[str, str]) -> list[str]:
    """List the places that contain one of the needles as a whole path or host name."""
    found = []
    for needle in sorted(needles):
        pattern = re.compile(rf"(?<![\w-])(?<!:/){re.escape(needle)}(?![\w-])")
        found += [f"{name}: {needle}" for name, text in files.items() if pattern.search(text)]
    return found


def test_no_file_names_this_machine(tracked: dict[str, str]) -> None:
    assert mentions(machine_paths(), tracked) == []


def test_no_file_names_a_package_registry(tracked: dict[str, str]) -> None:
    assert mentions(registry_hosts(), tracked) == []


def test_a_mention_is_seen() -> None:
    files = {"a": "see /somewhere/else/x.py", "b": "https://files.example.org/simple", "c": "/somewhere/elsewhere"}
    assert mentions({"/somewhere/else", "example.org"}, files) == ["a: /somewhere/else", "b: example.org"]
    assert mentions({"/somewhere"}, {"user": "mysql://somewhere@host", "file": "file:///somewhere"}) == [
        "file: /somewhere"
    ]


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_databases_for_tests_are_empty_and_separate(server: str, request: pytest.FixtureRequest) -> None:
    create: Callable[[], str] = request.getfixturevalue(f"{server}_database")
    seen = Counter[str]()
    for _ in range(2):
        engine = sqlalchemy.create_engine(create(), poolclass=sqlalchemy.NullPool)
        with engine.begin() as connection:
            assert sqlalchemy.inspect(connection).get_table_names() == []
            connection.execute(sqlalchemy.text("CREATE TABLE words (word VARCHAR(20))"))
            connection.execute(sqlalchemy.text("INSERT INTO words VALUES ('Zoë 🏡')"))
            seen.update(connection.scalars(sqlalchemy.text("SELECT word FROM words")))
    assert seen == {"Zoë 🏡": 2}
