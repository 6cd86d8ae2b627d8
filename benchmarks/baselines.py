"""What the audit is measured beside: DeepDiff, pandas, SQL on a stored digest, and reading and hashing a stream.

Usage: python benchmarks/baselines.py NAME FOLDER. All see the same two tables, `calendar.db` and `crm.db`.
"""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import measure
import orjson

SAMPLE = 2_000
FIELDS = ("agent_email", "contact_email", "title", "starts_at", "ends_at", "all_day", "location", "status")
ROWS = f"SELECT source_key, {', '.join(FIELDS)} FROM appointments"  # noqa: S608  # our own words


def deepdiff(folder: Path) -> None:
    """Diff every pair, naively: measured on a sample of pairs, told per pair."""
    with closing(sqlite3.connect(folder / "crm.db")) as crm, closing(sqlite3.connect(folder / "calendar.db")) as ours:
        sides = [
            [
                dict(zip(FIELDS, row[1:], strict=True))
                for row in itertools.islice(side.execute(f"{ROWS} ORDER BY id"), SAMPLE)
            ]
            for side in (ours, crm)
        ]
    took: measure.Took = {}
    from deepdiff import DeepDiff

    with measure.timed(took, "whole"):
        found = sum(1 for left, right in zip(*sides, strict=True) if DeepDiff(left, right))
    measure.tell(took, differing=found, pairs=len(sides[0]))


def pandas(folder: Path) -> None:
    """Read both tables into frames, merge them on the key, compare the columns."""
    import pandas as pd

    took: measure.Took = {}
    with (
        measure.timed(took, "whole"),
        closing(sqlite3.connect(folder / "crm.db")) as crm,
        closing(sqlite3.connect(folder / "calendar.db")) as ours,
    ):
        with measure.timed(took, "read"):
            frames = pd.read_sql_query(ROWS, ours), pd.read_sql_query(ROWS, crm)
        with measure.timed(took, "compare"):
            both = frames[0].merge(frames[1], on="source_key", how="outer", suffixes=("", "_crm"), indicator=True)
            apart = both["_merge"] != "both"
            for name in FIELDS:
                apart |= (both[name] != both[f"{name}_crm"]) & ~(both[name].isna() & both[f"{name}_crm"].isna())
            found = int(apart.sum())
    measure.tell(took, differing=found)


def stored(folder: Path) -> None:
    """Join two tables of key and stored digest in SQLite; making them is not counted, here or in the audit."""
    path = folder / "digests.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("digest", -1, _digest, deterministic=True)
        for name in ("calendar", "crm"):
            connection.execute(f"ATTACH ? AS {name}_side", (str(folder / f"{name}.db"),))
            connection.execute(f"CREATE TABLE {name} (key TEXT PRIMARY KEY, digest BLOB) WITHOUT ROWID")
            columns = ", ".join(FIELDS)
            connection.execute(
                f"INSERT INTO {name} SELECT source_key, digest({columns}) FROM {name}_side.appointments ORDER BY 1"  # noqa: S608  # ours
            )
    took: measure.Took = {}
    with closing(sqlite3.connect(path)) as connection:
        join = "SELECT count(*) FROM calendar FULL JOIN crm USING (key) WHERE calendar.digest IS NOT crm.digest"
        connection.execute(join).fetchone()  # once to warm up
        with measure.timed(took, "whole"):
            found = connection.execute(join).fetchone()[0]
    measure.tell(took, differing=found)


def _digest(*cells: object) -> bytes:
    return hashlib.blake2b(orjson.dumps(cells), digest_size=16).digest()


def stream(folder: Path) -> None:
    """Read both tables row by row with the bare driver and hash each row: what seeing everything costs at least."""
    took: measure.Took = {}
    with measure.timed(took, "whole"):
        for name in ("calendar", "crm"):
            with measure.timed(took, f"read {name}"), closing(sqlite3.connect(folder / f"{name}.db")) as connection:
                for row in connection.execute("SELECT * FROM appointments"):
                    _digest(row)
    measure.tell(took)


def compare(folder: Path) -> None:
    """Time the job's own comparison of all links, alone, on the state that the audit left."""
    from reconciler.store import compare as ours
    from reconciler.store.state import open_state

    state = open_state(f"sqlite:///{folder / 'state.db'}", "bench")
    took: measure.Took = {}
    with state.engine.connect() as connection:
        sum(one.links for one in ours.weigh(connection, state))  # once to warm up
        with measure.timed(took, "whole"):
            found = sum(len(one.apart) for one in ours.weigh(connection, state))
    measure.tell(took, differing=found)


if __name__ == "__main__":
    {each.__name__: each for each in (deepdiff, pandas, stored, stream, compare)}[sys.argv[1]](Path(sys.argv[2]))
