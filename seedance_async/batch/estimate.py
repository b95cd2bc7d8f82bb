"""How many requests, minutes and credits a batch will take, as ranges that say where they come from.

Time and requests are not calculated but played: the schedule itself decides, in a room without a network,
about tasks whose durations are drawn from what the forecast believes. Eight rehearsals with other luck give
the range. Luck has two parts, because a forecast may be wrong about a whole kind: half of the spread is
common to all tasks of a kind, half is each task's own.

A large batch is limited by the account's allowance, not by the tasks, so a rehearsal of its first
``MOST_PLAYED`` jobs tells the requests a job, and the rest is multiplied.

Pure: chance comes from a seed.
"""

from __future__ import annotations

import copy
import math
import random
from collections import deque
from itertools import islice
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from seedance_async.batch.ledger import Tariff
from seedance_async.batch.prices import Price, price_of
from seedance_async.budget.allowance import Allowance, most_unanswered
from seedance_async.scheduling.schedule import Poll, Schedule, Sleep, Submit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seedance_async.models import Kind, RateLimit
    from seedance_async.scheduling.forecast import Forecast

REHEARSALS: Final = 8
MOST_PLAYED: Final = 300
COMMON_LUCK: Final = 0.5  # of the variance
ANSWER: Final = 0.5  # s from sending a request to its answer
TICK: Final = 1e-6  # s; the least that time moves on, lest the rehearsal stand still


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
        requests: POSTs and looks.
        seconds: from the first request to the last result.
        costs: by tariff, the largest group first.
    """

    jobs: int
    running: int
    requests: Range
    seconds: Range
    costs: tuple[Cost, ...]

    @property
    def credits(self) -> Range:
        """What the jobs cost whose price is known."""
        known = [(cost.jobs, cost.price) for cost in self.costs if cost.price is not None]
        return Range(
            sum(jobs * price.low for jobs, price in known), sum(jobs * price.high for jobs, price in known)
        )

    @property
    def unpriced(self) -> int:
        """Jobs whose price nobody knows."""
        return sum(cost.jobs for cost in self.costs if cost.price is None)


def estimate(
    waiting: Mapping[Tariff, int],
    *,
    posts: Mapping[Tariff, int] | None = None,
    running: Mapping[Tariff, int],
    forecast: Forecast,
    limit: RateLimit,
    prices: Mapping[Tariff, float],
) -> Estimate:
    """Estimate a batch.

    Args:
        waiting: how many jobs of each tariff are to be submitted.
        posts: in how many POSTs these go out, by what each asks for; None for one a job.
        running: how many are submitted already; they are taken to have begun just now.
        forecast: what is believed about durations.
        limit: the account's.
        prices: those charged already.
    """
    sizes = sorted(waiting.items(), key=lambda size: -size[1])
    requests, seconds = _rehearse(waiting if posts is None else posts, running, forecast, limit)
    return Estimate(
        jobs=sum(waiting.values()),
        running=sum(running.values()),
        requests=requests,
        seconds=seconds,
        costs=tuple(Cost(tariff=tariff, jobs=jobs, price=price_of(tariff, prices)) for tariff, jobs in sizes),
    )


def _rehearse(
    waiting: Mapping[Tariff, int], running: Mapping[Tariff, int], forecast: Forecast, limit: RateLimit
) -> tuple[Range, Range]:
    """The requests and the seconds of several rehearsals, from the luckiest to the unluckiest."""
    played, under_way = _sample(waiting), _sample(running)
    more = sum(waiting.values()) - len(played)
    requests, seconds = [], []
    for seed in range(REHEARSALS):
        rehearsal = _Rehearsal(forecast, limit, seed=seed)
        rehearsal.play(played, under_way)
        further = more * rehearsal.sent / max(1, len(played))
        requests.append(rehearsal.sent + further)
        seconds.append(rehearsal.now + further * limit.period / limit.requests)
    return Range(math.floor(min(requests)), math.ceil(max(requests))), Range(min(seconds), max(seconds))


def _sample(sizes: Mapping[Tariff, int]) -> list[Tariff]:
    """About ``MOST_PLAYED`` jobs at most, each tariff in proportion and none left out."""
    share = min(1.0, MOST_PLAYED / max(1, sum(sizes.values())))
    return [tariff for tariff, size in sizes.items() for _ in range(math.ceil(size * share))]


@define(eq=False)
class _Job:
    tariff: Tariff
    open_tasks: int = 0


@define(eq=False)
class _Task:
    job: _Job
    seconds: float
    ends_at: float


class _Rehearsal:
    """One life of a batch in a room: every request is answered after a moment, and nothing goes wrong."""

    def __init__(self, forecast: Forecast, limit: RateLimit, *, seed: int) -> None:
        self.sent = 0
        self.now = 0.0
        self._belief = forecast
        self._limit = limit
        self._chance = random.Random(seed)  # noqa: S311 - luck, no secret
        self._common: dict[Kind, float] = {}
        self._learned = copy.deepcopy(forecast)
        self._schedule = Schedule(self._learned)
        self._wire: deque[tuple[float, _Job | _Task]] = deque()
        self._returns: deque[float] = deque()
        self._unfinished = 0

    def play(self, waiting: Sequence[Tariff], running: Sequence[Tariff]) -> None:
        """Play it to its end."""
        self._unfinished = len(waiting) + len(running)
        for tariff in waiting:
            self._schedule.offer(_Job(tariff), tariff.kind)
        for tariff in running:
            self._start(_Job(tariff))
        while self._unfinished:
            self._step()

    def _step(self) -> None:
        while self._wire and self._wire[0][0] <= self.now:
            self._answer(self._wire.popleft()[1])
        if not self._unfinished:
            return
        match self._schedule.decide(self.now, self._allowance()):
            case Submit(_Job() as job):
                self._schedule.withdraw(job)
                self._send(job)
            case Poll(_Task() as task):
                self._schedule.polling(task)
                self._send(task)
            case Sleep(until):
                self._sleep(until)
            case other:
                raise TypeError(f"the schedule chose {other}, which it was never offered")

    def _send(self, what: _Job | _Task) -> None:
        self.sent += 1
        self._wire.append((self.now + ANSWER, what))

    def _answer(self, what: _Job | _Task) -> None:
        self._returns.append(self.now + self._limit.period)
        if isinstance(what, _Job):
            self._start(what)
        elif what.ends_at > self.now:
            self._schedule.polled(what, self.now)
        else:
            self._learned.observe(what.job.tariff.kind, what.seconds)
            self._schedule.forget(what)
            what.job.open_tasks -= 1
            self._unfinished -= what.job.open_tasks == 0

    def _start(self, job: _Job) -> None:
        kind = job.tariff.kind
        job.open_tasks = job.tariff.tasks
        for _ in range(job.tariff.tasks):
            seconds = self._draw(kind)
            self._schedule.watch(_Task(job, seconds, self.now + seconds), kind, self.now)

    def _draw(self, kind: Kind) -> float:
        """How long a task takes: partly the luck of all of its kind, partly its own."""
        common = self._common.setdefault(kind, self._chance.gauss(0.0, 1.0))
        luck = math.sqrt(COMMON_LUCK) * common + math.sqrt(1 - COMMON_LUCK) * self._chance.gauss(0.0, 1.0)
        return self._belief.usual(kind).quantile(NormalDist().cdf(luck))

    def _allowance(self) -> Allowance:
        while self._returns and self._returns[0] <= self.now:
            self._returns.popleft()
        free = self._limit.requests - len(self._returns) - len(self._wire)
        unanswered = most_unanswered(self._limit.requests) - len(self._wire)
        return Allowance(
            free=max(0, min(free, unanswered)),
            returns=tuple(self._returns),
            requests=self._limit.requests,
            period=self._limit.period,
        )

    def _sleep(self, until: float | None) -> None:
        events = [until, *(at for at, _ in islice(self._wire, 1)), *islice(self._returns, 1)]
        self.now = max(self.now + TICK, min(event for event in events if event is not None))
