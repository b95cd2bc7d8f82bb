"""The client's overhead: CPU of an exchange and a decision, memory of a task, a POST's wait for its record.

The exchange is one poll over loopback against a server in another process, so that only the client's side is
measured, in CPU seconds of this process. The baseline does the same exchange with aiohttp alone: request,
read, JSON. The limiter is idle: an allowance that never runs out.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
from attrs import evolve

from benchmarks.report import Size, Table
from seedance_async import CreditLimits, RateLimit, SeedanceClient, Submission, wire
from seedance_async.budget.allowance import Allowance
from seedance_async.models import Kind
from seedance_async.record import AccountRecord, Asked
from seedance_async.scheduling.forecast import Forecast
from seedance_async.scheduling.schedule import Poll, Schedule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

TASK: Final = {
    "id": "sd2_xxxxx",
    "status": "processing",
    "model": "seedance2",
    "quality_tier": "standard",
    "channel": "standard",
    "credits_used": 30,
    "credits_refunded": 0,
    "output": None,
    "error": None,
    "created_at": "2026-06-03T10:00:00.000Z",
    "updated_at": "2026-06-03T10:00:00.000Z",
}

ANSWERED: Final = wire.task(TASK)

SERVER: Final = """
import asyncio, sys
body = sys.argv[1].encode()
head = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n"
answer = head % len(body) + body

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(answer * data.count(b"\\r\\n\\r\\n"))

async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def run(size: Size) -> list[Table]:
    """Measure all four."""
    quick = size is Size.QUICK
    record = asyncio.run(_record(posts=300 if quick else 5000))
    return [_exchanges(quick=quick), _decisions(quick=quick), _memory(quick=quick), record]


def _exchanges(*, quick: bool) -> Table:
    rounds, exchanges = (3, 300) if quick else (7, 2000)
    with _server() as url:
        plain, ours = asyncio.run(_compare(url, rounds=rounds, exchanges=exchanges))
    ratio = sorted(o / p for o, p in zip(ours, plain, strict=True))[rounds // 2]
    return Table(
        name="overhead: CPU of one poll over loopback",
        conditions=f"CPU time of the client's process, median of {rounds} rounds of {exchanges} exchanges",
        columns=("client", "microseconds", "of plain aiohttp"),
        rows=(
            ("plain aiohttp and json", round(sorted(plain)[rounds // 2]), 1.0),
            ("SeedanceClient.get_task", round(sorted(ours)[rounds // 2]), round(ratio, 2)),
        ),
    )


async def _compare(url: str, *, rounds: int, exchanges: int) -> tuple[list[float], list[float]]:
    """Microseconds of each, in turns, so that a change of the machine's mood strikes both."""
    plain: list[float] = []
    ours: list[float] = []
    unlimited = RateLimit(requests=2_000, period=0.1)
    async with (
        aiohttp.ClientSession() as session,
        SeedanceClient("sk_test", f"{url}/api/v1", rate_limit=unlimited) as client,
    ):
        headers = {"Authorization": "Bearer sk_test", "Accept": "application/json"}

        async def bare() -> None:
            async with session.get(f"{url}/api/v1/tasks/sd2_xxxxx", headers=headers) as response:
                json.loads(await response.read())

        async def through_client() -> None:
            await client.get_task("sd2_xxxxx")

        for _ in range(rounds):
            plain.append(await _cpu(bare, exchanges))
            ours.append(await _cpu(through_client, exchanges))
    return plain, ours


async def _cpu(exchange: Callable[[], Awaitable[None]], times: int) -> float:
    gc.collect()
    began = time.process_time()
    for _ in range(times):
        await exchange()
    return (time.process_time() - began) / times * 1e6


def _decisions(*, quick: bool) -> Table:
    sizes = (1_000, 10_000) if quick else (1_000, 10_000, 100_000)
    rows = [(size, *_decide_among(size, decisions=500 if quick else 3000)) for size in sizes]
    return Table(
        name="overhead: a scheduling decision",
        conditions="decide, polling, polled for one task; CPU microseconds; clips and pictures of ten kinds",
        columns=("tasks in flight", "median", "mean", "p99"),
        rows=tuple(rows),
    )


def _decide_among(size: int, *, decisions: int) -> tuple[float, float, float]:
    forecast = Forecast()
    kinds = [Kind(model="seedance2", seconds=seconds) for seconds in range(4, 14)]
    for kind in kinds:
        for duration in (150.0, 180.0, 220.0):
            forecast.observe(kind, duration)
    schedule = Schedule(forecast)
    for number in range(size):
        schedule.watch(number, kinds[number % 10], number * 0.01)
    now = size * 0.01 + 200.0
    costs = []
    for _ in range(decisions):
        began = time.perf_counter()
        decision = schedule.decide(now, Allowance(free=5))
        if isinstance(decision, Poll):
            schedule.polling(decision.task)
            schedule.polled(decision.task, now)
        costs.append((time.perf_counter() - began) * 1e6)
        now += 2.0
    costs.sort()
    return (
        round(costs[len(costs) // 2], 1),
        round(sum(costs) / len(costs), 1),
        round(costs[-len(costs) // 100], 1),
    )


def _memory(*, quick: bool) -> Table:
    size = 2_000 if quick else 20_000
    gc.collect()
    tracemalloc.start()
    schedule = Schedule(Forecast())
    kind = Kind(model="seedance2")
    for number in range(size):
        schedule.watch(f"sd2_{number:016d}", kind, 0.0)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Table(
        name="overhead: memory of the schedule",
        conditions=f"tracemalloc over {size} watched tasks, ids included",
        columns=("tasks in flight", "bytes a task"),
        rows=((size, round(used / size)),),
    )


async def _record(*, posts: int) -> Table:
    """What a POST waits for: until its intent is written, and until its ids are."""
    hops = [await _hop() for _ in range(posts)]  # what the machine takes for anything in another thread
    rows = [("an empty step in a thread", *_spread(hops, 0))]
    limits = CreditLimits(day=1e12, month=1e12)
    for name, chosen in (("without limits", CreditLimits()), ("under two limits", limits)):
        with tempfile.TemporaryDirectory() as directory:
            record = AccountRecord(Path(directory) / "record.sqlite", chosen)
            record.start()
            costs = [await _recorded(record, number) for number in range(posts)]
            await record.close()
        rows += [(f"intent, {name}", *_spread(costs, 0)), (f"ids, {name}", *_spread(costs, 1))]
    return Table(
        name="overhead: the account's record",
        conditions=f"milliseconds of the wall clock that a POST waits for it, over {posts} POSTs",
        columns=("step", "median", "p99", "worst"),
        rows=tuple(rows),
    )


async def _hop() -> tuple[float, float]:
    began = time.perf_counter()
    await asyncio.to_thread(lambda: None)
    return time.perf_counter() - began, 0.0


async def _recorded(record: AccountRecord, number: int) -> tuple[float, float]:
    entry = record.entry(Asked(key=f"key-{number}", kind=Kind(model="seedance2", seconds=5)))
    began = time.perf_counter()
    await entry.intend()
    intended = time.perf_counter()
    task_id = f"sd2_{number:016d}"
    submission = Submission(id=task_id, task_ids=(task_id,), credits_used=30.0)
    await entry.accepted(submission)
    if entry.is_to_confirm:  # the first under a limit
        await entry.confirmed(submission, [evolve(ANSWERED, id=task_id)])
    return intended - began, time.perf_counter() - intended


def _spread(costs: list[tuple[float, float]], step: int) -> tuple[float, float, float]:
    ordered = sorted(cost[step] * 1e3 for cost in costs)
    return (
        round(ordered[len(ordered) // 2], 2),
        round(ordered[-len(ordered) // 100], 2),
        round(ordered[-1], 2),
    )


@contextmanager
def _server() -> Iterator[str]:
    command = [sys.executable, "-c", SERVER, json.dumps(TASK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own code
        try:
            port = (process.stdout or sys.stdin).readline().strip()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
