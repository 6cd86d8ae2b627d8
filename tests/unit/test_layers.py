"""The layers hold: who may import whom is written in pyproject.toml, and pure modules really are pure."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "reconciler"

# Of the standard library, what can be used without touching the world.
PURE_LIBRARY = {
    *("__future__", "abc", "collections", "contextlib", "copy", "dataclasses", "enum", "functools", "types", "typing"),
    *("bisect", "decimal", "fractions", "heapq", "itertools", "math", "operator", "statistics"),
    *(
        "base64",
        "binascii",
        "csv",
        "difflib",
        "hashlib",
        "hmac",
        "html",
        "json",
        "re",
        "string",
        "textwrap",
        "unicodedata",
    ),
    *("datetime", "ipaddress", "urllib.parse", "zoneinfo"),
}
# Packages that pure modules may use, each where it earns its place.
PURE_PACKAGES = {
    "normalise": {"orjson"},  # one canonical form of JSON under every digest
    "plan": {"orjson"},  # the same, for the digest of a plan
    "findings": {"deepdiff"},  # explains pairs that are known to differ
    "report.build": {"orjson"},  # the report's own JSON
    "report.sandbox": {"jinja2"},  # templates of a brokerage, in Jinja's sandbox
    "match": {"re2"},  # regular expressions of job files, which cannot run away
}
# The packages that are slow to import: a command that does not need them never loads them.
SLOW = {"O365", "alembic", "deepdiff", "googleapiclient", "icalendar", "msal", "pandas", "recurring_ical_events"}
# Packages with one home, or two. Names are the modules or packages directly under reconciler/.
HOMED = {"O365", "croniter", "deepdiff", "googleapiclient", "pandas", "prometheus_client", "sqlalchemy"}
# What a pure module must be handed instead of asking for it.
WORLDLY_CALLS = {"open", "input", "print", "eval", "exec", "__import__", "breakpoint"}
WORLDLY_METHODS = {"now", "today", "utcnow", "uuid1", "uuid4", "urandom", "getenv", "read_text", "write_text"}


# Of the report all is pure but what fills templates, makes tables and sends.
WORLDLY_REPORTS = {"report.render", "report.tables", "report.mail", "report.line", "report.webhook"}


def layers() -> list[set[str]]:
    """Read the layers from pyproject.toml, highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [table] = [contract for contract in contracts if contract["id"] == "layers"]
    return [{name.strip(" ()") for name in layer.split(":")} for layer in table["layers"]]


def modules() -> dict[str, Path]:
    """Name every module of the program without the leading `reconciler.`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def is_pure(name: str) -> bool:
    effects = next(number for number, layer in enumerate(layers()) if "store" in layer)
    if name.startswith("report."):
        return name not in WORLDLY_REPORTS
    return any(name.split(".", maxsplit=1)[0] in layer for layer in layers()[effects + 1 :])


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            if node.module in {"reconciler", "urllib"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif node.module:
                yield node.module


def impurities(name: str, source: str) -> list[str]:
    """List what keeps a module from being pure."""
    tree = ast.parse(source)
    return [*foreign_imports(name, tree), *worldly_calls(tree)]


def foreign_imports(name: str, tree: ast.Module) -> Iterator[str]:
    allowed = PURE_LIBRARY | PURE_PACKAGES.get(name, set())
    for imported in imports(tree):
        own = imported.removeprefix("reconciler.")
        if own != imported:
            if not is_pure(own) and own != "__version__":
                yield f"imports {imported}, which has effects"
        elif not allowed & {imported, imported.split(".")[0]}:
            yield f"imports {imported}"


def worldly_calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in WORLDLY_CALLS:
                yield f"calls {name} in line {node.lineno}"
            case ast.Call(func=ast.Attribute(attr=name)) if name in WORLDLY_METHODS:
                yield f"calls .{name} in line {node.lineno}"


def test_every_module_has_its_place() -> None:
    placed = set().union(*layers())
    homeless = sorted({name.split(".")[0] for name in modules()} - placed)
    assert not homeless, f"give {homeless} a place in [tool.importlinter] in pyproject.toml: pure, or with effects?"


def test_pure_modules_are_pure() -> None:
    found = {name: impurities(name, path.read_text()) for name, path in modules().items() if is_pure(name)}
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_the_domain_knows_only_the_standard_library() -> None:
    domain = layers()[-1]
    allowed = {*sys.stdlib_module_names, *(f"reconciler.{name}" for name in domain)}
    for name, path in modules().items():
        if name.split(".")[0] in domain:
            found = {imported for imported in imports(ast.parse(path.read_text())) if imported not in allowed}
            assert {imported for imported in found if imported.split(".")[0] not in allowed} == set(), name


def loaded_with(*names: str) -> set[str]:
    """Import modules in a fresh Python and list the packages that came along."""
    program = f"import sys, {', '.join(names)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True).split())


def test_slow_packages_are_loaded_when_they_are_needed() -> None:
    every_command = [
        name for name in modules() if name in {"cli", "run", "config", "plan", "decide", "findings", "guard"}
    ]
    assert loaded_with("reconciler", *(f"reconciler.{name}" for name in every_command)) & SLOW == set()


@pytest.mark.parametrize("package", sorted(HOMED))
def test_packages_live_in_one_place_or_two(package: str) -> None:
    homes = {
        name.split(".")[0]
        for name, path in modules().items()
        if package in {imported.split(".")[0] for imported in imports(ast.parse(path.read_text()))}
    }
    assert len(homes) <= 2, f"{package} is known in {sorted(homes)}"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import socket", "imports socket"),
        ("from urllib import request", "imports urllib.request"),
        ("def f():\n    import random", "imports random"),
        ("from reconciler import store", "imports reconciler.store, which has effects"),
        ("from reconciler.store.tables import runs", "imports reconciler.store.tables, which has effects"),
        ("import sqlalchemy as sa", "imports sqlalchemy"),
        ("t = datetime.now(UTC)", "calls .now in line 1"),
        ("print('x')", "calls print in line 1"),
    ],
)
def test_an_impurity_is_seen(source: str, problem: str) -> None:
    assert impurities("decide", source) == [problem]


def test_purity_allows_what_a_pure_module_needs() -> None:
    source = "from urllib.parse import urlsplit\nfrom reconciler import text\nimport reconciler.model\nimport orjson"
    assert impurities("normalise", source) == []
    assert impurities("decide", source) == ["imports orjson"]


def test_a_slow_import_is_seen() -> None:
    assert "icalendar" in loaded_with("icalendar") & SLOW
