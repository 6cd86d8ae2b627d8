"""A Containerfile's steps, read and followed without a container engine: every folder of the image lies below one root.

`python` is an interpreter of this machine in the place of the base image's. `.ci/run` follows the build with a wheel
that it made before:

    python tests/containerfile.py FOLDER dist/reconciler-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_OWN = ("/build", "/opt", "/srv")


@dataclass(frozen=True)
class Step:
    """One instruction, its words, and for a COPY from another stage which one."""

    name: str
    words: tuple[str, ...]
    stage: str | None = None


@dataclass
class Stage:
    base: str
    name: str
    steps: list[Step] = field(default_factory=list)


def stages(text: str) -> list[Stage]:
    """Read a Containerfile. What stands before the first FROM is in a stage of its own, without a base."""
    found = [Stage("", "")]
    for line in re.sub(r"\\\n", " ", text).splitlines():
        name, _, rest = line.strip().partition(" ")
        if not name or name.startswith("#"):
            continue
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            found.append(Stage(base, alias))
        else:
            found[-1].steps.append(_step(name, rest))
    return found


def _step(name: str, rest: str) -> Step:
    if rest.startswith("["):
        return Step(name, tuple(json.loads(rest)))
    words = shlex.split(rest)
    stage = words.pop(0).removeprefix("--from=") if words and words[0].startswith("--from=") else None
    return Step(name, tuple(words), stage)


def follow(stage: Stage, root: Path, python: str, instead: Callable[[Step], bool] = lambda _: False) -> None:
    """Follow a stage's steps below `root`; `instead` may take one over, and says so."""
    here = root
    for step in stage.steps:
        if instead(step):
            continue
        match step.name:
            case "WORKDIR":
                here = _inside(step.words[0], root)
                here.mkdir(parents=True, exist_ok=True)
            case "COPY" if step.stage is None:
                _copy(step.words, here)
            case "RUN":
                words = [python if word == "python" else str(_placed(word, root)) for word in step.words]
                subprocess.run(words, cwd=here, env=_environ(), check=True, capture_output=True, text=True)


def _environ() -> Mapping[str, str]:
    return {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def _copy(words: tuple[str, ...], here: Path) -> None:
    *sources, target = words
    for name in sources:
        source, to = ROOT / name, here / target
        if source.is_dir():
            shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__", "var"))
        else:
            shutil.copy(source, to)


def _placed(word: str, root: Path) -> str:
    return str(_inside(word, root)) if word.startswith(_OWN) else word


def _inside(path: str, root: Path) -> Path:
    return root / path.lstrip("/")


def main(folder: Path, wheel: Path) -> None:
    """Follow the build stage below `folder`, with `wheel` in the place of one that would be made of this checkout."""

    def given(step: Step) -> bool:
        if "wheel" not in step.words:
            return False
        target = _inside("/build/wheels", folder)
        target.mkdir()
        shutil.copy(wheel, target)
        return True

    [build] = [stage for stage in stages((ROOT / "Containerfile").read_text()) if stage.name == "build"]
    try:
        follow(build, folder, sys.executable, given)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd)}\n{error.stdout[-2000:]}{error.stderr[-2000:]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]))
