"""Who writes what in one run: the CRM's hand and one for each calendar source, made when there is work for it."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property, partial
from typing import TYPE_CHECKING, Self

from reconciler.calendar_side import CalendarHand, Calendars
from reconciler.crm_side import CrmHand
from reconciler.link_side import LinkHand
from reconciler.model import Action, Shape, Side
from reconciler.quota import Scope as Scopes
from reconciler.store import state
from reconciler.store.compare import Scope
from reconciler.store.journal import Intent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from reconciler.crm import Written
    from reconciler.hand import Hand
    from reconciler.model import Delta, Window
    from reconciler.setup import Setup, Writers
    from reconciler.store.state import Watched

_PROVIDERS = {"google": "Google", "microsoft": "Microsoft"}


class Hands:
    """The hands of one run, closed with it. `shape` is how the CRM keeps values; None before it was asked.

    A recovery has no shape: nothing is compared yet.
    """

    def __init__(
        self, setup: Setup, writers: Writers, window: Window, patience: Callable[[], float], shape: Shape | None = None
    ) -> None:
        self._setup = setup
        self._writers = writers
        self._scope = Scope(window, frozenset())
        self._patience = patience
        self._shape = shape
        self._made: dict[str | None, Hand] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Release all connections."""
        self._open.close()

    def of(self, one: Delta | Intent) -> Hand:
        """Return who writes this delta, or wrote this intent."""
        if one.action is Action.LINK:
            return LinkHand(self._setup.state, self._compared)
        source = None if one.side is Side.CRM else self._source_of(one)
        if source not in self._made:
            hand = self._made[source] = self._crm() if source is None else self._calendar(source)
            self._open.callback(hand.close)
        return self._made[source]

    def _crm(self) -> Hand:
        return CrmHand(self._setup.state, self._writers.crm, self._compared, self._scope, self._charged)

    def _charged(self, write: Callable[[], Written]) -> Written:
        """Do one write to the CRM within its budget. Raises PostponedError."""
        budget = self._writers.budget
        if budget is None:
            return write()
        return budget.call(write, agent="", scope=Scopes.WRITE, patience=self._patience)

    @property
    def _compared(self) -> tuple[str, ...]:
        return self._setup.compare(self._shape) if self._shape else ()

    def _source_of(self, one: Delta | Intent) -> str:
        """Return the name of the source whose calendar is written to; empty for one that the job does not name."""
        number = one.calendar if isinstance(one, Intent) else one.calendar_id
        watched = self._watched.get(number or 0)
        return watched.calendar.source if watched else ""

    @cached_property
    def _watched(self) -> dict[int, Watched]:
        with self._setup.state.begin() as connection:
            found = state.watch(connection, self._setup.state, self._setup.directory.calendars)
        return {each.id: each for each in found}

    def _calendar(self, name: str) -> Hand:
        """Return who writes to the calendars of a source; to none of them, where the job's direction does not lead."""
        watched = {number: one for number, one in self._watched.items() if one.calendar.source == name}
        kinds = {one.calendar.kind for one in watched.values()}
        make = self._writers.calendars.get(name)
        calendars = Calendars(
            name=self._named(name, kinds),
            watched=watched,
            terms=self._setup.terms(self._known_shape),
            make=partial(make, self._patience) if make else None,
        )
        return CalendarHand(self._setup.state, calendars, self._scope, self._setup.clock)

    def _named(self, name: str, kinds: Collection[str]) -> str:
        """Say who keeps the calendars of a source, which of them where there are several: each fails for itself."""
        known = next((_PROVIDERS[kind] for kind in kinds if kind in _PROVIDERS), "the calendar")
        others = {one.calendar.source for one in self._watched.values() if one.calendar.kind in kinds}
        return f"{known} ({name})" if len(others) > 1 else known

    @cached_property
    def _known_shape(self) -> Shape:
        """Return how the CRM keeps values, as it was last known."""
        if self._shape is not None:
            return self._shape
        with self._setup.state.begin() as connection:
            return state.shape(connection, self._setup.state) or Shape(frozenset())
