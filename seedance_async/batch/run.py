"""One run of a batch: every job once through journal, API, journal, disk, and out to the caller.

The order of the steps is the promise of the package::

    intent on disk -> POST -> ids on disk -> poll -> result on disk -> files -> saved on disk -> told

The first three steps are ``sending``'s; here is the rest, and the run as a whole. When it is stopped, nothing
more is sent, and what is paid is still collected, except under a key that is refused.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from seedance_async.batch import results
from seedance_async.batch.feed import Feed
from seedance_async.batch.sending import Sender, wall_now
from seedance_async.batch.states import State
from seedance_async.errors import (
    ClientStateError,
    CreditCapError,
    JournalError,
    RateLimitedError,
    SeedanceError,
    TaskFailedError,
    UnauthorizedError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable
    from pathlib import Path

    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from seedance_async.batch.jobs import JobResult
    from seedance_async.batch.journal import Entry, Journal, Ticket
    from seedance_async.batch.ledger import Ledger
    from seedance_async.batch.parcels import Parcel
    from seedance_async.batch.saving import Saver
    from seedance_async.engine import Engine
    from seedance_async.generation import Ending, Generation
    from seedance_async.models import Task

log: logging.Logger = logging.getLogger(__name__)

DOWNLOADS: Final = 4
"""Jobs whose files are fetched at the same time."""

UNENDED: Final = frozenset({State.PLANNED, State.SUBMITTING, State.ACCEPTED})
PAGE: Final = 200
AHEAD: Final = 100
"""Results that wait for the caller at most."""


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
        begun: AsyncIterable[Parcel],
        planned: AsyncIterable[list[Ticket]],
        max_in_flight: int | None,
        share_posts: bool,
        trust: float,
        pay_twice: bool,
    ) -> None:
        self.stopped: SeedanceError | None = None
        self._engine = engine
        self._journal = journal
        self._ledger = ledger
        self._saver = saver
        self._directory = directory
        self._max_in_flight = max_in_flight
        self._feed = Feed(
            ledger,
            begun=begun,
            planned=planned,
            share_posts=share_posts,
            stop=self.stop,
            nothing_new=self._nothing_new,
        )
        self._sender = Sender(
            engine, journal, ledger, self._feed, stop=self.stop, trust=trust, pay_twice=pay_twice
        )
        self._generation: Generation[Parcel] | None = None
        self._told_open: set[int] = set()
        self._downloads = anyio.Semaphore(DOWNLOADS)
        self._scope = anyio.CancelScope()
        self._finished = anyio.Event()
        self._error: BaseException | None = None
        self._problem: Exception | None = (
            None  # of whoever gives the jobs; raised when all that is paid is told
        )
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
            await self._sender.last_answers()
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

    def _nothing_new(self) -> None:
        if self._generation is not None:
            self._generation.nothing_new()

    async def _work(self) -> None:
        self._error = ClientStateError("the client was closed before its batch; close the batch first")
        try:
            with self._scope:
                async with anyio.create_task_group() as workers:
                    await self._follow(workers)
            self._error = self._problem
        except* Exception as problems:
            self._error = _first(problems)
        finally:
            self._results.close()
            self._finished.set()

    async def _follow(self, workers: TaskGroup) -> None:
        """Take every job to its end."""
        senders = anyio.create_task_group()
        generation = self._generation = self._engine.generation(
            self._feed.orders(), post=self._sender.post, max_in_flight=self._max_in_flight, workers=senders
        )
        async with senders:
            workers.start_soon(self._feed.fill)
            workers.start_soon(self._save_left_over, workers)
            endings = generation.results()
            try:
                async for ending in endings:
                    await self._ended(ending, workers)
                    if isinstance(self.stopped, UnauthorizedError):
                        break
            except Exception as problem:
                self._problem = problem
            finally:
                await endings.aclose()
                await self._sender.last_answers()
                senders.cancel_scope.cancel()  # their intents stand
        for ending in generation.unheard():  # a refused key ended the listening before they came
            await self._ended(ending, workers)

    # --- collecting

    async def _ended(self, ending: Ending[Parcel], workers: TaskGroup) -> None:
        """A parcel has gone as far as the API takes it."""
        try:
            for ticket in ending.order.tickets:
                await self._job_ended(ticket, ending, workers)
        except JournalError as failure:
            self.stop(failure)
        finally:
            self._feed.ended()

    async def _job_ended(self, ticket: Ticket, ending: Ending[Parcel], workers: TaskGroup) -> None:
        entry = await self._entry(ticket.number)
        if ending.submission is None:
            await self._unaccepted(ticket, entry, ending.error)
        elif entry.state is State.UNCERTAIN and entry.key == ending.submission.idempotency_key:
            await self._tell(entry, None)
        elif entry.task_ids and set(entry.task_ids) <= set(ending.submission.task_ids):
            tasks = [task for task in ending.tasks if task.id in entry.task_ids]
            if len(tasks) < len(entry.task_ids):
                await self._unfinished(ticket, ending.error)
            else:
                await self._finished_tasks(entry, tasks, workers)
        # Else the server did not start it with the others, and it has gone its own way since.

    async def _unaccepted(self, ticket: Ticket, entry: Entry, error: SeedanceError | None) -> None:
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

    async def _finished_tasks(self, entry: Entry, tasks: list[Task], workers: TaskGroup) -> None:
        error = _failure_among(tasks, entry)
        told = error.message if error else None
        store, number = self._journal.store, entry.number
        state = await self._journal.do(store.finish, number, tasks, told, now=wall_now())
        entry = await self._entry(number)
        self._settle(entry)
        if state is State.COMPLETED:
            await self._start_saving(number, workers)
        else:
            await self._tell(entry, error)

    def _settle(self, entry: Entry) -> None:
        if entry.credits_used is not None:
            self._ledger.settle(entry.number, entry.credits_used)
        self._ledger.refund(entry.number, entry.credits_refunded or 0.0)
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
            error = _failure_among(entry.tasks, entry)
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


def _failure_among(tasks: Iterable[Task], entry: Entry) -> TaskFailedError | None:
    """What the first of a job's tasks that failed has to say."""
    failed = (TaskFailedError(task, idempotency_key=entry.key) for task in tasks if task.is_failed)
    return next(failed, None)


def _first(problems: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first real problem of a group of groups."""
    problem = problems.exceptions[0]
    return _first(problem) if isinstance(problem, BaseExceptionGroup) else problem
