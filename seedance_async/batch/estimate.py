"""The estimate of requests, minutes and credits for a batch, as ranges.

Time and requests are not calculated but simulated: the real schedule runs without a network, on tasks with
durations drawn from the forecast. Eight simulations with different seeds give the range. A deviation has two
parts, because a forecast may be wrong about a whole kind: half of the variance is common to all tasks of a
kind, half is independent for each task.

A large batch is limited by the account's rate limit, not by the tasks, so only about ``MOST_PLAYED`` jobs are
simulated, and their requests per job are extrapolated.

Pure: the random numbers come from fixed seeds.
"""

from __future__ import annotations

import copy
import math
import random
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from seedance_async.models import Kind
from seedance_async.prices import NOTHING_RECORDED, Price, Tariff, price_of
from seedance_async.scheduling.forecast import Forecast
from seedance_async.scheduling.simulation import LearningSchedule, SimulatedTask, simulate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seedance_async.models import RateLimit

SIMULATIONS: Final = 8
MOST_PLAYED: Final = 300
COMMON_SHARE: Final = 0.5  # of the variance
ANSWER: Final = 0.5  # s from sending a request to its answer


@frozen
class Range:
    """The least and the most of several simulations, or a bound on either side."""

    low: float
    high: float


@frozen(kw_only=True)
class Cost:
    """The cost of the jobs of one tariff.

    Attributes:
        price: price of each job; None if unknown.
    """

    tariff: Tariff
    jobs: int
    price: Price | None


@frozen(kw_only=True)
class Estimate:
    """The estimate for a batch.

    Attributes:
        jobs: number of jobs to be submitted.
        running: number of jobs submitted already and not finished.
        needed: the fewest possible requests: all POSTs, and one poll for each task.
        requests: POSTs and polls. More than needed, because free slots of the window are used to poll early:
            that costs nothing and gives results sooner.
        seconds: time from the first request to the last result.
        costs: costs by tariff, the largest group first.
    """

    jobs: int
    running: int
    needed: int
    requests: Range
    seconds: Range
    costs: tuple[Cost, ...]


def estimate(
    waiting: Mapping[Tariff, int],
    *,
    posts: Mapping[Tariff, int] | None = None,
    running: Mapping[Tariff, int],
    forecast: Forecast,
    limit: RateLimit,
    prices: Mapping[Tariff, float],
    recorded: Mapping[Kind, float] = NOTHING_RECORDED,
) -> Estimate:
    """Estimate a batch.

    Args:
        waiting: number of jobs of each tariff that are to be submitted.
        posts: number of POSTs for these, by the tariff of each POST; None for one per job.
        running: number of jobs submitted already; they are assumed to have begun just now.
        forecast: forecast of durations.
        limit: the account's rate limit.
        prices: prices that this batch was charged.
        recorded: prices of one task of each kind in the account record.
    """
    sizes = sorted(waiting.items(), key=lambda size: -size[1])
    sent = waiting if posts is None else posts
    requests, seconds = _simulate_all(sent, running, forecast, limit)
    return Estimate(
        jobs=sum(waiting.values()),
        running=sum(running.values()),
        needed=sum(sent.values()) + _tasks(sent) + _tasks(running),
        requests=requests,
        seconds=seconds,
        costs=tuple(
            Cost(tariff=tariff, jobs=jobs, price=price_of(tariff, prices, recorded)) for tariff, jobs in sizes
        ),
    )


def _tasks(sizes: Mapping[Tariff, int]) -> int:
    return sum(tariff.tasks * count for tariff, count in sizes.items())


def _simulate_all(
    waiting: Mapping[Tariff, int], running: Mapping[Tariff, int], forecast: Forecast, limit: RateLimit
) -> tuple[Range, Range]:
    """Return the ranges of requests and seconds of several simulations."""
    played, under_way = _sample(waiting), _sample(running)
    more = sum(waiting.values()) - len(played)
    requests, seconds = [], []
    for seed in range(SIMULATIONS):
        durations = _RandomDurations(forecast, random.Random(seed))  # noqa: S311 - no secret
        run = simulate(
            LearningSchedule(copy.deepcopy(forecast)),
            [durations.tasks(tariff) for tariff in played],
            running=[task for tariff in under_way for task in durations.tasks(tariff)],
            limit=limit,
            latency=ANSWER,
        )
        further = more * run.requests / max(1, len(played))
        requests.append(run.requests + further)
        seconds.append(max(run.seen, default=0.0) + further * limit.period / limit.requests)
    return Range(math.floor(min(requests)), math.ceil(max(requests))), Range(min(seconds), max(seconds))


def _sample(sizes: Mapping[Tariff, int]) -> list[Tariff]:
    """Return about ``MOST_PLAYED`` jobs at most, in proportion to the tariffs, with at least one of each."""
    share = min(1.0, MOST_PLAYED / max(1, sum(sizes.values())))
    return [tariff for tariff, size in sizes.items() for _ in range(math.ceil(size * share))]


@define
class _RandomDurations:
    """The durations of one simulation: each with a deviation common to its kind, and one of its own."""

    belief: Forecast
    chance: random.Random
    common: dict[Kind, float] = field(factory=dict)

    def tasks(self, tariff: Tariff) -> list[SimulatedTask]:
        """Return the simulated tasks of one POST."""
        return [SimulatedTask(tariff.kind, self._draw(tariff.kind)) for _ in range(tariff.tasks)]

    def _draw(self, kind: Kind) -> float:
        common = self.common.setdefault(kind, self.chance.gauss(0.0, 1.0))
        deviation = math.sqrt(COMMON_SHARE) * common + math.sqrt(1 - COMMON_SHARE) * self.chance.gauss(
            0.0, 1.0
        )
        return self.belief.usual(kind).quantile(NormalDist().cdf(deviation))
