"""Many requests through one client: submit as the schedule says, yield every result as it completes.

There is no worker per job. A job is an entry of the schedule until its submit is worth a slot, then an
entry of the poller until its tasks are final; in between one short-lived worker sends its POST. The source is
read a bounded way ahead, so that a million requests cost no more memory than a few thousand.

No job is lost: each ends as exactly one ``Ending``, with tasks or with an error. A 401 or 402 stops the
submits of this run, because the next one would be answered alike; what is already paid is still collected,
and jobs that were not sent say so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import anyio
from attrs import define, field, frozen

from seedance_async.errors import (
    ApiError,
    InsufficientCreditsError,
    SeedanceError,
    TaskFailedError,
    UnauthorizedError,
)
from seedance_async.models import Submission, Task
from seedance_async.promise import Bell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable

    from anyio.abc import TaskGroup

    from seedance_async.budget import Slot
    from seedance_async.models import Kind
    from seedance_async.scheduling.dispatcher import Dispatcher
    from seedance_async.scheduling.poller import Poller

READ_AHEAD: Final = 2000
"""Jobs held between the source and their results: enough to see the longest kinds first, and bounded."""


class Order(Protocol):
    """One thing that a run is to make."""

    @property
    def kind(self) -> Kind:
        """The class of work it belongs to."""
        ...

    @property
    def submission(self) -> Submission | None:
        """What an earlier process was answered for it; None if it is still to be sent."""
        ...


OrderT = TypeVar("OrderT", bound=Order)
OrderT_contra = TypeVar("OrderT_contra", bound=Order, contravariant=True)


class Post(Protocol[OrderT_contra]):
    """Sends an order's POST under a key of its own and returns what was accepted."""

    async def __call__(self, order: OrderT_contra, /, *, slot: Slot) -> Submission:
        """Send it, retrying as the policy says."""
        ...


@frozen(kw_only=True)
class Ending(Generic[OrderT]):
    """How one order of a run ended.

    Attributes:
        order: what was asked for.
        submission: the accepted POST; None when it was not accepted.
        tasks: its tasks that are final.
        error: None when every task completed; else why not.
    """

    order: OrderT
    submission: Submission | None
    tasks: tuple[Task, ...]
    error: SeedanceError | None


@define(eq=False)
class _Job(Generic[OrderT]):
    order: OrderT
    submission: Submission | None = None
    finished: dict[str, Task] = field(factory=dict)
    error: SeedanceError | None = None
    tell: dict[str, Callable[[Task | SeedanceError], None]] = field(factory=dict)

    def ending(self) -> Ending[OrderT]:
        ids = self.submission.task_ids if self.submission else ()
        tasks = tuple(self.finished[task_id] for task_id in ids if task_id in self.finished)
        return Ending(order=self.order, submission=self.submission, tasks=tasks, error=self.error)


class Generation(Generic[OrderT]):
    """One run of many orders.

    Args:
        source: the orders; read ahead of the results by at most ``READ_AHEAD``.
        post: sends one POST.
        dispatcher: decides when.
        poller: tells when tasks are final.
        workers: where the short-lived workers live: the client's task group.
        max_in_flight: most jobs submitted and not finished at once; None for no bound but the source's.
        patience: seconds a task may take before its job ends in ``WaitTimeoutError``.
        late: told of each POST that ends after ``results`` was left; None where a journal keeps record of it.
    """

    def __init__(
        self,
        source: AsyncIterable[OrderT],
        *,
        post: Post[OrderT],
        dispatcher: Dispatcher,
        poller: Poller,
        workers: TaskGroup,
        max_in_flight: int | None,
        patience: float | None,
        late: Callable[[Ending[OrderT]], None] | None = None,
    ) -> None:
        self._source = source
        self._post = post
        self._dispatcher = dispatcher
        self._poller = poller
        self._workers = workers
        self._max_in_flight = max_in_flight
        self._patience = patience
        self._late = late
        self._waiting: deque[_Job[OrderT]] = deque()
        self._active: set[_Job[OrderT]] = set()
        self._done: deque[_Job[OrderT]] = deque()
        self._halt: SeedanceError | None = None
        self._source_error: Exception | None = None
        self._end: SeedanceError | None = None
        self._exhausted = False
        self._expecting = False
        self._closed = False
        self._results_bell = Bell()
        self._feed_bell = Bell()
        self._feeding = anyio.CancelScope()

    async def results(self) -> AsyncGenerator[Ending[OrderT]]:
        """Yield an ending for every order, as they come.

        Leaving early submits nothing more; POSTs on the wire are answered, and ``late`` is told of them.

        Raises:
            Exception: what the source raised, after everything paid was yielded.
        """
        self._expecting = True
        self._dispatcher.lazy_source(opened=True)
        self._workers.start_soon(self._feed)
        try:
            while True:
                while self._done:
                    yield self._done.popleft().ending()
                    self._feed_bell.ring()
                if self._end is not None:
                    raise self._end
                if self._exhausted and not self._active and not self._waiting:
                    break
                await self._results_bell.sleep()
        finally:
            self._close()
        if self._source_error is not None:
            raise self._source_error

    def nothing_new(self) -> None:
        """All orders are known: what the source yields from now on, if anything, are such as come back."""
        if self._expecting:
            self._expecting = False
            self._dispatcher.lazy_source(opened=False)

    def unheard(self) -> list[Ending[OrderT]]:
        """What has ended since ``results`` was left, each once."""
        unheard = [job.ending() for job in self._done]
        self._done.clear()
        return unheard

    def under_way(self) -> list[Ending[OrderT]]:
        """What is accepted and not final. Once ``results`` was left, nobody follows it."""
        return [job.ending() for job in self._active if job.submission is not None]

    def end(self, error: SeedanceError) -> None:
        """The client closes under this run: what is done is still yielded, then the error is raised."""
        self._end = error
        self._results_bell.ring()

    async def _feed(self) -> None:
        try:
            with self._feeding:
                async for order in self._source:
                    if not await self._room():
                        return
                    self._admit(_Job(order, order.submission))
        except Exception as error:
            self._source_error = error
        finally:
            self._exhausted = True
            self.nothing_new()
            self._results_bell.ring()

    async def _room(self) -> bool:
        """Wait until one more job fits; False when nobody listens any more."""
        while not self._closed and len(self._waiting) + len(self._active) + len(self._done) >= READ_AHEAD:
            await self._feed_bell.sleep()
        return not self._closed

    def _admit(self, job: _Job[OrderT]) -> None:
        if self._halt is not None and job.submission is None:
            self._finish(job, _not_sent(self._halt))
        else:
            self._waiting.append(job)
            self._offer()

    def _offer(self) -> None:
        """Hand waiting jobs to the schedule, as many as may be in flight; accepted ones to the poller.

        Once nobody listens none is waiting: a POST that ends then makes room for no other.
        """
        while self._waiting and (self._max_in_flight is None or len(self._active) < self._max_in_flight):
            job = self._waiting.popleft()
            self._active.add(job)
            if job.submission is None:
                self._dispatcher.offer(job, job.order.kind, partial(self._start, job))
            else:
                self._follow(job, job.submission)

    def _start(self, job: _Job[OrderT], slot: Slot) -> None:
        self._dispatcher.room.started()
        self._workers.start_soon(self._submit, job, slot)

    async def _submit(self, job: _Job[OrderT], slot: Slot) -> None:
        try:
            await self._submit_and_follow(job, slot)
        finally:
            self._dispatcher.room.ended()

    async def _submit_and_follow(self, job: _Job[OrderT], slot: Slot) -> None:
        try:
            submission = await self._post(job.order, slot=slot)
        except SeedanceError as error:
            if isinstance(error, UnauthorizedError | InsufficientCreditsError):
                self.stop(error)
            self._finish(job, error)
        else:
            job.submission = submission
            if not self._closed:
                self._follow(job, submission)
        if self._closed and self._late is not None:
            self._late(job.ending())

    def _follow(self, job: _Job[OrderT], submission: Submission) -> None:
        for task_id in submission.task_ids:
            job.tell[task_id] = partial(self._told, job, task_id)
            self._poller.follow(task_id, job.tell[task_id], patience=self._patience)

    def _told(self, job: _Job[OrderT], task_id: str, outcome: Task | SeedanceError) -> None:
        del job.tell[task_id]
        if isinstance(outcome, Task):
            job.finished[task_id] = outcome
            if outcome.is_failed:
                outcome = TaskFailedError(outcome)
        if isinstance(outcome, SeedanceError):
            job.error = job.error or outcome
        if not job.tell:
            self._finish(job, job.error)

    def _finish(self, job: _Job[OrderT], error: SeedanceError | None) -> None:
        job.error = error
        if error is not None and job.submission is not None:
            error.idempotency_key = error.idempotency_key or job.submission.idempotency_key
            error.task_id = error.task_id or job.submission.id
        self._active.discard(job)
        self._done.append(job)
        self._offer()
        self._results_bell.ring()

    def stop(self, error: SeedanceError) -> None:
        """End every job that was not started; those on the wire or accepted go on."""
        self._halt = self._halt or error
        unsent = [job for job in self._active if self._dispatcher.withdraw(job)]
        unsent += [job for job in self._waiting if job.submission is None]
        self._waiting = deque(job for job in self._waiting if job.submission is not None)
        for job in unsent:
            self._finish(job, _not_sent(error))

    def _close(self) -> None:
        self._closed = True
        self._feeding.cancel()  # a source may wait for ever, and the schedule with it for what it brings
        self._waiting.clear()
        for job in self._active:
            self._dispatcher.withdraw(job)
            for task_id, tell in job.tell.items():
                self._poller.leave(task_id, tell)
        self._feed_bell.ring()


def _not_sent(error: SeedanceError) -> SeedanceError:
    told = f"not sent, because an earlier job was answered {error.message}"
    return type(error)(told, code=error.code) if isinstance(error, ApiError) else SeedanceError(told)
