"""The distribution of a task's duration, and the instant at which polling the task pays best.

The chances are kept on a grid of seconds whose neighbours are 3 % apart, because durations of one kind
differ in proportion; so any shape fits, with one mode, two, or a long tail.

When to poll. Given that the task was not done ``since`` seconds after its start, let ``P`` be the chance
that it is done at ``t``, and ``W`` the seconds a result is expected to have lain there unseen by then. A
poll costs ``price`` seconds of waiting elsewhere, so polling at ``t`` costs ``(price + W) / P`` for each
result it finds. The best instant is where that is least: early enough to find results fresh, late enough
to find them at all. (With a constant hazard ``h`` this is the classical ``sqrt(2 price / h)``; against the
exact optimum by dynamic programming it loses 1 to 3 %, and it costs microseconds.)

Before ``PATIENCE`` a poll may be given a discount that falls off in proportion to the time: two seconds of
waiting more are little for a clip, and much for a picture that took four.

Pure: durations are float seconds from the start of the task.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

STEPS: Final = 32  # grid points to a factor of e
SHORTEST: Final = 0.2  # s; nothing this API does is faster than an exchange
PATIENCE: Final = 60.0  # s after the start from which a poll has its full price
LONGEST: Final = 14_400.0  # s; twice the longest wait a client has patience for by default
CELLS: Final = math.ceil(math.log(LONGEST / SHORTEST) * STEPS) + 1
GRID: Final = tuple(SHORTEST * math.exp(index / STEPS) for index in range(CELLS))
_WIDTHS: Final = tuple(after - before for before, after in pairwise(GRID))
_HALVES: Final = tuple(width / 2 for width in _WIDTHS)


def cell(seconds: float) -> int:
    """The cell of the grid that a duration falls into: the first whose end is not before it."""
    return min(CELLS - 1, max(0, math.ceil(math.log(max(seconds, SHORTEST) / SHORTEST) * STEPS)))


def _fee(price: float, discount: float, at: float) -> float:
    """What a poll at ``at`` seconds costs."""
    return price if at >= PATIENCE else price - discount * (1 - at / PATIENCE)


class Duration:
    """Distribution of the seconds that a task of one kind takes."""

    __slots__ = ("_done", "_first_polls", "_waited", "mean")

    def __init__(self, masses: Sequence[float]) -> None:
        """Take the weight of every cell of the grid; only their proportions matter."""
        sums = list(accumulate(masses))
        total = sums[-1]
        self._done = done = [mass / total for mass in sums]
        trapezoids = [(low + high) * half for low, high, half in zip(done, done[1:], _HALVES, strict=False)]
        self._waited = list(accumulate(trapezoids, initial=0.0))
        self.mean: float = GRID[-1] - self._waited[-1]
        """Expected seconds."""
        self._first_polls: dict[tuple[int, float], float] = {}

    def cdf(self, seconds: float) -> float:
        """Chance, 0 to 1, that the task is done within ``seconds`` of its start."""
        return self._at(seconds)[0]

    def quantile(self, chance: float) -> float:
        """Seconds within which the task is done with this chance, 0 to 1."""
        after = bisect_left(self._done, chance)
        if after == 0:
            return GRID[0]
        low, high = self._done[after - 1], self._done[after]
        return GRID[after - 1] + _WIDTHS[after - 1] * (chance - low) / (high - low)

    def chance(self, seconds: float, *, since: float) -> float:
        """Chance that the task is done at ``seconds``, given that it was not at ``since``."""
        before = self.cdf(since)
        return (self.cdf(seconds) - before) / (1 - before) if before < 1 else 1.0

    def next_poll(self, *, since: float, price: float, discount: float = 0.0) -> float:
        """Seconds after the start at which the next poll costs least for each result it finds.

        Args:
            since: seconds after the start at which the task was last seen running; 0 when never polled.
            price: seconds of waiting that one request costs, more than 0.
            discount: on the price, at the start; at most the whole of it.
        """
        if since > 0:
            return self._cheapest(since, price, discount)
        share = round(discount / price, 1)
        bracket = round(math.log(price) * 8)  # one in eight to a factor of e: flat around the optimum
        poll = self._first_polls.get((bracket, share))
        if poll is None:
            rounded = math.exp(bracket / 8)
            poll = self._first_polls[bracket, share] = self._cheapest(0.0, rounded, share * rounded)
        return poll

    def _at(self, seconds: float) -> tuple[float, float]:
        """The chance to be done by then, and its integral up to then."""
        if seconds < SHORTEST:
            return 0.0, 0.0
        index = int(math.log(seconds / SHORTEST) * STEPS)
        if index >= CELLS - 1:
            return 1.0, self._waited[-1] + seconds - GRID[-1]
        into = seconds - GRID[index]
        low = self._done[index]
        gain = (self._done[index + 1] - low) * into / _WIDTHS[index]
        return low + gain, self._waited[index] + (low + gain / 2) * into

    def _cheapest(self, since: float, price: float, discount: float) -> float:
        known, waited = self._at(since)
        running = 1 - known
        if running < 1e-6:  # outlived all that was thought possible: poll ever more rarely
            return since * (1 + 2 / STEPS) + price
        done, integral = self._done, self._waited
        least, best = math.inf, LONGEST
        for index in range(bisect_left(done, known + 1e-9, lo=cell(since)), CELLS):
            if (found := done[index] - known) <= 0 or (at := GRID[index]) <= since:
                continue
            wait = integral[index] - waited - known * (at - since)
            cost = _fee(price, discount, at) * running + wait
            if cost < least * found:
                least, best = cost / found, at
            elif cost > least * running:  # even sure success would cost more from here on
                break
        return self._refined(best, since, price, discount)

    def _refined(self, best: float, since: float, price: float, discount: float) -> float:
        """The cheapest instant near a point of the grid: one video is worth better than 3 %."""
        known, waited = self._at(since)

        def cost(at: float) -> float:
            done, integral = self._at(at)
            found, wait = done - known, integral - waited - known * (at - since)
            return (
                (_fee(price, discount, at) * (1 - known) + wait) / found
                if at > since and found > 0
                else math.inf
            )

        for nudge in (0.5, 0.25):
            best = min((best * math.exp(side * nudge / STEPS) for side in (0, -1, 1)), key=cost)
        return max(best, since)
