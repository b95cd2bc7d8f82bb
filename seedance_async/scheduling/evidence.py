"""The evidence about one kind's duration, from finished and running tasks, as weights of the grid's cells.

A finished task adds a log-normal density around its duration; the more tasks of the kind have finished, the
narrower it is. Later densities have more weight than earlier ones: they are added in a growing unit, so that
the old weights need not be changed. A task that a poll found running counts as one completion later than its
present age (the Kaplan-Meier estimate).

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

MEMORY: Final = 60.0  # completions after which an old one has about a third of its weight
FADE: Final = math.exp(-1 / MEMORY)
WIDEST: Final = 0.35  # spread of the first completion's density; it shrinks like a standard error
NARROWEST: Final = 0.06
NEGLIGIBLE: Final = 0.05  # share of new evidence up to which a distribution is not calculated again


@define(eq=False)
class Evidence:
    """The completed and running tasks of one kind, and the kinds whose distributions depend on them."""

    count: int = 0  # completions ever
    readers: set[Kind] = field(factory=set)
    _masses: list[float] = field(factory=lambda: [0.0] * CELLS)
    _unit: float = 1.0
    _outlived: dict[int, int] = field(factory=dict)  # number of running tasks by the cell of their age
    _running: int = 0
    _changes: int = 0

    @property
    def weight(self) -> float:
        """The present weight of all completions, in completions: at most about ``MEMORY``."""
        return (1 - FADE**self.count) / (1 - FADE)

    def finished(self, duration: float) -> None:
        """Add a task that took ``duration`` seconds."""
        self.count += 1
        self._unit /= FADE
        first, shares = log_normal(duration, max(NARROWEST, WIDEST / math.sqrt(self.weight)))
        for index, share in enumerate(shares, first):
            self._masses[index] += share * self._unit
        if self._unit > 1e100:
            self._masses = [mass / self._unit for mass in self._masses]
            self._unit = 1.0

    def running(self, seconds: float, tasks: int) -> None:
        """Add ``tasks`` that have run for ``seconds`` so far; a negative number removes them."""
        self._running += tasks
        place = cell(seconds)
        self._outlived[place] = self._outlived.get(place, 0) + tasks
        if not self._outlived[place]:
            del self._outlived[place]

    def needs_update(self) -> bool:
        """Count one change; returns whether the dependent distributions should be calculated again."""
        self._changes += 1
        if self._changes <= NEGLIGIBLE * (self.weight + self._running):
            return False
        self._changes = 0
        return True

    def mixed_with(self, borrowed: Sequence[float], *, worth: float) -> list[float]:
        """The weights of all cells if ``borrowed`` counts as ``worth`` completions."""
        total = self.weight + worth
        ours, theirs = 1 / (self._unit * total), worth / total
        return [mass * ours + other * theirs for mass, other in zip(self._masses, borrowed, strict=True)]

    def with_running(self, shares: Sequence[float], *, worth: float) -> Sequence[float]:
        """The weights if each running task adds one completion, spread over the durations still possible.

        Args:
            shares: the weights without the running tasks.
            worth: how many completions the weights of the coarser kind count as, in addition to its own.
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
    """A log-normal density, cut off at three spreads: its first cell, and the weights from that cell on."""
    reach = math.exp(3 * spread)
    first, last = cell(median / reach), cell(median * reach)
    ends = [_normal(math.log(GRID[index] / median) / spread) for index in range(first, last)]
    return first, [after - before for before, after in pairwise([0.0, *ends, 1.0])]


def _normal(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2
