"""The limiters that our budget is compared with.

None of them knows what a 429 is: a request that is refused goes through the limiter again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio
from aiolimiter import AsyncLimiter
from attrs import frozen

if TYPE_CHECKING:
    from benchmarks.account import Leave


@frozen
class _Leave:
    def settle(self, *, refused: bool = False, retry_after: float | None = None) -> None:
        """Nothing is learned."""


class Bucket:
    """aiolimiter's leaky bucket, as it comes."""

    def __init__(self, requests: float, period: float) -> None:
        self._bucket = AsyncLimiter(requests, period)

    async def acquire(self) -> Leave:
        """Wait for a drop to leak."""
        await self._bucket.acquire()
        return _Leave()


class SentLog:
    """The instants of the last requests: the next may leave a period after the first of them was *sent*."""

    def __init__(self, requests: int, period: float) -> None:
        self._sent: deque[float] = deque(maxlen=requests)
        self._period = period

    async def acquire(self) -> Leave:
        """Wait until the oldest stamp is a period old."""
        if len(self._sent) == self._sent.maxlen:
            await anyio.sleep_until(self._sent[0] + self._period)
        self._sent.append(anyio.current_time())
        return _Leave()


class EveryPeriod:
    """A counter that starts anew every period, as hand-written limiters do it."""

    def __init__(self, requests: int, period: float) -> None:
        self._requests, self._period = requests, period
        self._began, self._count = 0.0, 0

    async def acquire(self) -> Leave:
        """Wait for the next period when this one is spent."""
        if self._count == self._requests:
            await anyio.sleep_until(self._began + self._period)
        now = anyio.current_time()
        if now >= self._began + self._period:
            self._began, self._count = now, 0
        self._count += 1
        return _Leave()
