"""The poller of a client: one coroutine for each task that anybody waits for.

It polls the task whenever the schedule says.

Whoever waits holds a ``Follower``, and gets the final task or the error that ended the waiting. A poll that
failed ends nothing, it only means that nothing was learned; so it is tried again with growing pauses. A
refused key (401) ends the waiting at once. What else no further poll is likely to mend has to last before it
is believed, for an accepted task was paid: a task that does not exist (404) or is completed without any
output may be the answer of a replica that lags, and a redirect or a broken certificate that of somebody in
between.
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
"""Seconds for which a 404 about an accepted task, or a result without files, is taken for a replica's lag."""

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0
"""Seconds to leave a task alone after polls that failed."""

REMEMBERED: Final = 20_000
"""Submissions whose kind and start are kept for a later ``wait`` by id."""


@frozen
class Start:
    """What this client knows of a task it submitted: its kind, and when it was accepted (loop clock)."""

    kind: Kind
    at: float


@define(eq=False)
class _Watched:
    """A task that somebody waits for."""

    task_id: str
    started_at: float
    followers: set[Follower] = field(factory=set)
    running_at: float = 0.0  # when it was last seen running
    failures: int = 0
    hopeless_since: float | None = None


class Poller:
    """Polls tasks when the schedule says so, for those who follow them."""

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
        """Remember what was submitted ``age`` seconds ago, for whoever waits for it."""
        for task_id in submission.task_ids:
            self._starts[task_id] = Start(kind, anyio.current_time() - age)
        while len(self._starts) > REMEMBERED:
            self._starts.popitem(last=False)

    def register_foreign(self, task: Task, *, age: float) -> None:
        """Remember a running task that was submitted elsewhere ``age`` seconds ago."""
        self._starts[task.id] = Start(Kind.of_task_id(task.id), anyio.current_time() - age)

    def knows(self, task_id: str) -> bool:
        """True for tasks that this client submitted, or that somebody waits for already."""
        return task_id in self._starts or task_id in self._watched

    def follow(
        self,
        task_id: str,
        *,
        patience: float | None = None,
        then: Sequence[Kind] = (),
        is_awaited: bool = False,
    ) -> Follower:
        """Wait for a task to be final; ``stop`` the follower in any case.

        Args:
            task_id: a task that ``knows`` is true for.
            patience: seconds from now after which a task that is not final ends in ``WaitTimeoutError``, once
                a poll has shown it; None for no end.
            then: kinds of the jobs that wait for its result, and for each other, one after the other.
            is_awaited: a caller waits for it, who has no batch.
        """
        watched = self._watched.get(task_id) or self._watch(task_id, then, is_awaited=is_awaited)
        until = inf if patience is None else anyio.current_time() + patience
        follower = Follower(self, task_id, until)
        watched.followers.add(follower)
        return follower

    def unfollow(self, follower: Follower) -> None:
        """Take a follower out; without any the task is not polled any more."""
        watched = self._watched.get(follower.task_id)
        if watched is not None and follower in watched.followers:
            watched.followers.remove(follower)
            if not watched.followers:
                self._forget(watched)

    def close(self, error: SeedanceError) -> None:
        """End the waiting of everybody: there will be no further poll."""
        for watched in list(self._watched.values()):
            self._end(watched, error.about(task_id=watched.task_id))

    def observe(self, task: Task) -> None:
        """Book and learn from a final task, whoever asked for it; once a task."""
        if not task.is_final:
            return
        start = self._starts.pop(task.id, None)
        if start is None:
            return
        elapsed = anyio.current_time() - start.at
        self._transport.usage.finished(task)
        self._transport.observer.finished(task, seconds=elapsed)
        if task.is_completed and task.duration and elapsed and task.duration <= elapsed + LAG:
            # Else the server's clock is wrong. It may be so by less, and no task takes longer than it took.
            self._forecast.observe(start.kind, min(task.duration, elapsed))

    def _watch(self, task_id: str, then: Sequence[Kind], *, is_awaited: bool) -> _Watched:
        now = anyio.current_time()
        start = self._starts.get(task_id) or Start(Kind.of_task_id(task_id), now)
        watched = self._watched[task_id] = _Watched(task_id, start.at, running_at=start.at)
        self._dispatcher.watch(watched, start.kind, started_at=start.at, then=then, is_awaited=is_awaited)
        self._start(partial(self._follow_to_the_end, watched))
        return watched

    async def _follow_to_the_end(self, watched: _Watched) -> None:
        """Poll a task; a fault in that leaves nobody waiting."""
        try:
            await self._poll_until_final(watched)
        except Exception:
            message = "the polling of the task broke down; it goes on at the server, wait for it again"
            self._end(watched, SeedanceError(message, task_id=watched.task_id))
            raise

    async def _poll_until_final(self, watched: _Watched) -> None:
        """Poll a task whenever it is its turn, until it is final or nobody waits for it."""
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
                watched.failures, watched.hopeless_since, watched.running_at = 0, None, asked_at
                self._go_on(watched, f"its status is {outcome.status!r}")

    async def _missed(self, watched: _Watched, failure: Failure) -> None:
        """A poll has shown nothing: pause, or end the waiting where no further poll is worth a request."""
        if self._hopeless(watched, failure):
            self._end(watched, _last_error(watched.task_id, failure.error))
            return
        watched.failures += 1
        pause = self._pause(watched, failure)
        reason, extra = failure.error.message, {"retry_in": pause}
        log.info("poll of %s failed (%s); again in %.0f s", watched.task_id, reason, pause, extra=extra)
        await anyio.sleep(pause)
        self._go_on(watched, failure.error.message)

    def _pause(self, watched: _Watched, failure: Failure) -> float:
        """Seconds until the next poll: our own back-off, and never less than the server asked for."""
        asked_for = min(failure.retry_after or 0.0, self._transport.policy.max_retry_after)
        return max(asked_for, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(watched.failures - 1, 10)))

    def _hopeless(self, watched: _Watched, failure: Failure) -> bool:
        """Whether no further poll is worth a request."""
        if isinstance(failure.error, UnauthorizedError | ClientStateError):
            return True
        lag = isinstance(failure.error, NotFoundError | OutputMissingError)
        if not lag and not failure.final:
            return False
        now = anyio.current_time()
        watched.hopeless_since = now if watched.hopeless_since is None else watched.hopeless_since
        return now - watched.hopeless_since >= (LAG if lag else self._transport.policy.max_elapsed)

    def _go_on(self, watched: _Watched, why: str) -> None:
        """Let the task wait for its next poll, and end the waiting of those whose patience is over."""
        now = anyio.current_time()
        for follower in [each for each in watched.followers if now >= each.until]:
            self.unfollow(follower)
            message = f"the task is not final yet: {why}; it goes on at the server, wait for it again"
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
    """Somebody who waits for one task.

    Attributes:
        until: the instant (loop clock) from which on a task that is not final ends the waiting.
    """

    def __init__(self, poller: Poller, task_id: str, until: float) -> None:
        self.task_id = task_id
        self.until = until
        self._poller = poller
        self._outcome: Future[Task | SeedanceError] = Future()

    async def outcome(self) -> Task | SeedanceError:
        """The final task, or the error that ended the waiting for it."""
        return await self._outcome.wait()

    def end(self, outcome: Task | SeedanceError) -> None:
        """End the waiting; only the first call counts."""
        self._outcome.set_result(outcome)

    def stop(self) -> None:
        """Wait no longer; without anybody who does the task is not polled any more."""
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
