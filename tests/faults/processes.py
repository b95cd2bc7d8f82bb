"""Processes of one account that are suspended and killed, and whose shared file is deleted, in real time.

The sandbox is the judge: its own record says how many requests the fullest window had. Processes are stopped
by SIGSTOP, some for longer than a window, or killed and replaced, and the directory of the shared limit file
is deleted. Two at most are stopped at a time, so that somebody is left who can tell a newcomer what was sent.

    python -m tests.faults.processes --seconds 600 --processes 6
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import Process
from attrs import define, field

from seedance_async import RateLimit, SeedanceClient, SeedanceError
from seedance_async.sandbox import Conditions, Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import TaskGroup

WORKER: Final = "worker"
CALLS: Final = 12
"""Calls that a worker makes at the same time."""

MOST_STOPPED: Final = 2
REPORT_EVERY: Final = 60.0


async def work(url: str, key: str, limit: RateLimit) -> None:
    """Ask for a task that does not exist, as often as the limit allows."""
    async with (
        SeedanceClient(key, url, rate_limit=limit) as client,
        anyio.create_task_group() as callers,
    ):

        async def call() -> None:
            while True:
                with suppress(SeedanceError):
                    await client.get_task("nbp_none")

        for _ in range(CALLS):
            callers.start_soon(call)


@define
class Fleet:
    """The processes, and what is done to them."""

    sandbox: Sandbox
    state: Path
    limit: RateLimit
    rng: random.Random
    processes: list[Process] = field(factory=list)
    stopped: set[int] = field(factory=set)
    done: Counter[str] = field(factory=Counter)

    async def add(self) -> None:
        """Start one more worker."""
        limit = f"{self.limit.requests}/{self.limit.period:g}"
        command = [
            sys.executable, "-m", "tests.faults.processes", WORKER,
            self.sandbox.base_url, self.sandbox.api_key, limit,
        ]  # fmt: skip
        environment = {**os.environ, "SEEDANCE_STATE_DIR": str(self.state)}
        process = await anyio.open_process(command, env=environment, stdout=None, stderr=None)
        self.processes.append(process)

    async def attack(self, tasks: TaskGroup) -> None:
        """Do each of the attacks again and again, for ever."""
        for what, every in {"stop": 0.1, "kill": 0.4, "delete": 2.5}.items():
            tasks.start_soon(self._repeat, what, every * self.limit.period, tasks)

    async def _repeat(self, what: str, every: float, tasks: TaskGroup) -> None:
        while True:
            await anyio.sleep(every * self.rng.uniform(0.5, 1.5))
            if what == "delete":  # seldom: it stops everybody for a period
                shutil.rmtree(self.state, ignore_errors=True)
            elif what == "kill":
                await self._kill(self._anybody())
            elif len(self.stopped) < MOST_STOPPED:
                tasks.start_soon(self._stop, self._anybody(), self._pause())
            else:
                continue
            self.done[what] += 1

    def _pause(self) -> float:
        """Seconds of a stop: within a slot's life, after it, and longer than a window."""
        return self.rng.choice([0.02, 0.2, 0.6, 1.3]) * self.limit.period * self.rng.uniform(0.5, 1.0)

    def _anybody(self) -> Process:
        return self.rng.choice([process for process in self.processes if process.pid not in self.stopped])

    async def _stop(self, process: Process, seconds: float) -> None:
        self.stopped.add(process.pid)
        try:
            process.send_signal(signal.SIGSTOP)
            await anyio.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)
            self.stopped.discard(process.pid)

    async def _kill(self, process: Process) -> None:
        process.kill()
        await process.wait()
        self.processes.remove(process)
        await self.add()

    async def end(self) -> None:
        """Kill all that are left."""
        with anyio.CancelScope(shield=True):
            for process in self.processes:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


def _print(sandbox: Sandbox, fleet: Fleet, since: float) -> None:
    refused = sum(record.status == 429 for record in sandbox.requests)
    attacks = ", ".join(f"{count} x {what}" for what, count in sorted(fleet.done.items()))
    print(  # noqa: T201
        f"{anyio.current_time() - since:.0f} s: {len(sandbox.requests)} requests, worst window "
        f"{sandbox.worst_window().arrivals} of {fleet.limit.requests}, {refused} refused; {attacks}",
        flush=True,
    )


async def attack(seconds: float, processes: int, limit: RateLimit, seed: int) -> int:
    """Run the processes under attack; the fullest window of what arrived at the server."""
    conditions = Conditions(
        seed=seed, requests=limit.requests, period=limit.period, latency=(0.0, 0.005 * limit.period)
    )
    with tempfile.TemporaryDirectory() as directory:
        async with Sandbox(conditions=conditions) as sandbox:
            since = anyio.current_time()
            fleet = Fleet(sandbox, Path(directory, "state"), limit, random.Random(f"processes {seed}"))
            try:
                for _ in range(processes):
                    await fleet.add()
                with anyio.move_on_after(seconds):
                    async with anyio.create_task_group() as tasks:
                        await fleet.attack(tasks)
                        while True:
                            await anyio.sleep(min(REPORT_EVERY, seconds / 2))
                            _print(sandbox, fleet, since)
            finally:
                await fleet.end()
            _print(sandbox, fleet, since)
            return sandbox.worst_window().arrivals


def main(arguments: Sequence[str]) -> int:
    """Attack the processes, and say whether a window had too many requests."""
    if arguments[:1] == [WORKER]:
        url, key, limit = arguments[1:]
        anyio.run(work, url, key, RateLimit.parse(limit))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--limit", type=RateLimit.parse, default=RateLimit())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    worst = anyio.run(attack, options.seconds, options.processes, options.limit, options.seed)
    return os.EX_OK if worst <= options.limit.requests else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
