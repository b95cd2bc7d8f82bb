"""Tests of section I and of sections B and L on whole processes: started, stopped, copied, left alone."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import sys
import textwrap
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import SeedanceClient
from seedance_async.sandbox import Sandbox
from tests.batch.test_crashes import JOBS, SPEED, command, judge, manifest, run_batch
from tests.canary import clean

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

__all__ = ["manifest"]  # a fixture

CANARY = "sk_live_canary_0123456789"


@pytest.fixture
def anyio_backend() -> str:
    """Child processes live on the real clock."""
    return "asyncio"


async def run_script(script: str, *arguments: str, **environment: str) -> CompletedProcess[bytes]:
    """Run a program in a fresh interpreter that shows every warning."""
    command = [sys.executable, "-X", "dev", "-W", "default", "-c", textwrap.dedent(script), *arguments]
    with anyio.fail_after(30):
        ending = await anyio.run_process(command, env={**os.environ, **environment}, check=False)
    clean((ending.stdout + ending.stderr).decode(errors="replace"))
    return ending


async def something_is_paid(sandbox: Sandbox) -> None:
    """Wait until the batch is in the middle of its work."""
    while not sandbox.paid_tasks:  # noqa: ASYNC110 - the sandbox rings no bell
        await anyio.sleep(0.005)


@pytest.mark.case(26)
async def test_a_loop_that_is_stopped_leaves_no_noise_and_no_hang() -> None:
    """With a POST on the wire: the interpreter ends, and complains of nothing left open."""
    ended = await run_script(
        """
        import asyncio, sys
        from seedance_async import Seedance2Video, SeedanceClient
        from seedance_async.sandbox import Fault, Sandbox

        async def main():
            async with Sandbox(faults=[Fault(effect="hang")]) as sandbox:
                async with SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
                    asyncio.get_running_loop().call_later(0.3, asyncio.get_running_loop().stop)
                    await client.submit(Seedance2Video(prompt="A train"))

        try:
            asyncio.run(main())
        except RuntimeError as stopped:
            assert "stopped" in str(stopped), stopped
        """
    )

    assert (0, b"") == (ended.returncode, ended.stdout)
    assert b"Unclosed" not in ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.case(122)
async def test_an_interpreter_that_exits_with_everything_open_ends_at_once(tmp_path: Path) -> None:
    """A client and a journal nobody closed: no hang, no traceback."""
    ended = await run_script(
        """
        import asyncio, sys
        from seedance_async import BatchRunner, SeedanceClient

        async def main():
            client = SeedanceClient("sk_test", "http://127.0.0.1:9/api")
            await client.__aenter__()
            await BatchRunner(client, sys.argv[1]).__aenter__()

        asyncio.run(main())
        """,
        str(tmp_path),
    )

    assert 0 == ended.returncode
    assert b"Traceback" not in ended.stderr


@pytest.mark.case(121)
@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_a_client_is_not_copied_and_the_refusal_keeps_the_key(copied: object) -> None:
    """Two of them would spend one budget twice; a pickle would hold the key in the clear."""
    client = SeedanceClient(CANARY, "http://127.0.0.1:9/api")
    with pytest.raises(TypeError) as caught:
        copied(client)  # type: ignore[operator]  # one of the two above

    assert CANARY not in str(caught.value)


@pytest.mark.case(23)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_two_signals_in_a_row_pay_nothing_twice_and_lose_nothing(
    number: signal.Signals, manifest: Path
) -> None:
    """Whatever the first one has begun and the second cut short is on record: the next run collects it."""
    async with Sandbox(speed=SPEED) as sandbox:
        async with await anyio.open_process(command(sandbox, manifest)) as process:
            await something_is_paid(sandbox)
            process.send_signal(number)
            await anyio.sleep(0.01)
            if process.returncode is None:
                process.send_signal(number)
            await process.wait()

        ended = await run_batch(sandbox, manifest)

        assert 0 == ended.returncode, ended.stderr.decode()
        judge(sandbox, manifest.parent / "out", jobs=JOBS, tasks=JOBS + 1)


@pytest.mark.case(95)
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system does not stop processes")
async def test_a_process_that_was_put_to_sleep_goes_on_where_it_was(manifest: Path) -> None:
    """Stopped for many windows in the middle of its work, and then told to go on."""
    async with Sandbox(speed=SPEED) as sandbox:
        async with await anyio.open_process(command(sandbox, manifest)) as process:
            await something_is_paid(sandbox)
            process.send_signal(signal.SIGSTOP)
            await anyio.sleep(1.0)
            process.send_signal(signal.SIGCONT)
            await process.wait()

        assert 0 == process.returncode
        judge(sandbox, manifest.parent / "out", jobs=JOBS, tasks=JOBS + 1)


@pytest.mark.case(155)
async def test_a_file_of_settings_in_the_directory_is_not_read(tmp_path: Path) -> None:
    """Whoever controls the directory must not choose where the key is sent."""
    (tmp_path / ".env").write_text("SEEDANCE_BASE_URL=https://elsewhere.example/api\nSEEDANCE_API_KEY=sk_x\n")
    ended = await run_script(
        """
        import os, sys
        os.chdir(sys.argv[1])
        from seedance_async import SeedanceClient
        print(SeedanceClient("sk_test").base_url)
        """,
        str(tmp_path),
        SEEDANCE_BASE_URL="",
    )

    assert "https://seedance2ai.io/api/v1" == ended.stdout.decode().strip()
