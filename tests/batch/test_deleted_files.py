"""Files of saved jobs that somebody has deleted: the next run fetches them, and nothing is paid for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from seedance_async import GptImage2, Job, NanoBananaPro
from seedance_async.sandbox import Behaviour, Fault, Sandbox
from tests.batch.helpers import opened, pictures, results_of, run_once, states

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("url_life", [3600.0, 1.0], ids=["same URL", "expired URL"])
async def test_a_deleted_file_is_fetched_again_and_not_paid(url_life: float, tmp_path: Path) -> None:
    """Byte for byte what it was; its neighbours are left alone."""
    async with Sandbox(behaviour=Behaviour(url_life=url_life)) as sandbox:
        await run_once(sandbox, tmp_path, pictures(3))
        before = (tmp_path / "boat-1.jpg").read_bytes()
        others = {path: path.stat().st_mtime_ns for path in tmp_path.glob("boat-[02].jpg")}
        (tmp_path / "boat-1.jpg").unlink()
        fetched = len(sandbox.media_requests)
        results = await run_once(sandbox, tmp_path, pictures(3))

        assert {"saved": 3} == states(results)
        assert before == (tmp_path / "boat-1.jpg").read_bytes()
        assert others == {path: path.stat().st_mtime_ns for path in others}
        assert 3 == len(sandbox.paid_tasks)
        assert 1 <= len(sandbox.media_requests) - fetched <= 2


async def test_a_manifest_gets_its_files_back_too(tmp_path: Path) -> None:
    """With its sidecar, and in results.jsonl as before; every job is told once."""
    manifest = tmp_path / "jobs.jsonl"
    lines = [
        {"model": "gpt-image-2", "prompt": f"A boat {number}", "name": f"b{number}"} for number in range(4)
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest)
        before = (tmp_path / "out" / "results.jsonl").read_text()
        for path in (tmp_path / "out").glob("b*"):
            path.unlink()
        results = await run_once(sandbox, tmp_path / "out", manifest)

        assert {"saved": 4} == states(results)
        assert 4 == len(sandbox.paid_tasks)
    after = (tmp_path / "out" / "results.jsonl").read_text()
    assert sorted(before.splitlines()) == sorted(after.splitlines())
    assert 8 == len(list((tmp_path / "out").glob("b*")))


async def test_one_of_several_files_comes_back_beside_the_others(tmp_path: Path) -> None:
    """Under its own name, and the others are not fetched whole again."""
    job = Job(GptImage2(prompt="A boat", batch_count=3), name="boat")
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, [job])
        before = {path.name: path.read_bytes() for path in tmp_path.glob("boat*.png")}
        (tmp_path / sorted(before)[1]).unlink()
        await run_once(sandbox, tmp_path, [job])

        assert before == {path.name: path.read_bytes() for path in tmp_path.glob("boat*.png")}
        assert 3 == len(before) == len(sandbox.paid_tasks)


async def test_a_file_beside_a_stranger_keeps_its_number(tmp_path: Path) -> None:
    """It was numbered because of a foreign file, which is still there."""
    (tmp_path / "boat-0.jpg").write_bytes(b"holiday")
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        (tmp_path / "boat-0-2.jpg").unlink()
        (result,) = (await run_once(sandbox, tmp_path, pictures(1))).values()

        assert [tmp_path / "boat-0-2.jpg"] == list(result.files)
    assert b"holiday" == (tmp_path / "boat-0.jpg").read_bytes()


async def test_a_file_that_cannot_be_had_any_more_is_told_by_each_run(tmp_path: Path) -> None:
    """The job is finished and paid, and not saved; another run may have more luck."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        (tmp_path / "boat-0.jpg").unlink()
        sandbox.faults.add(Fault(effect="status", on="media", count=2, status=404))
        first = await run_once(sandbox, tmp_path, pictures(1))
        second = await run_once(sandbox, tmp_path, pictures(1))

        assert {"completed": 1} == states(first)
        assert "gone" in str(first["boat-0"].error)
        assert {"saved": 1} == states(second)
        assert 1 == len(sandbox.paid_tasks)


async def test_a_link_that_somebody_put_in_its_place_is_left_alone(tmp_path: Path) -> None:
    """Whoever moves files to a larger disk has not deleted them, whether it is mounted or not."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        (tmp_path / "boat-0.jpg").rename(tmp_path / "elsewhere")
        (tmp_path / "boat-0.jpg").symlink_to(tmp_path / "elsewhere")
        fetched = len(sandbox.media_requests)
        await run_once(sandbox, tmp_path, pictures(1))
        (tmp_path / "elsewhere").unlink()
        await run_once(sandbox, tmp_path, pictures(1))

        assert fetched == len(sandbox.media_requests)


async def test_a_file_deleted_between_two_runs_of_one_runner_is_found_missing(tmp_path: Path) -> None:
    """The batch stays open, and its sums stay right."""
    jobs = [Job(NanoBananaPro(prompt="A boat"), name="boat")]
    async with Sandbox() as sandbox, opened(sandbox, tmp_path) as batch:
        await results_of(batch, jobs)
        used = batch.summary.credits_used
        (tmp_path / "boat.png").unlink()
        assert {"saved": 1} == states(await results_of(batch, jobs))

        assert (tmp_path / "boat.png").exists()
        assert used == batch.summary.credits_used
        assert 1 == len(sandbox.paid_tasks)
