"""A batch meets another account, another address, or a sandbox without a memory of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from seedance_async import BatchRunner, JournalError, SeedanceClient
from seedance_async.batch.account_check import advice
from seedance_async.sandbox import Fault, Sandbox
from tests.batch.helpers import pictures, run_once, states

if TYPE_CHECKING:
    from pathlib import Path

MONDAY = datetime(2026, 6, 1, 9, tzinfo=UTC)
REAL, LOCAL = "https://seedance2ai.io", "http://127.0.0.1:8000"


async def leave_running(sandbox: Sandbox, directory: Path) -> None:
    """Begin a batch, and leave it when all of it is accepted."""
    async with (
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
        BatchRunner(client, directory) as batch,
    ):
        async for _ in batch.run(pictures(2)):
            break
        assert 2 <= len(sandbox.tasks)


def port_of(sandbox: Sandbox) -> int:
    """Where it listens."""
    return int(sandbox.base_url.split(":")[2].split("/")[0])


@pytest.mark.parametrize("same_port", [True, False])
async def test_a_sandbox_that_was_started_anew_is_named(tmp_path: Path, *, same_port: bool) -> None:
    """It knows no task, so nothing is waited for, and the advice is not about keys."""
    async with Sandbox() as first:
        await run_once(first, tmp_path, pictures(2), max_in_flight=1)
    port = port_of(first) if same_port else 0
    async with Sandbox(port=port, seed=5) as second:
        if same_port:  # nothing to lose: every job is saved
            assert {"saved": 2} == states(await run_once(second, tmp_path, pictures(2)))
        else:
            with pytest.raises(
                JournalError, match=r"the sandbox at http://\S+ does not know .* --state FILE"
            ):
                await run_once(second, tmp_path, pictures(3))

        assert {} == second.tasks


async def test_running_tasks_that_a_sandbox_has_forgotten_are_told_before_they_are_waited_for(
    tmp_path: Path,
) -> None:
    """The same address and the same key, a few polls, and nothing sent anew."""
    async with Sandbox(epoch=MONDAY) as first:
        await leave_running(first, tmp_path)
    async with Sandbox(epoch=MONDAY, port=port_of(first), seed=5) as second:
        with pytest.raises(JournalError, match=r"was started without a memory of them; .* --state FILE"):
            await run_once(second, tmp_path, pictures(3))

        assert {("GET", 404)} == {(seen.method, seen.status) for seen in second.requests}


async def test_a_sandbox_that_remembers_goes_on(tmp_path: Path) -> None:
    """With the file, the batch is collected; nothing is paid twice."""
    memory = tmp_path / "state.jsonl"
    async with Sandbox(epoch=MONDAY, memory=memory) as first:
        await leave_running(first, tmp_path / "out")
    async with Sandbox(epoch=MONDAY + timedelta(hours=1), memory=memory) as second:
        assert {"saved": 3} == states(await run_once(second, tmp_path / "out", pictures(3)))
        assert 3 == len(second.paid_tasks)


async def test_a_first_poll_that_fails_otherwise_is_no_reason_to_refuse_a_batch(tmp_path: Path) -> None:
    """The page of a proxy, for a minute or two: it says nothing about what the sandbox remembers."""
    memory = tmp_path / "state.jsonl"
    async with Sandbox(epoch=MONDAY, memory=memory) as first:
        await leave_running(first, tmp_path / "out")
    page = Fault(effect="page", on="task", count=30)
    later = MONDAY + timedelta(hours=1)
    async with Sandbox(epoch=later, memory=memory, faults=[page]) as second:
        assert {"saved": 3} == states(await run_once(second, tmp_path / "out", pictures(3)))
        assert 3 == len(second.paid_tasks)


async def test_the_same_sandbox_costs_one_poll_to_be_known(tmp_path: Path) -> None:
    """Where it has the task, the batch goes on; where nothing is running, nobody is asked."""
    async with Sandbox() as sandbox:
        await leave_running(sandbox, tmp_path)
        assert {"saved": 2} == states(await run_once(sandbox, tmp_path, pictures(2)))
        so_far = len(sandbox.requests)
        assert {"saved": 2} == states(await run_once(sandbox, tmp_path, pictures(2)))

        assert so_far == len(sandbox.requests)
        assert 2 == len(sandbox.paid_tasks)


@pytest.mark.parametrize(
    ("begun", "now", "said"),
    [
        (f"{REAL} a", f"{REAL} b", ["use the key that it was begun with"]),
        (f"{REAL} a", f"{LOCAL} a", [f"it was begun at {REAL}"]),
        (f"{REAL} a", f"{LOCAL} b", [f"it was begun at {REAL}"]),
        (f"{LOCAL} a", f"{REAL} b", [f"it was begun at {LOCAL}"]),
        (f"{LOCAL} a", "http://127.0.0.1:9 a", ["--state FILE"]),
        ("http://sandbox:1 a", "http://sandbox:2 a", ["--state FILE"]),
        (f"{LOCAL} a", f"{LOCAL} b", ["use the key", "--state FILE"]),
    ],
)
def test_the_advice_is_about_what_has_changed(begun: str, now: str, said: list[str]) -> None:
    """The key, the address, or the sandbox's memory."""
    assert [] == [part for part in said if part not in advice(begun, now)]
    assert ("--state" in advice(begun, now)) == ("--state FILE" in said)
