"""What the state knows of one calendar, asked when somebody looks: a source that finds nothing new never does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from reconciler.store import mirror

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reconciler.store.state import State

T = TypeVar("T")


class Ids(AbstractSet[str]):
    """Native ids of one calendar: those that the mirror holds, or those of them that a record hangs on."""

    def __init__(self, state: State, calendar: int, *, linked: bool = False) -> None:
        self._state = state
        self._calendar = calendar
        self._query = mirror.linked_events if linked else mirror.known_events

    @cached_property
    def _ids(self) -> frozenset[str]:
        return _asked(self._state, self._query, self._calendar)

    def __contains__(self, event: object) -> bool:
        return event in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


class Rules(Mapping[str, str]):
    """What earlier pulls asked to keep of each series of one calendar."""

    def __init__(self, state: State, calendar: int) -> None:
        self._state = state
        self._calendar = calendar

    @cached_property
    def _rules(self) -> Mapping[str, str]:
        return _asked(self._state, mirror.rules_of, self._calendar)

    def __getitem__(self, series: str) -> str:
        return self._rules[series]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)


def _asked(state: State, query: Callable[[Connection, State, int], T], calendar: int) -> T:
    with state.engine.connect() as connection:
        return query(connection, state, calendar)
