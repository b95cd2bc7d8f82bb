"""Processes of one account on what seem to be several hosts, in real time: by a file, PostgreSQL and Redis.

The sandbox is the judge. Each process has ten users who ask as often as they may; its wall clock is wrong by
an hour, one way or the other. In quiet the fullest window, the refusals, the shares and the throughput are
told; under attack processes are killed and started, others are stopped for up to a period and a half and go
on, the file that they share is deleted, and the server crashes and comes back in the middle (Redis without
what it had).

A share is that of one life of a process: its requests, over an equal part of all that were sent while it
lived. It is told of lives of two periods and more, because slots come back in bursts, once a period: a
shorter life may lie between two of them.

The budget waits, pauses and repeats itself in seconds, which are few beside a minute and many beside a period
of six. What is lost under attack is therefore measured with the real limit.

    python -m tests.faults.hosts --seconds 60
    python -m tests.faults.hosts --attacked --limit 30/60 --seconds 600
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
from math import inf
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
    from collections.abc import Iterator, Mapping, Sequence

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
class Life:
    """One process from its start to its end, by the loop's clock, which is the sandbox's."""

    process: Process
    began_at: float
    ended_at: float = inf


@define
class Hosts:
    """The processes of one run.

    Attributes:
        processes: those that run, by name.
        lives: of all that ever ran, by name; each has a name of its own.
    """

    sandbox: Sandbox
    limit: RateLimit
    environment: dict[str, str]
    lives: dict[str, Life] = field(factory=dict)

    @property
    def running(self) -> list[str]:
        """The names of those that run."""
        return [name for name, life in self.lives.items() if life.ended_at == inf]

    async def start(self) -> None:
        """Start a process under a new name."""
        name = str(len(self.lives))
        limit = f"{self.limit.requests}/{self.limit.period:g}"
        arguments = [WORKER, self.sandbox.base_url, self.sandbox.api_key, limit, name]
        command = [sys.executable, "-m", "tests.faults.hosts", *arguments]
        environment = {**os.environ, **self.environment}
        process = await anyio.open_process(command, env=environment, stdout=None, stderr=None)
        self.lives[name] = Life(process, anyio.current_time())

    async def kill(self, name: str) -> None:
        """Kill it."""
        life = self.lives[name]
        with suppress(ProcessLookupError):
            life.process.kill()
        await life.process.wait()
        life.ended_at = anyio.current_time()

    async def attack(self, rng: random.Random) -> None:
        """Kill one, and start another, for ever."""
        while True:
            await anyio.sleep(self.limit.period * rng.uniform(0.2, 0.6))
            await self.kill(rng.choice(self.running))
            await self.start()

    async def stop(self, rng: random.Random) -> None:
        """Stop one as Ctrl-Z does, and let it go on, for ever."""
        while True:
            await anyio.sleep(self.limit.period * rng.uniform(0.2, 0.6))
            process = self.lives[rng.choice(self.running)].process
            process.send_signal(signal.SIGSTOP)
            await anyio.sleep(self.limit.period * rng.uniform(0.0, 1.5))
            with suppress(ProcessLookupError):  # it was killed meanwhile
                process.send_signal(signal.SIGCONT)

    async def delete(self, rng: random.Random) -> None:
        """Delete what the processes share on this machine, for ever."""
        while True:
            await anyio.sleep(self.limit.period * rng.uniform(0.5, 1.5))
            for file in Path(self.environment["SEEDANCE_STATE_DIR"]).rglob("*"):
                if file.is_file():
                    file.unlink(missing_ok=True)


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
    settled_at: float = field(default=0.0, init=False)

    async def arrivals(self, server: Server | None, url: str) -> str:
        """Run it; what is to be told."""
        latency = (0.0, 0.001 * self.limit.period)
        conditions = Conditions(requests=self.limit.requests, period=self.limit.period, latency=latency)
        with tempfile.TemporaryDirectory() as directory:
            environment = {"SEEDANCE_STATE_DIR": directory} | ({"SEEDANCE_SHARED_BUDGET": url} if url else {})
            async with Sandbox(conditions=conditions, window=self.window) as sandbox:
                hosts = Hosts(sandbox, self.limit, environment)
                try:
                    for _ in range(self.processes):
                        await hosts.start()
                    await self._go_on(hosts, server)
                finally:
                    with anyio.CancelScope(shield=True):
                        for name in hosts.running:
                            await hosts.kill(name)
                return self._told(sandbox, hosts.lives)

    async def _go_on(self, hosts: Hosts, server: Server | None) -> None:
        with anyio.fail_after(120.0):
            while len(_senders(hosts.sandbox.requests)) < self.processes:  # noqa: ASYNC110 - sets no event
                await anyio.sleep(0.1)
        await anyio.sleep(2 * self.limit.period)  # the first window is over, and with it the first burst
        self.settled, self.settled_at = len(hosts.sandbox.requests), anyio.current_time()
        with anyio.move_on_after(self.seconds):
            async with anyio.create_task_group() as tasks:
                if self.attacked:
                    for attack in (hosts.attack, hosts.stop, hosts.delete):
                        tasks.start_soon(attack, random.Random(attack.__name__))
                    await anyio.sleep(self.seconds / 2)
                    if server is not None:
                        how = signal.SIGKILL if isinstance(server, Redis) else signal.SIGQUIT
                        await to_thread.run_sync(server.restart, how)
                await anyio.sleep_forever()

    def _told(self, sandbox: Sandbox, lives: Mapping[str, Life]) -> str:
        records = sandbox.requests
        what = (
            f"{self.place}, {self.window}, {self.processes} processes{', attacked' if self.attacked else ''}"
        )
        sent = len(records) - self.settled
        return (
            f"{what}: worst window {sandbox.worst_window().arrivals} of {self.limit.requests}, "
            f"{sum(record.status == 429 for record in records)} refused, "
            f"{sent * self.limit.period / self.seconds:.1f} a period, {len(lives)} lives; shares in % of an "
            f"equal one, where they lived two periods: {' '.join(self._shares(records, lives))}"
        )

    def _shares(self, records: Sequence[Record], lives: Mapping[str, Life]) -> list[str]:
        """Of each long life, its requests over an equal part of those that were sent while it lived."""
        shares = []
        end = self.settled_at + self.seconds
        for name, life in lives.items():
            since, until = max(life.began_at, self.settled_at), min(life.ended_at, end)
            if until - since >= 2 * self.limit.period:
                sent = _senders([record for record in records if since <= record.at < until])
                shares.append(f"{100 * sent[name] * self.processes / max(1, sent.total()):.0f}")
        return shares


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
    parser.add_argument("--places", nargs="+", choices=PLACES, default=PLACES)
    parser.add_argument("--attacked", action="store_true", help="only under attack")
    parser.add_argument("--limit", type=RateLimit.parse, default=RateLimit(requests=30, period=6.0))
    options = parser.parse_args(arguments)
    quiet = [(WINDOWS[0], 1, False), *((window, options.processes, False) for window in WINDOWS)]
    for place in options.places:
        for window, processes, attacked in [
            *([] if options.attacked else quiet),
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
