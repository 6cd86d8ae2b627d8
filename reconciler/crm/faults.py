"""Database errors in words for people: what happened and what to do, never a password, never a client's data."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from reconciler.errors import CrmUnreachableError, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MISSING = {"42P01", "42703", "3F000", "1146", "1054", "1049"}
_FORBIDDEN = {"42501", "1142", "1143", "1044", "1227"}
_LOGIN = {"28000", "28P01", "1045", "1698"}
_AGAIN = {"40001", "40P01", "55P03", "57014", "1213", "1205", "3024", "1969"}
_DUPLICATE = {"23505", "1062", "1586"}
_LOST = {"2006", "2013", "2055", "57P01", "57P02", "57P03", "08000", "08003", "08006"}


def code_of(error: BaseException) -> str:
    """Return the database's own code: an SQLSTATE, a MySQL number, SQLite's name; empty when it gave none."""
    original = getattr(error, "orig", None) or error
    first = original.args[0] if original.args else ""
    if isinstance(first, int):
        return str(first)
    return str(getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None) or "")


def is_duplicate(error: BaseException) -> bool:
    """Tell whether a unique index refused the write."""
    return code_of(error) in _DUPLICATE | {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}


def is_worth_repeating(error: BaseException) -> bool:
    """Tell whether the same statement may succeed later: a deadlock, a lost race, a lock that was not free."""
    return code_of(error) in _AGAIN or code_of(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def is_lost(error: BaseException) -> bool:
    """Tell whether the connection broke, so that the fate of what was under way is unknown."""
    gone = bool(getattr(error, "connection_invalidated", False))
    code = code_of(error)
    return gone or code in _LOST or (not code and isinstance(error, exc.OperationalError | exc.InterfaceError))


def clean(error: BaseException, names: Iterable[str] = (), values: Iterable[object] = ()) -> str:
    """Return the database's message without data: no `values` we sent, nothing quoted but the `names` of the schema."""
    original = getattr(error, "orig", None) or error
    said = _primary(original)
    for value in sorted({str(value) for value in values if value not in (None, "")}, key=len, reverse=True):
        said = said.replace(value, "…")
    kept = set(names)
    said = re.sub(r"\(([^()]*)\)=\(.*\)", "(…)", said)
    said = re.sub(r"""(['"`])(.*?)\1""", lambda quoted: quoted[0] if quoted[2] in kept else "…", said)
    return re.sub(r"\s+", " ", said).strip()[:200]


def _primary(original: Any) -> str:  # noqa: ANN401 -- every driver has its own error class
    diagnosis = getattr(original, "diag", None)
    if diagnosis is not None and diagnosis.message_primary:
        return str(diagnosis.message_primary)
    if original.args and isinstance(original.args[0], int):
        return str(original.args[1]) if len(original.args) > 1 else ""
    return str(original).splitlines()[0] if str(original) else type(original).__name__


@contextmanager
def reading(place: str, table: str, driver: type[BaseException] = exc.DBAPIError) -> Iterator[None]:
    """Turn what a database says while it is read into CrmUnreachableError or SnapshotError. `place` names it safely."""
    try:
        yield
    except (exc.SQLAlchemyError, driver) as error:
        raise told(error, place, table) from None


def told(error: BaseException, place: str, table: str) -> CrmUnreachableError | SnapshotError:
    """Say what a failed read means: a CRM that can't be reached, or one that no longer shows what it showed."""
    code, said = code_of(error), clean(error, (table,))
    if code in _FORBIDDEN or "permission denied" in said:
        return SnapshotError(
            f"the CRM ({place}) no longer lets this account read {table}: {said}. Nothing was planned. "
            f"Grant it SELECT on the table and on every mapped column."
        )
    if code in _MISSING or "no such table" in said or "no such column" in said:
        return SnapshotError(
            f"the CRM ({place}) no longer has {table} or one of its mapped columns: {said}. Nothing was planned. "
            f"Run `reconcile check`."
        )
    if code.startswith("SQLITE_CANTOPEN"):
        return CrmUnreachableError(
            f"the CRM ({place}) can't be opened: there is no such file, or this user may not read it (in WAL mode: "
            f"nor write beside it). Nothing was planned. Look at [crm] url: sqlite:///PATH, where a relative PATH "
            f"begins at the job file's folder."
        )
    if code in _LOGIN or "authentication failed" in said:
        return CrmUnreachableError(f"the CRM ({place}) refused the login. Check user and password in [crm] url.")
    return CrmUnreachableError(
        f"the CRM ({place}) could not be read whole: {said or 'no answer'}. Nothing was planned. "
        f"Check that it runs and can be reached from here; the next run tries again."
    )
