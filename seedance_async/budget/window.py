"""The exact window: which of the account's slots are free, and when the others come back.

The server counts arrivals. An arrival lies somewhere between our sending and our receiving the answer, so a
slot comes back one period after the *receipt*. Where no answer was received, it comes back one period after
the latest instant at which the request can still arrive: to stop listening does not take back what was sent.
Then no window of one period holds more arrivals than there are slots, whatever the network does: one more
would need some slot twice, and its second request was sent a whole period after its first had arrived.

Pure: instants are float seconds on the caller's clock, and come in as arguments, never falling.
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
    """The slots of one account: free, held by a request on the wire, or coming back at a known instant.

    Attributes:
        others: ascending instants at which slots come back that other processes, or an earlier life of this
            one, have taken.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._period = limit.period
        self._held: list[float] = []
        self._returns: deque[float] = deque()
        self.others: tuple[float, ...] = ()

    @property
    def held(self) -> int:
        """Requests on the wire, whose slots have no instant of return yet."""
        return len(self._held)

    def take(self, now: float) -> None:
        """A request leaves now: its slot is held until it is settled or cancelled."""
        self._held.append(now)

    def settle(self, sent_at: float, arrived_by: float) -> None:
        """The request that left at ``sent_at`` cannot arrive later than ``arrived_by``."""
        self._held.remove(sent_at)
        instant = arrived_by + self._period
        if self._returns and self._returns[-1] > instant:
            insort(self._returns, instant)
        else:
            self._returns.append(instant)

    def cancel(self, sent_at: float) -> None:
        """The request that took its slot at ``sent_at`` was never sent."""
        self._held.remove(sent_at)

    def opens(self, now: float, *, slots: int) -> float | None:
        """When the next of so many slots a period may be taken; None if all are on the wire."""
        return next(iter(self._openings(now, slots)), None)

    def openings(self, now: float, *, slots: int, most: int | None = None) -> list[float]:
        """When each of so many slots a period may be taken, but for those on the wire; ascending.

        Args:
            now: not before any instant passed earlier.
            slots: that one period has.
            most: only so many of them are returned; the earliest.
        """
        return list(islice(self._openings(now, slots), most))

    def claims(self, now: float) -> tuple[float, ...]:
        """Ascending instants until which other processes, and our next life, must leave our slots alone.

        Should nobody live to see its answer, a request on the wire is taken to arrive within a period of its
        sending, and not before now.
        """
        leases = (max(sent_at + self._period, now) + self._period for sent_at in self._held)
        return tuple(sorted([*self._ours(now), *leases]))

    def _openings(self, now: float, slots: int) -> Iterator[float]:
        ours, theirs = self._ours(now), self.others[bisect_right(self.others, now) :]
        free = slots - self.held - len(ours) - len(theirs)
        coming = merge(ours, theirs)
        # Where more are taken than there are slots, the first to come back open nothing yet.
        return chain(repeat(now, max(0, free)), islice(coming, max(0, -free), None))

    def _ours(self, now: float) -> deque[float]:
        while self._returns and self._returns[0] <= now:
            self._returns.popleft()
        return self._returns
