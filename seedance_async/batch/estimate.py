"""The estimate of requests, minutes and credits for a batch, as ranges that say where they come from.

Time and requests are not calculated but simulated: the schedule itself decides, without a network, about
tasks whose durations are drawn from what the forecast believes. Eight simulations with other random numbers
give the range. A deviation has two parts, because a forecast may be wrong about a whole kind: half of the
variance is common to all tasks of a kind, half is each task's own.

A large batch is limited by the account's allowance, not by the tasks, so a simulation of its first
``MOST_PLAYED`` jobs gives the requests a job, and the rest is multiplied.

Pure: chance comes from a seed.
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
    """At least so much, at most so much, if it goes as usual."""

    low: float
    high: float


@frozen(kw_only=True)
class Cost:
    """What the jobs of one tariff cost.

    Attributes:
        price: of each; None if nobody knows.
    """

    tariff: Tariff
    jobs: int
    price: Price | None


@frozen(kw_only=True)
class Estimate:
    """What a batch will take.

    Attributes:
        jobs: to be submitted.
        running: submitted already, and not finished.
        needed: POSTs, and one poll for each task: the fewest requests that can do it.
        requests: POSTs and polls. More than are needed, as slots of the window that are free are used to
            poll early: they cost nothing, and results are in hand sooner.
        seconds: from the first request to the last result.
        costs: by tariff, the largest group first.
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
        waiting: how many jobs of each tariff are to be submitted.
        posts: in how many POSTs these go out, by what each asks for; None for one a job.
        running: how many are submitted already; they are taken to have begun just now.
        forecast: what is believed about durations.
        limit: the account's.
        prices: those charged already.
        recorded: what the account was charged for one task of each kind, in whatever it did before.
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
    """The requests and the seconds of several simulations: the least and the most of each."""
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
    """About ``MOST_PLAYED`` jobs at most, each tariff in proportion and none left out."""
    share = min(1.0, MOST_PLAYED / max(1, sum(sizes.values())))
    return [tariff for tariff, size in sizes.items() for _ in range(math.ceil(size * share))]


@define
class _RandomDurations:
    """Durations in one simulation: a deviation common to all tasks of a kind, and each task's own."""

    belief: Forecast
    chance: random.Random
    common: dict[Kind, float] = field(factory=dict)

    def tasks(self, tariff: Tariff) -> list[SimulatedTask]:
        """The tasks of one POST."""
        return [SimulatedTask(tariff.kind, self._draw(tariff.kind)) for _ in range(tariff.tasks)]

    def _draw(self, kind: Kind) -> float:
        common = self.common.setdefault(kind, self.chance.gauss(0.0, 1.0))
        deviation = math.sqrt(COMMON_SHARE) * common + math.sqrt(1 - COMMON_SHARE) * self.chance.gauss(
            0.0, 1.0
        )
        return self.belief.usual(kind).quantile(NormalDist().cdf(deviation))
