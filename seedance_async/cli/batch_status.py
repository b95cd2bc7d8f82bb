"""Status of a running batch: jobs, requests and the limit, credits, and the expected end."""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol, Self

import anyio
from attrs import evolve, frozen

from seedance_async import clocks
from seedance_async.batch import chart
from seedance_async.batch.account_check import is_of_sandbox
from seedance_async.batch.states import State
from seedance_async.batch.summary import Summary
from seedance_async.cli.progress import Ticker
from seedance_async.models import RateLimit

if TYPE_CHECKING:
    from types import TracebackType

    from seedance_async import BatchRunner, SeedanceClient, Usage

SAMPLES: Final = 60  # per period of the limit: for a window of a minute, one each second


@frozen(kw_only=True)
class Status:
    """A batch at one instant.

    Attributes:
        summary: its jobs and credits, over all runs.
        requests: number sent in this run; None if other processes send them.
        requests_in_window: number sent in the last period of the limit; None as above.
        limit: of the account; None as above.
        seconds: since this run began.
        seconds_left: until the expected end of the run; None until the manifest has been read.
        speed: how many times as fast as at the vendor time passes; other than 1 only in a sandbox.
    """

    summary: Summary
    requests: int | None
    requests_in_window: int | None
    limit: RateLimit | None
    seconds: float
    seconds_left: float | None
    speed: float = 1.0

    def count(self, *states: State) -> int:
        """Jobs in any of these states."""
        return sum(self.summary.counts.get(state, 0) for state in states)

    @property
    def is_planned(self) -> bool:
        """Whether the manifest has been read."""
        return self.summary.total > 0


class StatusSource(Protocol):
    """Knows how a batch stands."""

    def status(self) -> Status:
        """How it stands now."""
        ...


def speed_of(client: SeedanceClient) -> float:
    """Return how many times as fast as at the vendor a client's time passes; 1 except in a sandbox."""
    return 1 / client.forecasts.scale if is_of_sandbox(client.account) else 1.0


class RequestCounter:
    """Counter of a client's requests over time, which samples the client's totals.

    Args:
        course: of the batch, which records the counts.
    """

    def __init__(self, course: chart.Course) -> None:
        self.course = course
        self._samples: deque[tuple[float, Usage]] = deque()

    def sample(self, usage: Usage, *, now: float, wall: float) -> None:
        """Record the client's totals; the first sample is the zero of the later ones."""
        if self._samples:
            _, last = self._samples[-1]
            submits, polls = usage.submits - last.submits, usage.polls - last.polls
            self.course.count(wall, submits=submits, polls=polls)
        self._samples.append((now, evolve(usage)))
        while len(self._samples) > 1 and self._samples[1][0] <= now - self.course.limit.period:
            self._samples.popleft()

    @property
    def in_window(self) -> int:
        """Number of requests sent in the last period of the limit."""
        return self._samples[-1][1].requests - self._samples[0][1].requests if self._samples else 0


class Monitor:
    """Context manager that counts the requests of a running batch and reads its status.

    Args:
        batch: open.
        client: of the batch, open.
        course: counts of earlier runs.
    """

    def __init__(self, batch: BatchRunner, client: SeedanceClient, course: chart.Course) -> None:
        self._batch = batch
        self._client = client
        self._counter = RequestCounter(course)
        self._ticker = Ticker(self, client.rate_limit.period / SAMPLES)
        self._began_at = self._saved_at = anyio.current_time()

    @classmethod
    async def of(cls, batch: BatchRunner, client: SeedanceClient) -> Self:
        """Return the monitor of a batch, which continues the counts of earlier runs."""
        kept = await batch.journal.fact(chart.FACT)
        return cls(batch, client, chart.Course.load(kept, limit=client.rate_limit))

    def __enter__(self) -> Self:
        self.refresh()
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ticker.stop()

    def refresh(self) -> None:
        """Count the requests sent since the last refresh."""
        self._counter.sample(self._client.usage, now=anyio.current_time(), wall=clocks.wall_now())

    def status(self) -> Status:
        """Return the current status."""
        now = anyio.current_time()
        summary = self._batch.summary
        return Status(
            summary=summary,
            requests=self._client.usage.requests,
            requests_in_window=self._counter.in_window,
            limit=self._client.rate_limit,
            seconds=now - self._began_at,
            seconds_left=self._seconds_left(summary, now),
            speed=speed_of(self._client),
        )

    async def save(self, *, at_end: bool = False) -> None:
        """Save the counts to the journal, at most once in a period unless it is the end."""
        now = anyio.current_time()
        if at_end or now - self._saved_at >= self._client.rate_limit.period:
            self._saved_at = now
            await self._batch.journal.remember(chart.FACT, self._counter.course.dump())

    def _seconds_left(self, summary: Summary, now: float) -> float | None:
        if not summary.total:
            return None
        planned = summary.counts.get(State.PLANNED, 0) + summary.others.get(State.PLANNED, 0)
        waiting = 0 if summary.stopped else planned
        needed = ceil(waiting / (self._client.usage.share_of_bound or 1.0))
        return max(0.0, self._client.expected_end(waiting=needed) - now)
