"""Tests of the limit as the server sees it, with clients that share a file, or cannot, and calls given up."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import NanoBananaPro, SeedanceClient, SeedanceError, Timeouts
from seedance_async.budget import file_memory
from seedance_async.budget.file_memory import ClockReading, MachineClock
from seedance_async.sandbox import Conditions, Sandbox
from tests.faults.helpers import client_for

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 30
CALLS = 40
MANY = 200
"""Calls that keep a client at work while others come."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the shared file, on a machine whose clocks are the loop's."""

    def read(_: MachineClock) -> ClockReading:
        now = 1_000.0 + anyio.current_time()
        return ClockReading(boot="this one", uptime=1.0 + now, wall=2e9 + now)

    monkeypatch.setattr(MachineClock, "read", read)
    monkeypatch.setattr(file_memory, "_warned", set())
    directory = tmp_path / "state"
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(directory))
    return directory


async def ask(client: SeedanceClient, calls: int) -> None:
    """Ask for a task that is none, all at once."""
    async with client, anyio.create_task_group() as callers:
        for _ in range(calls):
            callers.start_soon(_ask_once, client)


async def _ask_once(client: SeedanceClient) -> None:
    with suppress(SeedanceError):
        await client.get_task("nbp_none")


def spelled(base_url: str, host: str) -> str:
    """The same origin, spelled in another way."""
    return base_url.replace("127.0.0.1", host)


@pytest.mark.case(168)
@pytest.mark.parametrize(
    "hosts",
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost", "LOCALHOST"),
        ("localhost", "127.0.0.1", "127.0.0.1"),
    ],
    ids=" ".join,
)
async def test_clients_of_one_account_share_a_window_however_they_spell_its_origin(
    hosts: tuple[str, ...], state: Path
) -> None:
    """Three at once, each with more to ask than one window holds."""
    async with Sandbox(conditions=Conditions(latency=(0.0, 0.6))) as sandbox:
        async with anyio.create_task_group() as programs:
            for host in hosts:
                client = client_for(sandbox, base_url=spelled(sandbox.base_url, host))
                programs.start_soon(ask, client, CALLS)

        assert len(sandbox.requests) >= 3 * CALLS
        assert sandbox.worst_window().arrivals <= LIMIT
        assert 1 == len(list(state.glob("budget-*")))


@pytest.mark.case(166)
@pytest.mark.parametrize("place", ["a file", "a link to nowhere", "a directory as the file"])
async def test_three_clients_that_cannot_share_stay_within_the_window(
    place: str, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each uses a third, and that is told once."""
    if place == "a file":
        state.write_text("")
    elif place == "a link to nowhere":
        state.symlink_to(state / "nowhere")
    async with Sandbox(conditions=Conditions(latency=(0.0, 0.6))) as sandbox:
        if place == "a directory as the file":
            await ask(client_for(sandbox), 1)
            (file,) = state.glob("budget-*")
            file.unlink()
            file.mkdir()
            await anyio.sleep(200.0)
            sandbox.reset()
        async with anyio.create_task_group() as programs:
            for _ in range(3):
                programs.start_soon(ask, client_for(sandbox), CALLS)

        assert sandbox.worst_window().arrivals <= LIMIT
    assert 1 == sum("cannot be shared" in record.message for record in caplog.records)


@pytest.mark.case(167)
@pytest.mark.parametrize(("again", "newcomers"), [(20.0, 0), (61.0, 2), (125.0, 2)])
async def test_a_state_directory_that_is_deleted_again_and_again_opens_no_window(
    again: float, newcomers: int, state: Path
) -> None:
    """Those who work write their slots again, and newcomers wait to hear of them."""

    async def delete() -> None:
        while True:
            await anyio.sleep(again)
            shutil.rmtree(state, ignore_errors=True)

    async with Sandbox(conditions=Conditions(latency=(0.0, 0.6))) as sandbox:
        async with anyio.create_task_group() as programs:
            for _ in range(2):
                programs.start_soon(ask, client_for(sandbox), MANY)
            with anyio.move_on_after(3600.0):
                async with anyio.create_task_group() as troubles:
                    troubles.start_soon(delete)
                    for _ in range(newcomers):
                        await anyio.sleep(again + 0.1)
                        programs.start_soon(ask, client_for(sandbox), CALLS)
                    await anyio.sleep(600.0)
                    troubles.cancel_scope.cancel()

        assert sandbox.worst_window().arrivals <= LIMIT


@pytest.mark.case(164)
@pytest.mark.parametrize("end", ["cancelled", "timed out", "closed"])
@pytest.mark.parametrize("seed", range(3))
async def test_calls_that_are_given_up_on_the_wire_open_no_window(end: str, seed: int) -> None:
    """Their requests arrive late; others leave only when these have been there for a period."""
    rng = random.Random(f"given up {seed}")
    timeouts = Timeouts(request=0.3 if end == "timed out" else 60.0)
    request = NanoBananaPro(prompt="A boat")
    async with Sandbox(conditions=Conditions(seed=seed, latency=(0.0, 0.6))) as sandbox:
        async with client_for(sandbox, timeouts=timeouts) as client:
            for _ in range(2):
                with anyio.move_on_after(rng.uniform(0.0, 0.6) if end == "cancelled" else 120.0):
                    async with anyio.create_task_group() as callers:
                        for _ in range(LIMIT):
                            callers.start_soon(_ask_once, client)
                await anyio.sleep(rng.uniform(58.0, 60.0))
            for _ in range(LIMIT if end == "closed" else 5):
                with suppress(SeedanceError), anyio.move_on_after(rng.uniform(0.0, 0.6)):
                    await client.submit(request)

        assert sandbox.worst_window().arrivals <= LIMIT
        assert len(sandbox.requests) > LIMIT / 2
