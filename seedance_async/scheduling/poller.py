"""The poller of a client: one coroutine for each task that is waited for, which polls it on schedule.

A caller that waits has a ``Follower``, which returns the final task or the error that ended the wait. A
failed poll does not end the wait, as it shows nothing about the task; it is repeated with growing pauses. A
refused key (401) ends the wait at once. Other errors that further polls probably cannot correct must last for
some time before they end it, because an accepted task is paid: a task that does not exist (404), or is
completed without output, may be the answer of a replica that lags behind, and a redirect or an invalid
certificate may come from a host in between.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field, frozen

from seedance_async.errors import (
    ClientStateError,
    NotFoundError,
    OutputMissingError,
    SeedanceError,
    UnauthorizedError,
    WaitTimeoutError,
)
from seedance_async.logs import Log
from seedance_async.models import Kind, Task
from seedance_async.protocol import Failure, Outcome, read_task, task_call
from seedance_async.signals import Future

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from seedance_async.models import Submission
    from seedance_async.record import AccountRecord
    from seedance_async.scheduling.dispatcher import Dispatcher
    from seedance_async.scheduling.forecast import Forecast
    from seedance_async.transport import Transport

log: Log = Log(__name__)

LAG: Final = 60.0
"""Seconds for which a 404 for an accepted task, or a result without files, is attributed to replica lag."""

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0
"""Seconds without a poll after one that failed: the first pause, and the longest."""

REMEMBERED: Final = 20_000
"""The most tasks whose kind and start are kept for a later ``wait`` by id."""


@frozen
class Start:
    """The kind of a submitted task, and when it was accepted, on the loop's clock."""

    kind: Kind
    at: float


@define(eq=False)
class _Watched:
    """A task that is waited for."""

    task_id: str
    started_at: float
    followers: set[Follower] = field(factory=set)
    running_at: float = 0.0  # when it was last seen running
    failures: int = 0
    futile_since: float | None = None


class Poller:
    """The poller: it polls tasks when the schedule says so, and gives the results to their followers."""

    def __init__(
        self,
        transport: Transport,
        dispatcher: Dispatcher,
        forecast: Forecast,
        start: Callable[[Callable[[], Awaitable[None]]], None],
        *,
        record: AccountRecord,
    ) -> None:
        self._transport = transport
        self._dispatcher = dispatcher
        self._forecast = forecast
        self._start = start
        self._record = record
        self._watched: dict[str, _Watched] = {}
        self._starts: OrderedDict[str, Start] = OrderedDict()

    def register(self, submission: Submission, kind: Kind, *, age: float = 0.0) -> None:
        """Remember the tasks of a POST that was accepted ``age`` seconds ago, for a later wait."""
        for task_id in submission.task_ids:
            self._starts[task_id] = Start(kind, anyio.current_time() - age)
        while len(self._starts) > REMEMBERED:
            self._starts.popitem(last=False)

    def register_foreign(self, task: Task, *, age: float) -> None:
        """Remember a running task that was submitted elsewhere ``age`` seconds ago."""
        self._starts[task.id] = Start(Kind.of_task_id(task.id), anyio.current_time() - age)

    def knows(self, task_id: str) -> bool:
        """Whether this client submitted the task, or already waits for it."""
        return task_id in self._starts or task_id in self._watched

    def follow(
        self,
        task_id: str,
        *,
        patience: float | None = None,
        then: Sequence[Kind] = (),
        is_awaited: bool = False,
    ) -> Follower:
        """Start to wait for a task; the caller must ``stop`` the follower.

        Args:
            task_id: a task for which ``knows`` is true.
            patience: seconds from now after which the next poll that finds the task not final ends the wait
                with ``WaitTimeoutError``; None for no limit.
            then: the kinds of the jobs of which each waits for the result of the one before.
            is_awaited: whether a caller waits for it, outside a batch.
        """
        watched = self._watched.get(task_id) or self._watch(task_id, then, is_awaited=is_awaited)
        until = inf if patience is None else anyio.current_time() + patience
        follower = Follower(self, task_id, until)
        watched.followers.add(follower)
        return follower

    def unfollow(self, follower: Follower) -> None:
        """Remove a follower; a task without followers is not polled any more."""
        watched = self._watched.get(follower.task_id)
        if watched is not None and follower in watched.followers:
            watched.followers.remove(follower)
            if not watched.followers:
                self._forget(watched)

    def close(self, error: SeedanceError) -> None:
        """End all waits with ``error``, as there will be no further poll."""
        for watched in list(self._watched.values()):
            self._end(watched, error.about(task_id=watched.task_id))

    def observe(self, task: Task) -> None:
        """Count a final task and learn its duration, once per task, however it was polled."""
        if not task.is_final:
            return
        start = self._starts.pop(task.id, None)
        if start is None:
            return
        elapsed = anyio.current_time() - start.at
        self._transport.usage.finished(task)
        self._transport.observer.finished(task, seconds=elapsed)
        if task.is_completed and task.duration and elapsed and task.duration <= elapsed + LAG:
            # Else the server's clock is wrong. With a smaller error, the elapsed time is still an upper
            # bound.
            self._forecast.observe(start.kind, min(task.duration, elapsed))

    def _watch(self, task_id: str, then: Sequence[Kind], *, is_awaited: bool) -> _Watched:
        now = anyio.current_time()
        start = self._starts.get(task_id) or Start(Kind.of_task_id(task_id), now)
        watched = self._watched[task_id] = _Watched(task_id, start.at, running_at=start.at)
        self._dispatcher.watch(watched, start.kind, started_at=start.at, then=then, is_awaited=is_awaited)
        self._start(partial(self._follow_to_the_end, watched))
        return watched

    async def _follow_to_the_end(self, watched: _Watched) -> None:
        """Poll a task to its end; an unexpected exception ends the wait of its followers."""
        try:
            await self._poll_until_final(watched)
        except Exception:
            message = "the polling of the task broke down; it continues at the server, wait for it again"
            self._end(watched, SeedanceError(message, task_id=watched.task_id))
            raise

    async def _poll_until_final(self, watched: _Watched) -> None:
        """Poll a task at each of its turns, until it is final or not waited for any more."""
        call = task_call(watched.task_id)
        read = partial(read_task, task_id=watched.task_id)
        while (slot := await self._dispatcher.poll_turn(watched)) is not None:
            asked_at = anyio.current_time()
            outcome = await self._transport.attempt(call, read, slot=slot)
            if not isinstance(outcome, Failure) and outcome.lacks_output:
                outcome = Failure(error=OutputMissingError(outcome), outcome=Outcome.UNKNOWN)
            if isinstance(outcome, Failure):
                await self._missed(watched, outcome)
            elif outcome.is_final:
                self.observe(outcome)
                await self._record.finished(outcome)
                self._end(watched, outcome)
            else:
                watched.failures, watched.futile_since, watched.running_at = 0, None, asked_at
                self._continue(watched, f"its status is {outcome.status!r}")

    async def _missed(self, watched: _Watched, failure: Failure) -> None:
        """Handle a failed poll: pause, or end the wait if no further poll is worth a request."""
        if self._is_futile(watched, failure):
            self._end(watched, _last_error(watched.task_id, failure.error))
            return
        watched.failures += 1
        pause = self._pause(watched, failure)
        reason, extra = failure.error.message, {"retry_in": pause}
        log.info("poll of %s failed (%s); again in %.0f s", watched.task_id, reason, pause, extra=extra)
        await anyio.sleep(pause)
        self._continue(watched, failure.error.message)

    def _pause(self, watched: _Watched, failure: Failure) -> float:
        """Seconds until the next poll: our back-off, but not less than the server asked for."""
        asked_for = min(failure.retry_after or 0.0, self._transport.policy.max_retry_after)
        return max(asked_for, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(watched.failures - 1, 10)))

    def _is_futile(self, watched: _Watched, failure: Failure) -> bool:
        """Whether no further poll is worth a request."""
        if isinstance(failure.error, UnauthorizedError | ClientStateError):
            return True
        lag = isinstance(failure.error, NotFoundError | OutputMissingError)
        if not lag and not failure.final:
            return False
        now = anyio.current_time()
        watched.futile_since = now if watched.futile_since is None else watched.futile_since
        return now - watched.futile_since >= (LAG if lag else self._transport.policy.max_elapsed)

    def _continue(self, watched: _Watched, why: str) -> None:
        """Schedule the next poll of the task, and end the wait of followers whose time is over."""
        now = anyio.current_time()
        for follower in [each for each in watched.followers if now >= each.until]:
            self.unfollow(follower)
            message = f"the task is not final yet: {why}; it continues at the server, wait for it again"
            follower.end(WaitTimeoutError(message, task_id=watched.task_id))
        if watched.followers:
            self._dispatcher.polled(watched, watched.running_at)

    def _end(self, watched: _Watched, outcome: Task | SeedanceError) -> None:
        self._forget(watched)
        for follower in watched.followers:
            follower.end(outcome)

    def _forget(self, watched: _Watched) -> None:
        if self._watched.get(watched.task_id) is watched:
            del self._watched[watched.task_id]
        self._dispatcher.forget(watched)


class Follower:
    """The wait of one caller for one task.

    Attributes:
        until: the instant on the loop's clock from which a poll that finds the task not final ends the wait.
    """

    def __init__(self, poller: Poller, task_id: str, until: float) -> None:
        self.task_id = task_id
        self.until = until
        self._poller = poller
        self._outcome: Future[Task | SeedanceError] = Future()

    async def outcome(self) -> Task | SeedanceError:
        """The final task, or the error that ended the wait for it."""
        return await self._outcome.wait()

    def end(self, outcome: Task | SeedanceError) -> None:
        """End the wait with this outcome; only the first call has an effect."""
        self._outcome.set_result(outcome)

    def stop(self) -> None:
        """End the wait without an outcome; a task without followers is not polled any more."""
        self._poller.unfollow(self)


def _last_error(task_id: str, error: SeedanceError) -> SeedanceError:
    """The error for a task that will not be polled again."""
    if isinstance(error, NotFoundError):
        message = (
            f"the task has vanished: it was accepted, and for {LAG:g} s now the API says {error.message!r}"
        )
        return NotFoundError(
            message, code=error.code, status=error.status, request_id=error.request_id, task_id=task_id
        )
    error.task_id = task_id
    return error
