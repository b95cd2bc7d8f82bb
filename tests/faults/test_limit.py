"""Tests of the limit under cancellations, stopped processes and kept locks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import pytest
from aiohttp import ThreadedResolver

from seedance_async import RateLimit, RetryPolicy, SeedanceClient, SeedanceError, Timeouts, clocks
from seedance_async.budget import gate
from seedance_async.budget.file_memory import FileMemory
from seedance_async.budget.gate import Budget
from seedance_async.sandbox import Fault, Sandbox
from seedance_async.sandbox.faults import NAMED
from seedance_async.sandbox.virtual_time import VirtualLoop
from tests.faults.helpers import VIDEO, client_for

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = RateLimit(requests=3, period=10.0)


async def returned_after(*, arrives_within: float, answered_after: float) -> float:
    """When a fourth request may leave, after three that were given up."""
    budget = Budget(LIMIT)
    slots = [await budget.acquire() for _ in range(3)]
    await anyio.sleep(answered_after)
    for slot in slots:
        slot.settle(arrives_within=arrives_within)
    await budget.acquire()
    return anyio.current_time()


@pytest.mark.case(164)
@pytest.mark.parametrize(
    ("arrives_within", "answered_after", "returns_at"),
    [(0.0, 0.5, 10.5), (4.0, 0.5, 14.0), (4.0, 7.0, 17.0), (60.0, 0.5, 20.0), (60.0, 15.0, 25.0)],
)
async def test_a_slot_returns_one_period_after_the_last_possible_arrival(
    arrives_within: float, answered_after: float, returns_at: float
) -> None:
    """Of a call given up that is sending plus its timeout, a period at most; never before it was given up."""
    returned = await returned_after(arrives_within=arrives_within, answered_after=answered_after)

    assert returned == pytest.approx(returns_at)


@pytest.mark.case(164)
@pytest.mark.parametrize("end", ["cancelled", "reset", "hang", "answered"])
async def test_a_call_without_an_answer_keeps_its_slot_longer(end: str) -> None:
    """Whoever gives up, the request may still be held by a proxy."""
    named = {"cancelled": "hang", "answered": "busy"}.get(end, end)
    lost = Fault.read({**NAMED[named].document(), "on": "submit"})
    limit, timeouts = RateLimit(requests=1, period=10.0), Timeouts(request=4.0)
    async with Sandbox(faults=[lost]) as sandbox:
        async with client_for(sandbox, rate_limit=limit, timeouts=timeouts) as client:
            with anyio.move_on_after(1.0 if end == "cancelled" else 100.0):
                await client.submit(VIDEO)
            await client.submit(VIDEO)
        first, second, *_ = (record.at for record in sandbox.requests)

    assert second - first >= (10.0 if end == "answered" else 14.0) - 0.01


@pytest.mark.case(169)
@pytest.mark.parametrize("asleep", [6.0, 3_600.0, 90_000.0])
async def test_a_slot_that_outlived_a_sleep_of_the_machine_is_taken_anew(
    monkeypatch: pytest.MonkeyPatch, asleep: float
) -> None:
    """The loop's clock stood still; the time since boot did not. One request leaves, in a slot of its own."""
    asked: list[float] = []

    def is_fresh(slot: gate.Slot) -> bool:
        asked.append(slot.sent_at)
        slept = asleep if len(asked) == 1 else 0.0
        monkeypatch.setattr(clocks, "boot_time", lambda: real() + slept)
        return was_fresh(slot)

    real, was_fresh = clocks.boot_time, gate.Slot.is_fresh
    monkeypatch.setattr(gate.Slot, "is_fresh", is_fresh)
    async with Sandbox() as sandbox, client_for(sandbox, rate_limit=LIMIT) as client:
        await client.submit(VIDEO)

    assert 1 == len(sandbox.requests)
    assert 2 == len(asked)


@pytest.mark.case(165, 169)
async def test_a_process_that_is_stopped_before_it_sends_sends_when_it_runs_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop's clock has gone on, for longer than a failing network is retried; nothing has failed."""
    was_fresh, stops = gate.Slot.is_fresh, iter([900.0])

    def is_fresh(slot: gate.Slot) -> bool:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        if stopped := next(stops, 0.0):
            loop.jump(stopped)
        return was_fresh(slot)

    monkeypatch.setattr(gate.Slot, "is_fresh", is_fresh)
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        await client.submit(VIDEO)

    assert 1 == len(sandbox.paid_tasks)
    assert sandbox.requests[0].at >= 900.0


class SlowResolver(ThreadedResolver):
    """Names that take their time, at every connection."""

    async def resolve(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - as aiohttp has it
        """The answer, after longer than half a period."""
        await anyio.sleep(0.6)
        return await super().resolve(*args, **more)


@pytest.mark.case(169)
@pytest.mark.parametrize("call", ["submit", "poll"])
async def test_a_period_that_is_shorter_than_connecting_takes_is_told(
    call: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No slot is fresh by the time there is a connection. It is not tried without a pause, or for ever."""
    retry = RetryPolicy(max_elapsed=60.0)
    connector = aiohttp.TCPConnector(resolver=SlowResolver(), use_dns_cache=False)
    async with Sandbox() as sandbox, aiohttp.ClientSession(connector=connector) as session:
        url = sandbox.base_url.replace("127.0.0.1", "localhost")
        limit = RateLimit(requests=5, period=1.0)
        async with SeedanceClient("sk_test", url, session=session, rate_limit=limit, retry=retry) as client:
            with pytest.raises(SeedanceError, match="over a longer period"):
                await (client.submit(VIDEO) if call == "submit" else client.get_task("sd2_1"))
        assert not sandbox.requests
        assert client.usage.requests < 60
    assert "over a longer period" in caplog.text


@pytest.mark.case(169)
@pytest.mark.parametrize(("age", "fresh"), [(0.0, True), (4.9, True), (5.1, False), (25.0, False)])
async def test_a_slot_is_fresh_for_half_a_period(age: float, fresh: bool) -> None:
    """Later its request could arrive when others believe that it has been over for a period."""
    slot = await Budget(LIMIT).acquire()
    await anyio.sleep(age)

    assert fresh == slot.is_fresh()


STOPPED = """
import os, signal, sys
from pathlib import Path
import anyio
from seedance_async.budget.file_memory import FileMemory
from seedance_async.budget.gate import Budget
from seedance_async.models import RateLimit

class Stopping(FileMemory):
    def _save(self, *args, **more):
        os.kill(os.getpid(), signal.SIGSTOP)
        super()._save(*args, **more)

async def main():
    limit = RateLimit(requests=3, period=1.0)
    slot = await Budget(limit, memory=Stopping("account", limit=limit, directory=Path(sys.argv[1]))).acquire()
    print("fresh" if slot.is_fresh() else "stale", flush=True)

anyio.run(main)
"""


@pytest.mark.case(165, 169)
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_a_process_stopped_with_the_lock_is_waited_for_and_then_left_behind(tmp_path: Path) -> None:
    """Two periods, in which all that its file can say is over; its own slot is no longer good by then."""
    limit = RateLimit(requests=3, period=1.0)

    async def take_one() -> float:
        began = time.monotonic()
        memory = FileMemory("account", limit=limit, directory=tmp_path)
        with anyio.fail_after(20):
            await Budget(limit, memory=memory).acquire()
        return time.monotonic() - began

    anyio.run(take_one)  # the file is there
    with subprocess.Popen([sys.executable, "-c", STOPPED, str(tmp_path)], stdout=subprocess.PIPE) as stopped:
        try:
            os.waitpid(stopped.pid, os.WUNTRACED)  # until it has stopped itself
            assert anyio.run(take_one) >= 2.0
        finally:
            for _ in range(5):
                stopped.send_signal(signal.SIGCONT)
                time.sleep(0.2)
        stopped.kill()
        assert stopped.stdout is not None
        assert "fresh" not in stopped.stdout.read().decode()
