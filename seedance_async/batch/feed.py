"""Which job is sent next: what an earlier run has begun, then what the ledger lets through.

Jobs wait here by tariff, because the ledger judges by tariff: while the price of one is unknown, or does not
fit under the cap any more, jobs of the others go on. Of those that may go, the first in the manifest goes,
and the next ones of its tariff with it where they may share its POST.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from seedance_async.batch.parcels import Parcel
from seedance_async.errors import CreditCapError
from seedance_async.promise import Bell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable

    from seedance_async.batch.journal import Ticket
    from seedance_async.batch.ledger import Ledger, Tariff

HELD: Final = 2000
"""Jobs that wait here at most: enough for the schedule to see the longest kinds, and bounded."""


class Feed:
    """The orders of one run, in the order in which they may be sent.

    Args:
        ledger: decides whether a job may be sent.
        begun: jobs that an earlier run has sent already; they go first, and past the ledger.
        planned: jobs to be sent, a handful at a time; read ahead of the sending by at most ``HELD``.
        share_posts: whether jobs that ask for the same may go in one parcel.
        stop: told when the cap lets no further job through.
        nothing_new: told when every job was handed out once.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        begun: AsyncIterable[Parcel],
        planned: AsyncIterable[list[Ticket]],
        share_posts: bool,
        stop: Callable[[CreditCapError], None],
        nothing_new: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._begun = begun
        self._planned = planned
        self._share_posts = share_posts
        self._stop = stop
        self._nothing_new = nothing_new
        self._held: dict[Tariff, deque[Ticket]] = {}
        self._count = 0
        self._returned: set[int] = set()
        self._under_way = 0
        self._suspect: Parcel | None = None
        self._drained = False
        self._closed = False
        self._error: Exception | None = None
        self._changed = Bell()
        self._wanted = Bell()

    async def fill(self) -> None:
        """Read the planned jobs in; one worker does this."""
        try:
            async for tickets in self._planned:
                for ticket in tickets:
                    if ticket.number not in self._returned:  # what an earlier run began may be listed late
                        self._hold(ticket)
                while self._count >= HELD and not self._closed:
                    await self._wanted.sleep()
                if self._closed:
                    break
        except Exception as error:
            self._error = error
        finally:
            self._drained = True
            self._changed.ring()

    def again(self, ticket: Ticket) -> None:
        """Let a job that was handed out wait for another turn."""
        self._returned.add(ticket.number)
        self._hold(ticket)

    def _hold(self, ticket: Ticket) -> None:
        self._held.setdefault(ticket.tariff, deque()).append(ticket)
        self._count += 1
        self._changed.ring()

    def ended(self) -> None:
        """A parcel that was handed out is over, whatever became of its jobs."""
        self._under_way -= 1
        self._changed.ring()

    def answered(self, parcel: Parcel) -> None:
        """A parcel's POST has come to its end, and the run has not."""
        if parcel is self._suspect:
            self._suspect = None
            self._changed.ring()

    def priced(self) -> None:
        """The ledger knows more than before."""
        self._changed.ring()

    @property
    def closed(self) -> bool:
        """Whether nothing new is to be sent any more."""
        return self._closed

    def close(self) -> None:
        """Let no further job go."""
        self._closed = True
        self._wanted.ring()
        self._changed.ring()

    async def orders(self) -> AsyncGenerator[Parcel]:
        """Every job as soon as it may be sent, alone or with others.

        Raises:
            Exception: what the source of the planned jobs raised.
        """
        async for begun in self._begun:
            if not self._closed:
                self._under_way += 1
                self._suspect = begun if begun.suspect else None
                yield begun
            while self._suspect and not self._closed:  # alone: should the run die again, it is known of what
                await self._changed.sleep()
        while not self._closed:
            parcel = self._affordable()
            if parcel is not None:
                self._under_way += 1
                yield parcel
            elif self._drained and not self._held and not self._under_way:
                break
            elif self._held and not self._under_way and (self._drained or self._count >= HELD):
                self._stop(self._cap_reached())
                break
            else:
                if self._drained and not self._held:
                    self._nothing_new()  # but what is under way may come back
                await self._changed.sleep()
        if self._error is not None:
            raise self._error

    def _affordable(self) -> Parcel | None:
        """The first job that the ledger lets through, and those that may go with it."""
        heads = [held[0] for tariff, held in self._held.items() if self._ledger.affords(tariff)]
        if not heads:
            return None
        tariff = min(heads, key=lambda head: head.number).tariff
        parcel = Parcel((self._take_out(tariff),))
        while self._share_posts and self._next_may_join(parcel, tariff):
            parcel = Parcel((*parcel.tickets, self._take_out(tariff)))
        return parcel

    def _next_may_join(self, parcel: Parcel, tariff: Tariff) -> bool:
        held = self._held.get(tariff)
        return held is not None and parcel.may_take(held[0]) and self._ledger.affords(tariff)

    def _take_out(self, tariff: Tariff) -> Ticket:
        """Take the next job of a tariff, and reserve its price."""
        held = self._held[tariff]
        ticket = held.popleft()
        if not held:
            del self._held[tariff]
        self._count -= 1
        self._wanted.ring()
        self._ledger.reserve(ticket.number, tariff)
        return ticket

    def _cap_reached(self) -> CreditCapError:
        ledger = self._ledger
        least = min(map(ledger.expects, self._held))
        price = f"costs {least:g}" if least else "has a price that nobody knows yet"
        return CreditCapError(
            f"the cap of {ledger.cap:g} credits is reached: {ledger.spent:g} are spent, {ledger.reserved:g} "
            f"reserved, and the next job {price}; raise the cap and run again to go on"
        )
