"""The benchmark of the schedule: ours, the best with perfect knowledge, and what people run.

All figures are of virtual time and seeded draws, so they come out alike on every machine. Medians over seeds.

* ``makespan``: the batch's end over a bound that no policy can beat (``workloads.makespan_bound``).
* ``in hand``: mean time from the start of the batch to a result in the caller's hands, over that of the best
  of eight clairvoyant policies; ``p95`` likewise. A reference, not a bound.
* ``requests``: HTTP requests a job. Two are the least: a POST, and a GET that finds it done.
* ``lag``: mean seconds between a task's end and the caller's having it. ``429``: refusals a batch.

``cold`` has learned nothing; ``warm`` has seen a hundred jobs of each kind, of before the drift if any.
"""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from statistics import mean, median
from typing import TYPE_CHECKING, Final

from attrs import frozen

from benchmarks import chains, habits
from benchmarks.policies import best_clairvoyant
from benchmarks.report import Size, Table
from benchmarks.through_client import through_client
from benchmarks.workloads import FACTORS, SHAPES, draw, makespan_bound
from seedance_async.scheduling.forecast import Forecast
from seedance_async.scheduling.simulation import LearningSchedule, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.report import Value
    from seedance_async.scheduling.simulation import SimulatedRun, SimulatedTask

FIGURES: Final = ("makespan", "in hand", "p95", "requests", "lag", "429")
SIZES: Final = (1, 10, 30, 100, 300, 1000)
TAUGHT: Final = 100  # jobs of each kind that a warm forecast has seen
TAUGHT_BY: Final = 1_000_000  # the seed they are drawn with: no seed of a measured batch

Figures = tuple[float, ...]


@frozen(kw_only=True)
class Case:
    """One workload and one way to run it."""

    policy: str
    jobs: int
    mix: str
    shape: str
    seeds: int

    def figures(self) -> Figures:
        """Medians over the seeds, in the order of ``FIGURES``."""
        return tuple(map(median, zip(*map(self._measure, range(self.seeds)), strict=True)))

    def _measure(self, seed: int) -> Figures:
        draws = draw(jobs=self.jobs, mix=self.mix, shape=self.shape, seed=seed)
        return _figures(_POLICIES[self.policy](self, draws, seed), best_clairvoyant(draws), draws)

    def taught(self) -> tuple[SimulatedTask, ...]:
        """What a warm forecast has seen."""
        shape = "sigma 0.2" if self.shape == "drift" else self.shape
        jobs = TAUGHT * (3 if self.mix == "mixed" else 1)
        return draw(jobs=jobs, mix=self.mix, shape=shape, seed=TAUGHT_BY)


@frozen(kw_only=True)
class Target:
    """What a case should reach: makespan, time in hand, requests a job."""

    policy: str
    jobs: int
    mix: str
    shapes: tuple[str, ...]
    limits: tuple[float, float, float]


# 300 jobs need 600 requests, which fill 20 windows: 1.04 and 1.05 mean not one poll in vain there.
TARGETS: Final = (
    Target(
        policy="ours, warm", jobs=300, mix="one", shapes=("sigma 0.2", "sigma 0.4"), limits=(1.04, 1.05, 2.05)
    ),
    Target(
        policy="ours, cold", jobs=300, mix="one", shapes=("sigma 0.2", "sigma 0.4"), limits=(1.06, 1.08, 2.08)
    ),
    Target(
        policy="ours, warm",
        jobs=300,
        mix="mixed",
        shapes=("sigma 0.2", "sigma 0.4"),
        limits=(1.05, 1.08, 2.08),
    ),
    Target(
        policy="ours, cold",
        jobs=300,
        mix="mixed",
        shapes=("sigma 0.2", "sigma 0.4"),
        limits=(1.06, 1.12, 2.10),
    ),
    Target(policy="ours, warm", jobs=1000, mix="mixed", shapes=("stragglers",), limits=(1.04, 1.08, 2.10)),
    Target(
        policy="ours, warm", jobs=30, mix="one", shapes=("sigma 0.2", "sigma 0.4"), limits=(1.05, 1.15, 3.5)
    ),
    Target(policy="ours, cold", jobs=1, mix="one", shapes=("184 s",), limits=(1.03, 1.03, 15.0)),
)

SURPRISED: Final = {
    (1, "one"): {0.05: 1.15, 0.1: 1.2, 0.25: 1.25, 1.0: 1.03, 4.0: 1.03},
    (1, "pictures"): {0.05: 1.3, 0.1: 1.3},
    (30, "one"): {0.05: 1.15, 0.5: 1.15, 1.0: 1.15},
    (100, "one"): {0.05: 1.1, 0.5: 1.1, 1.0: 1.1},
    (300, "mixed"): dict.fromkeys(FACTORS, 1.1),
}
"""By jobs and kinds: the time in hand to reach where durations are a factor away from the usual."""


def run(size: Size) -> list[Table]:
    """Measure against targets, with wrong beliefs, side by side, in all conditions, through the client.

    In full it takes a quarter of an hour of one core, of which the client takes half.
    """
    quick, full = size is Size.QUICK, size is Size.FULL
    with ProcessPoolExecutor() as pool:
        return [
            _targets(pool, seeds=5 if quick else 11),
            _surprised(pool, seeds=21 if full else 7),
            chains.table(pool, seeds=5 if quick else 21),
            _side_by_side(pool, sizes=(10, 100) if quick else SIZES, seeds=3 if quick else 5),
            _conditions(
                pool, sizes=SIZES if full else (30,) if quick else SIZES[:-1], seeds=5 if full else 3
            ),
            _through_client(pool, sizes=(1, 30, 300) if full else (10, 30), seeds=5 if full else 1),
        ]


def _targets(pool: ProcessPoolExecutor, *, seeds: int) -> Table:
    wanted = [(target, shape) for target in TARGETS for shape in target.shapes]
    cases = [
        Case(policy=target.policy, jobs=target.jobs, mix=target.mix, shape=shape, seeds=seeds)
        for target, shape in wanted
    ]
    rows: list[tuple[Value, ...]] = []
    for (target, _), case, (makespan, in_hand, _, requests, *_) in zip(
        wanted, cases, _all(pool, cases), strict=True
    ):
        reached = [
            f"{figure:.3f}{'' if figure <= limit else ' !'}"
            for figure, limit in zip((makespan, in_hand, requests), target.limits, strict=True)
        ]
        limits = " ".join(f"{limit:g}" for limit in target.limits)
        rows.append((case.jobs, case.mix, case.shape, case.policy, *reached, limits))
    return Table(
        name="schedule: targets",
        conditions=f"pure schedule in the simulator, medians over {seeds} seeds; '!' marks what is missed",
        columns=("jobs", "kinds", "durations", "policy", "makespan", "in hand", "requests", "targets"),
        rows=tuple(rows),
    )


def _surprised(pool: ProcessPoolExecutor, *, seeds: int) -> Table:
    wanted = [
        (limits.get(factor), Case(policy="ours, cold", jobs=jobs, mix=mix, shape=f"x{factor:g}", seeds=seeds))
        for (jobs, mix), limits in SURPRISED.items()
        for factor in FACTORS
    ]
    rows: list[tuple[Value, ...]] = []
    for (limit, case), figures in zip(wanted, _all(pool, [case for _, case in wanted]), strict=True):
        makespan, in_hand, _, requests, *_ = figures
        missed = limit is not None and round(in_hand, 2) > limit
        shown = f"{in_hand:.3f}{' !' if missed else ''}"
        rows.append((case.jobs, case.mix, case.shape, round(makespan, 3), shown, round(requests, 3), limit))
    return Table(
        name="schedule: durations a factor away from what a newcomer believes",
        conditions=f"cold, clips of 150 s believed to take 184 s and pictures of 40 s believed to take 90 s, "
        f"sigma 0.2, medians over {seeds} seeds; '!' marks what is missed",
        columns=("jobs", "kinds", "durations", "makespan", "in hand", "requests", "in hand to reach"),
        rows=tuple(rows),
    )


def _side_by_side(pool: ProcessPoolExecutor, *, sizes: Iterable[int], seeds: int) -> Table:
    return _table(
        pool,
        "schedule: side by side",
        [
            Case(policy=policy, jobs=jobs, mix=mix, shape="sigma 0.4", seeds=seeds)
            for jobs in sizes
            for mix in ("one", "mixed")
            for policy in ("ours, warm", "ours, cold", "best clairvoyant", *_HABITS)
        ],
    )


def _conditions(pool: ProcessPoolExecutor, *, sizes: Iterable[int], seeds: int) -> Table:
    return _table(
        pool,
        "schedule: ours in all conditions",
        [
            Case(policy=policy, jobs=jobs, mix=mix, shape=shape, seeds=seeds)
            for jobs in sizes
            for mix in ("one", "mixed")
            for shape in SHAPES
            if shape != "184 s"
            for policy in ("ours, warm", "ours, cold")
        ],
    )


def _through_client(pool: ProcessPoolExecutor, *, sizes: Iterable[int], seeds: int) -> Table:
    return _table(
        pool,
        "schedule: through the real client and the sandbox",
        [
            Case(policy=policy, jobs=jobs, mix=mix, shape="sigma 0.2", seeds=seeds)
            for jobs in sizes
            for mix in ("one", "mixed")
            for policy in ("client, warm", "client, cold")
        ],
    )


def _table(pool: ProcessPoolExecutor, name: str, cases: Sequence[Case]) -> Table:
    rows: list[tuple[Value, ...]] = [
        (
            case.jobs,
            case.mix,
            case.shape,
            case.policy,
            *(None if math.isinf(figure) else figure for figure in figures),
        )
        for case, figures in zip(cases, _all(pool, cases), strict=True)
    ]
    return Table(
        name=name,
        conditions=f"medians over {cases[0].seeds} seeds; makespan over its bound, in hand over clairvoyant",
        columns=("jobs", "kinds", "durations", "policy", *FIGURES),
        rows=tuple(rows),
    )


def _all(pool: ProcessPoolExecutor, cases: Sequence[Case]) -> list[Figures]:
    return list(pool.map(Case.figures, cases))


def _figures(outcome: SimulatedRun, reference: SimulatedRun, draws: Sequence[SimulatedTask]) -> Figures:
    jobs = len(draws)
    return (
        max(outcome.seen) / makespan_bound(draws),
        mean(outcome.seen) / mean(reference.seen),
        _p95(outcome.seen) / _p95(reference.seen),
        outcome.requests / jobs,
        mean(seen - done for seen, done in zip(outcome.seen, outcome.done, strict=True)),
        float(outcome.refused),
    )


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def _cold(_: Case, draws: Sequence[SimulatedTask], __: int) -> SimulatedRun:
    return simulate(LearningSchedule(Forecast()), [(draw,) for draw in draws])


def _warm(case: Case, draws: Sequence[SimulatedTask], _: int) -> SimulatedRun:
    ours = LearningSchedule(Forecast())
    for seen in case.taught():
        ours.learn(seen)
    return simulate(ours, [(draw,) for draw in draws])


def _clairvoyant(_: Case, draws: Sequence[SimulatedTask], __: int) -> SimulatedRun:
    return best_clairvoyant(draws)


def _client_cold(_: Case, draws: Sequence[SimulatedTask], __: int) -> SimulatedRun:
    return through_client(draws)


def _client_warm(case: Case, draws: Sequence[SimulatedTask], _: int) -> SimulatedRun:
    return through_client(draws, before=case.taught())


def _habit(habit: habits.Habit) -> Callable[[Case, Sequence[SimulatedTask], int], SimulatedRun]:
    return lambda _, draws, seed: habits.run(habit, draws, seed=seed)


_HABITS: Final = {habit.name: _habit(habit) for habit in habits.HABITS}
_POLICIES: Final[dict[str, Callable[[Case, Sequence[SimulatedTask], int], SimulatedRun]]] = {
    "ours, cold": _cold,
    "ours, warm": _warm,
    "best clairvoyant": _clairvoyant,
    "client, cold": _client_cold,
    "client, warm": _client_warm,
    **_HABITS,
}
