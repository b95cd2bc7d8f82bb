"""The turns of POSTs that belong together, such as those of a batch, until they are stopped together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import lowlevel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from seedance_async.budget.gate import Slot
    from seedance_async.engine import Engine
    from seedance_async.errors import SeedanceError
    from seedance_async.models import Kind, Task
    from seedance_async.scheduling.dispatcher import Turn
    from seedance_async.scheduling.poller import Follower

Answer = TypeVar("Answer")


class PostTurns:
    """The turns of some POSTs, and the wait for their tasks.

    Args:
        engine: the client's engine.

    Attributes:
        stopped: why nothing more is submitted; None before it is stopped.
        left: whether the caller has left and reads no further results.
    """

    def __init__(self, engine: Engine) -> None:
        self.stopped: SeedanceError | None = None
        self.left: bool = False
        self._engine = engine
        self._turns: set[Turn] = set()
        self._waits: set[anyio.CancelScope] = set()
        self._followers: set[Follower] = set()

    @asynccontextmanager
    async def turn(
        self, kind: Kind, then: Sequence[Kind] = (), *, with_media: bool = False
    ) -> AsyncIterator[Slot | None]:
        """Wait until the schedule submits an item of this kind; in the block, its POST counts as in progress.

        Args:
            kind: the item's kind.
            then: the kinds of the items of which each waits for the result of the one before.
            with_media: whether it has reference media, whose number the server may limit.

        Yields:
            The slot for the POST; None if the stream was stopped before.
        """
        reference: Slot | None = None
        try:
            while True:
                reference = await self._reference() if with_media else None
                async with self._scheduled(kind, then) as slot:
                    limited = with_media and reference is None and self._engine.references.applies
                    if slot is None or not limited:
                        yield slot
                        return
                    slot.cancel()  # the limit was learned in the meantime
        finally:
            if reference is not None:
                reference.settle()

    async def _reference(self) -> Slot | None:
        """Wait for a slot for reference media; None if they are not limited, or the stream is stopped."""
        if self.stopped is None:
            with anyio.CancelScope() as wait:
                self._waits.add(wait)
                try:
                    return await self._engine.references.acquire()
                finally:
                    self._waits.remove(wait)
        return None

    @asynccontextmanager
    async def _scheduled(self, kind: Kind, then: Sequence[Kind]) -> AsyncIterator[Slot | None]:
        if self.stopped is not None:
            yield None
            return
        turn = self._engine.dispatcher.turn(kind, then)
        self._turns.add(turn)
        try:
            async with turn as slot:
                self._turns.discard(turn)
                if slot is not None and (self.left or self.stopped is not None):  # just before
                    slot.cancel()
                    slot = None  # noqa: PLW2901 - nothing may be sent any more
                yield slot
        finally:
            self._turns.discard(turn)

    async def protect(self, post: Awaitable[Answer]) -> Answer | None:
        """Await a POST, shielded from cancellation until the grace is over; None if it is cancelled then."""
        answers = []
        with self._engine.posts.one(self):
            answers.append(await post)
        if not answers:
            await lowlevel.checkpoint()  # the stream may be cancelled as well
        return answers[0] if answers else None

    async def outcomes(self, followers: Sequence[Follower]) -> list[Task | SeedanceError]:
        """Wait for each task; returns the final task, or the error that ended the wait for it."""
        self._followers.update(followers)
        try:
            return [await follower.outcome() for follower in followers]
        finally:
            self._followers.difference_update(followers)
            for follower in followers:
                follower.stop()

    def stop(self, error: SeedanceError, *, collect: bool = True) -> None:
        """Submit nothing more because of ``error``; without ``collect``, also end the wait for tasks."""
        self.stopped = self.stopped or error
        for turn in list(self._turns):
            self._engine.dispatcher.withdraw(turn)
        for wait in self._waits:
            wait.cancel()
        if not collect:
            for follower in self._followers:
                follower.end(error.about(task_id=follower.task_id))

    async def last_answers(self) -> None:
        """Wait for the answers to these POSTs on the wire, for at most the grace period."""
        await self._engine.posts.last_answers(self)
