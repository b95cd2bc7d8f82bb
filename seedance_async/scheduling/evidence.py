"""The evidence of finished and running tasks of one kind about its duration, as shares of the grid's cells.

A finished task adds a log-normal density around its duration, as wide as the kind is still uncertain. Later
densities weigh more than earlier ones: they are written in a growing unit, so that nothing old has to be
touched. A task that a poll found running counts as one completion somewhere beyond its age (Kaplan and
Meier's estimate).

Pure: durations are float seconds.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from attrs import define, field

from seedance_async.models import Kind
from seedance_async.scheduling.duration import CELLS, GRID, cell

if TYPE_CHECKING:
    from collections.abc import Sequence

MEMORY: Final = 60.0  # completions after which an old one counts a third
FADE: Final = math.exp(-1 / MEMORY)
WIDEST: Final = 0.35  # spread of the first completion's density; later ones narrow as a standard error does
NARROWEST: Final = 0.06
NEGLIGIBLE: Final = 0.05  # share of the evidence that may be new before a belief is formed again


@define(eq=False)
class Evidence:
    """The completed and the running tasks of one kind, and the kinds whose beliefs rest on them."""

    count: int = 0  # completions ever
    readers: set[Kind] = field(factory=set)
    _masses: list[float] = field(factory=lambda: [0.0] * CELLS)
    _unit: float = 1.0
    _outlived: dict[int, int] = field(factory=dict)  # running tasks by the cell of their age
    _running: int = 0
    _news: int = 0

    @property
    def weight(self) -> float:
        """Completions that all of them are worth now: about ``MEMORY`` at most."""
        return (1 - FADE**self.count) / (1 - FADE)

    def finished(self, duration: float) -> None:
        """A task took so many seconds."""
        self.count += 1
        self._unit /= FADE
        first, shares = log_normal(duration, max(NARROWEST, WIDEST / math.sqrt(self.weight)))
        for index, share in enumerate(shares, first):
            self._masses[index] += share * self._unit
        if self._unit > 1e100:
            self._masses = [mass / self._unit for mass in self._masses]
            self._unit = 1.0

    def running(self, seconds: float, tasks: int) -> None:
        """So many more tasks (fewer, when negative) are known to have run for so many seconds."""
        self._running += tasks
        place = cell(seconds)
        self._outlived[place] = self._outlived.get(place, 0) + tasks
        if not self._outlived[place]:
            del self._outlived[place]

    def is_news(self) -> bool:
        """Note one piece of news; whether beliefs that rest on this should be formed again."""
        self._news += 1
        if self._news <= NEGLIGIBLE * (self.weight + self._running):
            return False
        self._news = 0
        return True

    def mixed_with(self, belief: Sequence[float], *, worth: float) -> list[float]:
        """The shares of every cell when ``belief`` counts as ``worth`` completions."""
        total = self.weight + worth
        ours, theirs = 1 / (self._unit * total), worth / total
        return [mass * ours + other * theirs for mass, other in zip(self._masses, belief, strict=True)]

    def pushed_out(self, shares: Sequence[float], *, worth: float) -> Sequence[float]:
        """The shares when each running task adds a completion, spread over where it can still end.

        Args:
            shares: what is believed but for the running tasks.
            worth: completions that the belief borrowed for this kind counts as, next to its own.
        """
        if not self._outlived:
            return shares
        completions = self.weight + worth
        pushed: list[float] = []
        growth = beyond = 1.0
        for place in sorted(self._outlived):
            passed = shares[len(pushed) : place + 1]
            pushed += [share * growth for share in passed]
            beyond -= sum(passed)
            growth += self._outlived[place] / (completions * max(beyond, 1e-9))
        return [*pushed, *(share * growth for share in shares[len(pushed) :])]


def log_normal(median: float, spread: float) -> tuple[int, list[float]]:
    """One log-normal density, cut off at three spreads, in shares of the cells from the first index on."""
    reach = math.exp(3 * spread)
    first, last = cell(median / reach), cell(median * reach)
    ends = [_normal(math.log(GRID[index] / median) / spread) for index in range(first, last)]
    return first, [after - before for before, after in pairwise([0.0, *ends, 1.0])]


def _normal(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2
