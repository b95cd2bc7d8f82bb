"""The rate-limit algorithms of the server: four families, five algorithms.

The vendor states "30 requests per 60 seconds per account", but not how they are counted (U8). A burst that
one algorithm allows is refused by another, so the sandbox has all of them:

- ``fixed``: a counter that is reset at every boundary of the clock.
- ``sliding-log``: exact; no window of 60 s, wherever it starts, contains more than 30.
- ``sliding-counter``: this window's count plus the previous one's, weighted by the share that still overlaps.
  Libraries round the weighted count down (``sliding-counter``); a strict one does not round.
- ``token-bucket``: thirty tokens, one back every two seconds.

Pure: ``admit(now)`` takes seconds on the server's clock, which must not decrease. It returns None for an
admitted request, else the seconds after which one would be admitted if there were no other.
"""

from __future__ import annotations

from collections import deque
from math import ceil, floor
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.sandbox.options import Rounding, WindowName


class RateWindow(Protocol):
    """The rate limit of one account."""

    def admit(self, now: float) -> float | None:
        """Count a request at ``now``; None if it is admitted, else the seconds until one would be."""
        ...


class _BaseWindow:
    """The base class of all algorithms; with ``refused_count``, refused requests are counted too."""

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


class FixedWindow(_BaseWindow):
    """A counter that is reset at every boundary; ``origin`` is one of the boundaries."""

    _index: int = -(10**18)
    _used: int = 0

    def _wait(self, now: float) -> float | None:
        self._advance(now)
        if self._used < self._requests:
            return None
        return self._origin + (self._index + 1) * self._period - now

    def _count(self, now: float) -> None:
        self._advance(now)
        self._used += 1

    def _advance(self, now: float) -> None:
        index = floor((now - self._origin) / self._period)
        if index != self._index:
            self._index, self._used = index, 0


class SlidingLog(_BaseWindow):
    """The times of the last period's requests; exact for every window."""

    def __init__(
        self, *, requests: int, period: float, origin: float = 0.0, refused_count: bool = False
    ) -> None:
        super().__init__(requests=requests, period=period, origin=origin, refused_count=refused_count)
        self._stamps: deque[float] = deque()

    def _wait(self, now: float) -> float | None:
        # A stamp expires at stamp + period exactly; a caller that adds the period itself gets the same float.
        while self._stamps and self._stamps[0] + self._period <= now:
            self._stamps.popleft()
        if len(self._stamps) < self._requests:
            return None
        return self._stamps[len(self._stamps) - self._requests] + self._period - now

    def _count(self, now: float) -> None:
        self._stamps.append(now)


class SlidingCounter(_BaseWindow):
    """Two fixed windows, the older one weighted by the share of it that a sliding window still covers."""

    _index: int = -(10**18)
    _used: int = 0
    _before: int = 0

    def _wait(self, now: float) -> float | None:
        self._advance(now)
        if self._fits(self._before, self._passed(now), self._used):
            return None
        return self._opens(now) - now

    def _fits(self, before: int, passed: float, used: int) -> bool:
        return floor(before * (1 - passed)) + used < self._requests

    def _share_that_fits(self, before: int, used: int) -> float:
        """The share of the window that must pass before one more request is allowed; above 1: none is."""
        room = self._requests - used
        if room <= 0:
            return 2.0
        return max(0.0, 1 - room / before) if before else 0.0

    def _opens(self, now: float) -> float:
        share = self._share_that_fits(self._before, self._used)
        index = self._index
        if share > 1:
            index, share = index + 1, self._share_that_fits(self._used, 0)
        return max(now, self._origin + (index + share) * self._period) + _EPSILON

    def _count(self, now: float) -> None:
        self._advance(now)
        self._used += 1

    def _passed(self, now: float) -> float:
        return (now - self._origin) / self._period - self._index

    def _advance(self, now: float) -> None:
        index = floor((now - self._origin) / self._period)
        if index != self._index:
            self._before = self._used if index == self._index + 1 else 0
            self._index, self._used = index, 0


class StrictSlidingCounter(SlidingCounter):
    """The counter without rounding: the weighted count plus the new request must not exceed the limit."""

    def _fits(self, before: int, passed: float, used: int) -> bool:
        return before * (1 - passed) + used + 1 <= self._requests

    def _share_that_fits(self, before: int, used: int) -> float:
        room = self._requests - used - 1
        if room < 0:
            return 2.0
        return max(0.0, 1 - room / before) if before else 0.0


class TokenBucket(_BaseWindow):
    """A bucket with one token per request of the limit, refilled evenly over the period."""

    _used: float = 0.0  # tokens taken and not yet refilled
    _refilled_at: float | None = None

    def _wait(self, now: float) -> float | None:
        self._refill(now)
        missing = self._used + 1 - self._requests
        return None if missing <= _EPSILON else missing * self._period / self._requests

    def _count(self, now: float) -> None:
        self._refill(now)
        self._used += 1

    def _refill(self, now: float) -> None:
        if self._refilled_at is not None:
            self._used = max(0.0, self._used - (now - self._refilled_at) * self._requests / self._period)
        self._refilled_at = now


def open_window(
    name: WindowName, *, requests: int, period: float, origin: float = 0.0, refused_count: bool = False
) -> RateWindow:
    """A new window of the named algorithm; one of its boundaries is at ``origin``."""
    kind = _KINDS[name]
    return kind(requests=requests, period=period, origin=origin, refused_count=refused_count)


def retry_after(wait: float, rounding: Rounding) -> str:
    """``wait`` seconds as a ``Retry-After``: whole seconds ``up`` or ``down``, or ``exact`` with decimals."""
    return {"up": str(ceil(wait)), "down": str(floor(wait)), "exact": f"{wait:.6f}"}[rounding]


_EPSILON: Final = 1e-9  # weights and refills are sums of floats; a rounding error must not move a boundary
_KINDS: Final[dict[str, Callable[..., RateWindow]]] = {
    "fixed": FixedWindow,
    "sliding-log": SlidingLog,
    "sliding-counter": SlidingCounter,
    "sliding-counter-strict": StrictSlidingCounter,
    "token-bucket": TokenBucket,
}
