"""The credits of a worker's jobs: reserved in the batch's one ledger before a POST, and booked by its end.

The ledger is a row of the database, so the cap holds over all workers.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import anyio

from seedance_async.batch.canaries import Canaries
from seedance_async.batch.queue import JobQueue
from seedance_async.batch.states import State
from seedance_async.batch.verdicts import Verdict
from seedance_async.errors import CreditCapError, SeedanceError
from seedance_async.integrations.engine.database import patiently
from seedance_async.integrations.engine.outcomes import Outcome, error_facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.batch.ledger import Ledger
    from seedance_async.integrations.engine.intents import Intent
    from seedance_async.integrations.engine.tables import Tables

PRICE_WAIT: Final = 0.3
"""Seconds between two checks whether the cap lets a job through, whose price another host waits to learn."""

NOT_COVERED: Final = (
    "it may be paid already; if it is sent again, it may be charged twice, and the {limit} does "
    "not allow for that"
)


class Reservations:
    """Reserves and books the credits of one worker's jobs.

    Args:
        tables: of the engine.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._price_lock = anyio.Lock()

    async def reserve(self, intent: Intent) -> Outcome | None:
        """Reserve what a job may cost, once the cap allows it; why it never will, if so."""
        entry = intent.entry()

        def reserve(ledger: Ledger) -> SeedanceError | bool:
            ledger.release(intent.key)  # of a worker that died before it could send: the cap is asked again
            if ledger.reserve(intent.key, entry.tariff):
                return True
            if ledger.will_know(entry.tariff):
                return False
            queue = JobQueue(ledger, share_posts=False, canaries=Canaries())
            queue.add(entry)
            return queue.cap_reached()

        answer = await self._once_known(intent, reserve)
        if isinstance(answer, SeedanceError):
            return Outcome(state=State.PLANNED, was_sent=False, error=error_facts(answer))
        return None

    async def reserve_again(self, intent: Intent) -> None:
        """Reserve what another worker may have sent: a refusal that it met has released its reservation.

        Raises:
            CreditCapError: the cap does not allow for another charge.
        """

        def reserve(ledger: Ledger) -> SeedanceError | bool:
            if ledger.cap is None or ledger.is_held(intent.key):
                return True
            if ledger.reserve(intent.key, intent.tariff):
                return True
            return not ledger.will_know(intent.tariff) and CreditCapError(NOT_COVERED.format(limit="cap"))

        answer = await self._once_known(intent, reserve)
        if isinstance(answer, SeedanceError):
            raise answer

    async def book_failure(self, intent: Intent, proven: Verdict, *, is_new: bool) -> None:
        """Book what the error of a POST proves.

        Args:
            intent: of the job.
            proven: by the error.
            is_new: whether no worker had sent it before.
        """

        def book(ledger: Ledger) -> None:
            if proven in {Verdict.UNPAID, Verdict.REFUSED}:
                ledger.release(intent.key)
                return
            if proven is Verdict.UNCERTAIN and is_new:
                ledger.lost(intent.key)
            ledger.doubt(intent.key)

        await patiently(self._tables.book, intent.batch, book)

    async def _once_known(
        self, intent: Intent, attempt: Callable[[Ledger], SeedanceError | bool]
    ) -> SeedanceError | bool:
        """Change the batch's ledger; while that is False, again: a price is still to be learnt."""
        answer = await patiently(self._tables.book, intent.batch, attempt)
        if answer is False:  # one of the worker's jobs asks at a time
            async with self._price_lock:
                while answer is False:
                    await anyio.sleep(PRICE_WAIT * (1.0 + random.random()))  # noqa: S311 - guards nothing
                    answer = await patiently(self._tables.book, intent.batch, attempt)
        return answer
