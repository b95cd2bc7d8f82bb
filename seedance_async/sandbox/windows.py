"""How a server may count thirty requests a minute: four families, five algorithms.

The vendor says "30 requests per 60 seconds per account" and not how it counts (U8). A burst that one
algorithm allows another refuses, so the sandbox has them all:

- ``fixed``: a counter that starts anew at every border of the clock.
- ``sliding-log``: the exact one; no window of 60 s, wherever it starts, holds more than 30.
- ``sliding-counter``: this window's count plus the last one's, weighted by what still overlaps. Libraries
  compare the weighted share rounded down (``sliding-counter``); a strict one does not round.
- ``token-bucket``: thirty tokens, one back every two seconds.

Pure: ``admit(now)`` takes the server's clock in seconds and must be called with rising times. It returns None
for an admitted request, else the seconds after which the next one would be admitted if nothing else came.
"""

from __future__ import annotations

from collections import deque
from math import ceil, floor
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.sandbox.options import Rounding, WindowName


class Window(Protocol):
    """One account's allowance."""

    def admit(self, now: float) -> float | None:
        """Count a request at ``now``; None if it is admitted, else seconds until one would be."""
        ...


class _Counting:
    """What every algorithm shares: refused requests are counted too where the server does so."""

    def __init__(
        self, *, requests: int, period: float, origin: float = 0.0, refused_count: bool = False
    ) -> None:
        self._requests = requests
        self._period = period
        self._origin = origin
        self._refused_count = refused_count

    def admit(self, now: float) -> float | None:
        wait = self._wait(now)
        if wait is None or self._refused_count:
            self._count(now)
        return wait if wait is None or not self._refused_count else self._wait(now)

    def _wait(self, now: float) -> float | None:
        raise NotImplementedError

    def _count(self, now: float) -> None:
        raise NotImplementedError


class FixedWindow(_Counting):
    """A counter that starts anew at every border; ``origin`` is one of the borders."""

    _index: int = -(10**18)
    _used: int = 0

    def _wait(self, now: float) -> float | None:
        self._turn(now)
        if self._used < self._requests:
            return None
        return self._origin + (self._index + 1) * self._period - now

    def _count(self, now: float) -> None:
        self._turn(now)
        self._used += 1

    def _turn(self, now: float) -> None:
        index = floor((now - self._origin) / self._period)
        if index != self._index:
            self._index, self._used = index, 0


class SlidingLog(_Counting):
    """The instants of the last period's requests; exact over every window."""

    def __init__(
        self, *, requests: int, period: float, origin: float = 0.0, refused_count: bool = False
    ) -> None:
        super().__init__(requests=requests, period=period, origin=origin, refused_count=refused_count)
        self._stamps: deque[float] = deque()

    def _wait(self, now: float) -> float | None:
        # A stamp leaves at stamp + period exactly; a caller that adds the period itself gets the same float.
        while self._stamps and self._stamps[0] + self._period <= now:
            self._stamps.popleft()
        if len(self._stamps) < self._requests:
            return None
        return self._stamps[len(self._stamps) - self._requests] + self._period - now

    def _count(self, now: float) -> None:
        self._stamps.append(now)


class SlidingCounter(_Counting):
    """Two fixed windows, the older one weighted by the share of it that a sliding window still covers."""

    _index: int = -(10**18)
    _used: int = 0
    _before: int = 0

    def _wait(self, now: float) -> float | None:
        self._turn(now)
        if self._fits(self._before, self._passed(now), self._used):
            return None
        return self._opens(now) - now

    def _fits(self, before: int, passed: float, used: int) -> bool:
        return floor(before * (1 - passed)) + used < self._requests

    def _share_that_fits(self, before: int, used: int) -> float:
        """Share of the window that must have passed before one more request fits; above 1: never in it."""
        room = self._requests - used
        if room <= 0:
            return 2.0
        return max(0.0, 1 - room / before) if before else 0.0

    def _opens(self, now: float) -> float:
        share = self._share_that_fits(self._before, self._used)
        index = self._index
        if share > 1:
            index, share = index + 1, self._share_that_fits(self._used, 0)
        return max(now, self._origin + (index + share) * self._period) + _A_LITTLE

    def _count(self, now: float) -> None:
        self._turn(now)
        self._used += 1

    def _passed(self, now: float) -> float:
        return (now - self._origin) / self._period - self._index

    def _turn(self, now: float) -> None:
        index = floor((now - self._origin) / self._period)
        if index != self._index:
            self._before = self._used if index == self._index + 1 else 0
            self._index, self._used = index, 0


class StrictSlidingCounter(SlidingCounter):
    """The counter without rounding: weighted share and new request together may not pass the limit."""

    def _fits(self, before: int, passed: float, used: int) -> bool:
        return before * (1 - passed) + used + 1 <= self._requests

    def _share_that_fits(self, before: int, used: int) -> float:
        room = self._requests - used - 1
        if room < 0:
            return 2.0
        return max(0.0, 1 - room / before) if before else 0.0


class TokenBucket(_Counting):
    """As many tokens as requests, dripping back evenly over the period."""

    _debt: float = 0.0  # tokens taken and not yet back
    _seen: float | None = None

    def _wait(self, now: float) -> float | None:
        self._drip(now)
        missing = self._debt + 1 - self._requests
        return None if missing <= _A_LITTLE else missing * self._period / self._requests

    def _count(self, now: float) -> None:
        self._drip(now)
        self._debt += 1

    def _drip(self, now: float) -> None:
        if self._seen is not None:
            self._debt = max(0.0, self._debt - (now - self._seen) * self._requests / self._period)
        self._seen = now


def open_window(
    name: WindowName, *, requests: int, period: float, origin: float = 0.0, refused_count: bool = False
) -> Window:
    """A fresh window of the named algorithm; ``origin`` is an instant at which its borders lie."""
    kind = _KINDS[name]
    return kind(requests=requests, period=period, origin=origin, refused_count=refused_count)


def retry_after(wait: float, rounding: Rounding) -> str:
    """``wait`` seconds as a ``Retry-After``: whole seconds ``up`` or ``down``, or ``exact`` with decimals."""
    return {"up": str(ceil(wait)), "down": str(floor(wait)), "exact": f"{wait:.6f}"}[rounding]


_A_LITTLE: Final = 1e-9  # weights and drips are sums of floats; a border must not be missed by the last bit
_KINDS: Final[dict[str, Callable[..., Window]]] = {
    "fixed": FixedWindow,
    "sliding-log": SlidingLog,
    "sliding-counter": SlidingCounter,
    "sliding-counter-strict": StrictSlidingCounter,
    "token-bucket": TokenBucket,
}
