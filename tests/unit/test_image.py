"""The image is made of pinned parts and of nothing more than a run needs; its steps are right as far as can be read.

`.ci/run` follows the steps of the Containerfile for real.
"""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from reconciler.kubernetes.cronjob import USER
from reconciler.kubernetes.deployment import FOLDER
from tests.containerfile import Stage, stages

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = re.compile(r"([a-z0-9-]+)==([^ ;]+)(?: ; ([^\\]+?))? \\")
IMPORT = re.compile(r"^\s*(?:from ([\w.]+) import \(?([\w, ]*)|import ([\w.]+))", re.MULTILINE)
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")
FILES = ("constraints.txt", "constraints-build.txt")


def containerfile() -> list[Stage]:
    return stages((ROOT / "Containerfile").read_text())


@cache
def pinned(name: str) -> dict[str, list[tuple[str, Marker | None]]]:
    """Return the versions of each package in a constraints file, with what each is for."""
    found: dict[str, list[tuple[str, Marker | None]]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if match := PINNED.fullmatch(line):
            found.setdefault(match[1], []).append((match[2], Marker(match[3]) if match[3] else None))
    return found


# ---- constraints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_every_line_pins_a_version_or_is_one_of_its_hashes(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    assert [line for line in lines if not (PINNED.fullmatch(line) or HASH.fullmatch(line))] == []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert line.endswith("\\") == following.startswith("    --hash"), "each has a hash, and none is left over"


@pytest.mark.parametrize("name", FILES)
def test_no_constraint_says_where_anything_is_downloaded(name: str) -> None:
    assert not re.search(r"https?:|://|@|--index|--find-links|--extra|\.org|\.com", (ROOT / name).read_text())


def satisfied(requirement: Requirement, name: str) -> bool:
    versions = pinned(name).get(canonicalize_name(requirement.name), [])
    return bool(versions) and all(requirement.specifier.contains(version) for version, _ in versions)


def test_the_constraints_satisfy_what_the_program_and_its_build_ask_for() -> None:
    wrong = [each for each in PROJECT["project"]["dependencies"] if not satisfied(Requirement(each), "constraints.txt")]
    build = PROJECT["build-system"]["requires"]
    wrong += [each for each in build if not satisfied(Requirement(each), "constraints-build.txt")]
    assert wrong == [], "make constraints"


def needed() -> set[str]:
    """Return all that the program needs on this machine, as the packages that are installed say."""
    names: set[str] = set()
    waiting = [Requirement(each) for each in PROJECT["project"]["dependencies"]]
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        if name not in names:
            names.add(name)
            waiting += [
                each
                for text in metadata.requires(asked.name) or []
                if (each := Requirement(text)).marker is None
                or any(each.marker.evaluate({"extra": extra}) for extra in {"", *asked.extras})
            ]
    return names


def is_as_pinned() -> bool:
    """Tell whether what is installed here are the versions that are pinned: newer ones may need other packages."""
    versions = {name: {version for version, _ in some} for name, some in pinned("constraints.txt").items()}
    return all(metadata.version(name) in versions.get(name, {metadata.version(name)}) for name in needed())


def test_nothing_for_developers_is_in_the_image() -> None:
    dev = PROJECT["project"]["optional-dependencies"]["dev"]
    assert set(pinned("constraints.txt")) & {canonicalize_name(Requirement(each).name) for each in dev} == set()


@pytest.mark.skipif(not is_as_pinned(), reason="other versions than those that are pinned are installed here")
def test_nothing_that_is_needed_is_missing_and_nothing_else_is_there() -> None:
    markers = {name: [marker for _, marker in some] for name, some in pinned("constraints.txt").items()}
    here = {name for name, some in markers.items() if any(marker is None or marker.evaluate() for marker in some)}
    assert here == needed(), "make constraints"


# ---- the simulator --------------------------------------------------------------------------------------------------


@cache
def imported() -> dict[str, set[str]]:
    """Return what each module of the program imports, wherever in it, by its path."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "reconciler").rglob("*.py"):
        lines = IMPORT.findall(path.read_text())
        names = {name for module, _, plain in lines for name in (module, plain) if name}
        names |= {
            f"reconciler.{name}" for module, some, _ in lines if module == "reconciler" for name in some.split(", ")
        }
        found[path.relative_to(ROOT / "reconciler").as_posix()] = names
    return found


def packages(*, simulator: bool) -> set[str]:
    """Return the packages, beside ours and the standard library, that the simulator imports, or all but it."""
    some = [names for path, names in imported().items() if path.startswith("simulator/") is simulator]
    return {name.split(".")[0] for names in some for name in names} - {"reconciler", *sys.stdlib_module_names}


def test_only_the_demo_knows_the_simulator() -> None:
    knowing = {
        path
        for path, names in imported().items()
        if not path.startswith("simulator/") and any(name.startswith("reconciler.simulator") for name in names)
    }
    assert knowing == {"cli/demonstration.py"}


def test_the_simulator_brings_no_package_of_its_own() -> None:
    assert packages(simulator=True) <= packages(simulator=False)


def test_the_program_imports_nothing_of_what_is_there_for_tests() -> None:
    needs, homes = needed(), metadata.packages_distributions()
    some = packages(simulator=False)
    assert {name for name in some if not {canonicalize_name(each) for each in homes.get(name, [])} & needs} == set()


# ---- the Containerfile ----------------------------------------------------------------------------------------------


def test_both_stages_begin_with_a_base_that_is_pinned_and_no_digest_is_made_up() -> None:
    head, build, last = containerfile()
    assert (build.base, build.name, last.base) == ("${PYTHON}@${DIGEST}", "build", "${PYTHON}@${DIGEST}")
    assert {step.words[0].partition("=")[0]: "=" in step.words[0] for step in head.steps} == {
        "PYTHON": True,
        "DIGEST": False,
    }


def test_the_base_is_a_python_that_the_program_says_it_runs_on() -> None:
    [python] = [step.words[0] for step in containerfile()[0].steps if step.words[0].startswith("PYTHON")]
    version = re.search(r":(\d+\.\d+)-slim$", python)
    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in PROJECT["project"]["classifiers"]


def test_no_step_needs_a_shell() -> None:
    lines = (ROOT / "Containerfile").read_text().splitlines()
    assert [line for line in lines if re.match(r"(RUN|ENTRYPOINT|CMD)(?! \[)", line)] == []
    assert not {step.words[0] for stage in containerfile() for step in stage.steps} & {"sh", "bash", "/bin/sh"}


def test_packages_are_installed_by_their_hashes_and_never_built() -> None:
    _, build, _ = containerfile()
    installs = [set(step.words) for step in build.steps if "install" in step.words]
    assert len(installs) == 3
    for words in installs:
        assert {"--require-hashes", "--only-binary=:all:", "--no-deps"} <= words or {"--no-index", "--no-deps"} <= words


def test_the_last_stage_has_the_program_and_no_way_to_install_more() -> None:
    *_, last = containerfile()
    by_name = {step.name: step for step in last.steps}
    assert [step.words for step in last.steps if step.name == "COPY"] == [("/opt/reconcile", "/opt/reconcile")]
    removed, compiled = (step.words for step in last.steps if step.name == "RUN")
    assert removed[:4] == ("python", "-m", "pip", "uninstall")
    assert (compiled[:3], compiled[-1]) == (("python", "-m", "compileall"), "/usr/local/lib"), "the base has none"
    assert "unchecked-hash" in compiled
    assert by_name["USER"].words == (f"{USER}:{USER}",)
    assert by_name["ENTRYPOINT"].words == ("reconcile",)
    assert by_name["WORKDIR"].words == (FOLDER,)
    assert "PYTHONDONTWRITEBYTECODE=1" in by_name["ENV"].words


def from_here() -> set[str]:
    """Return what is copied into the image from this repository."""
    steps = [step for stage in containerfile() for step in stage.steps if step.name == "COPY" and not step.stage]
    return {name for step in steps for name in step.words[:-1]}


def test_everything_that_is_copied_is_there_and_is_all_that_the_wheel_is_made_of() -> None:
    copied = from_here()
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    project = PROJECT["project"]
    sources = {
        *wheel["packages"],
        *wheel["force-include"],
        *project["license-files"],
        project["readme"],
        "pyproject.toml",
    }
    assert copied == sources | set(FILES)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def sent(name: str) -> bool:
    """Tell whether the engine is sent a file: the last line that fits it, or a folder that it is in, decides."""
    said = False
    for line in (ROOT / ".containerignore").read_text().splitlines():
        pattern = re.escape(line.lstrip("!/")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if line and not line.startswith("#") and re.fullmatch(f"{pattern}(/.*)?", name):
            said = line.startswith("!")
    return said


def test_what_is_not_copied_is_not_even_sent_to_the_engine() -> None:
    lines = [line for line in (ROOT / ".containerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line.removeprefix("!/") for line in lines if line.startswith("!")}
    assert {name for name in let_in if "/" not in name} == from_here()
    for name in ("pyproject.toml", "reconciler/cli/entry.py", "jobs/acme.toml", "jobs/monitoring/dashboard.json"):
        assert sent(name), name
    for name in (
        "jobs/var/acme.db", "jobs/google.json", "jobs/keys/google.json", "jobs/ms.pem", "jobs/a/b/ms.key",
        "jobs/acme.db-wal", "jobs/north/acme.db", "jobs/.env", "jobs/secrets/smtp", "tests/conftest.py", ".git/HEAD",
        "reconciler/__pycache__/plan.cpython-313.pyc",
    ):  # fmt: skip
        assert not sent(name), name
