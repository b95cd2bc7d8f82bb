"""A batch in a process of its own, for tests that end it.

Arguments: base URL, directory, manifest, speed, and how often refunded failures are made anew.
"""

from __future__ import annotations

import sys

import anyio

from seedance_async import BatchRunner, Forecast, RateLimit, SeedanceClient


async def main(base_url: str, directory: str, manifest: str, speed: float, rerolls: int) -> int:
    """Run the batch to its end and return its exit code."""
    limit = RateLimit(requests=30, period=60.0 / speed)
    async with (
        SeedanceClient(
            "sk_test_sandbox", base_url, rate_limit=limit, forecasts=Forecast(scale=1 / speed)
        ) as client,
        BatchRunner(client, directory, reroll_refunded=rerolls) as batch,
    ):
        async for _ in batch.run(manifest):
            pass
        return batch.summary.exit_code


if __name__ == "__main__":
    url, out, jobs, pace, *rest = sys.argv[1:]
    sys.exit(anyio.run(main, url, out, jobs, float(pace), int(rest[0]) if rest else 0))
