"""Where a batch stands while it runs: jobs, requests against the limit, credits, and when it will be over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final, Self

import anyio
from attrs import frozen

from seedance_async.batch import pulse
from seedance_async.batch.states import State
from seedance_async.batch.summary import Summary
from seedance_async.models import RateLimit

if TYPE_CHECKING:
    from types import TracebackType

    from seedance_async import BatchRunner, SeedanceClient

SAMPLES: Final = 60  # a period: a window of a minute is known to the second


@frozen(kw_only=True)
class Standing:
    """A batch at one instant.

    Attributes:
        summary: its jobs and credits, over all runs.
        requests: sent in this run.
        in_window: sent in the period of the limit that ends now.
        limit: the account's.
        seconds: since this run began.
        seconds_left: until it will be over, as the schedule expects; None while nothing is known.
    """

    summary: Summary
    requests: int
    in_window: int
    limit: RateLimit
    seconds: float
    seconds_left: float | None

    def count(self, *states: State) -> int:
        """Jobs in any of these states."""
        return sum(self.summary.counts.get(state, 0) for state in states)

    @property
    def is_planned(self) -> bool:
        """Whether the manifest has been read."""
        return self.summary.total > 0


class Observer:
    """Looks at a running batch, and counts its requests while it is entered.

    Args:
        batch: open.
        client: the batch's own, open.
        earlier: what earlier runs have counted.
    """

    def __init__(self, batch: BatchRunner, client: SeedanceClient, earlier: list[pulse.Beat]) -> None:
        self._batch = batch
        self._client = client
        self._pulse = pulse.Pulse(client.rate_limit, earlier)
        self._kept = 0
        self._began_at = anyio.current_time()
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None

    @classmethod
    async def of(cls, batch: BatchRunner, client: SeedanceClient) -> Self:
        """The observer of a batch that goes on counting where the last run stopped."""
        journal = batch.journal
        _, earlier = pulse.load(await journal.do(journal.store.fact, pulse.FACT))
        return cls(batch, client, earlier)

    def __enter__(self) -> Self:
        self._tick()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._next is not None:
            self._next.cancel()

    def standing(self) -> Standing:
        """How the batch stands now."""
        now = anyio.current_time()
        summary = self._batch.summary
        return Standing(
            summary=summary,
            requests=self._client.usage.requests,
            in_window=self._pulse.in_window,
            limit=self._client.rate_limit,
            seconds=now - self._began_at,
            seconds_left=self._seconds_left(summary, now),
        )

    async def keep(self, *, at_end: bool = False) -> None:
        """Keep the count in the journal, once a period."""
        beats = len(self._pulse.beats)
        if beats > self._kept or at_end:
            self._kept = beats
            journal = self._batch.journal
            keep = partial(journal.store.remember_fact, pulse.FACT, self._pulse.dump())
            await journal.do(journal.store.file.transaction, keep)

    def _seconds_left(self, summary: Summary, now: float) -> float | None:
        if not summary.total:
            return None
        waiting = 0 if summary.stopped else summary.counts.get(State.PLANNED, 0)
        needed = ceil(waiting / (self._client.usage.share_of_bound or 1.0))
        return max(0.0, self._client.running_engine().dispatcher.expected_end(waiting=needed) - now)

    def _tick(self) -> None:
        wall = datetime.now(UTC).timestamp()
        self._pulse.sample(self._client.usage, now=anyio.current_time(), wall=wall)
        self._next = self._loop.call_later(self._client.rate_limit.period / SAMPLES, self._tick)
