"""Tests through nginx and HAProxy, which lose, delay, refuse and repeat: all is done and paid once.

The clock is the real one and everything passes sixty times as fast: a window in a second, a clip in three.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from seedance_async import (
    BatchRunner,
    Forecast,
    GptImage2,
    Job,
    RateLimit,
    RetryPolicy,
    Seedance2Video,
    SeedanceClient,
    Timeouts,
)
from seedance_async.sandbox import Sandbox
from tests.interop.proxies import haproxy, nginx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from seedance_async.models import Request

    Between = Callable[[Path, str], AbstractContextManager[str]]

JOBS = 20
SPEED = 60.0
REQUESTS: list[Request] = [
    Seedance2Video(prompt=f"Kite number {number}", duration=4)
    if number % 2
    else GptImage2(prompt=f"Kite number {number}")
    for number in range(JOBS)
]

# The pauses after failed polls are of the real clock: seven failures of one poll take three minutes.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def anyio_backend() -> str:
    """The real clock: other processes take part."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(tmp_path / "state"))


@contextmanager
def limiting(directory: Path, base_url: str) -> Iterator[str]:
    """Nginx lets fewer requests pass than the account may send, and tells nobody when to come back."""
    with nginx(directory / "nginx", base_url, rate=15) as url:
        yield url


@contextmanager
def losing(directory: Path, base_url: str) -> Iterator[str]:
    """HAProxy loses one exchange in five."""
    with haproxy(directory / "haproxy", base_url) as url:
        yield url


@contextmanager
def repeating(directory: Path, base_url: str) -> Iterator[str]:
    """Nginx before HAProxy: what gets no answer is sent again by nginx, POSTs too, and then by the client."""
    with losing(directory, base_url) as lossy, nginx(directory / "nginx", lossy) as url:
        yield url


def client_for(sandbox: Sandbox, base_url: str) -> SeedanceClient:
    """A client in the sandbox's time."""
    return SeedanceClient(
        sandbox.api_key,
        base_url,
        rate_limit=RateLimit(requests=30, period=60.0 / SPEED),
        forecasts=Forecast(scale=sandbox.time_scale),
        timeouts=Timeouts(connect=2.0, request=1.0),
        retry=RetryPolicy(first_wait=0.05, max_wait=0.5, max_elapsed=60.0, conflict_wait=60.0),
    )


def paid_for(sandbox: Sandbox) -> list[str]:
    """The prompts that were charged and not given back, in order."""
    return sorted(task.request.prompt for task in sandbox.paid_tasks)


@pytest.mark.parametrize("between", [limiting, losing, repeating])
async def test_every_job_completes_and_is_paid_once(between: Between, tmp_path: Path) -> None:
    """Twenty jobs at once; what the proxy did shows in the client's retries only."""
    async with Sandbox(speed=SPEED) as sandbox:
        with between(tmp_path, sandbox.base_url) as base_url:
            async with client_for(sandbox, base_url) as client:
                results = [result async for result in client.as_completed(REQUESTS)]

    assert [None] * JOBS == [result.error for result in results]
    assert sorted(request.prompt for request in REQUESTS) == paid_for(sandbox)
    assert client.usage.retries > 0


async def test_a_batch_is_saved_whole_and_paid_once(tmp_path: Path) -> None:
    """With its files and its books: what the summary says was paid is what the server charged."""
    jobs = [Job(name=f"kite-{number}", request=request) for number, request in enumerate(REQUESTS)]
    async with Sandbox(speed=SPEED) as sandbox:
        with repeating(tmp_path, sandbox.base_url) as base_url:
            async with (
                client_for(sandbox, base_url) as client,
                BatchRunner(client, tmp_path / "out") as batch,
            ):
                results = [result async for result in batch.run(jobs)]

    assert ["saved"] * JOBS == [result.state for result in results]
    assert all(file.stat().st_size for result in results for file in result.files)
    assert sorted(request.prompt for request in REQUESTS) == paid_for(sandbox)
    charged = sum(entry.credits for entry in sandbox.ledger if entry.kind == "charge")
    assert charged == batch.summary.credits_used
