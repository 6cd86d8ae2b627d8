"""How much of something one run may do: an amount, a share of a population, or the larger of the two."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_SPELLING: Final = re.compile(r"(?:(\d{1,9}) or )?(\d{1,3}(?:\.\d{1,4})?) ?%|(\d{1,9})", re.ASCII)
_HUNDRED: Final = Decimal(100)


@dataclass(frozen=True, slots=True)
class Limit:
    """The larger of `amount` and `percent` percent of a population."""

    amount: int = 0
    percent: Decimal = Decimal(0)

    @classmethod
    def parse(cls, spelling: str) -> Limit:
        """Read `25 or 10%`, `10` or `10%`; raise ValueError with a sentence for anything else."""
        match = _SPELLING.fullmatch(spelling.strip())
        if match is None:
            raise ValueError('write an amount, a share, or both: "10", "10%" or "25 or 10%"')
        percent = Decimal(match[2] or 0)
        if percent > _HUNDRED:
            raise ValueError("a share is between 0% and 100%")
        return cls(int(match[1] or match[3] or 0), percent)

    def allowed(self, population: int, cap: int) -> int:
        """Return how many of `population` one run may touch, never more than `cap`."""
        return min(cap, max(self.amount, int(population * self.percent / _HUNDRED)))

    def __str__(self) -> str:
        share = f"{self.percent.normalize():f}%"
        if not self.percent:
            return str(self.amount)
        return f"{self.amount} or {share}" if self.amount else share
