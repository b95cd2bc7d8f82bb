"""One run of a batch: every job once through journal, API, journal, disk, and out to the caller.

The order of the steps is the promise of the package::

    intent on disk -> POST -> ids on disk -> poll -> result on disk -> files -> saved on disk -> told

What an error proves decides where the job goes. Only the API's own refusal, or a call that never left, takes
a job back to *planned* or *refused*. Everything else leaves it *submitting* or makes it *uncertain*, to be
asked for again with the same bytes under the same key.

A refusal that would meet the next job too (no credits, a revoked key, nothing gets through) stops the
submitting; what is paid is still collected, except under a key that is refused.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from seedance_async import retry
from seedance_async.batch import results
from seedance_async.batch.feed import Feed
from seedance_async.batch.states import State
from seedance_async.errors import (
    ApiError,
    ClientStateError,
    ConnectionFailedError,
    CreditCapError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    JournalError,
    NotFoundError,
    RateLimitedError,
    SeedanceError,
    TaskFailedError,
    UnauthorizedError,
    UncertainSubmissionError,
)
from seedance_async.fault_points import fault_point
from seedance_async.promise import Bell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable
    from pathlib import Path

    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from seedance_async.batch.jobs import JobResult
    from seedance_async.batch.journal import Entry, Journal, Ticket
    from seedance_async.batch.ledger import Ledger
    from seedance_async.batch.saving import Saver
    from seedance_async.budget import Slot
    from seedance_async.engine import Engine
    from seedance_async.generation import Ending, Generation
    from seedance_async.models import Submission

log: logging.Logger = logging.getLogger(__name__)

DOWNLOADS: Final = 4
"""Jobs whose files are fetched at the same time."""

UNCERTAIN_IN_A_ROW: Final = 5
"""So many jobs without an answer, and none accepted in between: nothing gets through at present."""

REFUSED_FOR: Final = 3600.0
"""Seconds of nothing but 429, no job accepted in between, after which no more are sent in this run."""

LEAVING_GRACE: Final = 10.0
"""Seconds that POSTs on the wire get for their answer when the caller leaves; they are on record anyway."""

UNENDED: Final = frozenset({State.PLANNED, State.SUBMITTING, State.ACCEPTED})
PAGE: Final = 200
AHEAD: Final = 100
"""Results that wait for the caller at most."""


def wall_now() -> float:
    """Seconds of the wall clock since 1970, UTC: what is compared across runs."""
    return datetime.now(UTC).timestamp()


class Run:
    """One run. Made for a journal that has begun it, and used once.

    Attributes:
        stopped: why no more jobs are sent; None while that is not so.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        ledger: Ledger,
        saver: Saver,
        *,
        directory: Path,
        begun: AsyncIterable[Ticket],
        planned: AsyncIterable[list[Ticket]],
        max_in_flight: int | None,
    ) -> None:
        self.stopped: SeedanceError | None = None
        self._engine = engine
        self._journal = journal
        self._ledger = ledger
        self._saver = saver
        self._directory = directory
        self._max_in_flight = max_in_flight
        self._feed = Feed(ledger, begun=begun, planned=planned, stop=self.stop)
        self._generation: Generation[Ticket] | None = None
        self._told_open: set[int] = set()
        self._lost_in_a_row = 0
        self._refused_since: float | None = None
        self._posting = 0
        self._posted = Bell()
        self._downloads = anyio.Semaphore(DOWNLOADS)
        self._scope = anyio.CancelScope()
        self._finished = anyio.Event()
        self._error: BaseException | None = None
        self._results: MemoryObjectSendStream[JobResult]
        self._told: MemoryObjectReceiveStream[JobResult]
        self._results, self._told = anyio.create_memory_object_stream(AHEAD)

    def start(self) -> None:
        """Begin to work, in a task of the client's."""
        self._engine.workers.start_soon(self._work)

    async def results(self) -> AsyncGenerator[JobResult]:
        """Each job as it ends.

        Raises:
            SeedanceError: the journal failed, or the source of the jobs did; after what was paid was told.
        """
        async for result in self._told:
            yield result
        await self._finished.wait()
        if self._error is not None:
            raise self._error

    async def leave(self) -> None:
        """End a run that was started. POSTs on the wire get a moment for their answer."""
        if not self._finished.is_set():
            self.stop(SeedanceError("the caller left"))
        with anyio.CancelScope(shield=True):
            await self._last_answers()
            self._scope.cancel()
            self._told.close()
            await self._finished.wait()

    def stop(self, error: SeedanceError) -> None:
        """Send nothing more; what is accepted goes on."""
        if self.stopped is None:
            self.stopped = error
            self._feed.close()
            if self._generation is not None:
                self._generation.stop(error)

    async def _work(self) -> None:
        self._error = ClientStateError("the client was closed before its batch; close the batch first")
        try:
            with self._scope:
                async with anyio.create_task_group() as workers:
                    await self._follow(workers)
            self._error = None
        except* Exception as problems:
            self._error = _first(problems)
        finally:
            self._results.close()
            self._finished.set()

    async def _follow(self, workers: TaskGroup) -> None:
        """Take every job to its end."""
        self._generation = self._engine.generation(
            self._feed.orders(), post=self._post, max_in_flight=self._max_in_flight, workers=workers
        )
        workers.start_soon(self._feed.fill)
        workers.start_soon(self._save_left_over, workers)
        endings = self._generation.results()
        try:
            async for ending in endings:
                await self._ended(ending, workers)
                if isinstance(self.stopped, UnauthorizedError):
                    break
        finally:
            await endings.aclose()
            await self._last_answers()

    # --- sending

    async def _post(self, ticket: Ticket, /, *, slot: Slot) -> Submission:
        """Send one job's POST between its two records."""
        if ticket.state is State.PLANNED and not self._ledger.covers(ticket.number):
            slot.cancel()
            self._ledger.release(ticket.number)
            raise CreditCapError("its price has risen since it was reserved")
        self._posting += 1
        try:
            submission = await self._send(ticket, slot)
            await self._accepted(ticket, submission)
        except SeedanceError as error:
            await self._not_accepted(ticket, error)
            raise
        finally:
            self._posting -= 1
            self._posted.ring()
        return submission

    async def _send(self, ticket: Ticket, slot: Slot) -> Submission:
        try:
            call = await self._journal.do(self._journal.store.intend, ticket.number, now=wall_now())
        except BaseException:
            slot.cancel()
            raise
        fault_point("after_intent")
        history = retry.History(uncertain=ticket.state is not State.PLANNED)
        return await self._engine.send(call, ticket.kind, history=history, slot=slot)

    async def _accepted(self, ticket: Ticket, submission: Submission) -> None:
        fault_point("before_record")
        try:
            await self._journal.do(self._journal.store.accept, ticket.number, submission, now=wall_now())
        except JournalError as error:
            error.idempotency_key, error.task_id = submission.idempotency_key, submission.id
            log.critical("%s is paid and could not be recorded: %s", ticket.name, error)
            raise
        fault_point("after_record")
        self._lost_in_a_row = 0
        self._refused_since = None
        self._ledger.settle(ticket.number, submission.credits_used)
        self._feed.priced()

    async def _not_accepted(self, ticket: Ticket, error: SeedanceError) -> None:
        """Put the job where its error proves it to be."""
        store, number = self._journal.store, ticket.number
        match error:
            case UncertainSubmissionError() | IdempotencyConflictError():
                # A 409 for a key and bytes of our own can only mean that it was accepted once.
                record = partial(store.doubt, number, error.message)
            case InsufficientCreditsError() | NotFoundError():
                record = partial(store.postpone, number, error.message, new_key=True)
            case UnauthorizedError() | RateLimitedError() | ConnectionFailedError():
                record = partial(store.postpone, number, error.message, new_key=False)
            case ApiError():
                record = partial(store.refuse, number, error.message, now=wall_now())
            case _:  # nothing is proven: the intent stands, and the next run asks again
                self._stop_for(error)
                return
        await self._journal.do(record)
        if isinstance(error, UncertainSubmissionError | IdempotencyConflictError):
            self._ledger.doubt(number)
            self._lost_in_a_row += 1
        else:
            self._ledger.release(number)
        self._stop_for(error)

    def _stop_for(self, error: SeedanceError) -> None:
        """Stop if the next job would meet the same."""
        would_recur = (
            InsufficientCreditsError, UnauthorizedError, NotFoundError, ConnectionFailedError, JournalError
        )  # fmt: skip
        lost = self._lost_in_a_row >= UNCERTAIN_IN_A_ROW
        if isinstance(error, would_recur) or lost or self._refused_too_long(error):
            self.stop(error)

    def _refused_too_long(self, error: SeedanceError) -> bool:
        """A 429 alone fails no job; but a run must end, even if somebody else spends the account for ever."""
        if not isinstance(error, RateLimitedError):
            return False
        now = anyio.current_time()
        if self._refused_since is None:
            self._refused_since = now
        return now - self._refused_since >= REFUSED_FOR

    async def _last_answers(self) -> None:
        with anyio.move_on_after(LEAVING_GRACE):
            while self._posting:
                await self._posted.sleep()

    # --- collecting

    async def _ended(self, ending: Ending[Ticket], workers: TaskGroup) -> None:
        """One job has gone as far as the API takes it."""
        ticket, error = ending.order, ending.error
        try:
            if ending.submission is None:
                await self._unaccepted(ticket, error)
            elif len(ending.tasks) < len(ending.submission.task_ids):
                await self._unfinished(ticket, error)
            else:
                await self._finished_tasks(ending, workers)
        except JournalError as failure:
            self.stop(failure)
        finally:
            self._feed.ended()

    async def _unaccepted(self, ticket: Ticket, error: SeedanceError | None) -> None:
        entry = await self._entry(ticket.number)
        may_wait = isinstance(error, RateLimitedError | CreditCapError)  # neither alone fails a job
        if may_wait and entry.state is State.PLANNED and self.stopped is None:
            self._feed.again(ticket)
        elif entry.state is State.PLANNED:
            self._ledger.release(ticket.number)  # it is told at the end, among all that was not sent
        else:
            await self._tell(entry, error)

    async def _unfinished(self, ticket: Ticket, error: SeedanceError | None) -> None:
        """It is paid, and its end was not seen: it stays accepted, and the next run looks again."""
        await self._journal.do(
            self._journal.store.note, ticket.number, error.message if error else "not final yet"
        )
        await self._tell(await self._entry(ticket.number), error)
        if isinstance(error, UnauthorizedError):
            self.stop(error)

    async def _finished_tasks(self, ending: Ending[Ticket], workers: TaskGroup) -> None:
        number, error = ending.order.number, ending.error
        state = await self._journal.do(
            self._journal.store.finish,
            number,
            ending.tasks,
            error.message if error else None,
            now=wall_now(),
        )
        entry = await self._entry(number)
        self._settle(entry)
        if state is State.COMPLETED:
            await self._start_saving(number, workers)
        else:
            await self._tell(entry, error)

    def _settle(self, entry: Entry) -> None:
        if entry.credits_used is not None:
            self._ledger.settle(entry.number, entry.credits_used)
        self._ledger.refund(entry.credits_refunded or 0.0)
        self._feed.priced()

    # --- saving

    async def _save_left_over(self, workers: TaskGroup) -> None:
        """Fetch the files of jobs that an earlier run saw completed."""
        last = 0
        while tickets := await self._journal.do(self._journal.store.to_save, after=last, limit=PAGE):
            for ticket in tickets:
                await self._start_saving(ticket.number, workers)
            last = tickets[-1].number

    async def _start_saving(self, number: int, workers: TaskGroup) -> None:
        await self._downloads.acquire()
        workers.start_soon(self._save, number)

    async def _save(self, number: int) -> None:
        store = self._journal.store
        try:
            entry = await self._entry(number)
            error = next((TaskFailedError(task) for task in entry.tasks if task.is_failed), None)
            try:
                files = await self._saver.save(entry)
            except SeedanceError as problem:
                await self._journal.do(store.note, number, problem.message)
                await self._tell(await self._entry(number), problem)
            else:
                told = error.message if error else None
                await self._journal.do(store.save, number, files, told, now=wall_now())
                await self._tell(await self._entry(number), error)
        except JournalError as failure:
            self.stop(failure)
        finally:
            self._downloads.release()

    # --- telling

    def has_told(self, number: int) -> bool:
        """Whether a job that has not ended was told all the same, with the reason."""
        return number in self._told_open

    async def tell_earlier(self, entry: Entry) -> None:
        """Tell a job that an earlier run has ended."""
        await self._send_on(results.result(entry, self._directory, earlier=True))

    async def _entry(self, number: int) -> Entry:
        return await self._journal.do(self._journal.store.entry, number)

    async def _tell(self, entry: Entry, error: SeedanceError | None) -> None:
        if entry.state in UNENDED:
            self._told_open.add(entry.number)
        try:
            await self._journal.do(results.add, self._directory, entry)
        except OSError as problem:  # a picture of the journal only; the end of the run draws it anew
            log.warning("%s is not in %s: %s", entry.name, results.RESULTS, problem)
        await self._send_on(results.result(entry, self._directory, error=error))

    async def _send_on(self, result: JobResult) -> None:
        try:
            await self._results.send(result)
        except anyio.BrokenResourceError:
            log.debug("%s ended after its caller had left", result.name)


def _first(problems: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first real problem of a group of groups."""
    problem = problems.exceptions[0]
    return _first(problem) if isinstance(problem, BaseExceptionGroup) else problem
