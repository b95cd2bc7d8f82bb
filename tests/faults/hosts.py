"""Processes of one account on what seem to be several hosts, in real time: by a file, PostgreSQL and Redis.

The sandbox is the judge. Each process has ten users who ask as often as they may; its wall clock is wrong by
an hour, one way or the other. In quiet the fullest window, the refusals, the shares and the throughput beside
that of one process are told; under attack processes are killed and started, and the server crashes and comes
back in the middle (Redis without what it had).

    python -m tests.faults.hosts --seconds 60
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread
from anyio.abc import Process
from attrs import define, field

from seedance_async import RateLimit, SeedanceClient, SeedanceError
from seedance_async.sandbox import Conditions, Sandbox
from seedance_async.sandbox.options import WindowName
from tests.servers import Postgres, Redis, Server, postgres_programs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seedance_async.sandbox import Record

WORKER: Final = "worker"
USERS: Final = 10
PLACES: Final = ("file", "postgres", "redis")
WINDOWS: Final[tuple[WindowName, ...]] = ("sliding-log", "fixed", "token-bucket")
WRONG: Final = 3600.0
"""Seconds by which a process's wall clock is wrong."""


async def work(url: str, key: str, limit: RateLimit, name: str) -> None:
    """Ask for a task that does not exist, as often as the limit allows."""

    async def ask(client: SeedanceClient) -> None:
        while True:
            with suppress(SeedanceError):
                await client.get_task(f"nbp_none{name}")

    async with SeedanceClient(key, url, rate_limit=limit) as client, anyio.create_task_group() as users:
        for _ in range(USERS):
            users.start_soon(ask, client)


@define
class Hosts:
    """The processes of one run."""

    sandbox: Sandbox
    limit: RateLimit
    environment: dict[str, str]
    processes: dict[str, Process] = field(factory=dict)

    async def start(self, name: str) -> None:
        """Start the process of this name."""
        limit = f"{self.limit.requests}/{self.limit.period:g}"
        arguments = [WORKER, self.sandbox.base_url, self.sandbox.api_key, limit, name]
        command = [sys.executable, "-m", "tests.faults.hosts", *arguments]
        environment = {**os.environ, **self.environment}
        self.processes[name] = await anyio.open_process(command, env=environment, stdout=None, stderr=None)

    async def kill(self, name: str) -> None:
        """Kill it."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def attack(self, rng: random.Random) -> None:
        """Kill one, and start it again, for ever."""
        while True:
            await anyio.sleep(self.limit.period * rng.uniform(0.2, 0.6))
            name = rng.choice(sorted(self.processes))
            await self.kill(name)
            await self.start(name)


@define(kw_only=True)
class Run:
    """What to run: so many processes that share a budget somewhere."""

    place: str
    window: WindowName
    processes: int
    attacked: bool
    seconds: float
    limit: RateLimit
    settled: int = field(default=0, init=False)

    async def arrivals(self, server: Server | None, url: str) -> str:
        """Run it; what is to be told."""
        latency = (0.0, 0.001 * self.limit.period)
        conditions = Conditions(requests=self.limit.requests, period=self.limit.period, latency=latency)
        with tempfile.TemporaryDirectory() as directory:
            environment = {"SEEDANCE_STATE_DIR": directory} | ({"SEEDANCE_SHARED_BUDGET": url} if url else {})
            async with Sandbox(conditions=conditions, window=self.window) as sandbox:
                hosts = Hosts(sandbox, self.limit, environment)
                try:
                    for number in range(self.processes):
                        await hosts.start(str(number))
                    await self._go_on(hosts, server)
                finally:
                    with anyio.CancelScope(shield=True):
                        for name in list(hosts.processes):
                            await hosts.kill(name)
                return self._told(sandbox)

    async def _go_on(self, hosts: Hosts, server: Server | None) -> None:
        with anyio.fail_after(120.0):
            while len(_senders(hosts.sandbox.requests)) < self.processes:  # noqa: ASYNC110 - sets no event
                await anyio.sleep(0.1)
        await anyio.sleep(2 * self.limit.period)  # the first window is over, and with it the first burst
        self.settled = len(hosts.sandbox.requests)
        with anyio.move_on_after(self.seconds):
            async with anyio.create_task_group() as tasks:
                if self.attacked:
                    tasks.start_soon(hosts.attack, random.Random("hosts"))
                    await anyio.sleep(self.seconds / 2)
                    if server is not None:
                        how = signal.SIGKILL if isinstance(server, Redis) else signal.SIGQUIT
                        await to_thread.run_sync(server.restart, how)
                await anyio.sleep_forever()

    def _told(self, sandbox: Sandbox) -> str:
        records = sandbox.requests
        sent = _senders(records[self.settled :])
        shares = " ".join(f"{100 * count * self.processes / sent.total():.0f}" for count in sent.values())
        what = (
            f"{self.place}, {self.window}, {self.processes} processes{', attacked' if self.attacked else ''}"
        )
        return (
            f"{what}: worst window {sandbox.worst_window().arrivals} of {self.limit.requests}, "
            f"{sum(record.status == 429 for record in records)} refused, "
            f"{sent.total() * self.limit.period / self.seconds:.1f} a period, "
            f"shares in % of an equal one: {shares}"
        )


def _senders(records: Sequence[Record]) -> Counter[str]:
    """How many requests each process has sent."""
    return Counter(record.path.rpartition("_none")[2] for record in records)


@contextmanager
def running(place: str) -> Iterator[tuple[Server | None, str]]:
    """A server of this kind and the URL of an empty database of it."""
    if place == "file":
        yield None, ""
        return
    directory = Path(tempfile.mkdtemp(prefix="seedance-hosts-"))
    program = shutil.which("redis-server") or "redis-server"
    server = Redis(directory, program) if place == "redis" else Postgres(directory, postgres_programs())
    try:
        server.start()
        yield server, server.url()
    finally:
        server.stop(signal.SIGINT)
        shutil.rmtree(directory)


def main(arguments: Sequence[str]) -> None:
    """Run the processes in every place, in quiet and under attack."""
    if arguments[:1] == [WORKER]:
        url, key, limit, name = arguments[1:]
        right = time.time
        time.time = lambda: right() + (WRONG if int(name) % 2 else -WRONG)
        anyio.run(work, url, key, RateLimit.parse(limit), name)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--limit", type=RateLimit.parse, default=RateLimit(requests=30, period=6.0))
    options = parser.parse_args(arguments)
    for place in PLACES:
        for window, processes, attacked in [
            (WINDOWS[0], 1, False),
            *((window, options.processes, False) for window in WINDOWS),
            (WINDOWS[0], options.processes, True),
        ]:
            run = Run(
                place=place,
                window=window,
                processes=processes,
                attacked=attacked,
                seconds=options.seconds,
                limit=options.limit,
            )
            with running(place) as (server, url):
                print(anyio.run(run.arrivals, server, url), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
