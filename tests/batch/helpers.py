"""What the tests of whole batches share: jobs, a client, a run, and what the sandbox saw of it."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from seedance_async import BatchRunner, Job, JobResult, NanoBananaPro, RetryPolicy, SeedanceClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable
    from pathlib import Path

    from seedance_async.models import Request
    from seedance_async.sandbox import Sandbox

    Jobs = Path | Iterable[Job | Request] | AsyncIterable[Job | Request]

PRICE = 12
"""Credits of a picture in the sandbox."""

PATIENCE = RetryPolicy(max_elapsed=60.0, conflict_wait=60.0)
"""A POST without an answer is given up after a minute."""


def pictures(count: int, *, word: str = "boat") -> list[Job]:
    """Jobs of one kind. Pictures, because the sandbox draws them faster than clips."""
    return [
        Job(NanoBananaPro(prompt=f"A {word} on pond {number}", output_format="jpeg"), name=f"{word}-{number}")
        for number in range(count)
    ]


@asynccontextmanager
async def opened(
    sandbox: Sandbox,
    directory: Path,
    *,
    key: str | None = None,
    url: str | None = None,
    **options: Any,  # noqa: ANN401 - whatever a runner takes
) -> AsyncIterator[BatchRunner]:
    """Open a batch with a client of its own; ``url`` is that of a proxy before the sandbox."""
    async with (
        SeedanceClient(key or sandbox.api_key, url or sandbox.base_url, retry=PATIENCE) as client,
        BatchRunner(client, directory, **options) as batch,
    ):
        yield batch


async def results_of(batch: BatchRunner, jobs: Jobs) -> dict[str, JobResult]:
    """Run to the end; every job must be told once."""
    reported = [result async for result in batch.run(jobs)]
    assert set(Counter(result.name for result in reported).values()) <= {1}
    return {result.name: result for result in reported}


async def run_once(
    sandbox: Sandbox,
    directory: Path,
    jobs: Jobs,
    **options: Any,  # noqa: ANN401 - whatever a runner takes
) -> dict[str, JobResult]:
    """Open a batch, run it, close it."""
    async with opened(sandbox, directory, **options) as batch:
        return await results_of(batch, jobs)


def submits(sandbox: Sandbox) -> list[tuple[str | None, bytes]]:
    """Key and body of every POST that arrived."""
    posts = [record for record in sandbox.requests if record.endpoint == "submit"]
    return [(record.idempotency_key, record.body) for record in posts]


def charged(sandbox: Sandbox) -> int:
    """Credits taken, refunds not deducted."""
    return sum(entry.credits for entry in sandbox.ledger if entry.kind == "charge")


def states(results: dict[str, JobResult]) -> Counter[str]:
    """How many jobs stand in each state."""
    return Counter(str(result.state) for result in results.values())
