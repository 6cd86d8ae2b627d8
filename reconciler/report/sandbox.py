"""The sandbox in which templates are filled: one reaches nothing but what it is given, and comes to an end.

Pure. What is counted is the same on every machine: turns of loops and calls, and never the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jinja2 import FunctionLoader, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jinja2.runtime import Context

TURNS: Final = 5_000_000
"""Turns of its loops that filling a template may take, some seconds: ours take thousands, one that lists every finding
of a hundred thousand takes some for each."""

CALL: Final = 10
"""Turns that a call counts for, or what is included: it takes about as long."""

WIDEST: Final = 20_000_000
"""Characters of one value, or bits of a number, that a template may multiply."""

_COUNTED: Final = "counted turns"


class Sandbox(ImmutableSandboxedEnvironment):
    """Where the templates that `load` finds are filled."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, load: Callable[[str], str | None] | None = None, *, is_html: bool = False) -> None:
        super().__init__(
            loader=FunctionLoader(load) if load else None,
            autoescape=is_html,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._turns = 0
        self.filters[_COUNTED] = self._counted
        self.globals.pop("lipsum", None)  # it writes as much as it is asked to in one go

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Have every loop of a template walk through what is counted: what a loop does is out of sight else."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno)
        return tree

    def _counted(self, values: Iterable[object]) -> Iterator[object]:
        for value in values:
            self._turn()
            yield value

    def is_safe_callable(self, obj: object) -> bool:
        """Tell whether a template may call that; it is asked before every call."""
        self._turn(CALL)
        return super().is_safe_callable(obj)

    def join_path(self, template: str, parent: str) -> str:
        """Return the name of a template that another one includes."""
        self._turn(CALL)
        return super().join_path(template, parent)

    def _turn(self, count: int = 1) -> None:
        self._turns += count
        if self._turns > TURNS:
            raise SecurityError(f"it takes more than {TURNS:,} turns of its loops")

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """Multiply, if what that makes can be held."""
        if _grown(operator, left, right) > WIDEST:
            raise SecurityError(f"it makes a value of more than {WIDEST:,} characters or digits")
        return super().call_binop(context, operator, left, right)


def _grown(operator: str, left: object, right: object) -> int:
    """Return how large a product is: characters of a text, items of a list, about as many bits of a number."""
    match operator, left, right:
        case "**", int(), int():
            return left.bit_length() * right
        case "*", int(), int():
            return left.bit_length() + right.bit_length()
        case "*", str() | list() | tuple(), int():
            return len(left) * right
        case "*", int(), str() | list() | tuple():
            return left * len(right)
        case _:
            return 0
