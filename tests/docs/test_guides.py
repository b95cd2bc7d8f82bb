"""Tests of the guides' programs and data: what they say that they do, the sandbox has seen."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pytest

from seedance_async import BatchRunner, SeedanceClient
from seedance_async.cli.app import build
from seedance_async.sandbox import Behaviour, Fault, Sandbox
from seedance_async.sandbox.faults import NAMED
from tests.docs.pages import ROOT, block, guide, text
from tests.examples.processes import ask, serving
from tests.sandbox.api import CLIP, VIDEO, calling

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

BATCH, STORYBOARD, TESTING, BACKENDS = map(guide, ("batch", "storyboard", "testing", "backends"))


async def play(source: str) -> None:
    """Run a block as `python -m asyncio` would: `await` and `async with` at its top."""
    code = compile(source, "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting: Awaitable[object] = eval(code, {"__name__": "guide"})
    await waiting


@pytest.mark.usefixtures("environment")
async def test_many_come_as_they_complete(capsys: pytest.CaptureFixture[str]) -> None:
    """Each result once, and the requests it took."""
    await play(block(BATCH, naming="as_completed"))

    *results, last = capsys.readouterr().out.splitlines()
    assert ["0", "1", "2"] == sorted(line[0] for line in results)
    assert last.endswith(" 36 credits")


def test_the_manifest_that_is_shown_is_the_file() -> None:
    """Commands of the page take the file."""
    shown = block(BATCH, naming='"repeat"', language="json")

    assert (ROOT / "examples" / "batch" / "jobs.jsonl").read_text(encoding="utf-8") == shown


@pytest.mark.usefixtures("environment")
async def test_a_batch_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run finds everything saved and pays nothing."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples" / "batch", tmp_path / "examples" / "batch")

    await play(block(BATCH, naming="BatchRunner("))
    first = capsys.readouterr().out.splitlines()
    await play(block(BATCH, naming="BatchRunner("))
    second = capsys.readouterr().out.splitlines()

    assert ["boat saved", "fox saved", "fox-2 saved", "fox-3 saved", "poster saved"] == sorted(
        " ".join(line.split()[:2]) for line in first[:-1]
    )
    assert first[-1] == second[-1]
    assert {"journal.sqlite", "results.jsonl", "boat.mp4", "boat.mp4.json"} < {
        path.name for path in (tmp_path / "from-python").iterdir()
    }


async def test_the_storyboard_is_made(
    tmp_path: Path, seedance_client: SeedanceClient, seedance_sandbox: Sandbox
) -> None:
    """Every job of it, each from what it says."""
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(block(STORYBOARD, naming='"shot-2"', language="json"), encoding="utf-8")

    async with BatchRunner(seedance_client, tmp_path / "out") as batch:
        results = {result.name: result async for result in batch.run(manifest)}

    assert {"saved"} == {str(result.state) for result in results.values()}
    sent = [json.loads(record.body) for record in seedance_sandbox.requests if record.endpoint == "submit"]
    assert results["shot-1"].urls[1] == sent[-1]["image_url"]


def test_the_test_with_the_plugin_passes(tmp_path: Path) -> None:
    """In a project of its own, with nothing configured."""
    (tmp_path / "test_clips.py").write_text(block(TESTING, naming="def test_"), encoding="utf-8")

    ending = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"],
        capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert "1 passed" in ending.stdout, ending.stdout


async def test_the_rules_of_the_example_lose_what_is_said() -> None:
    """Two POSTs that are paid, and five looks, wherever chance puts them."""
    rules = Fault.read_all(json.loads(block(TESTING, naming='"probability"', language="json")))
    async with calling(Sandbox(faults=rules)) as api:
        for _ in range(2):
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await api.post(VIDEO, CLIP)
        submitted = await api.post(VIDEO, CLIP)
        for _ in range(300):
            await anyio.sleep(2.1)  # as the limit wants it
            with suppress(aiohttp.ServerDisconnectedError):
                await api.task(submitted.id)

    faults = [record.fault for record in api.sandbox.requests]
    assert 3 == len(api.sandbox.paid_tasks)
    assert ["drop", "drop", ""] == faults[:3]
    assert 5 == faults[3:].count("drop")
    assert "" in faults[3 : faults.index("drop", 3)]


async def test_the_prompts_of_the_text_ask_for_what_is_said() -> None:
    """The answer to a paid POST is lost, three looks are a page, and files are smaller."""
    first, second, third = re.findall(r"`(\[\[fault:[^`]+\]\])`", text(TESTING))
    async with calling(Sandbox()) as api:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await api.post(VIDEO, {"prompt": f"A train {first}"})
        paged = await api.post(VIDEO, {"prompt": f"A train {second}"})
        for _ in range(3):
            with pytest.raises(aiohttp.ContentTypeError):
                await api.task(paged.id)

        assert 200 == (await api.task(paged.id)).status
        assert 2 == len(api.sandbox.paid_tasks)
    assert NAMED[third.removeprefix("[[fault:").removesuffix("]]")].effect == "deliver"


def test_the_flags_and_switches_of_the_sandbox_are_those_of_the_code() -> None:
    """As the page on testing names them."""
    without_blocks = re.sub(r"```.*?```", "", text(TESTING), flags=re.DOTALL)
    flags = set(re.findall(r"`(--[a-z-]+)", without_blocks))
    (switches,) = re.findall(r"switches, such as `(\{.*?\})`", without_blocks)

    assert {"--behaviour", "--faults", "--list-faults", "--state", "--host"} == flags
    assert flags <= flags_of("sandbox")
    assert "reject" == Behaviour.read(json.loads(switches)).repeated_key


def test_the_flags_in_the_table_of_batches_are_those_of_the_code() -> None:
    """Each that is named there exists."""
    table = [line for line in text(BATCH).splitlines() if line.startswith("| `--")]
    named = {flag for line in table for flag in re.findall(r"--[a-z-]+", line.split("|")[1])}

    assert len(named) > 20
    assert named <= flags_of("batch")


def test_the_backend_submits(tmp_path: Path) -> None:
    """The block is a whole application."""
    program = tmp_path / "app.py"
    program.write_text(
        f"{block(BACKENDS, naming='FastAPI(')}\n\nimport uvicorn\nuvicorn.run(app, port=0)\n",
        encoding="utf-8",
    )

    with serving(program) as origin:
        status, answer = ask("POST", f"{origin}/clips", {"prompt": "A paper boat"})

    assert 202 == status
    assert str(answer["id"]).startswith("sd2_")


def flags_of(command: str) -> set[str]:
    """The flags of a command, as its help lists them."""
    return {name for argument in build()[command].assemble_argument_collection() for name in argument.names}
