"""The planned jobs of a run, read into its queue a bounded way ahead of what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from seedance_async.foreign import as_reported

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from seedance_async.batch.journal import JobEntry
    from seedance_async.batch.queue import JobQueue
    from seedance_async.signals import Signal


class ReadingAhead:
    """Reads the planned jobs of one run.

    Args:
        queue: of the run.
        changed: set when the run may go on with what was read; waited for while the queue is full.

    Attributes:
        is_ended: whether there is nothing more to come.
        handled: jobs that wait or were sent; the source may list one of these as planned meanwhile.
    """

    def __init__(self, queue: JobQueue, changed: Signal) -> None:
        self.is_ended: bool = False
        self.handled: set[int] = set()
        self._queue = queue
        self._changed = changed
        self._scope = anyio.CancelScope()
        self._problem: BaseException | None = None

    async def run(self, planned: AsyncIterable[list[JobEntry]], is_stopped: Callable[[], bool]) -> None:
        """Read until there are no more, or until the run is stopped or ends."""
        try:
            with self._scope:
                async for jobs in planned:
                    for job in jobs:
                        if job.number not in self.handled:
                            self._queue.add(job)
                    self._changed.set()
                    while self._queue.is_full and not is_stopped():
                        await self._changed.wait()
                    if is_stopped():
                        break
        except BaseException as problem:  # no cancellation of ours is lost: the task ends here
            self._problem = as_reported(problem, code="the source of the jobs")
        finally:
            self.is_ended = True
            self._changed.set()

    def end(self) -> None:
        """Read no more: a source may wait for ever."""
        self._scope.cancel()

    def raise_problem(self) -> None:
        """Raise what went wrong in the source, if anything did."""
        if self._problem is not None:
            raise self._problem
