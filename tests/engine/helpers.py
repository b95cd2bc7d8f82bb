"""What the tests of the engine share: a worker in this process, and what comes of some jobs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from seedance_async import RateLimit, RetryPolicy, SeedanceClient
from seedance_async.integrations.engine import BatchEngine
from seedance_async.scheduling.forecast import Forecast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from seedance_async import Job, JobResult, Summary
    from seedance_async.sandbox import Sandbox

SPEED = 200.0


@asynccontextmanager
async def client_of(sandbox: Sandbox, *, key: str | None = None) -> AsyncIterator[SeedanceClient]:
    """A client of a fast sandbox, which gives up soon."""
    async with SeedanceClient(
        key or sandbox.api_key,
        sandbox.base_url,
        rate_limit=RateLimit(requests=30, period=60 / SPEED),
        retry=RetryPolicy(max_elapsed=1.0, conflict_wait=1.0),
        forecasts=Forecast(scale=1 / SPEED),
        record=False,
    ) as client:
        yield client


async def made(
    sandbox: Sandbox,
    url: str,
    jobs: Path | Iterable[Job],
    directory: Path | str,
    *,
    key: str | None = None,
    max_credits: float | None = None,
    replay_window: float = 72_000.0,
) -> tuple[dict[str, JobResult], Summary]:
    """Enqueue jobs, and let one worker make them; each result by its name, and the sums."""
    found: dict[str, JobResult] = {}
    async with (
        BatchEngine(url, max_credits=max_credits, replay_window=replay_window) as engine,
        client_of(sandbox, key=key) as client,
        anyio.create_task_group() as working,
    ):
        await engine.enqueue(jobs)
        await working.start(engine.work, client, directory)
        follower = engine.follow()
        with anyio.fail_after(50):
            async for entry, error, earlier in follower.ends():
                result = follower.result(entry, error, earlier=earlier)
                assert result.name not in found, "each job is told of once"
                found[result.name] = result
        working.cancel_scope.cancel()
    return found, follower.summary
