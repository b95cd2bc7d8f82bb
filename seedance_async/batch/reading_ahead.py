"""The reader that fills a run's queue with planned jobs, a bounded way ahead of sending."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from seedance_async import posts
from seedance_async.foreign import as_reported

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable

    from seedance_async.batch.journal import JobEntry
    from seedance_async.batch.queue import JobQueue
    from seedance_async.signals import Signal


class ReadingAhead:
    """Reads the planned jobs of one run.

    Args:
        queue: the run's queue.
        changed: set after jobs were read; awaited while the queue is full.

    Attributes:
        is_ended: whether all jobs were read.
        handled: numbers of jobs that were queued or sent by the run itself, and of queued jobs with links.
            They are not queued again: the source may list them as planned again, and each source of a link
            may find that it was the last one.
    """

    def __init__(self, queue: JobQueue, changed: Signal) -> None:
        self.is_ended: bool = False
        self.handled: set[int] = set()
        self._queue = queue
        self._changed = changed
        self._scope = anyio.CancelScope()
        self._problem: BaseException | None = None

    async def run(self, planned: AsyncIterable[list[JobEntry]], is_stopped: Callable[[], bool]) -> None:
        """Read until there are no more jobs, the run is stopped, or ``end`` is called."""
        try:
            with self._scope:
                async for jobs in planned:
                    self.add(jobs)
                    self._changed.set()
                    while self._queue.is_full and not is_stopped():
                        await self._changed.wait()
                    if is_stopped():
                        break
        except BaseException as problem:  # also a cancellation: this task ends here in any case
            self._problem = as_reported(problem, code="the source of the jobs")
        finally:
            self.is_ended = True
            self._changed.set()

    def add(self, jobs: Iterable[JobEntry]) -> None:
        """Queue planned jobs, each only once, whether it was read or its sources are ready."""
        for job in jobs:
            if job.number not in self.handled:
                if posts.has_links(job.body):
                    self.handled.add(job.number)
                self._queue.add(job)

    def end(self) -> None:
        """Stop reading, even if the source waits for ever."""
        self._scope.cancel()

    def raise_problem(self) -> None:
        """Raise the exception of the source, if there was one."""
        if self._problem is not None:
            raise self._problem
