"""The exact window: which of the account's slots are free, and when the others come back.

The server counts arrivals. An arrival lies somewhere between our sending and our receiving the answer (or
knowing that none will come), so a slot comes back one period after the *receipt*. Then no window of one
period holds more arrivals than there are slots, whatever the network does: one more would need some slot
twice, and its second request was sent a whole period after the answer to its first.

Pure: instants are float seconds on the caller's clock, and come in as arguments, never falling.
"""

from __future__ import annotations

from collections import deque
from heapq import merge
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.models import RateLimit


class Window:
    """The slots of one account: free, held by a request on the wire, or coming back at a known instant.

    Attributes:
        held: requests on the wire, whose slots have no instant of return yet.
        others: ascending instants at which slots come back that other processes, or an earlier life of this
            one, have taken.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._slots = limit.requests
        self._period = limit.period
        self._returns: deque[float] = deque()
        self.held = 0
        self.others: tuple[float, ...] = ()

    def take(self) -> None:
        """A request leaves: its slot is held until it is settled or cancelled."""
        self.held += 1

    def settle(self, now: float) -> None:
        """A request on the wire was answered, or is known to have failed."""
        self.held -= 1
        self._returns.append(now + self._period)

    def cancel(self) -> None:
        """A request that held a slot was never sent."""
        self.held -= 1

    def free(self, now: float) -> int:
        """Slots that may be taken at ``now``; never negative."""
        return max(0, self._slots - self.held - sum(1 for _ in self._coming(now)))

    def openings(self, now: float) -> list[float]:
        """When the slots not held may be taken: ascending instants, ``now`` for those that are free.

        Other processes' slots may overlap with ours where the memory was lost for a while: then the first to
        come back open nothing yet.
        """
        coming = list(self._coming(now))
        room = self._slots - self.held
        return [now] * (room - len(coming)) + coming[max(0, len(coming) - room) :]

    def returns(self, now: float) -> tuple[float, ...]:
        """Ascending instants at which this process's own settled slots come back."""
        while self._returns and self._returns[0] <= now:
            self._returns.popleft()
        return tuple(self._returns)

    def _coming(self, now: float) -> Iterator[float]:
        return merge(self.returns(now), (instant for instant in self.others if instant > now))
