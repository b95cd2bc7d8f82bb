"""Which job is sent next: what an earlier run has begun, then what the ledger lets through.

Jobs wait here by tariff, because the ledger judges by tariff: while the price of one is unknown, or does not
fit under the cap any more, jobs of the others go on. Of those that may go, the first in the manifest goes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

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
        stop: told when the cap lets no further job through.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        begun: AsyncIterable[Ticket],
        planned: AsyncIterable[list[Ticket]],
        stop: Callable[[CreditCapError], None],
    ) -> None:
        self._ledger = ledger
        self._begun = begun
        self._planned = planned
        self._stop = stop
        self._held: dict[Tariff, deque[Ticket]] = {}
        self._count = 0
        self._under_way = 0
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
                    self.again(ticket)
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
        """Let a job wait for its turn."""
        self._held.setdefault(ticket.tariff, deque()).append(ticket)
        self._count += 1
        self._changed.ring()

    def ended(self) -> None:
        """A job that was handed out is over, whatever became of it."""
        self._under_way -= 1
        self._changed.ring()

    def priced(self) -> None:
        """The ledger knows more than before."""
        self._changed.ring()

    def close(self) -> None:
        """Let no further job go."""
        self._closed = True
        self._wanted.ring()
        self._changed.ring()

    async def orders(self) -> AsyncGenerator[Ticket]:
        """Every job as soon as it may be sent.

        Raises:
            Exception: what the source of the planned jobs raised.
        """
        async for begun in self._begun:
            if not self._closed:
                self._under_way += 1
                yield begun
        while not self._closed:
            ticket = self._affordable()
            if ticket is not None:
                self._under_way += 1
                yield ticket
            elif self._drained and not self._held:
                break
            elif not self._under_way and (self._drained or self._count >= HELD):
                self._stop(self._cap_reached())
                break
            else:
                await self._changed.sleep()
        if self._error is not None:
            raise self._error

    def _affordable(self) -> Ticket | None:
        """Take out the first job that the ledger lets through, and reserve its price."""
        heads = [held[0] for tariff, held in self._held.items() if self._ledger.affords(tariff)]
        if not heads:
            return None
        ticket = min(heads, key=lambda head: head.number)
        self._take_out(ticket.tariff)
        self._ledger.reserve(ticket.number, ticket.tariff)
        return ticket

    def _take_out(self, tariff: Tariff) -> None:
        held = self._held[tariff]
        held.popleft()
        if not held:
            del self._held[tariff]
        self._count -= 1
        self._wanted.ring()

    def _cap_reached(self) -> CreditCapError:
        ledger = self._ledger
        least = min(map(ledger.expects, self._held))
        price = f"costs {least:g}" if least else "has a price that nobody knows yet"
        return CreditCapError(
            f"the cap of {ledger.cap:g} credits is reached: {ledger.spent:g} are spent, {ledger.reserved:g} "
            f"reserved, and the next job {price}; raise the cap and run again to go on"
        )
