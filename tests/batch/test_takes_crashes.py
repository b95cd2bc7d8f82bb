"""A batch that dies while older results make way for newer ones: the next run completes what was begun."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from seedance_async.fault_points import EXIT_CODE, MOVE_POINTS, POINTS
from seedance_async.sandbox import Sandbox
from tests.forked import run_python

if TYPE_CHECKING:
    from subprocess import CompletedProcess

SPEED = 1200.0
PROGRAM = Path(__file__).with_name("batch_process.py")
ALL_POINTS = (*POINTS, *MOVE_POINTS)


@pytest.fixture
def anyio_backend() -> str:
    """Child processes live on the real clock."""
    return "asyncio"


def write(path: Path, boat: str = "A paper boat", cats: str = "cats") -> Path:
    """A picture, and a job with two."""
    jobs: list[dict[str, object]] = [
        {"model": "nano-banana-pro", "prompt": boat, "name": "boat"},
        {"model": "gpt-image-2", "prompt": "Two cats in hats", "name": cats, "batch_count": 2},
    ]
    path.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return path


async def run_batch(
    sandbox: Sandbox,
    manifest: Path,
    *,
    fault_point: str = "",
    **options: Any,  # noqa: ANN401 - whatever a runner takes
) -> CompletedProcess[bytes]:
    """Run the batch until it ends or dies."""
    command = [str(PROGRAM), sandbox.base_url, str(manifest.parent / "out"), str(manifest)]
    command += [str(sandbox.conditions.speed), json.dumps(options)]
    environment = {**os.environ, "SEEDANCE_FAULT_POINT": fault_point}
    return await run_python(command, env=environment)


def by_name(out: Path) -> dict[str, dict[str, Any]]:
    """The lines of the results."""
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["name"] for line in lines})
    return {line["name"]: line for line in lines}


def judge(sandbox: Sandbox, out: Path, names: set[str], *, tasks: int) -> dict[str, dict[str, Any]]:
    """Every job paid once, and every file whole, called after its job, with a sidecar that says so."""
    results = by_name(out)
    assert names == set(results)
    assert {"saved"} == {result["state"] for result in results.values()}
    assert tasks == len(sandbox.paid_tasks)
    listed = [file for result in results.values() for file in result["files"]]
    found = {path.name for path in out.iterdir() if path.suffix in {".png", ".jpg"}}
    assert sorted(found) == sorted(listed)
    for name, result in results.items():
        for number, file in enumerate(result["files"], start=1):
            assert file in {f"{name}.png", f"{name}-{number}.png"}
            story = json.loads((out / f"{file}.json").read_text())
            assert story["sha256"] == hashlib.sha256((out / file).read_bytes()).hexdigest()
            assert (file, name, file) == (story["file"], story["name"], story["main_file"])
            assert story["task_id"] in result["task_ids"]
    assert {f"{file}.json" for file in listed} == {path.name for path in out.glob("*.json")}
    assert [] == [path.name for path in out.iterdir() if path.suffix == ".part"]
    return results


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("point", ALL_POINTS)
async def test_an_edit_and_a_reroll_that_die_at_a_point_leave_the_newest_with_the_name(
    point: str, hit: int, tmp_path: Path
) -> None:
    """The literal command again goes on: it pays for no other take, and each file is called after its job."""
    manifest = write(tmp_path / "jobs.jsonl")
    out = tmp_path / "out"
    async with Sandbox(speed=SPEED) as sandbox:
        await run_batch(sandbox, manifest)
        first = by_name(out)
        write(manifest, "A red boat")
        died = await run_batch(sandbox, manifest, fault_point=f"{point}:{hit}", reroll=["cats"])
        assert EXIT_CODE == died.returncode, died.stderr.decode()
        ended = await run_batch(sandbox, manifest, reroll=["cats"])
        assert 0 == ended.returncode, ended.stderr.decode()

        results = judge(sandbox, out, {"boat", "boat-before-edit", "cats", "cats-take-1"}, tasks=6)
        assert first["boat"]["task_ids"] == results["boat-before-edit"]["task_ids"]
        assert first["cats"]["task_ids"] == results["cats-take-1"]["task_ids"]
        assert "A red boat" == results["boat"]["prompt"]


@pytest.mark.parametrize("hit", [1, 2])
@pytest.mark.parametrize("point", MOVE_POINTS)
async def test_a_rename_that_dies_at_a_point_is_completed_and_not_paid(
    point: str, hit: int, tmp_path: Path
) -> None:
    """Files of two jobs that swap their numbers, as when a shot is put in: nothing is lost or paid again."""
    manifest = write(tmp_path / "jobs.jsonl")
    async with Sandbox(speed=SPEED) as sandbox:
        await run_batch(sandbox, manifest)
        first = by_name(tmp_path / "out")
        lines = [json.loads(line) for line in manifest.read_text().splitlines()]
        lines[0]["name"], lines[1]["name"] = "cats", "boat"
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        died = await run_batch(sandbox, manifest, fault_point=f"{point}:{hit}")
        assert EXIT_CODE == died.returncode, died.stderr.decode()
        ended = await run_batch(sandbox, manifest)
        assert 0 == ended.returncode, ended.stderr.decode()

        results = judge(sandbox, tmp_path / "out", {"boat", "cats"}, tasks=3)
        assert first["boat"]["task_ids"] == results["cats"]["task_ids"]
        assert first["cats"]["task_ids"] == results["boat"]["task_ids"]


@pytest.mark.parametrize("point", POINTS)
async def test_takes_that_die_at_a_point_are_completed_by_a_run_without_the_order(
    point: str, tmp_path: Path
) -> None:
    """What goes on after an interruption is the command without it; both takes are made, and paid once."""
    manifest = write(tmp_path / "jobs.jsonl")
    async with Sandbox(speed=SPEED) as sandbox:
        await run_batch(sandbox, manifest)
        died = await run_batch(sandbox, manifest, fault_point=f"{point}:2", reroll=["boat"], takes=2)
        assert EXIT_CODE == died.returncode, died.stderr.decode()
        ended = await run_batch(sandbox, manifest)
        assert 0 == ended.returncode, ended.stderr.decode()

        judge(sandbox, tmp_path / "out", {"boat", "boat-take-1", "boat-take-2", "cats"}, tasks=5)


async def test_a_result_that_died_unrecorded_makes_way_too(tmp_path: Path) -> None:
    """Its file has the name, and no run has said so; then its job is edited."""
    manifest = write(tmp_path / "jobs.jsonl")
    async with Sandbox(speed=SPEED) as sandbox:
        died = await run_batch(sandbox, manifest, fault_point="after_rename:3", embed=False)
        assert EXIT_CODE == died.returncode, died.stderr.decode()
        write(manifest, "A red boat")
        ended = await run_batch(sandbox, manifest, embed=False)
        assert 0 == ended.returncode, ended.stderr.decode()

        judge(sandbox, tmp_path / "out", {"boat", "boat-before-edit", "cats"}, tasks=4)


def is_over(out: Path, copy: Path) -> bool:
    """Whether a run has ended with what was ordered: once more, the command would order further takes."""
    shutil.copytree(out, copy)  # reading the journal itself would take its log away
    with closing(sqlite3.connect(copy / "journal.sqlite")) as journal:
        (jobs,), (orders,) = (
            journal.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("jobs", "rerolls")
        )
    return bool(jobs > 2 and orders == 0)


async def test_takes_killed_at_any_moment_pay_once_and_end_with_their_names(tmp_path: Path) -> None:
    """SIGKILL asks no instruction whether it is convenient; the same command is given each time."""
    manifest = write(tmp_path / "jobs.jsonl")
    options = json.dumps({"reroll": ["*"], "takes": 2})
    async with Sandbox(speed=SPEED / 12) as sandbox:
        await run_batch(sandbox, manifest)
        command = [sys.executable, str(PROGRAM), sandbox.base_url, str(tmp_path / "out"), str(manifest)]
        ended = None
        for moment in range(5, 40, 5):  # tenths of a second: a busy machine comes less far
            async with await anyio.open_process([*command, str(SPEED / 12), options]) as process:
                with anyio.move_on_after(moment / 10):
                    ended = await process.wait()
                if ended is not None:
                    break
                process.send_signal(signal.SIGKILL)
            if is_over(tmp_path / "out", tmp_path / f"copy {moment}"):  # killed on its way out
                ended = 0
                break
        if ended is None:
            ended = (await run_batch(sandbox, manifest, **json.loads(options))).returncode
        assert 0 == ended

        names = {f"{name}{take}" for name in ("boat", "cats") for take in ("", "-take-1", "-take-2")}
        judge(sandbox, tmp_path / "out", names, tasks=9)
