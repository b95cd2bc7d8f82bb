"""Workers that are killed, and a PostgreSQL that is stopped hard, judged by the sandbox's own record.

A job's POST hangs after it was charged, and the worker that waits for its answer gets ``kill -9``; or the
worker dies once the task is accepted; sometimes all workers die at once. The properties: one paid task a job,
every job is saved by somebody, and the second POST has the same key and the same bytes.

The suite runs a few of each. The whole: ``python -m tests.engine.kills --between 100 --after 50``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from anyio import to_thread
from anyio.abc import Process
from attrs import define, field

from seedance_async import Job, NanoBananaPro
from seedance_async.batch.states import State
from seedance_async.integrations.engine import BatchEngine
from seedance_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


Found = TypeVar("Found")

SPEED: Final = 60.0
EVERY_NTH_ALL: Final = 5
"""Every so many kills all workers die at once."""

NURSERY: Final = "nursery"
READY: Final = "worker: running the jobs"

PATIENCE: Final = 60.0


@define
class Fleet:
    """Workers of one database, as processes of their own.

    Attributes:
        log: what they have written.
        took: seconds from each kill to the second POST, where another worker was alive.
    """

    sandbox: Sandbox
    url: str
    directory: Path
    nursery: Process
    workers: list[int] = field(factory=list)
    took: list[float] = field(factory=list)
    took_alone: list[float] = field(factory=list)
    done: Counter[str] = field(factory=Counter)
    all_at_once_every: int = EVERY_NTH_ALL
    _started: int = 0

    @property
    def log(self) -> Path:
        """What the workers have written."""
        return self.directory / "workers.log"

    async def add(self) -> None:
        """Start one more worker: a process of its own, which has not to import anything any more."""
        nursery = self.nursery
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        await nursery.stdin.send(b"\n")
        self.workers.append(int(await nursery.stdout.receive()))
        self._started += 1

    async def ready(self, *, workers: int = 2) -> None:
        """See that so many workers are alive and take jobs."""
        while len(self.workers) < workers:
            await self.add()
        await until(lambda: self.log.read_text().count(READY) == self._started)

    async def kill(self, *workers: int) -> None:
        """``kill -9``."""
        for pid in workers:
            self.workers.remove(pid)
            os.kill(pid, signal.SIGKILL)

    def is_alive(self, worker: int) -> bool:
        """Whether its process is there."""
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return False
        return True

    async def owner(self, engine: BatchEngine) -> int:
        """The worker that has a job in hand, by the name that it gave itself."""
        _, records = engine._parts

        def found() -> int:
            owners = [int(name.split("-")[-2]) for name in records.owners()]
            return next((pid for pid in owners if pid in self.workers), 0)

        return await until(found)

    def posts(self, prompt: str) -> list[tuple[str | None, bytes, float]]:
        """Key, bytes and instant of each POST whose body has this text."""
        submits = (record for record in self.sandbox.requests if record.endpoint == "submit")
        return [
            (record.idempotency_key, record.body, record.at)
            for record in submits
            if prompt.encode() in record.body
        ]

    async def between(self, engine: BatchEngine, number: int) -> None:
        """Kill the worker that waits for the answer to a POST that was charged."""
        await self.ready()
        prompt = f"boat {number} [[fault:hang]]"
        await engine.enqueue([Job(NanoBananaPro(prompt=prompt), name=f"between-{number}")])
        await until(lambda: self.posts(prompt))
        is_all = self._is_for_all(number)
        await self._kill(engine, is_all=is_all)
        killed_at = anyio.current_time()
        if is_all:
            await self.ready()
        await until(lambda: self.posts(prompt)[1:])
        took = self.took_alone if is_all else self.took
        took.append(self.posts(prompt)[1][2] - killed_at)
        await self.saved(engine)
        (key, body, _), *others = self.posts(prompt)
        assert all((key, body) == other[:2] for other in others), "sent again with another key or other bytes"
        self.done["between, all" if is_all else "between"] += 1

    async def after(self, engine: BatchEngine, number: int) -> None:
        """Kill the worker once the task of a job is accepted."""
        await self.ready()
        prompt = f"pond {number}"
        (key,) = await engine.enqueue([Job(NanoBananaPro(prompt=prompt), name=f"after-{number}")])
        tables, _ = engine._parts

        await until(lambda: tables.states([key])[key] is State.ACCEPTED)
        is_all = self._is_for_all(number)
        await self._kill(engine, is_all=is_all)
        await self.ready()
        await self.saved(engine)
        assert 1 == len({(key, body) for key, body, _ in self.posts(prompt)})
        self.done["after, all" if is_all else "after"] += 1

    async def saved(self, engine: BatchEngine) -> None:
        """See that what was enqueued last is saved."""
        with anyio.fail_after(PATIENCE):
            results = [result async for result in engine.results()]
        states = {result.name: (result.state, result.error) for result in results}
        assert all(state is State.SAVED for state, _ in states.values()), states

    def _is_for_all(self, number: int) -> bool:
        return number % self.all_at_once_every == self.all_at_once_every - 1

    async def _kill(self, engine: BatchEngine, *, is_all: bool) -> None:
        await self.kill(*(list(self.workers) if is_all else [await self.owner(engine)]))

    def judge(self, jobs: int) -> None:
        """One paid task a job."""
        assert jobs == len(self.sandbox.paid_tasks), (jobs, len(self.sandbox.paid_tasks))


async def until(condition: Callable[[], Found], *, patience: float = PATIENCE) -> Found:
    """Wait until a condition holds, and return what it says; it is asked in a thread."""
    with anyio.fail_after(patience):
        while not (found := await to_thread.run_sync(condition)):  # noqa: ASYNC110 - other processes
            await anyio.sleep(0.05)
        return found


@asynccontextmanager
async def fleet(url: str, directory: Path) -> AsyncIterator[tuple[Fleet, BatchEngine]]:
    """Workers against a sandbox, with an engine to enqueue for them."""
    async with Sandbox(speed=SPEED) as sandbox, BatchEngine(url) as engine:
        environment = {
            **os.environ,
            "SEEDANCE_API_KEY": sandbox.api_key,
            "SEEDANCE_BASE_URL": sandbox.base_url,
            "SEEDANCE_TIME_SCALE": str(1 / SPEED),
            "SEEDANCE_STATE_DIR": str(directory / "state"),
        }
        command = [sys.executable, "-m", "tests.engine.kills", NURSERY, url, str(directory)]
        with (directory / "workers.log").open("ab") as log:
            nursery = await anyio.open_process(command, env=environment, stderr=log)
        async with nursery:
            ships = Fleet(sandbox, url, directory, nursery)
            try:
                yield ships, engine
            except BaseException:
                sys.stderr.write(
                    f"{dict(ships.done)}, then; the workers wrote:\n{ships.log.read_text()[-4000:]}"
                )
                raise
            finally:
                await ships.kill(*filter(ships.is_alive, list(ships.workers)))
                nursery.kill()


def raise_workers(url: str, directory: str) -> None:
    """Fork a worker for each byte that is read, until killed; tells its process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    import seedance_async.integrations.engine as _imported  # noqa: F401 - else each worker would
    from seedance_async.cli.app import run as command

    while os.read(0, 1):
        if pid := os.fork():
            os.write(1, f"{pid}".encode())
            continue
        os.dup2(2, 1)
        out = str(Path(directory) / "out")
        arguments = ["worker", "--engine", url, "-o", out, "--rate-limit", f"30/{60 / SPEED:g}"]
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os._exit(command(arguments))


async def run(
    url: str, directory: Path, *, between: int, after: int, all_at_once_every: int = EVERY_NTH_ALL
) -> Fleet:
    """Kill workers so often, at each of the two moments."""
    async with fleet(url, directory) as (ships, engine):
        ships.all_at_once_every = all_at_once_every
        for number in range(between):
            await ships.between(engine, number)
            ships.judge(number + 1)
        for number in range(after):
            await ships.after(engine, number)
            ships.judge(between + number + 1)
    return ships


def main() -> None:
    """Run as many as asked for against a PostgreSQL of its own, and print the numbers."""
    from tests.servers import Postgres, _newest

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--between", type=int, default=100)
    options.add_argument("--after", type=int, default=50)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as data:
        server = Postgres(Path(data), Path(_newest("/usr/lib/postgresql")[0]))
        server.start()
        began = time.monotonic()
        try:
            ships = anyio.run(
                partial(run, server.create_database(), Path(name), between=asked.between, after=asked.after)
            )
        finally:
            server.stop(signal.SIGINT)
    sys.stdout.write(
        f"{dict(ships.done)} in {time.monotonic() - began:.0f} s\n"
        f"second POST after the kill, another worker alive: median {median(ships.took or [0.0]):.2f} s, "
        f"worst {max(ships.took, default=0):.2f} s; all workers dead and new ones started: "
        f"worst {max(ships.took_alone, default=0):.2f} s\n"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == [NURSERY]:
        raise_workers(*sys.argv[2:])
    else:
        main()
