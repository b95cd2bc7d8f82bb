"""`seedance batch` as a process: killed, interrupted twice, watched on a terminal, and gone on with."""

from __future__ import annotations

import json
import os
import pty
import signal
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async.cli.sandbox import variables
from seedance_async.exit_codes import ExitCode
from seedance_async.sandbox import Fault, Sandbox
from tests.canary import clean
from tests.cli.processes import SEEDANCE, manifest

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import Process


@pytest.fixture
def anyio_backend() -> str:
    """Child processes live on the real clock."""
    return "asyncio"


async def started(*arguments: object, sandbox: Sandbox | None = None) -> Process:
    """Start `seedance` with these arguments."""
    environment = {**os.environ, **(variables(sandbox) if sandbox else {})}
    return await anyio.open_process([*SEEDANCE, *map(str, arguments)], env=environment)


async def said(process: Process) -> str:
    """All that a process writes to stderr until it ends."""
    assert process.stderr is not None
    text = b"".join([chunk async for chunk in process.stderr]).decode()
    await process.wait()
    return clean(text)


async def heard(process: Process, word: str) -> str:
    """What a process writes to stderr, up to this word."""
    assert process.stderr is not None
    text = ""
    while word not in text:
        text += (await process.stderr.receive()).decode()
    return text


async def test_a_second_ctrl_c_ends_it_at_once_and_the_next_run_is_right(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """Nobody waits for the answer of a paid POST: the next run asks for it again, under its key."""
    sandbox.faults.add(Fault(effect="delay", on="submit", moment="after", seconds=4))
    path, out = manifest(tmp_path, 3), tmp_path / "out"

    async with await started("batch", path, "-o", out, sandbox=sandbox) as process:
        while not sandbox.tasks:  # noqa: ASYNC110 - the sandbox has no event to wait for
            await anyio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        reported = await heard(process, "Ctrl-C again")
        await anyio.sleep(0.6)  # sooner, it would be taken for the first one's echo
        process.send_signal(signal.SIGINT)
        with anyio.fail_after(2):
            reported += await said(process)
    assert ExitCode.INTERRUPTED == process.returncode
    assert "Traceback" not in reported

    async with await started("batch", path, "-o", out, sandbox=sandbox) as process:
        assert "Traceback" not in await said(process)
    assert ExitCode.OK == process.returncode
    assert 3 == len(sandbox.paid_tasks)


async def test_a_batch_in_a_sandbox_of_its_own_survives_kill_9(tmp_path: Path) -> None:
    """Its play account outlives it, so it is resumed like any other: nothing is paid twice."""
    path, out = manifest(tmp_path, 8), tmp_path / "out"

    async with await started("batch", path, "-o", out, "--sandbox") as process:
        while not (out / "results.jsonl").exists():  # noqa: ASYNC110 - a file is no event
            await anyio.sleep(0.01)
        process.kill()
    async with await started("batch", path, "-o", out, "--sandbox") as process:
        assert "Traceback" not in await said(process)

    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert -signal.SIGKILL != process.returncode == ExitCode.OK
    assert ["saved"] * 8 == [line["state"] for line in lines]
    kept = [json.loads(line) for line in (out / "sandbox.jsonl").read_text().splitlines()]
    assert (
        8 == sum("body" in line for line in kept) == len({line.get("idempotency_key") for line in kept}) - 1
    )


async def test_on_a_terminal_it_shows_a_board_and_leaves_the_account(tmp_path: Path) -> None:
    """The board is drawn in place and taken away; the numbers stay."""
    path, out = manifest(tmp_path, 4), tmp_path / "out"
    screen, keyboard = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    async with await anyio.open_process(
        [*SEEDANCE, "batch", str(path), "-o", str(out), "--sandbox"],
        stdin=None,
        stdout=keyboard,
        stderr=keyboard,
        env=environment,
    ) as process:
        os.close(keyboard)
        drawn = await anyio.to_thread.run_sync(_all_of, screen)
        await process.wait()

    assert ExitCode.OK == process.returncode
    for part in ("jobs.jsonl", "■ ", "accepted", "▮", "of 30 in 3.0 s", "to go"):
        assert part in drawn
    assert "jobs      4: 4 saved" in drawn[drawn.rindex("▮") :]


def _all_of(screen: int) -> str:
    """What is written to a terminal until nobody writes any more."""
    parts = []
    try:
        while part := os.read(screen, 65_536):
            parts.append(part)
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(screen)
    return clean(b"".join(parts).decode())
