"""The gate through which every request of a client leaves: window, pause and pace in one.

Three rules decide when the next request may leave, in this order: the exact window (`window`), the pause
after a 429, which holds for everybody (`pace`), and the spacing, which aiolimiter's bucket keeps. Its token
is taken last, because it never gives one back; and a bucket cannot change its rate, so a new spacing is a
new bucket.

A fourth rule bounds the damage of what nobody can foresee: few requests may be unanswered at the same time,
so that a server that counts otherwise than we believe refuses that few before it is heard.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio
from aiolimiter import AsyncLimiter
from attrs import define, evolve

from seedance_async.budget.memory import BudgetMemory, NoMemory, Record
from seedance_async.budget.pace import counter_could_refuse, pause
from seedance_async.budget.window import Window
from seedance_async.promise import Bell
from seedance_async.scheduling.allowance import Allowance

if TYPE_CHECKING:
    from seedance_async.budget.pace import Pace
    from seedance_async.models import RateLimit

UNANSWERED: Final = 6  # of 30; ten would be too many refusals at once, and five a second is fast enough


class Budget:
    """One account's allowance of requests, as one client spends it.

    ``acquire`` is for one task at a time, the dispatcher. The loop it first runs in is its loop for good.
    """

    def __init__(
        self,
        limit: RateLimit,
        *,
        memory: BudgetMemory | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make a budget; nothing is read or written before its first use.

        Args:
            limit: the account's limit.
            memory: where stamps and lessons are kept; by default they end with the process.
            jitter: draws 0 to 1, by which pauses of programs that were refused together differ.
        """
        self._limit = limit
        self._memory = memory or NoMemory()
        self._jitter = jitter
        self._window = Window(limit)
        self._pace = Record().pace
        self._sent: deque[float] = deque()
        self._granted_at = -1.0
        self._spacing: float | None = None
        self._bucket = AsyncLimiter(limit.requests, limit.period)
        self._bell = Bell()
        self._listeners: list[Callable[[], object]] = [self._bell.ring]

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` whenever a slot was settled or cancelled: the allowance is another one then."""
        self._listeners.append(listener)

    async def acquire(self) -> Slot:
        """Wait until one more request may leave, and take its slot.

        Settle or cancel the slot in any case: until then it counts as a request on the wire.
        """
        while True:
            await self._open()
            await self._token()
            slot = self._take(anyio.current_time())
            if slot is not None:
                return slot

    def allowance(self, now: float) -> Allowance:
        """What may be sent at ``now`` and later, if nothing else happens."""
        openings = self._openings(now)
        free = bisect_right(openings, now)
        interval = self._pace.interval(self._limit)
        return Allowance(
            free=min(free, self._unanswered_room),
            returns=tuple(openings[free:]),
            requests=self._limit.requests,
            period=self._limit.period if interval is None else interval * self._limit.requests,
        )

    @property
    def _unanswered_room(self) -> int:
        return max(UNANSWERED, self._limit.requests // 5) - self._window.held

    def _openings(self, now: float) -> list[float]:
        """The earliest instants of the next requests, one for every slot that is not on the wire."""
        interval = self._pace.interval(self._limit) or 0.0
        earliest = max(self._pace.closed_until, self._pace.granted_at + interval)
        openings = []
        for opening in self._window.openings(now):
            earliest = max(earliest, opening)
            openings.append(earliest)
            earliest += interval
        return openings

    async def _open(self) -> None:
        """Wait until the window has a slot, the pause is over, and few enough requests are unanswered."""
        while (wait := self._closed_for(anyio.current_time())) != 0.0:
            await self._bell.sleep(wait)

    def _closed_for(self, now: float) -> float | None:
        """Seconds until a request may leave but for our own pace; None until a slot is settled."""
        openings = self._window.openings(now)
        if not openings or self._unanswered_room <= 0:
            return None
        return max(0.0, max(openings[0], self._pace.closed_until, self._their_pace()) - now)

    def _their_pace(self) -> float:
        """When we may follow another process that was let through after our last request."""
        interval = self._pace.interval(self._limit)
        if interval is None or self._pace.granted_at <= self._granted_at:
            return 0.0
        return self._pace.granted_at + interval

    async def _token(self) -> None:
        await self._bucket.acquire()
        interval = self._pace.interval(self._limit)
        if interval != self._spacing:
            self._spacing = interval
            self._bucket = _bucket(self._limit, interval)
            await self._bucket.acquire()  # a new bucket lets one through at once: the one already waited for

    def _take(self, now: float) -> Slot | None:
        """The slot, unless the gate closed while we waited for the token."""
        with self._memory.open(now) as record:
            self._read(record, now)
            if self._closed_for(now) != 0.0:
                return None
            self._window.take()
            self._granted_at = now
            self._pace = evolve(self._pace, granted_at=now)
            self._write(record, now)
        self._sent.append(now)
        return Slot(sent_at=now, settled=self._settled, cancelled=self._cancelled)

    def _settled(self, slot: Slot, refused: bool, retry_after: float | None) -> None:
        now = anyio.current_time()
        with self._memory.open(now) as record:
            self._read(record, now)
            self._window.settle(now)
            self._pace = self._refused(slot, now, retry_after) if refused else self._pace.succeeded()
            self._write(record, now)
        self._changed()

    def _cancelled(self) -> None:
        now = anyio.current_time()
        with self._memory.open(now) as record:
            self._read(record, now)
            self._window.cancel()
            self._write(record, now)
        self._changed()

    def _refused(self, slot: Slot, now: float, retry_after: float | None) -> Pace:
        while self._sent and self._sent[0] <= now - 2 * self._limit.period:
            self._sent.popleft()
        explained = counter_could_refuse(self._sent, now, self._limit)
        return self._pace.refused(
            now,
            sent_at=slot.sent_at,
            wait=pause(retry_after, limit=self._limit, jitter=self._jitter()),
            cause="window" if explained else "others",
            limit=self._limit,
        )

    def _read(self, record: Record, now: float) -> None:
        self._window.others = record.others
        self._pace = record.pace.at(now)

    def _write(self, record: Record, now: float) -> None:
        record.mine = self._window.returns(now)
        record.pace = self._pace

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


@define(eq=False)
class Slot:
    """Leave to send one request. Settling or cancelling it a second time changes nothing."""

    sent_at: float
    _settled: Callable[[Slot, bool, float | None], None]
    _cancelled: Callable[[], None]
    _open: bool = True

    def settle(self, *, refused: bool = False, retry_after: float | None = None) -> None:
        """The answer was received, or the failure is known; the slot comes back one period from now.

        Args:
            refused: the answer was 429. Closes the gate for everybody, and teaches.
            retry_after: the seconds it asked to wait, if it did.
        """
        if self._open:
            self._open = False
            self._settled(self, refused, retry_after)

    def cancel(self) -> None:
        """The request was never sent; the slot is given back at once."""
        if self._open:
            self._open = False
            self._cancelled()


def _bucket(limit: RateLimit, interval: float | None) -> AsyncLimiter:
    return AsyncLimiter(limit.requests, limit.period) if interval is None else AsyncLimiter(1, interval)
