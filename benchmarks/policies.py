"""The policies that ours is compared with: the best that somebody who knows the future could do."""

from __future__ import annotations

import heapq
import math
from collections import deque
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.workloads import usual
from seedance_async.scheduling.schedule import Poll, Sleep, Submit
from seedance_async.scheduling.simulation import LATENCY, SimulatedRun, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from seedance_async.budget.allowance import Allowance
    from seedance_async.models import Kind
    from seedance_async.scheduling.simulation import SimulatedTask


class Clairvoyant:
    """Knows every duration: never polls in vain, and polls what is done before it submits the next.

    With ``slack`` it submits first where the next job would otherwise be late for the end of the batch.
    """

    def __init__(self, draws: Sequence[SimulatedTask], *, key: Callable[[int], float], slack: bool) -> None:
        self._draws = draws
        self._slack = slack
        self._waiting = deque(sorted(range(len(draws)), key=key))
        self._running: list[tuple[float, int]] = []

    def offer(self, job: Hashable, kind: Kind, then: Sequence[Kind] = ()) -> None:
        """All jobs are known from the start."""

    def withdraw(self, job: Hashable) -> None:  # noqa: ARG002  # always the first
        """The first of the waiting was sent."""
        self._waiting.popleft()

    def watch(  # the parameters of a Schedule
        self,
        task: Hashable,
        kind: Kind,  # noqa: ARG002
        started_at: float,
        then: Sequence[Kind] = (),  # noqa: ARG002
    ) -> None:
        """It will be done at a known instant."""
        if isinstance(task, int):
            heapq.heappush(self._running, (started_at + self._draws[task].duration, task))

    def polling(self, task: Hashable) -> None:  # noqa: ARG002  # always the first
        """The poll of what was done first will succeed."""
        heapq.heappop(self._running)

    def polled(self, task: Hashable, now: float) -> None:
        """Cannot happen."""
        raise RuntimeError(f"task {task} was not done at {now}")

    def forget(self, task: Hashable) -> None:
        """Forgotten when polled."""

    def learn(self, task: SimulatedTask) -> None:
        """Nothing is new to it."""

    def decide(self, now: float, allowance: Allowance) -> Submit | Poll | Sleep:
        """Poll what is done; else submit; else wait for the next to be done."""
        if allowance.free <= 0:
            return Sleep(None)
        ready = self._running[0][0] - LATENCY / 2 + 1e-9 if self._running else math.inf
        if self._waiting and (ready > now or (self._slack and self._is_pressed(now, allowance))):
            return Submit(self._waiting[0])
        if ready <= now:
            return Poll(self._running[0][1])
        return Sleep(ready if ready < math.inf else None)

    def _is_pressed(self, now: float, allowance: Allowance) -> bool:
        pace = allowance.pace
        end = now + pace * (2 * len(self._waiting) + len(self._running))
        return any(
            now + pace * (place + 2) + self._draws[job].duration > end
            for place, job in enumerate(self._waiting)
        )


def best_clairvoyant(draws: Sequence[SimulatedTask]) -> SimulatedRun:
    """The outcome with the least mean time in hand of eight ways to use perfect knowledge.

    Four orders of submitting (the caller's, longest kinds first, longest jobs first, shortest jobs first),
    each with and without slack. A reference, not a bound: a better one may exist.
    """
    orders: tuple[Callable[[int], float], ...] = (
        float,
        lambda job: -usual(draws[job].kind),
        lambda job: -draws[job].duration,
        lambda job: draws[job].duration,
    )
    policies = (Clairvoyant(draws, key=order, slack=slack) for order in orders for slack in (False, True))
    return min(
        (simulate(policy, [(draw,) for draw in draws]) for policy in policies),
        key=lambda outcome: mean(outcome.seen),
    )
