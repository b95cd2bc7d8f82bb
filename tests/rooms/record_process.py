"""A script in a process of its own, for tests that end it; arguments: what it does, base URL, more.

``generate PROMPT`` waits for a task, ``submit PROMPT`` kills itself once a task is accepted, and
``many COUNT`` sends so many pictures, as fast as it may, and writes how many were accepted.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

import anyio

from seedance_async import Forecast, NanoBananaPro, RateLimit, SeedanceClient

SPEED = 1200.0


async def main(deed: str, base_url: str, argument: str) -> None:
    """Do it."""
    if room := os.environ.get("TEST_FILE_BYTES"):  # a disk that is full: no file grows beyond this
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), resource.RLIM_INFINITY))
    limit = RateLimit(requests=30, period=60.0 / SPEED)
    forecast = Forecast(scale=1 / SPEED)
    async with SeedanceClient("sk_test_sandbox", base_url, rate_limit=limit, forecasts=forecast) as client:
        match deed:
            case "generate":
                await client.generate(NanoBananaPro(prompt=argument))
            case "submit":
                await client.submit(NanoBananaPro(prompt=argument))
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                pictures = [NanoBananaPro(prompt=f"Boat {number}") for number in range(int(argument))]
                results = [result async for result in client.as_completed(pictures)]
                sys.stdout.write(f"{sum(result.submission is not None for result in results)}\n")
                errors = {type(result.error).__name__ for result in results if result.error is not None}
                sys.stdout.write(f"{' '.join(sorted(errors))}\n")


if __name__ == "__main__":
    does, url, said = sys.argv[1:]
    anyio.run(main, does, url, said)
