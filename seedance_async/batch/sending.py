"""A parcel's POST between its two records, and what each way of failing proves about the money.

    intent on disk -> POST -> ids on disk

What an error proves decides where the jobs go. Only the API's own refusal, or a call that never left, takes a
job back to *planned* or *refused*. Everything else leaves it *submitting* or makes it *uncertain*, to be
asked for again with the same bytes under the same key.

A refused key is asked under once more before another is made: a proxy may have delivered the POST twice, and
the refusal be the answer to the copy. If it is refused again, the server may be one that gives its first
answer for ever, so the job tries a new key at once; if that is refused, too, it stays with the old one.

A refusal that would meet the next job too (no credits, a revoked key, nothing gets through) stops the
submitting.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from attrs import evolve

from seedance_async import retry
from seedance_async.batch.states import State
from seedance_async.errors import (
    ApiError,
    ClientStateError,
    ConnectionFailedError,
    CreditCapError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    JournalError,
    NotFoundError,
    RateLimitedError,
    SeedanceError,
    UnauthorizedError,
    UncertainSubmissionError,
)
from seedance_async.fault_points import fault_point
from seedance_async.promise import Bell

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.batch.feed import Feed
    from seedance_async.batch.journal import Journal, Ticket
    from seedance_async.batch.ledger import Ledger
    from seedance_async.batch.parcels import Parcel
    from seedance_async.budget import Slot
    from seedance_async.engine import Engine
    from seedance_async.models import Submission

log: logging.Logger = logging.getLogger(__name__)

UNPAID: Final = (
    InsufficientCreditsError, NotFoundError, UnauthorizedError, RateLimitedError, ConnectionFailedError
)  # fmt: skip
"""What says that nothing was charged, for a reason that another day may mend."""

STORABLE: Final = (
    IdempotencyConflictError, InsufficientCreditsError, InternalServerError, NotFoundError
)  # fmt: skip
"""What a server may answer for ever under one key, because it stores its answers or rejects repeated keys."""

UNCERTAIN_IN_A_ROW: Final = 5
"""So many new jobs without an answer, and none accepted in between: nothing gets through at present.

Those that were in doubt already say nothing about the present. Their keys may be closed for ever, and would
keep all others from being asked for, in every run.
"""

REFUSED_FOR: Final = 3600.0
"""Seconds of nothing but 429, no job accepted in between, after which no more are sent in this run."""

LEAVING_GRACE: Final = 10.0
"""Seconds that POSTs on the wire get for their answer when the caller leaves; they are on record anyway."""


def wall_now() -> float:
    """Seconds of the wall clock since 1970, UTC: what is compared across runs."""
    return datetime.now(UTC).timestamp()


class Sender:
    """Sends the parcels of one run.

    Args:
        engine: to send through.
        journal: to keep record in.
        ledger: learns what the jobs cost.
        feed: takes back what is to be sent again.
        stop: told when the next parcel would meet the same error.
        trust: seconds for which a key is taken to be remembered by the server.
        pay_twice: whether a job of unknown outcome may take a new key where its own leads no further.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        ledger: Ledger,
        feed: Feed,
        *,
        stop: Callable[[SeedanceError], None],
        trust: float,
        pay_twice: bool,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._ledger = ledger
        self._feed = feed
        self._stop = stop
        self._trust = trust
        self._pay_twice = pay_twice
        self._lost_in_a_row = 0
        self._refused_since: float | None = None
        self._posting = 0
        self._posted = Bell()

    async def post(self, parcel: Parcel, /, *, slot: Slot) -> Submission:
        """Send a parcel's POST between its two records.

        Raises:
            SeedanceError: it was not accepted, and where that leaves its jobs is on record.
        """
        if parcel.state is State.PLANNED and not all(map(self._ledger.covers, parcel.numbers)):
            slot.cancel()
            self._release(parcel)
            raise CreditCapError("its price has risen since it was reserved")
        self._posting += 1
        try:
            submission = await self._send_as_it_can_be(parcel, slot)
            await self._accepted(parcel, submission)
        except SeedanceError as error:
            await self._not_accepted(parcel, error)
            raise
        finally:
            self._posting -= 1
            self._posted.ring()
            self._feed.answered(parcel)
        return submission

    async def last_answers(self) -> None:
        """Wait for the POSTs on the wire, but not long."""
        with anyio.move_on_after(LEAVING_GRACE):
            while self._posting:
                await self._posted.sleep()

    async def _send_as_it_can_be(self, parcel: Parcel, slot: Slot) -> Submission:
        """Send it under its key, and under a new one where that can never be accepted any more."""
        try:
            return await self._send(parcel, slot)
        except SeedanceError as error:
            if self._feed.closed:
                raise
            doubted = self._ledger.pay_again(*parcel.numbers) if self._may_pay_twice(parcel, error) else None
            if doubted is None and not _is_spent(parcel.key, error):
                raise
            postpone = self._journal.store.postpone
            await self._journal.do(postpone, parcel.number, error.message, key=None, doubted=doubted or 0.0)
        try:
            return await self._send(parcel.anew(), slot=None)
        except UNPAID as error:
            error.idempotency_key = parcel.key or error.idempotency_key
            raise

    def _may_pay_twice(self, parcel: Parcel, error: SeedanceError) -> bool:
        """Whether a job of unknown outcome met, again, an answer that its key may give for ever."""
        return self._pay_twice and parcel.state is State.SUBMITTING and isinstance(error.__cause__, STORABLE)

    async def _send(self, parcel: Parcel, slot: Slot | None) -> Submission:
        now = wall_now()
        try:
            call = await self._journal.do(self._journal.store.intend, *parcel.numbers, now=now)
        except BaseException:
            if slot is not None:
                slot.cancel()
            raise
        fault_point("after_intent")
        begun = parcel.state is not State.PLANNED
        history = retry.History(uncertain=begun, age=parcel.age(now) if begun else 0.0, trust=self._trust)
        return await self._engine.send(call, parcel.kind, history=history, slot=slot)

    async def _accepted(self, parcel: Parcel, submission: Submission) -> None:
        fault_point("before_record")
        store = self._journal.store
        try:
            parts = await self._journal.do(store.accept, parcel.number, submission, now=wall_now())
        except JournalError as error:
            error.idempotency_key, error.task_id = submission.idempotency_key, submission.id
            log.critical("%s is paid and could not be recorded: %s", parcel.name, error)
            raise
        fault_point("after_record")
        self._lost_in_a_row = 0
        self._refused_since = None
        for ticket in parcel.tickets:
            part = parts.get(ticket.number)
            if part is not None:
                self._ledger.settle(ticket.number, part.credits_used)
            else:
                await self._left_out(ticket)
        self._feed.priced()

    async def _left_out(self, ticket: Ticket) -> None:
        """The answer to a shared POST names no task for this job."""
        entry = await self._journal.do(self._journal.store.entry, ticket.number)
        if entry.state is State.PLANNED:
            self._ledger.release(ticket.number)
            self._feed.again(evolve(ticket, state=State.PLANNED, key=None, seat=None))
        else:
            self._ledger.doubt(ticket.number)

    async def _not_accepted(self, parcel: Parcel, error: SeedanceError) -> None:
        """Put the jobs where their error proves them to be."""
        store, number = self._journal.store, parcel.number
        match error:
            case UncertainSubmissionError():
                record = partial(store.doubt, number, error.message)
            case _ if isinstance(error, UNPAID):
                record = partial(store.postpone, number, error.message, key=error.idempotency_key)
            case ApiError():
                record = partial(store.refuse, number, error.message, now=wall_now())
            case _:  # nothing is proven: the intent stands, and the next run asks again
                self._stop_for(error)
                return
        await self._journal.do(record)
        if isinstance(error, UncertainSubmissionError):
            for each in parcel.numbers:
                self._ledger.doubt(each)
            self._lost_in_a_row += parcel.state is State.PLANNED
        else:
            self._release(parcel)
        self._stop_for(error)

    def _release(self, parcel: Parcel) -> None:
        for number in parcel.numbers:
            self._ledger.release(number)

    def _stop_for(self, error: SeedanceError) -> None:
        """Stop if the next parcel would meet the same."""
        would_recur = (
            InsufficientCreditsError, UnauthorizedError, NotFoundError, ConnectionFailedError, JournalError,
            ClientStateError,
        )  # fmt: skip
        lost = self._lost_in_a_row >= UNCERTAIN_IN_A_ROW
        if isinstance(error, would_recur) or lost or self._refused_too_long(error):
            self._stop(error)

    def _refused_too_long(self, error: SeedanceError) -> bool:
        """A 429 alone fails no job; but a run must end, even if somebody else spends the account for ever."""
        if not isinstance(error, RateLimitedError):
            return False
        now = anyio.current_time()
        if self._refused_since is None:
            self._refused_since = now
        return now - self._refused_since >= REFUSED_FOR


def _is_spent(key: str | None, error: SeedanceError) -> bool:
    """Whether a key that was refused before is refused again, in words that a server may have stored."""
    stored = isinstance(error, InsufficientCreditsError | NotFoundError)
    return stored and key is not None and key == error.idempotency_key
