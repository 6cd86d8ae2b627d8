"""An export in a text file is whole or not there, and nothing else is left beside it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from reconciler.metrics.leaving import NotLeftError, write


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_where_a_disk_is_full_the_old_export_stays_and_no_half_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "acme.prom"
    write(path, b"old 1\n")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotLeftError, match="can't be written: No space left"):
        write(path, b"new 1\n")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"acme.prom": b"old 1\n"}


def test_a_folder_in_its_place_is_said_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "acme.prom").mkdir()
    with pytest.raises(NotLeftError, match="can't be written: Is a directory"):
        write(tmp_path / "acme.prom", b"new 1\n")
    assert [one.name for one in tmp_path.iterdir()] == ["acme.prom"]
