"""A backup of a batch that is put back after takes were made: what is paid again, and what is not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from seedance_async import GptImage2, Job, NanoBananaPro
from seedance_async.sandbox import Conditions, Sandbox
from tests.batch.helpers import PRICE, run_once, states, submits

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.models import Request

ONE_PRICE = Conditions(price=lambda _: PRICE)
HAT = GptImage2(prompt="A hat for a cat")
BOAT = NanoBananaPro(prompt="A boat on a pond")


def manifest_of(directory: Path, request: Request, *, repeat: int = 1) -> Path:
    """A manifest of one job."""
    path = directory / "jobs.jsonl"
    path.write_text(
        f'{{"name": "hat", "model": "{request.model}", "prompt": "{request.prompt}", "repeat": {repeat}}}\n'
    )
    return path


@pytest.mark.case(187)
@pytest.mark.parametrize(("request_", "takes"), [(HAT, 3), (HAT, 6), (BOAT, 2)])
async def test_the_same_order_of_takes_is_not_paid_again(
    request_: Request, takes: int, tmp_path: Path
) -> None:
    """Names, division and keys follow from the journal and the order, so the server has them already."""
    manifest, place, backup = manifest_of(tmp_path, request_), tmp_path / "batch", tmp_path / "backup"
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        await run_once(sandbox, place, manifest)
        shutil.copytree(place, backup)
        await run_once(sandbox, place, manifest, reroll=["hat"], takes=takes)
        results = await run_once(sandbox, backup, manifest, reroll=["hat"], takes=takes)

        assert {"saved"} == set(states(results))
        assert 1 + takes == len(sandbox.paid_tasks)


@pytest.mark.case(187)
async def test_takes_that_a_cap_left_for_later_are_not_paid_again(tmp_path: Path) -> None:
    """The backup has some of them planned; they are divided as they were."""
    manifest, place, backup = manifest_of(tmp_path, HAT, repeat=9), tmp_path / "batch", tmp_path / "backup"
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        await run_once(sandbox, place, manifest, max_credits=2 * PRICE)
        shutil.copytree(place, backup)
        await run_once(sandbox, place, manifest)
        await run_once(sandbox, backup, manifest)

        assert 9 == len(sandbox.paid_tasks)


async def test_takes_that_do_not_share_posts_are_paid_once_under_any_cap(tmp_path: Path) -> None:
    """Each has its own key, however many leave together."""
    jobs = [Job(HAT, name="hat", repeat=9)]
    place, backup = tmp_path / "batch", tmp_path / "backup"
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        await run_once(sandbox, place, jobs, max_credits=2 * PRICE, share_posts=False)
        shutil.copytree(place, backup)
        await run_once(sandbox, place, jobs, share_posts=False)
        for cap in (4 * PRICE, 100 * PRICE):
            await run_once(sandbox, backup, jobs, max_credits=cap, share_posts=False)

        assert 9 == len(sandbox.paid_tasks) == len({key for key, _ in submits(sandbox)})


async def test_takes_that_share_posts_otherwise_are_paid_again(tmp_path: Path) -> None:
    """What is not guaranteed: the key of a shared POST is made of all that it serves."""
    jobs = [Job(HAT, name="hat", repeat=9)]
    place, backup = tmp_path / "batch", tmp_path / "backup"
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        await run_once(sandbox, place, jobs, max_credits=2 * PRICE)
        shutil.copytree(place, backup)
        await run_once(sandbox, place, jobs)
        await run_once(sandbox, backup, jobs, max_credits=4 * PRICE)
        await run_once(sandbox, backup, jobs)

        assert 9 < len(sandbox.paid_tasks)
