"""A backend under load: uvicorn with four workers, two hundred users, one account, one sandbox.

Each user submits a picture, listens until it is final, and begins again. So the account's limit is what they
wait for, most of the time, and every worker has fifty waiting requests and streams. What must hold: no answer
but the documented ones, no 429 from the sandbox, nothing paid twice, and as much memory at the end as in the
middle.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import anyio
from attrs import define, field

from benchmarks.report import Size, Table
from seedance_async.sandbox import Conditions, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORKERS: Final = 4
USERS: Final = 200
SECONDS: Final = 60.0
SPEED: Final = 60.0
REQUESTS: Final = 30
PERIOD: Final = 60.0


@define
class Seen:
    """What the users and the machine saw."""

    ends: Counter[str] = field(factory=Counter)
    submits: list[float] = field(factory=list)
    wholes: list[float] = field(factory=list)
    memory: dict[str, int] = field(factory=dict)
    shutdown: float = 0.0

    def count(self, until: float, what: str) -> None:
        """Count an end, those after the server was told to end by themselves."""
        self.ends[f"{'answers' if time.monotonic() < until else 'after SIGTERM'}: {what.strip()}"] += 1


def run(size: Size) -> list[Table]:
    """Run it for a minute, or a few seconds."""
    seconds, users = (10.0, 40) if size is Size.QUICK else (SECONDS, USERS)
    return [asyncio.run(_run(seconds, users))]


async def _run(seconds: float, users: int) -> Table:
    seen = Seen()
    conditions = Conditions(speed=SPEED, requests=REQUESTS, period=PERIOD)
    async with Sandbox(conditions=conditions, credits=10**7) as sandbox:
        async with _backend(sandbox) as (process, url):
            await _load(seen, process, url, seconds=seconds, users=users)
        refused = sum(request.status == 429 for request in sandbox.requests)
        worst, paid = sandbox.worst_window().arrivals, len(sandbox.paid_tasks)
    return _table(seen, seconds=seconds, users=users, sandbox=(len(sandbox.requests), refused, worst, paid))


@asynccontextmanager
async def _backend(sandbox: Sandbox) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Uvicorn with its workers, once it answers."""
    with socket.socket() as listener, tempfile.TemporaryDirectory() as state:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.close()
        environment = {
            **os.environ,
            "SEEDANCE_API_KEY": sandbox.api_key,
            "SEEDANCE_BASE_URL": sandbox.base_url,
            "SEEDANCE_RATE_LIMIT": f"{REQUESTS}/{PERIOD / SPEED:g}",
            "SEEDANCE_TIME_SCALE": str(sandbox.time_scale),
            "SEEDANCE_STATE_DIR": state,
        }
        options = ("--workers", str(WORKERS), "--port", str(port), "--log-level", "warning")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "uvicorn", "benchmarks.web_app:app", *options, env=environment
        )
        url = f"http://127.0.0.1:{port}"
        try:
            async with aiohttp.ClientSession() as session:
                with anyio.fail_after(60):
                    while not await _answers(session, url):  # noqa: ASYNC110 - another process
                        await anyio.sleep(0.2)
            yield process, url
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url):
            return True
    except aiohttp.ClientConnectionError:
        return False


async def _load(
    seen: Seen, process: asyncio.subprocess.Process, url: str, *, seconds: float, users: int
) -> None:
    """Let the users work, and end the server while they wait."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)  # so that the kernel spreads them
    async with aiohttp.ClientSession(url, connector=connector) as session, anyio.create_task_group() as group:
        until = time.monotonic() + seconds
        for user in range(users):
            group.start_soon(_user, seen, session, user, until)
        for moment in ("a third", "two thirds", "the end"):
            await anyio.sleep(seconds / 3)
            seen.memory[moment] = _memory_kib(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        await process.wait()
        seen.shutdown = time.monotonic() - began


async def _user(seen: Seen, session: aiohttp.ClientSession, user: int, until: float) -> None:
    order = 0
    while time.monotonic() < until:
        order += 1
        began = time.monotonic()
        body = {"prompt": f"a fox on roof {user}, picture {order}", "output_format": "jpeg"}
        try:
            async with session.post("/pictures", json=body) as answer:
                submission = await answer.json(content_type=None)
            seen.count(until, f"POST {answer.status} {submission.get('title', '')}")
            if answer.status != 202:
                continue
            seen.submits.append(time.monotonic() - began)
            async with session.get(f"/pictures/{submission['id']}/events") as stream:
                text = await stream.text()
            is_whole = "event: end" in text
            seen.count(until, f"events {stream.status}, {'to the end' if is_whole else 'ended early'}")
            seen.wholes.append(time.monotonic() - began)
        except (aiohttp.ClientError, ValueError) as problem:
            seen.count(until, type(problem).__name__)


def _memory_kib(parent: int) -> int:
    """What the workers have in memory, all together."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            facts = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        if facts.get("PPid", "").strip() == str(parent) and "VmRSS" in facts:
            total += int(facts["VmRSS"].split()[0])
    return total


def _table(seen: Seen, *, seconds: float, users: int, sandbox: tuple[int, int, int, int]) -> Table:
    requests, refused, worst, paid = sandbox
    rows: list[tuple[str, str | int | float | None]] = [
        *sorted(seen.ends.items()),
        ("until a POST was answered, s, median", _quantile(seen.submits, 0.5)),
        ("the same, 99 %", _quantile(seen.submits, 0.99)),
        ("until the picture was there, s, median", _quantile(seen.wholes, 0.5)),
        ("the same, 99 %", _quantile(seen.wholes, 0.99)),
        ("requests at the sandbox", requests),
        ("of these 429", refused),
        ("fullest window", worst),
        ("paid tasks", paid),
        *((f"memory of the workers after {moment}, MB", kib / 1024) for moment, kib in seen.memory.items()),
        ("from SIGTERM to the end, while all wait, s", seen.shutdown),
    ]
    return Table(
        name="web: a FastAPI backend under load",
        conditions=(
            f"{WORKERS} workers, {users} users for {seconds:g} s, one account of {REQUESTS} requests "
            f"in {PERIOD:g} s, sandbox at speed {SPEED:g}, {os.cpu_count()} cores"
        ),
        columns=("figure", "value"),
        rows=tuple(rows),
    )


def _quantile(values: list[float], share: float) -> float | None:
    return sorted(values)[int(share * (len(values) - 1))] if values else None
