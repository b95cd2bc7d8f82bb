"""Tests on uvloop, an event loop that handles its sockets itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from seedance_async import BatchRunner, Forecast, NanoBananaPro, RateLimit, SeedanceClient
from seedance_async.sandbox import Conditions, Fault, Sandbox

uvloop = pytest.importorskip("uvloop", reason="uvloop does not come for this system")

if TYPE_CHECKING:
    from pathlib import Path

SPEED = 60.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Its clock is its own, so time is real here, and the sandbox quick."""
    return "asyncio", {"loop_factory": uvloop.new_event_loop}


@pytest.mark.case(127)
async def test_a_batch_among_faults_ends_alike_on_uvloop(tmp_path: Path) -> None:
    """Lost answers, cut answers and a lost file: nothing paid twice, everything saved, nothing left open."""
    faults = [
        Fault(effect="reset", on="submit"),
        Fault(effect="drop", on="submit", nth=3),
        Fault(effect="truncate-reset", on="task"),
        Fault(effect="drop", on="media"),
    ]
    requests = [NanoBananaPro(prompt=f"A boat on pond {number}", output_format="jpeg") for number in range(6)]
    limit = RateLimit(requests=30, period=60.0 / SPEED)
    async with (
        Sandbox(conditions=Conditions(speed=SPEED), faults=faults) as sandbox,
        SeedanceClient(
            sandbox.api_key,
            sandbox.base_url,
            rate_limit=limit,
            forecasts=Forecast(scale=sandbox.time_scale),
        ) as client,
        BatchRunner(client, tmp_path) as batch,
    ):
        results = [result async for result in batch.run(requests)]

        assert ["saved"] * 6 == [result.state for result in results]
        assert 6 == len(sandbox.paid_tasks)
        assert all(path.stat().st_size for result in results for path in result.files)
