"""The exact window: which of the account's slots are free, and when the others become free.

The server counts arrivals. A request arrives at some time between its sending and the receipt of its answer,
so a slot becomes free one period after the *receipt*. If no answer is received, it becomes free one period
after the latest instant at which the request can still arrive: closing a connection does not take back what
was sent. Then no window of one period contains more arrivals than there are slots, whatever the network does:
for one more, some slot would be used twice, but its second request is sent a whole period after its first has
arrived.

Pure: instants are float seconds on the caller's clock, passed as arguments that never decrease.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from heapq import merge
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.models import RateLimit


class Window:
    """The slots of one account: free, held by a request on the wire, or free again at a known instant.

    Attributes:
        others: ascending instants at which slots taken by other processes, or by earlier ones, become free.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._period = limit.period
        self._held: list[float] = []
        self._returns: deque[float] = deque()
        self.others: tuple[float, ...] = ()

    @property
    def held(self) -> int:
        """How many requests are on the wire; it is not yet known when their slots become free."""
        return len(self._held)

    def take(self, now: float) -> None:
        """Take a slot for a request that leaves now; it is held until it is settled or cancelled."""
        self._held.append(now)

    def settle(self, sent_at: float, arrived_by: float) -> None:
        """Record that the request sent at ``sent_at`` cannot arrive later than ``arrived_by``."""
        self._held.remove(sent_at)
        instant = arrived_by + self._period
        if self._returns and self._returns[-1] > instant:
            insort(self._returns, instant)
        else:
            self._returns.append(instant)

    def cancel(self, sent_at: float) -> None:
        """Give back the slot taken at ``sent_at``, as its request was never sent."""
        self._held.remove(sent_at)

    def opens(self, now: float, *, slots: int) -> float | None:
        """When the next slot may be taken, of ``slots`` in a period; None if all are on the wire."""
        if self.taken(now) + len(self.others) < slots:
            return now
        return next(iter(self._openings(now, slots)), None)

    def openings(self, now: float, *, slots: int, most: int | None = None) -> list[float]:
        """The ascending instants at which slots may be taken, without the slots on the wire.

        Args:
            now: not before any instant passed earlier.
            slots: how many slots one period has.
            most: the largest number of instants returned, the earliest ones; None for all.
        """
        return list(islice(self._openings(now, slots), most))

    def taken(self, now: float) -> int:
        """How many of our slots are not free again, those on the wire included."""
        return len(self._held) + len(self._ours(now))

    def claims(self, now: float) -> tuple[float, ...]:
        """Ascending instants until which our slots are taken, for other processes and this one's successor.

        In case this process ends before the answer, a request on the wire is assumed to arrive within one
        period after it was sent, and not before now.
        """
        leases = (max(sent_at + self._period, now) + self._period for sent_at in self._held)
        return tuple(sorted([*self._ours(now), *leases]))

    def _openings(self, now: float, slots: int) -> Iterator[float]:
        ours, theirs = self._ours(now), self.others[bisect_right(self.others, now) :]
        free = slots - self.taken(now) - len(theirs)
        coming = merge(ours, theirs)
        # If more are taken than there are slots, the first ones that become free cannot be used yet.
        return chain(repeat(now, max(0, free)), islice(coming, max(0, -free), None))

    def _ours(self, now: float) -> deque[float]:
        while self._returns and self._returns[0] <= now:
            self._returns.popleft()
        return self._returns
