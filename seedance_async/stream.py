"""Many requests through one client: a coroutine for each POST, results as they come.

A stream reads its source a bounded way ahead and starts a coroutine for every item, so that a million
requests cost no more memory than a few thousand. The coroutine says what becomes of an item; the stream has
what it waits for: a place among those in flight, its turn to be submitted, protection for its POST, and the
end of its tasks.

A stream that is stopped submits nothing more, and what is accepted is still collected. One that is left ends
at once, but for the POSTs on the wire: their answers name what is paid, so these are waited for.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio

from seedance_async.foreign import as_reported
from seedance_async.turns import Turns

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
"""Items between the source and their results: enough to see the longest kinds first, and bounded."""

BUFFERED: Final = 100
"""Results that wait for the caller before the coroutines that bring more wait, too."""


class Stream(Turns, Generic[Result]):
    """One run of many items through a client. Made in an open client, started once.

    Args:
        engine: of the client.
        max_in_flight: most items submitted and not finished at once; None for no bound but ``READ_AHEAD``.

    Attributes:
        place: entered by a coroutine while its item is in flight.
    """

    def __init__(self, engine: Engine, *, max_in_flight: int | None) -> None:
        self.place: AbstractAsyncContextManager[object] = (
            nullcontext() if max_in_flight is None else anyio.Semaphore(max_in_flight, fast_acquire=True)
        )
        super().__init__(engine)
        # Fast: what the source has at once is known to the schedule at once.
        self._ahead = anyio.Semaphore(READ_AHEAD, fast_acquire=True)
        self._may_grow = False
        self._coroutines: TaskGroup
        self._scope = anyio.CancelScope()
        self._finished = anyio.Event()
        self._ended_by_itself = False
        self._problem: BaseException | None = None
        self._incoming, self._results = anyio.create_memory_object_stream[Result](BUFFERED)

    def start(self, feed: Callable[[], Awaitable[None]]) -> None:
        """Start to run ``feed`` in the client's task group: it reads the source, and calls ``spawn``."""
        self._may_grow = True
        self._engine.dispatcher.open_source()
        self._engine.start(self._serve, feed)

    async def spawn(self, work: Callable[[Item], Awaitable[None]], item: Item) -> None:
        """Run ``work`` for an item, once there is room for another coroutine; for ``feed`` to call."""
        await self._ahead.acquire()
        self._coroutines.start_soon(self._run, work, item)

    async def results(self) -> AsyncGenerator[Result]:
        """What the coroutines ``deliver``, as it comes.

        Raises:
            SeedanceError: the client was closed, or has broken down.
            Exception: what the source raised, after everything that is paid was yielded.
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
        """Hand a result to the caller, once there is room for it; False if the caller has left."""
        try:
            await self._incoming.send(result)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return False
        return True

    # --- ending

    def stop(self, error: SeedanceError, *, collect: bool = True) -> None:
        """Submit nothing more. What is accepted is still collected, unless ``collect`` is false.

        Then tasks are not polled any more, and POSTs on the wire are waited for no longer than
        ``on_wire.GRACE``.
        """
        super().stop(error, collect=collect)
        if not collect:
            self._coroutines.start_soon(self.last_answers)

    def no_more_to_come(self) -> None:
        """All items are known: the schedule may count with what it has."""
        if self._may_grow:
            self._may_grow = False
            self._engine.dispatcher.close_source()

    def leave(self) -> None:
        """End without waiting: POSTs on the wire go on, and everything else ends."""
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
        """Read the source, in a task of its own: whatever comes of it ends this task and no other.

        Its failure is raised after what is paid was yielded.
        """
        try:
            await feed()
        except BaseException as problem:  # no cancellation of ours is lost: the task ends here
            self._problem = as_reported(first_problem(problem), code="the source of the run")
        finally:
            self.no_more_to_come()

    async def _run(self, work: Callable[[Item], Awaitable[None]], item: Item) -> None:
        try:
            await work(item)
        except BaseException as problem:  # of one item: the others are brought to their end
            if self._is_ending():
                raise
            self._problem = self._problem or as_reported(first_problem(problem), code="a job of the run")
        finally:
            self._ahead.release()

    def _is_ending(self) -> bool:
        """Whether a cancellation of the run's coroutines is ours."""
        own = self._scope.cancel_called or self._coroutines.cancel_scope.cancel_called
        return own or self._engine.is_ending


def first_problem(problem: BaseException) -> BaseException:
    """The first real problem of a group of groups."""
    return first_problem(problem.exceptions[0]) if isinstance(problem, BaseExceptionGroup) else problem
