"""One poller for every task that anybody waits for: the schedule says when, this file looks and tells.

A follower is told once: the finished task, or the error that ends the waiting. A poll that failed ends
nothing, it only means that nothing was learned; so it is tried again with growing pauses. A refused key (401)
ends the waiting at once. What else no further look is likely to mend has to last before it is believed, for
an accepted task was paid: a task that does not exist (404) or is completed without any output may be the word
of a replica that lags, and a redirect or a broken certificate that of somebody in between.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from seedance_async.errors import (
    ClientStateError,
    NotFoundError,
    OutputMissingError,
    SeedanceError,
    UnauthorizedError,
    WaitTimeoutError,
)
from seedance_async.models import Kind, Task
from seedance_async.protocol import Failure, Outcome, read_task, task_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from seedance_async.budget import Slot
    from seedance_async.models import Submission
    from seedance_async.scheduling.dispatcher import Dispatcher
    from seedance_async.scheduling.forecast import Forecast
    from seedance_async.transport import Transport

    Tell = Callable[[Task | SeedanceError], None]

log: logging.Logger = logging.getLogger(__name__)

LAG: Final = 60.0
"""Seconds for which a 404 about an accepted task, or a result without files, is taken for a replica's lag."""

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0
"""Seconds to leave a task alone after polls that failed."""

REMEMBERED: Final = 20_000
"""Submissions whose kind and start are kept for a later ``wait`` by id."""


@define(eq=False)
class Birth:
    """What this client knows of a task it submitted."""

    kind: Kind
    started_at: float


@define(eq=False)
class Watched:
    """A task somebody waits for: each follower until an instant of its own."""

    task_id: str
    started_at: float
    followers: dict[Tell, float] = field(factory=dict)
    looked_at: float = 0.0
    failures: int = 0
    hopeless_since: float | None = None


class Poller:
    """Looks at tasks when the schedule says so, and tells their followers."""

    def __init__(
        self, transport: Transport, dispatcher: Dispatcher, forecast: Forecast, workers: TaskGroup
    ) -> None:
        self._transport = transport
        self._dispatcher = dispatcher
        self._forecast = forecast
        self._workers = workers
        self._watched: dict[str, Watched] = {}
        self._births: OrderedDict[str, Birth] = OrderedDict()

    def born(self, submission: Submission, kind: Kind, *, age: float = 0.0) -> None:
        """Remember what was submitted ``age`` seconds ago, for whoever waits for it."""
        for task_id in submission.task_ids:
            self._births[task_id] = Birth(kind, anyio.current_time() - age)
        while len(self._births) > REMEMBERED:
            self._births.popitem(last=False)

    def knows(self, task_id: str) -> bool:
        """True for tasks that this client submitted, or that somebody waits for already."""
        return task_id in self._births or task_id in self._watched

    def remember(self, task: Task, *, age: float) -> None:
        """Take up a running task that was submitted elsewhere ``age`` seconds ago."""
        self._births[task.id] = Birth(Kind.of_task_id(task.id), anyio.current_time() - age)

    def follow(self, task_id: str, tell: Tell, *, patience: float | None) -> None:
        """Have ``tell`` called when the task is final, or when waiting for it cannot go on.

        Args:
            task_id: a task that ``knows`` is true for.
            tell: called once, from the poller.
            patience: seconds from now after which ``tell`` gets a ``WaitTimeoutError``; None for no end.
        """
        watched = self._watched.get(task_id)
        if watched is None:
            watched = self._watch(task_id)
        watched.followers[tell] = inf if patience is None else anyio.current_time() + patience

    def leave(self, task_id: str, tell: Tell) -> None:
        """Take back a ``follow``; the last one out stops the polling of the task."""
        watched = self._watched.get(task_id)
        if watched is not None and tell in watched.followers:
            del watched.followers[tell]
            if not watched.followers:
                self._forget(watched)

    def close(self, error: SeedanceError) -> None:
        """Tell everybody who still waits that there will be no further look."""
        for watched in list(self._watched.values()):
            self._end(watched, error.about(task_id=watched.task_id))

    def observe(self, task: Task) -> None:
        """Book and learn from a final task, whoever asked for it; once a task."""
        if not task.is_final:
            return
        birth = self._births.pop(task.id, None)
        if birth is None:
            return
        self._transport.usage.finished(task)
        if task.is_completed and task.duration:
            self._forecast.observe(birth.kind, task.duration)

    def _watch(self, task_id: str) -> Watched:
        now = anyio.current_time()
        birth = self._births.get(task_id) or Birth(Kind.of_task_id(task_id), now)
        watched = Watched(task_id, birth.started_at, looked_at=birth.started_at)
        self._watched[task_id] = watched
        start = partial(self._start, watched)
        self._dispatcher.watch(task_id, birth.kind, started_at=birth.started_at, start=start)
        return watched

    def _start(self, watched: Watched, slot: Slot) -> None:
        self._workers.start_soon(self._look, watched, slot)

    async def _look(self, watched: Watched, slot: Slot) -> None:
        asked_at = anyio.current_time()
        call = task_call(watched.task_id)
        outcome = await self._transport.attempt(call, partial(read_task, task_id=watched.task_id), slot=slot)
        if isinstance(outcome, Failure):
            await self._missed(watched, outcome)
        elif outcome.lacks_output:
            await self._missed(watched, Failure(error=OutputMissingError(outcome), outcome=Outcome.UNKNOWN))
        elif outcome.is_final:
            self.observe(outcome)
            self._end(watched, outcome)
        else:
            watched.failures, watched.hopeless_since, watched.looked_at = 0, None, asked_at
            self._go_on(watched, f"its status is {outcome.status!r}")

    async def _missed(self, watched: Watched, failure: Failure) -> None:
        if self._hopeless(watched, failure):
            self._end(watched, _last_word(watched.task_id, failure.error))
            return
        watched.failures += 1
        pause = self._pause(watched, failure)
        reason, extra = failure.error.message, {"retry_in": pause}
        log.info("poll of %s failed (%s); again in %.0f s", watched.task_id, reason, pause, extra=extra)
        await anyio.sleep(pause)
        self._go_on(watched, failure.error.message)

    def _pause(self, watched: Watched, failure: Failure) -> float:
        """Seconds until the next look: our own back-off, and never less than the server asked for."""
        asked_for = min(failure.retry_after or 0.0, self._transport.policy.max_retry_after)
        return max(asked_for, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(watched.failures - 1, 10)))

    def _hopeless(self, watched: Watched, failure: Failure) -> bool:
        """Whether no further look is worth a request."""
        if isinstance(failure.error, UnauthorizedError | ClientStateError):
            return True
        lag = isinstance(failure.error, NotFoundError | OutputMissingError)
        if not lag and not failure.final:
            return False
        now = anyio.current_time()
        watched.hopeless_since = now if watched.hopeless_since is None else watched.hopeless_since
        return now - watched.hopeless_since >= (LAG if lag else self._transport.policy.max_elapsed)

    def _go_on(self, watched: Watched, why: str) -> None:
        now = anyio.current_time()
        for tell in [tell for tell, until in watched.followers.items() if now >= until]:
            self.leave(watched.task_id, tell)
            told = f"the task is not final yet: {why}; it goes on at the server, wait for it again"
            tell(WaitTimeoutError(told, task_id=watched.task_id))
        if watched.followers:
            self._dispatcher.looked(watched.task_id, watched.looked_at)

    def _end(self, watched: Watched, outcome: Task | SeedanceError) -> None:
        self._forget(watched)
        for tell in watched.followers:
            tell(outcome)

    def _forget(self, watched: Watched) -> None:
        if self._watched.get(watched.task_id) is watched:
            del self._watched[watched.task_id]
            self._dispatcher.forget(watched.task_id)


def _last_word(task_id: str, error: SeedanceError) -> SeedanceError:
    """What is told of a task that will not be looked at again."""
    if isinstance(error, NotFoundError):
        told = f"the task has vanished: it was accepted, and for {LAG:g} s now the API says {error.message!r}"
        return NotFoundError(
            told, code=error.code, status=error.status, request_id=error.request_id, task_id=task_id
        )
    error.task_id = task_id
    return error
