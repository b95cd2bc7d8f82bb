"""Which request is worth sending next: submit a job, look at a task, or keep the slot for later.

A look that finds "processing" is bought with a job, so a task is looked at when that is nearly sure to
succeed: given that it was not done at the last look ``l``, it is done by ``t`` with chance ``P = (F(t) -
F(l)) / (1 - F(l))``. While the backlog is deep there is slack for looks: with ``p`` jobs not yet submitted
and ``m`` tasks in flight the batch ends no earlier than ``c(2p + m)`` from now at ``c`` seconds a request,
and a job submitted ``i``-th must leave its length before that. When a job would be late, it goes first.

Pure: ``now`` comes in; ``decide`` changes nothing but caches. Every step costs O(log n) in the tasks in
flight.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final, Literal

from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from seedance_async.models import Kind
    from seedance_async.scheduling.allowance import Allowance
    from seedance_async.scheduling.forecast import Duration, Forecast

Order = Literal["longest-first", "given"]

SURE: Final = 0.9  # chance of success from which a look is worth a slot
PESSIMISTIC: Final = 0.9  # quantile that stands for a job's length in the slack
SHORTEST: Final = 1.0  # s between two looks at one task


@frozen
class Submit:
    """Send this job's POST now."""

    job: Hashable


@frozen
class Poll:
    """Look at this task now."""

    task: Hashable


@frozen
class Sleep:
    """Send nothing before ``until`` (loop clock), or before something changes when it is None."""

    until: float | None


@define
class _Watched:
    kind: Kind
    started_at: float
    looked_at: float
    on_the_wire: bool = False
    due: float = 0.0


class Schedule:
    """The state of all that waits and runs, and the decision what to send next."""

    def __init__(self, forecast: Forecast, *, order: Order = "longest-first") -> None:
        self._forecast = forecast
        self._order = order
        self._jobs: dict[Kind, dict[Hashable, int]] = {}
        self._kinds: dict[Hashable, Kind] = {}
        self._offered = 0
        self._tasks: dict[Hashable, _Watched] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        self._pushed = 0
        self._more = False

    def offer(self, job: Hashable, kind: Kind) -> None:
        """A request waits to be submitted."""
        self._offered += 1
        self._kinds[job] = kind
        self._jobs.setdefault(kind, {})[job] = self._offered

    def withdraw(self, job: Hashable) -> None:
        """The job was submitted, or is not wanted any more."""
        kind = self._kinds.pop(job)
        waiting = self._jobs[kind]
        del waiting[job]
        if not waiting:
            del self._jobs[kind]

    def expect_more(self, more: bool) -> None:
        """Say whether further jobs may be offered later."""
        self._more = more

    def watch(self, task: Hashable, kind: Kind, started_at: float) -> None:
        """An accepted task is in flight since ``started_at``."""
        self._tasks[task] = _Watched(kind, started_at, started_at)
        self._plan(task)

    def polling(self, task: Hashable) -> None:
        """A poll of the task is on the wire: it is not chosen again before ``looked``."""
        self._tasks[task].on_the_wire = True

    def looked(self, task: Hashable, now: float) -> None:
        """The poll told at ``now`` that the task is not final, or failed: the task may be chosen again."""
        watched = self._tasks[task]
        watched.on_the_wire = False
        watched.looked_at = now
        self._plan(task)

    def forget(self, task: Hashable) -> None:
        """The task is final, or nobody waits for it any more."""
        self._tasks.pop(task, None)

    def decide(self, now: float, allowance: Allowance) -> Submit | Poll | Sleep:
        """The request most worth sending at ``now``. Asking twice gives the same answer."""
        due, task = self._next_due()
        if allowance.free <= 0:
            return Sleep(allowance.returns[0] if allowance.returns else None)
        job = self._next_job()
        ripe = task is not None and due <= now
        if job is not None and (not ripe or not self._slack(now, allowance.pace)):
            return Submit(job)
        if ripe:
            return Poll(task)
        return Sleep(due if task is not None else None)

    def _next_due(self) -> tuple[float, Hashable | None]:
        while self._due:
            due, _, task = self._due[0]
            watched = self._tasks.get(task)
            if watched is not None and not watched.on_the_wire and watched.due == due:
                return due, task
            heapq.heappop(self._due)
        return 0.0, None

    def _plan(self, task: Hashable) -> None:
        watched = self._tasks[task]
        duration = self._forecast.of(watched.kind)
        elapsed = watched.looked_at - watched.started_at
        known = duration.cdf(elapsed)
        wanted = duration.quantile(min(1 - 1e-9, known + SURE * (1 - known)))
        watched.due = max(watched.started_at + wanted, watched.looked_at + SHORTEST)
        self._pushed += 1
        heapq.heappush(self._due, (watched.due, self._pushed, task))

    def _next_job(self) -> Hashable | None:
        if not self._jobs:
            return None
        if self._order == "given":
            return next(iter(self._kinds))
        return next(iter(self._jobs[next(self._longest_first())]))

    def _longest_first(self) -> Iterator[Kind]:
        return iter(sorted(self._jobs, key=lambda kind: -self._length(kind)))

    def _length(self, kind: Kind) -> float:
        duration: Duration = self._forecast.of(kind)
        return duration.quantile(PESSIMISTIC)

    def _slack(self, now: float, pace: float) -> bool:
        """Whether every waiting job can still leave its length before the end of the batch."""
        if self._more:
            return True
        end = now + pace * (2 * len(self._kinds) + len(self._tasks))
        at = now + pace
        for kind in self._longest_first():
            at += pace * len(self._jobs[kind])
            if at + self._length(kind) > end:
                return False
        return True
