"""A stream of many requests through one client: one coroutine per POST, and the results as they come.

A stream reads a limited number of items ahead from its source and starts a coroutine for each, so that a
million requests need no more memory than a few thousand. The coroutine defines what happens with an item; the
stream provides what it waits for: a place among those in flight, its turn to be submitted, protection for its
POST, and the end of its tasks.

A stream that is stopped submits nothing more, and still collects what is accepted. A stream that is left ends
at once, except for the POSTs on the wire, whose answers name what is paid.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio

from seedance_async.foreign import as_reported
from seedance_async.post_turns import PostTurns

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Awaitable,
        Callable,
    )
    from contextlib import AbstractAsyncContextManager

    from anyio.abc import TaskGroup

    from seedance_async.engine import Engine
    from seedance_async.errors import SeedanceError

Item = TypeVar("Item")
Result = TypeVar("Result")

READ_AHEAD: Final = 2000
"""The most items read but not finished: enough to know the longest kinds early, with bounded memory."""

BUFFERED: Final = 100
"""The most results that wait for the caller; coroutines with further results wait for space."""


class Stream(PostTurns, Generic[Result]):
    """One run of many items through an open client; it is started once.

    Args:
        engine: the client's engine.
        max_in_flight: most items submitted and not finished at a time; None: limited by ``READ_AHEAD`` only.

    Attributes:
        place: entered by a coroutine while its item is in flight.
    """

    def __init__(self, engine: Engine, *, max_in_flight: int | None) -> None:
        self.place: AbstractAsyncContextManager[object] = (
            nullcontext() if max_in_flight is None else anyio.Semaphore(max_in_flight, fast_acquire=True)
        )
        super().__init__(engine)
        # Fast, so that the schedule knows at once all items that the source has ready.
        self._ahead = anyio.Semaphore(READ_AHEAD, fast_acquire=True)
        self._may_grow = False
        self._coroutines: TaskGroup
        self._scope = anyio.CancelScope()
        self._finished = anyio.Event()
        self._ended_by_itself = False
        self._problem: BaseException | None = None
        self._incoming, self._results = anyio.create_memory_object_stream[Result](BUFFERED)

    def start(self, feed: Callable[[], Awaitable[None]]) -> None:
        """Start ``feed``, which reads the source and calls ``spawn``, in the client's task group."""
        self._may_grow = True
        self._engine.dispatcher.open_source()
        self._engine.start(self._serve, feed)

    async def spawn(self, work: Callable[[Item], Awaitable[None]], item: Item) -> None:
        """Wait for room for another coroutine, and start ``work`` for an item; called by ``feed``."""
        await self._ahead.acquire()
        self._coroutines.start_soon(self._run, work, item)

    async def results(self) -> AsyncGenerator[Result]:
        """Yield what the coroutines ``deliver``, as it comes.

        Raises:
            SeedanceError: the client was closed, or has broken down.
            Exception: an exception of the source, after all paid results were yielded.
        """
        with self._results:
            async for result in self._results:
                yield result
        await self._finished.wait()
        if not self._ended_by_itself:
            raise await self._engine.end()
        if self._problem is not None:
            raise self._problem

    # --- for the coroutines

    async def deliver(self, result: Result) -> bool:
        """Wait for room, and pass a result to the caller; False if the caller has left."""
        try:
            await self._incoming.send(result)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return False
        return True

    # --- ending

    def stop(self, error: SeedanceError, *, collect: bool = True) -> None:
        """Submit nothing more, because of ``error``. What is accepted is still collected.

        If ``collect`` is false, tasks are not polled any more, and answers to POSTs on the wire are awaited
        for at most ``on_wire.GRACE``.
        """
        super().stop(error, collect=collect)
        if not collect:
            self._coroutines.start_soon(self.last_answers)

    def no_more_to_come(self) -> None:
        """Note that all items are known, so that the schedule can plan with them."""
        if self._may_grow:
            self._may_grow = False
            self._engine.dispatcher.close_source()

    def leave(self) -> None:
        """End without waiting: POSTs on the wire continue, and everything else is cancelled."""
        self.left = True
        self._scope.cancel()
        self._results.close()

    @property
    def is_finished(self) -> bool:
        """Whether every coroutine has ended."""
        return self._finished.is_set()

    async def finished(self) -> None:
        """Wait until every coroutine has ended."""
        await self._finished.wait()

    async def _serve(self, feed: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as self._coroutines:
                    self._coroutines.start_soon(self._feed, feed)
            self._ended_by_itself = True
        except BaseException as problem:
            if self._engine.is_ending:
                raise
            self._problem, self._ended_by_itself = as_reported(first_problem(problem), code="the run"), True
        finally:
            self.no_more_to_come()
            self._incoming.close()
            self._finished.set()

    async def _feed(self, feed: Callable[[], Awaitable[None]]) -> None:
        """Read the source in a separate task, so that its exceptions end no other task.

        Its exception is raised after all paid results were yielded.
        """
        try:
            await feed()
        except BaseException as problem:  # a cancellation of ours is not lost, as the task ends here
            self._problem = as_reported(first_problem(problem), code="the source of the run")
        finally:
            self.no_more_to_come()

    async def _run(self, work: Callable[[Item], Awaitable[None]], item: Item) -> None:
        try:
            await work(item)
        except BaseException as problem:  # of one item: the others continue to their end
            if self._is_ending():
                raise
            self._problem = self._problem or as_reported(first_problem(problem), code="a job of the run")
        finally:
            self._ahead.release()

    def _is_ending(self) -> bool:
        """Whether the coroutines of the run are being cancelled by the stream or its engine."""
        own = self._scope.cancel_called or self._coroutines.cancel_scope.cancel_called
        return own or self._engine.is_ending


def first_problem(problem: BaseException) -> BaseException:
    """The first exception in nested exception groups."""
    return first_problem(problem.exceptions[0]) if isinstance(problem, BaseExceptionGroup) else problem
