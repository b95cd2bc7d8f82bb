"""The account's record over processes that are killed, and over several at once: the ledger is the judge."""

from __future__ import annotations

import itertools
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import NanoBananaPro
from seedance_async.sandbox import Conditions, Sandbox
from tests.batch.helpers import PRICE, pictures, run_once
from tests.forked import run_python
from tests.rooms.record_process import SPEED
from tests.rooms.records import client_of, reader_of, refunded, script, spent_in, texts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.sandbox.validation import GenerationRequest

KILLED = "A boat that is never finished"
FAILS = "A boat that sinks [[sandbox:fail]]"
"""The sandbox gives its credits back."""


@pytest.fixture
def anyio_backend() -> str:
    """Child processes live on the real clock."""
    return "asyncio"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own, which its child processes share."""
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


async def paid(sandbox: Sandbox, tasks: int) -> None:
    """Wait until the account has paid for so many tasks."""
    with anyio.fail_after(40):
        while len(sandbox.paid_tasks) < tasks:  # noqa: ASYNC110 - another process pays
            await anyio.sleep(0.005)


async def seedance(sandbox: Sandbox, *arguments: str) -> list[str]:
    """Run the command, and return the lines it wrote."""
    environment = {**os.environ, "SEEDANCE_API_KEY": sandbox.api_key, "SEEDANCE_BASE_URL": sandbox.base_url}
    ending = await run_python(["-m", "seedance_async", *arguments], env=environment)
    assert 0 == ending.returncode, ending.stderr
    return ending.stdout.decode().splitlines()


async def test_spend_equals_the_ledger_over_batches_a_killed_script_and_a_refund(tmp_path: Path) -> None:
    """To the credit; what nobody could know is collected under its key, and then there is no doubt left."""
    async with Sandbox(speed=SPEED) as sandbox:
        for name in ("boats", "trains", "kites"):
            await run_once(sandbox, tmp_path / name, pictures(3, word=name))
        async with client_of(sandbox) as client:
            failed = await client.wait(await client.submit(NanoBananaPro(prompt=FAILS)))
        assert failed.is_failed
        before = len(sandbox.paid_tasks)
        async with await script(sandbox, "generate", KILLED) as process:
            await paid(sandbox, before + 1)
            process.send_signal(signal.SIGKILL)
            assert -signal.SIGKILL == await process.wait()

        reader = reader_of(sandbox)
        for post in [post for post in reader.posts() if post.state == "uncertain"]:
            async with client_of(sandbox) as client:  # killed before it had read the answer
                await client.submit(NanoBananaPro(prompt=KILLED), idempotency_key=post.key)

        assert spent_in(sandbox) == sum(each.credits_spent for each in reader.spending("project"))
        assert refunded(sandbox) == PRICE == sum(each.credits_refunded for each in reader.spending("month"))
        assert 0 == sum(each.uncertain for each in reader.spending("day"))
        by_project = {each.group: each.credits_spent for each in reader.spending("project")}
        assert {"boats": 36, "trains": 36, "kites": 36, None: PRICE} == by_project

        reported = json.loads((await seedance(sandbox, "spend", "--by", "model", "--json"))[0])
        assert spent_in(sandbox) == reported["total"]["credits_spent"]


async def test_what_a_killed_script_asked_for_is_listed_and_fetched(tmp_path: Path) -> None:
    """It died in ``client.generate``, and nothing of what it paid for is lost."""
    async with Sandbox(speed=SPEED) as sandbox:
        async with await script(sandbox, "submit", KILLED) as process:
            assert -signal.SIGKILL == await process.wait()

        (line,) = await seedance(sandbox, "tasks", "--since", "yesterday")
        task_id, state, model, *_ = line.split("\t")
        assert ([task_id], "accepted", "nano-banana-pro") == (
            [task.id for task in sandbox.paid_tasks], state, model,
        )  # fmt: skip
        await seedance(sandbox, "wait", task_id)
        (path,) = await seedance(sandbox, "download", task_id, "-o", str(tmp_path / "out"))
        (line,) = await seedance(sandbox, "tasks")

    assert Path(path).stat().st_size
    assert [task_id, "completed"] == line.split("\t")[:2]


@pytest.mark.parametrize(
    ("point", "found"),
    [("after_send", "uncertain"), ("after_body", "uncertain"), ("mid_download", "accepted")],
)
async def test_wherever_a_script_dies_its_post_is_on_record(point: str, found: str) -> None:
    """Under the very key that was sent, so that the same request collects it and pays nothing more."""
    async with Sandbox(speed=SPEED) as sandbox:
        deed = "submit" if found == "accepted" else "generate"
        async with await script(sandbox, deed, KILLED, SEEDANCE_FAULT_POINT=point) as process:
            await process.wait()
        await paid(sandbox, 1)

        (post,) = reader_of(sandbox).posts()
        assert (found, {post.key}) == (post.state, {record.idempotency_key for record in sandbox.requests})
        async with client_of(sandbox) as client:
            submission = await client.submit(NanoBananaPro(prompt=KILLED), idempotency_key=post.key)
        (post,) = reader_of(sandbox).posts()

    assert [submission.id] == [task.id for task in post.tasks] == [task.id for task in sandbox.paid_tasks]
    assert "accepted" == post.state


def rising() -> Callable[[GenerationRequest], int]:
    """A price that doubles with the fourth task."""
    prices = itertools.chain([PRICE] * 3, itertools.repeat(2 * PRICE))
    return lambda _: next(prices)


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize(("limit", "pays"), [(100, 96), (36, 36), (11, 0), (12, 12)])
async def test_processes_at_once_never_pass_a_daily_limit(processes: int, limit: int, pays: int) -> None:
    """By the sandbox's ledger; and none of them gives up while there is room."""
    async with Sandbox(speed=SPEED) as sandbox:
        scripts = [
            await script(sandbox, "many", "10", SEEDANCE_MAX_CREDITS_DAY=str(limit)) for _ in range(processes)
        ]
        for process in scripts:
            async with process:
                assert 0 == await process.wait()

        assert pays == spent_in(sandbox)
        assert pays == sum(each.credits_spent for each in reader_of(sandbox).spending("day"))


async def test_a_monthly_limit_counts_what_other_days_and_batches_have_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch stops as for any cap, and says which limit it was."""
    monkeypatch.setenv("SEEDANCE_MAX_CREDITS_MONTH", "60")
    async with Sandbox(speed=SPEED) as sandbox:
        await run_once(sandbox, tmp_path / "first", pictures(3))
        results = await run_once(sandbox, tmp_path / "second", pictures(4, word="kite"))
        again = await run_once(sandbox, tmp_path / "second", pictures(4, word="kite"))

        assert 60 == spent_in(sandbox)
    assert ["planned"] * 2 + ["saved"] * 2 == sorted(str(each.state) for each in results.values())
    assert ["planned"] * 2 == [str(each.state) for each in again.values() if each.error is not None]
    assert all("SEEDANCE_MAX_CREDITS_MONTH" in str(each.error) for each in again.values() if each.error)


async def test_a_price_that_rises_passes_a_limit_by_one_post_at_most() -> None:
    """The law of a batch's ledger: its answer is the first to say so."""
    async with Sandbox(conditions=Conditions(speed=SPEED, price=rising())) as sandbox:
        scripts = [await script(sandbox, "many", "10", SEEDANCE_MAX_CREDITS_DAY="100") for _ in range(2)]
        for process in scripts:
            async with process:
                await process.wait()

        assert 3 * PRICE + 2 * 2 * PRICE == spent_in(sandbox)


async def test_a_killed_process_holds_its_price_and_blocks_nobody() -> None:
    """Its outcome is uncertain: others may spend the rest, and need not wait for an answer."""
    async with Sandbox(speed=SPEED) as sandbox:
        async with await script(sandbox, "many", "1") as process:  # the price is known from now on
            await process.wait()
        async with await script(sandbox, "generate", KILLED, SEEDANCE_FAULT_POINT="after_send") as process:
            await process.wait()
        await paid(sandbox, 2)
        async with await script(sandbox, "many", "10", SEEDANCE_MAX_CREDITS_DAY="50") as process:
            assert 0 == await process.wait()

        assert 48 == spent_in(sandbox)


@pytest.mark.parametrize("limit", ["", "1000"])
async def test_on_a_full_disk_a_post_leaves_unless_a_limit_cannot_be_checked(state: Path, limit: str) -> None:
    """One warning a process; and a limit that a full disk lifts would be none."""
    async with Sandbox(speed=SPEED) as sandbox:
        variables = {"TEST_FILE_BYTES": "4000", "SEEDANCE_MAX_CREDITS_DAY": limit}
        async with await script(sandbox, "many", "3", **variables) as process:
            reported, said = await texts_of(process)

        assert (0 if limit else 3) == len(sandbox.paid_tasks)
    assert ["0", "StandingLimitError"] == reported.split() if limit else ["3"] == reported.split()
    assert (0 if limit else 1) == said.count("account's record")
    assert state.is_dir()
