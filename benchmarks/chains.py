"""Chains of clips beside single clips: what the schedule gains by knowing which jobs wait for others.

A clip of a chain can be sent only once the one before was seen done. ``makespan`` is the batch's end over a
bound that no policy can beat: each job needs a POST and a GET, request number ``k`` leaves no earlier than
``k // requests * period``, and of all orders the longest chains first end soonest, without a moment between
the end of a clip and the beginning of the next. That moment cannot be had for nothing: to see an end within
ten seconds takes several polls, and there are hardly more slots than POSTs and GETs need.
"""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.report import Table
from benchmarks.workloads import CLIP, usual
from seedance_async.scheduling.forecast import Forecast
from seedance_async.scheduling.simulation import LearningSchedule, SimulatedTask, simulate

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from concurrent.futures import ProcessPoolExecutor

    from seedance_async.models import Kind

CHAINS: Final = 20
LENGTH: Final = 5
SINGLES: Final = 100
AFTER: Final = {place: place + 1 for place in range(CHAINS * LENGTH) if (place + 1) % LENGTH}
"""The first jobs are the chains', one after the other: which job can be sent only after which."""

TO_REACH: Final = 1.06


class _Unaware(LearningSchedule):
    """The same schedule, told of no job that waits for another."""

    def offer(self, job: Hashable, kind: Kind, then: Sequence[Kind] = ()) -> None:  # noqa: ARG002
        """A request waits to be submitted."""
        super().offer(job, kind)

    def watch(
        self,
        task: Hashable,
        kind: Kind,
        started_at: float,
        then: Sequence[Kind] = (),  # noqa: ARG002
    ) -> None:
        """A task is in flight."""
        super().watch(task, kind, started_at)


def table(pool: ProcessPoolExecutor, *, seeds: int) -> Table:
    """Compare the schedule with and without that knowledge, cold and warm."""
    cases = [(aware, warm) for aware in (False, True) for warm in (False, True)]
    figures = pool.map(_figures, *zip(*((*case, seeds) for case in cases), strict=True))
    return Table(
        name="schedule: chains",
        conditions=f"{CHAINS} chains of {LENGTH} clips beside {SINGLES} single ones, sigma 0.2, pure "
        f"schedule, medians over {seeds} seeds; '!' marks what is missed",
        columns=("chains are known", "forecast", "makespan", "requests a job", "to reach"),
        rows=tuple(
            (
                "yes" if aware else "no",
                "warm" if warm else "cold",
                f"{makespan:.3f}{' !' if makespan > TO_REACH else ''}",
                round(requests, 2),
                TO_REACH,
            )
            for (aware, warm), (makespan, requests) in zip(cases, figures, strict=True)
        ),
    )


def _figures(aware: bool, warm: bool, seeds: int) -> tuple[float, float]:
    measured = [_measure(seed, aware=aware, warm=warm) for seed in range(seeds)]
    makespans, requests = zip(*measured, strict=True)
    return median(makespans), median(requests)


def _measure(seed: int, *, aware: bool, warm: bool) -> tuple[float, float]:
    tasks = _draw(seed)
    schedule = (LearningSchedule if aware else _Unaware)(Forecast())
    for task in _draw(1_000_000) if warm else ():
        schedule.learn(task)
    run = simulate(schedule, [(task,) for task in tasks], after=AFTER)
    return max(run.seen) / _bound(tasks), run.requests / len(tasks)


def _draw(seed: int) -> list[SimulatedTask]:
    chance = random.Random(f"chains {seed}")
    jobs = CHAINS * LENGTH + SINGLES
    return [SimulatedTask(CLIP, usual(CLIP) * chance.lognormvariate(0, 0.2)) for _ in range(jobs)]


def _bound(tasks: Sequence[SimulatedTask], *, requests: int = 30, period: float = 60.0) -> float:
    """Seconds that no policy can beat."""
    durations = [task.duration for task in tasks]
    singles = CHAINS * LENGTH
    chains = [sum(durations[start : start + LENGTH]) for start in range(0, singles, LENGTH)]
    lengths = sorted([*chains, *durations[singles:]], reverse=True)
    last_request = (2 * len(tasks) - 1) // requests * period
    return max(last_request, *(place // requests * period + length for place, length in enumerate(lengths)))
