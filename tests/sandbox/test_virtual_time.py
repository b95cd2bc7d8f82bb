"""Tests of the virtual loop: an hour of traffic in a moment, and the four rules that keep it correct."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pytest
from aiohttp import web
from aiolimiter import AsyncLimiter
from anyio import to_thread

from seedance_async.sandbox.virtual_time import DeadlockError, VirtualLoop, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

HOUR = 3600.0


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A plain aiohttp server on loopback."""
    async with Server() as server:
        yield server


class Server:
    """Answers ``GET /`` and remembers who asked when; answers ``GET /file`` with a file."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str]] = []
        self.file: Path | None = None
        application = web.Application()
        application.router.add_get("/", self._answer)
        application.router.add_get("/file", self._send_file)
        self._runner = web.AppRunner(application)

    async def __aenter__(self) -> Server:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where the server listens."""
        _, port = self._runner.addresses[0]
        return f"http://127.0.0.1:{port}"

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen.append((anyio.current_time(), request.query.get("from", "")))
        await anyio.sleep(float(request.query.get("takes", 0)))
        return web.json_response({"ok": True})

    async def _send_file(self, _: web.Request) -> web.FileResponse:
        assert self.file is not None
        return web.FileResponse(self.file)


async def an_hour_of_traffic() -> list[tuple[float, str]]:
    """Let eight workers ask a server for an hour, 30 times a minute between them."""
    limiter = AsyncLimiter(5, 10)

    async def work(session: aiohttp.ClientSession, url: str, name: str) -> None:
        while anyio.current_time() < HOUR:
            await limiter.acquire()
            async with session.get(url, params={"from": name, "takes": "0.3"}) as response:
                await response.read()

    async with Server() as server, aiohttp.ClientSession() as session, anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(work, session, server.url, f"worker {number}")
    return server.seen


def test_an_hour_of_traffic_is_the_same_hour_every_time() -> None:
    """Real sockets and limiters in virtual time leave the same trace, to the microsecond, in every run."""
    first, second = run(an_hour_of_traffic), run(an_hour_of_traffic)

    assert 30 * 60 <= len(first) <= 30 * 60 + 5 + 8
    assert first == second


async def test_sleep_takes_exactly_its_virtual_time() -> None:
    """Three hours of sleep move the clock by three hours."""
    began = anyio.current_time()

    await anyio.sleep(3 * HOUR)

    assert began + 3 * HOUR == anyio.current_time()


async def test_a_long_sleep_is_not_cut_at_the_selectors_longest_timeout() -> None:
    """Asyncio selects for a day at most; a month still takes a month."""
    month = 30 * 24 * HOUR
    began = anyio.current_time()

    await anyio.sleep(month)

    assert began + month == anyio.current_time()


async def test_timers_fire_in_the_order_of_their_instants() -> None:
    """Jumping goes to the earliest timer, never past it."""
    fired: list[float] = []

    async def note(delay: float) -> None:
        await anyio.sleep(delay)
        fired.append(delay)

    async with anyio.create_task_group() as group:
        for delay in (60.0, 0.1, 3600.0, 59.999_999):
            group.start_soon(note, delay)

    assert [0.1, 59.999_999, 60.0, 3600.0] == fired


@pytest.mark.parametrize(("rate", "period"), [(5, 12), (7, 15), (3, 7), (1, 2.01), (1, 2.1), (29, 60)])
async def test_limiters_with_uneven_rates_get_through(rate: float, period: float) -> None:
    """A limiter asks to be woken 1e-16 s from now; a clock that stood still then would hang it for ever."""
    limiter = AsyncLimiter(rate, period)
    began = anyio.current_time()

    for _ in range(100):
        await limiter.acquire()

    assert pytest.approx((100 - rate) * period / rate, abs=0.001) == anyio.current_time() - began


async def test_a_timer_is_never_due_in_the_instant_it_was_set() -> None:
    """The clock is a whole number of microseconds and moves by at least one."""
    loop = asyncio.get_running_loop()
    fired = anyio.Event()
    began = loop.time()

    loop.call_at(began - 1.0, fired.set)
    await fired.wait()

    assert pytest.approx(began + 1e-6, abs=1e-9) == loop.time()


def test_jumps_are_whole_microseconds_forward() -> None:
    """Float dust neither adds a microsecond nor keeps the clock from moving."""
    with contextlib.closing(VirtualLoop()) as loop:
        loop.jump(0.1)
        loop.jump(0.2)
        assert 0.3 == loop.time()

        loop.jump(0.0)
        assert 0.300_001 == loop.time()


async def test_the_servers_answer_comes_before_the_clients_timeout(server: Server) -> None:
    """A server that takes 59 virtual seconds is in time for a client that waits 60."""
    timeout = aiohttp.ClientTimeout(total=60)
    began = anyio.current_time()

    async with aiohttp.ClientSession(timeout=timeout) as session:
        response = await session.get(server.url, params={"takes": "59"})

    assert 200 == response.status
    assert pytest.approx(began + 59, abs=0.001) == anyio.current_time()


async def test_the_clients_timeout_comes_before_a_late_answer(server: Server) -> None:
    """A server that takes 61 virtual seconds is too late for a client that waits 60."""
    timeout = aiohttp.ClientTimeout(total=60)
    began = anyio.current_time()

    async with aiohttp.ClientSession(timeout=timeout) as session:
        with pytest.raises(TimeoutError):
            await session.get(server.url, params={"takes": "61"})

    assert pytest.approx(began + 60, abs=0.001) == anyio.current_time()


async def test_a_large_file_crosses_the_socket_in_no_time(server: Server, tmp_path: Path) -> None:
    """Five megabytes need many reads and writes, and none of them moves the clock."""
    server.file = tmp_path / "large"
    server.file.write_bytes(bytes(5_000_000))
    began = anyio.current_time()

    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/file") as response:
        body = await response.read()

    assert 5_000_000 == len(body)
    assert pytest.approx(began, abs=0.001) == anyio.current_time()


async def in_an_executor(work: Callable[[], object]) -> None:
    """Run blocking work in the loop's own executor."""
    await asyncio.get_running_loop().run_in_executor(None, work)


@pytest.mark.parametrize("send", [in_an_executor, asyncio.to_thread, to_thread.run_sync])
async def test_the_clock_stands_still_while_a_thread_works(
    send: Callable[[Callable[[], object]], Coroutine[object, object, object]],
) -> None:
    """A timeout of a virtual second does not end a thread that works for a moment of real time."""
    began = anyio.current_time()

    with anyio.fail_after(1.0):
        await send(lambda: time.sleep(0.02))

    assert began == anyio.current_time()


def test_closing_waits_for_the_executor() -> None:
    """A thread still at work when the program ends is waited for, not abandoned with a warning."""
    finished = threading.Event()

    def work() -> None:
        time.sleep(0.02)
        finished.set()

    async def abandon() -> None:
        asyncio.get_running_loop().run_in_executor(None, work).cancel()

    run(abandon)

    assert finished.is_set()


def test_waiting_for_what_cannot_happen_is_a_deadlock() -> None:
    """An event nobody will set is named as such instead of hanging the test."""

    async def wait() -> None:
        await anyio.sleep(5)
        await anyio.Event().wait()

    with pytest.raises(DeadlockError, match=r"at 5\.000000 s .* 1 task\(s\) would wait for ever"):
        run_without_patience(wait)


def test_sleeping_for_ever_is_a_deadlock() -> None:
    """A timer at infinity is no instant the clock could jump to."""
    with pytest.raises(DeadlockError):
        run_without_patience(anyio.sleep_forever)


def run_without_patience(function: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run in a loop that does not wait a real second before it calls a deadlock a deadlock."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(patience=0.0)) as runner:
        runner.run(function())


def test_run_passes_arguments_and_returns_the_result() -> None:
    """`run` is ``anyio.run`` with the clock exchanged, starting at zero."""

    async def add(left: int, right: int) -> tuple[int, float]:
        return left + right, anyio.current_time()

    assert (5, 0.0) == run(add, 2, 3)
