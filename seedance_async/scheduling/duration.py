"""The distribution of a task's duration, and the best instant to poll the task.

The probabilities are stored on a grid of seconds in steps of 3 %, because durations of one kind differ by
factors. So any shape can be represented, with one mode, two, or a long tail.

When to poll. Given that the task was not done ``since`` seconds after its start, let ``P`` be the probability
that it is done at ``t``, and ``W`` the expected seconds for which its result has been ready unseen by then. A
poll costs ``price`` seconds of waiting elsewhere, so polling at ``t`` costs ``(price + W) / P`` per result
found. The best instant is the minimum: early enough that results are recent, late enough that there are any.
(With a constant hazard rate ``h`` this is the classical ``sqrt(2 price / h)``. Compared with the exact
optimum by dynamic programming it loses 1 to 3 %, and it costs microseconds.)

Before ``PATIENCE`` a poll may have a discount that decreases linearly with time: two more seconds of waiting
are little for a clip, but much for a picture that took four.

Pure: durations are float seconds from the start of the task.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

STEPS: Final = 32  # grid points to a factor of e
SHORTEST: Final = 0.2  # s; about the time of one request
PATIENCE: Final = 60.0  # s after the start from which a poll has its full price
LONGEST: Final = 14_400.0  # s; twice the default of ``Timeouts.wait``
CELLS: Final = math.ceil(math.log(LONGEST / SHORTEST) * STEPS) + 1
GRID: Final = tuple(SHORTEST * math.exp(index / STEPS) for index in range(CELLS))
_WIDTHS: Final = tuple(after - before for before, after in pairwise(GRID))
_HALVES: Final = tuple(width / 2 for width in _WIDTHS)


def cell(seconds: float) -> int:
    """The index of the grid's cell for a duration: the first whose end is not before it."""
    return min(CELLS - 1, max(0, math.ceil(math.log(max(seconds, SHORTEST) / SHORTEST) * STEPS)))


def _fee(price: float, discount: float, at: float) -> float:
    """The price of a poll ``at`` seconds after the start, with its discount."""
    return price if at >= PATIENCE else price - discount * (1 - at / PATIENCE)


class Duration:
    """The distribution of the duration of tasks of one kind, in seconds."""

    __slots__ = ("_done", "_first_polls", "_waited", "mean")

    def __init__(self, masses: Sequence[float]) -> None:
        """Make a distribution of the weights of all cells of the grid; only their proportions matter."""
        sums = list(accumulate(masses))
        total = sums[-1]
        self._done = done = [mass / total for mass in sums]
        trapezoids = [(low + high) * half for low, high, half in zip(done, done[1:], _HALVES, strict=False)]
        self._waited = list(accumulate(trapezoids, initial=0.0))
        self.mean: float = GRID[-1] - self._waited[-1]
        """The expected duration in seconds."""
        self._first_polls: dict[tuple[int, float], float] = {}

    def cdf(self, seconds: float) -> float:
        """The probability, 0 to 1, that the task is done within ``seconds`` of its start."""
        return self._at(seconds)[0]

    def quantile(self, chance: float) -> float:
        """The seconds within which the task is done with this probability, 0 to 1."""
        after = bisect_left(self._done, chance)
        if after == 0:
            return GRID[0]
        low, high = self._done[after - 1], self._done[after]
        return GRID[after - 1] + _WIDTHS[after - 1] * (chance - low) / (high - low)

    def chance(self, seconds: float, *, since: float) -> float:
        """The probability that the task is done at ``seconds``, given that it was not at ``since``."""
        before = self.cdf(since)
        return (self.cdf(seconds) - before) / (1 - before) if before < 1 else 1.0

    def next_poll(self, *, since: float, price: float, discount: float = 0.0) -> float:
        """The seconds after the start at which the next poll has the lowest cost per result found.

        Args:
            since: seconds after the start at which the task was last seen running; 0 if it was never polled.
            price: the price of a request in seconds of waiting, more than 0.
            discount: the reduction of the price at the task's start, at most ``price``.
        """
        if since > 0:
            return self._cheapest(since, price, discount)
        share = round(discount / price, 1)
        bracket = round(math.log(price) * 8)  # eight steps per factor of e: the minimum is flat
        poll = self._first_polls.get((bracket, share))
        if poll is None:
            rounded = math.exp(bracket / 8)
            poll = self._first_polls[bracket, share] = self._cheapest(0.0, rounded, share * rounded)
        return poll

    def _at(self, seconds: float) -> tuple[float, float]:
        """The probability to be done within ``seconds``, and its integral up to there."""
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
        if running < 1e-6:  # it runs longer than was thought possible: poll ever less often
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
            elif cost > least * running:  # from here on, even a certain result would cost more
                break
        return self._refined(best, since, price, discount)

    def _refined(self, best: float, since: float, price: float, discount: float) -> float:
        """The cheapest instant near a point of the grid; for a single video, steps of 3 % are too coarse."""
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
