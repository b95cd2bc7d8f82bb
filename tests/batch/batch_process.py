"""A batch in a process of its own, for tests that end it.

Arguments: base URL, directory, manifest, speed, and if there are any the runner's options, as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio

from seedance_async import BatchRunner, Forecast, RateLimit, SeedanceClient


async def main(base_url: str, directory: str, manifest: str, speed: float, options: dict[str, Any]) -> int:
    """Run the batch to its end and return its exit code."""
    limit = RateLimit(requests=30, period=60.0 / speed)
    async with (
        SeedanceClient(
            "sk_test_sandbox", base_url, rate_limit=limit, forecasts=Forecast(scale=1 / speed)
        ) as client,
        BatchRunner(client, directory, **options) as batch,
    ):
        async for _ in batch.run(manifest):
            pass
        return batch.summary.exit_code


if __name__ == "__main__":
    url, out, jobs, pace, *more = sys.argv[1:]
    sys.exit(anyio.run(main, url, out, jobs, float(pace), json.loads(more[0]) if more else {}))
