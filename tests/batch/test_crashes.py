"""A batch that dies at any instruction, and is run again: the sandbox's ledger is the judge."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async.batch.journal.store import MOST_CRASHES
from seedance_async.fault_points import EXIT_CODE, POINTS
from seedance_async.sandbox import Sandbox
from tests.forked import run_python

if TYPE_CHECKING:
    from subprocess import CompletedProcess

SPEED = 1200.0
"""A clip of three minutes takes 0.15 s, and a window passes in 0.05 s."""

KILLS = int(os.environ.get("SEEDANCE_TEST_KILLS", "16"))
"""How many processes are killed at random. The whole drive: ``SEEDANCE_TEST_KILLS=240 pytest -k random``."""

KILLS_A_BATCH = 8
SLOWER = SPEED / 12
"""So that a batch is not over before it is killed."""

PROGRAM = Path(__file__).with_name("batch_process.py")
JOBS = 4


@pytest.fixture
def anyio_backend() -> str:
    """Child processes live on the real clock."""
    return "asyncio"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Jobs of every model, one of them with several tasks."""
    jobs: list[dict[str, object]] = [
        {"model": "nano-banana-pro", "prompt": f"A paper boat on pond {number}", "name": f"boat-{number}"}
        for number in range(JOBS - 1)
    ]
    jobs.append({"model": "gpt-image-2", "prompt": "Two cats in hats", "name": "cats", "batch_count": 2})
    path = tmp_path / "jobs.jsonl"
    path.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return path


def command(sandbox: Sandbox, manifest: Path) -> list[str]:
    """The batch as a process."""
    out, speed = str(manifest.parent / "out"), str(sandbox.conditions.speed)
    return [sys.executable, str(PROGRAM), sandbox.base_url, out, str(manifest), speed]


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Three pictures, each made of the one before, in the wrong order."""
    linked = [
        {
            "model": "nano-banana-pro",
            "prompt": f"A boat on {name}",
            "name": name,
            "image_urls": [f"${source}.image"],
        }
        for name, source in (("third", "second"), ("second", "first"))
    ]
    path = tmp_path / "jobs.jsonl"
    jobs = [*linked, {"model": "nano-banana-pro", "prompt": "A paper boat", "name": "first"}]
    path.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return path


async def run_batch(sandbox: Sandbox, manifest: Path, *, fault_point: str = "") -> CompletedProcess[bytes]:
    """Run the batch until it ends or dies."""
    environment = {**os.environ, "SEEDANCE_FAULT_POINT": fault_point}
    return await run_python(command(sandbox, manifest)[1:], env=environment)


def judge(sandbox: Sandbox, out: Path, *, jobs: int, tasks: int) -> None:
    """Every job paid once, every key for one body, every file whole, every job saved."""
    submits = [record for record in sandbox.requests if record.endpoint == "submit"]
    bodies: dict[str | None, set[bytes]] = {}
    for record in submits:
        bodies.setdefault(record.idempotency_key, set()).add(record.body)
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]

    assert tasks == len(sandbox.paid_tasks)
    assert tasks == sum(len(result["task_ids"]) for result in results)
    assert all(len(sent) == 1 for sent in bodies.values())
    assert ["saved"] * jobs == [result["state"] for result in results]
    assert {task.id for task in sandbox.paid_tasks} == {
        each for result in results for each in result["task_ids"]
    }
    for file in (out / name for result in results for name in result["files"]):
        story = json.loads(file.with_name(f"{file.name}.json").read_text())
        assert story["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert [] == [path.name for path in out.iterdir() if path.suffix == ".part"]


@pytest.mark.case(24, 25, 116, 128)
@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("point", POINTS)
async def test_a_batch_that_dies_at_a_fault_point_pays_once_and_loses_nothing(
    point: str, hit: int, manifest: Path
) -> None:
    """Catalogue 24, 25, 116, 128: whatever instruction is the last, the next run knows what to do."""
    async with Sandbox(speed=SPEED) as sandbox:
        died = await run_batch(sandbox, manifest, fault_point=f"{point}:{hit}")
        assert EXIT_CODE == died.returncode, died.stderr.decode()

        ended = await run_batch(sandbox, manifest)

        assert 0 == ended.returncode, ended.stderr.decode()
        judge(sandbox, manifest.parent / "out", jobs=JOBS, tasks=JOBS + 1)


@pytest.mark.parametrize("point", POINTS)
async def test_a_chain_that_dies_at_a_fault_point_goes_on_where_it_was(point: str, chain: Path) -> None:
    """What was sent with another job's URL is sent with that URL again, and each is paid once."""
    async with Sandbox(speed=SPEED) as sandbox:
        died = await run_batch(sandbox, chain, fault_point=f"{point}:2")
        assert EXIT_CODE == died.returncode, died.stderr.decode()

        ended = await run_batch(sandbox, chain)

        assert 0 == ended.returncode, ended.stderr.decode()
        judge(sandbox, chain.parent / "out", jobs=3, tasks=3)


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("point", POINTS)
async def test_a_shared_post_that_dies_at_a_fault_point_is_sent_again_as_it_was(
    point: str, hit: int, tmp_path: Path
) -> None:
    """The intent holds for all that share it: as a whole they are asked for again, and each is paid once."""
    manifest = tmp_path / "jobs.jsonl"
    hat: dict[str, object] = {"model": "gpt-image-2", "prompt": "A hat for a cat", "name": "hat"}
    async with Sandbox(speed=SPEED) as sandbox:
        manifest.write_text(json.dumps(hat))
        await run_batch(sandbox, manifest)  # its price is known now, so the others go together
        manifest.write_text(json.dumps({**hat, "repeat": 9}))
        died = await run_batch(sandbox, manifest, fault_point=f"{point}:{hit}")
        assert EXIT_CODE == died.returncode, died.stderr.decode()

        ended = await run_batch(sandbox, manifest)

        assert 0 == ended.returncode, ended.stderr.decode()
        judge(sandbox, tmp_path / "out", jobs=9, tasks=9)
        assert 3 == len(
            {record.idempotency_key for record in sandbox.requests if record.endpoint == "submit"}
        )


@pytest.mark.case(140)
async def test_a_job_that_every_run_dies_of_does_not_keep_the_others_waiting(manifest: Path) -> None:
    """After five deaths it is parked as uncertain, and says why; the others are made."""
    async with Sandbox(speed=SPEED) as sandbox:
        for _ in range(MOST_CRASHES):
            died = await run_batch(sandbox, manifest, fault_point="after_intent:1")
            assert EXIT_CODE == died.returncode, died.stderr.decode()

        ended = await run_batch(sandbox, manifest)

    assert 5 == ended.returncode, ended.stderr.decode()
    lines = (manifest.parent / "out" / "results.jsonl").read_text().splitlines()
    first, *others = map(json.loads, lines)
    assert "uncertain" == first["state"]
    assert "died" in first["error"]
    assert ["saved"] * (JOBS - 1) == [result["state"] for result in others]
    assert JOBS == len(sandbox.paid_tasks)


async def killed_at_random(
    sandbox: Sandbox, manifest: Path, *, seed: int, within: tuple[float, float]
) -> int:
    """Run the batch again and again, each process killed between two ages in seconds; how many were."""
    moments = random.Random(seed)
    kills = 0
    for _ in range(KILLS_A_BATCH):
        async with await anyio.open_process(command(sandbox, manifest)) as process:
            with anyio.move_on_after(moments.uniform(*within)):
                await process.wait()
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
    return kills


@pytest.mark.case(128)
@pytest.mark.parametrize("seed", range(KILLS // KILLS_A_BATCH))
async def test_a_batch_killed_at_random_pays_once_and_loses_nothing(seed: int, manifest: Path) -> None:
    """Catalogue 128: SIGKILL asks no instruction whether it is convenient."""
    async with Sandbox(speed=SLOWER) as sandbox:
        assert await killed_at_random(sandbox, manifest, seed=seed, within=(0.3, 0.9))

        ended = await run_batch(sandbox, manifest)

        assert 0 == ended.returncode, ended.stderr.decode()
        judge(sandbox, manifest.parent / "out", jobs=JOBS, tasks=JOBS + 1)


async def test_a_chain_killed_at_random_pays_once_and_loses_nothing(chain: Path) -> None:
    """Where each job waits for the one before."""
    async with Sandbox(speed=SLOWER) as sandbox:
        assert await killed_at_random(sandbox, chain, seed=1, within=(0.5, 1.5))

        ended = await run_batch(sandbox, chain)

        assert 0 == ended.returncode, ended.stderr.decode()
        judge(sandbox, chain.parent / "out", jobs=3, tasks=3)
