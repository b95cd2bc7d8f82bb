"""Chains of clips beside single clips: what the schedule gains by knowing which jobs wait for others.

A clip of a chain can be sent only once the one before was seen done. ``makespan`` is the batch's end over a
bound that no policy can beat: each job needs a POST and a GET, request number ``k`` leaves no earlier than
``k // requests * period``, and of all orders the longest chains first end soonest, without a moment between
the end of a clip and the beginning of the next. ``in hand`` is the mean time to a result, in seconds.

The bound is nearly reached by a clairvoyant that keeps slots for the chains by spreading the requests of the
single clips. Whoever has to ask does not come near it: of the 480 requests that can leave until 1.06 times
the bound, 400 are needed, so there are 0.8 polls in vain for each clip of a chain, and with a spread of 30 s
an end is then seen some 22 s late: 110 s for five, which are 12 %. In trials on eleven of the draws, where
the schedule comes to 1.16 and to 515 s in hand,

* spreading the single clips' POSTs, as the clairvoyant does, came to 1.14, and to 590 s in hand;
* keeping three slots of a window for chains came to 1.14 on all 21 draws, where the schedule comes to 1.18,
  and to 550 s in hand;
* all of it, and the clips of the latest chain polled most, came to 1.10, tuned to these very draws, and to
  650 s in hand.

None is worth its price: the batch ends up to a minute sooner, and a result comes 35 to 135 s later.
"""

from __future__ import annotations

import random
from statistics import mean, median
from typing import TYPE_CHECKING, Final

from benchmarks.report import Table
from benchmarks.workloads import CLIP, usual
from seedance_async.scheduling.forecast import Forecast
from seedance_async.scheduling.schedule import Poll, Sleep, Submit
from seedance_async.scheduling.simulation import LATENCY, LearningSchedule, SimulatedTask, simulate

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from concurrent.futures import ProcessPoolExecutor

    from seedance_async.budget.allowance import Allowance
    from seedance_async.models import Kind
    from seedance_async.scheduling.simulation import Policy

CHAINS: Final = 20
LENGTH: Final = 5
SINGLES: Final = 100
AFTER: Final = {place: place + 1 for place in range(CHAINS * LENGTH) if (place + 1) % LENGTH}
"""The first jobs are the chains', one after the other: which job can be sent only after which."""

TO_REACH: Final = 1.06
SPREAD: Final = 2.0
"""Seconds between two requests of the clairvoyant for single clips: the pace of the allowance."""


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


class _Clairvoyant:
    """Knows every duration, takes the chains first, and spreads the requests of the single clips."""

    def __init__(self, tasks: Sequence[SimulatedTask]) -> None:
        self._tasks = tasks
        self._waiting: dict[int, float] = {}
        self._ends: dict[int, float] = {}
        self._now = 0.0
        self._next_single = 0.0

    def offer(self, job: Hashable, kind: Kind, then: Sequence[Kind] = ()) -> None:  # noqa: ARG002
        """A job waits, and all that comes after it."""
        place = _place(job)
        self._waiting[place] = sum(task.duration for task in self._tasks[place : place + 1 + len(then)])

    def withdraw(self, job: Hashable) -> None:
        """It was sent."""
        del self._waiting[_place(job)]
        self._note(_place(job))

    def watch(self, task: Hashable, kind: Kind, started_at: float, then: Sequence[Kind] = ()) -> None:  # noqa: ARG002
        """It will be done at a known instant."""
        self._ends[_place(task)] = started_at + self._tasks[_place(task)].duration - LATENCY / 2 + 1e-9

    def polling(self, task: Hashable) -> None:
        """The poll will succeed."""
        del self._ends[_place(task)]
        self._note(_place(task))

    def polled(self, task: Hashable, now: float) -> None:
        """Cannot happen."""
        raise RuntimeError(f"task {task} was not done at {now}")

    def forget(self, task: Hashable) -> None:
        """Forgotten when polled."""

    def learn(self, task: SimulatedTask) -> None:
        """Nothing is new to it."""

    def decide(self, now: float, allowance: Allowance) -> Submit | Poll | Sleep:
        """Poll what is done, and send what is longest: of the chains, then of the single clips."""
        self._now = now
        if allowance.free <= 0:
            return Sleep(None)
        ready = [place for place, end in self._ends.items() if end <= now]
        may_be_single = now >= self._next_single
        for singles in (False, True) if may_be_single else (False,):
            done = [place for place in ready if _is_single(place) == singles]
            waiting = [place for place in self._waiting if _is_single(place) == singles]
            if done and not (singles and waiting):
                return Poll(min(done, key=self._ends.__getitem__))
            if waiting:
                return Submit(max(waiting, key=self._waiting.__getitem__))
        later = [end for end in self._ends.values() if end > now]
        return Sleep(min([*later, *([] if may_be_single else [self._next_single])], default=None))

    def _note(self, place: int) -> None:
        if _is_single(place):
            self._next_single = self._now + SPREAD


def _place(job: Hashable) -> int:
    return job if isinstance(job, int) else 0


def _is_single(place: int) -> bool:
    return place >= CHAINS * LENGTH


def table(pool: ProcessPoolExecutor, *, seeds: int) -> Table:
    """Compare the schedule with and without that knowledge, cold and warm, and somebody who knows all."""
    cases = [
        ("chains not known", "cold"),
        ("chains not known", "warm"),
        ("ours", "cold"),
        ("ours", "warm"),
        ("clairvoyant", "none"),
    ]
    measured = pool.map(figures, *zip(*((*case, seeds) for case in cases), strict=True))
    return Table(
        name="schedule: chains",
        conditions=f"{CHAINS} chains of {LENGTH} clips beside {SINGLES} single ones, sigma 0.2, pure "
        f"schedule, medians over {seeds} seeds; '!' marks what is missed",
        columns=("policy", "forecast", "makespan", "bound", "in hand", "requests a job", "to reach"),
        rows=tuple(
            (
                policy,
                forecast,
                f"{makespan:.3f}{' !' if makespan > TO_REACH else ''}",
                round(bound),
                round(in_hand),
                round(requests, 2),
                TO_REACH,
            )
            for (policy, forecast), (makespan, bound, in_hand, requests) in zip(cases, measured, strict=True)
        ),
    )


def figures(policy: str, forecast: str, seeds: int) -> tuple[float, ...]:
    """Medians over seeds: makespan over its bound, the bound, mean time in hand, requests a job."""
    measured = [_measure(seed, policy, is_warm=forecast == "warm") for seed in range(seeds)]
    return tuple(map(median, zip(*measured, strict=True)))


def _measure(seed: int, policy: str, *, is_warm: bool) -> tuple[float, float, float, float]:
    tasks = _draw(seed)
    chosen: Policy
    if policy == "clairvoyant":
        chosen = _Clairvoyant(tasks)
    else:
        chosen = (LearningSchedule if policy == "ours" else _Unaware)(Forecast())
    for task in _draw(1_000_000) if is_warm else ():
        chosen.learn(task)
    run = simulate(chosen, [(task,) for task in tasks], after=AFTER)
    bound = _bound(tasks)
    return max(run.seen) / bound, bound, mean(run.seen), run.requests / len(tasks)


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
