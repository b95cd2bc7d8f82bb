"""Tests of what ``seedance batch`` says before it sends anything: jobs, credits, and the cap."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from seedance_async import BatchRunner, RunPlan, SeedanceClient, State
from seedance_async.cli import batch_display

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type


def pictures(directory: Path, count: int) -> Path:
    """A manifest of so many pictures."""
    path = directory / "jobs.jsonl"
    jobs = (
        {"model": "nano-banana-pro", "name": f"boat-{number}", "prompt": "A boat"}
        for number in range(1, count + 1)
    )
    path.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return path


@pytest.fixture
def sent_by_then(seedance_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many requests had arrived each time when the plan was made into words or into an event."""
    seen: list[int] = []

    def counted(make: Callable[[RunPlan], object]) -> Callable[[RunPlan], object]:
        def counting(plan: RunPlan) -> object:
            seen.append(len(seedance_sandbox.requests))
            return make(plan)

        return counting

    for name in ("plan_line", "plan_fields"):
        monkeypatch.setattr(batch_display, name, counted(getattr(batch_display, name)))
    return seen


async def test_the_count_and_the_credits_are_told_before_anything_is_sent(
    seedance: Type, sent_by_then: list[int], tmp_path: Path
) -> None:
    """A line for people, without a question and without a wait."""
    ending = await seedance("batch", pictures(tmp_path, 3), "-o", tmp_path / "out", "--max-credits", 100)

    line = next(line for line in ending.err.splitlines() if "to send" in line)
    assert "3 to send · credits expected: 24 to 36 · cap: 100 over all runs, enough for all jobs" == line
    assert [0] == sent_by_then


async def test_what_is_done_is_told_beside_what_is_left(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """By what was charged the price is known."""
    out = tmp_path / "out"
    await seedance("batch", pictures(tmp_path, 2), "-o", out)
    ending = await seedance("batch", pictures(tmp_path, 5), "-o", out, "--max-credits", 50)
    again = await seedance("batch", pictures(tmp_path, 2), "-o", out)

    assert (
        "3 to send of 5; 2 saved · credits expected: 36, in addition to 24 spent · cap: 50 over all runs, "
        "too little for all jobs, which cost up to 60: the run will stop before the end"
    ) in ending.err.splitlines()
    assert 4 == len(seedance_sandbox.paid_tasks)
    assert "0 to send of 2; 2 saved" in again.err.splitlines()


async def test_a_program_gets_it_as_an_event(seedance: Type, sent_by_then: list[int], tmp_path: Path) -> None:
    """Second of all events, and before the first POST."""
    ending = await seedance("batch", pictures(tmp_path, 2), "-o", tmp_path / "out", "--json")

    started, planned, *_ = map(json.loads, ending.lines)
    assert "started" == started["event"]
    assert {
        "event": "planned",
        "counts": {"planned": 2},
        "jobs": 2,
        "later": 0,
        "credits": [16, 24],
        "credits_of_priced_jobs": [16, 24],
        "jobs_without_price": 0,
        "credits_spent": 0,
        "max_credits": None,
        "fits_cap": None,
    } == planned
    assert [0] == sent_by_then


async def test_jobs_of_an_unknown_price_are_counted_and_not_guessed(seedance: Type, tmp_path: Path) -> None:
    """Nobody has reported what 4K pictures of this channel cost."""
    manifest = tmp_path / "jobs.jsonl"
    jobs = [
        {"model": "nano-banana-pro", "prompt": "A boat"},
        {"model": "nano-banana-pro", "prompt": "A boat", "resolution": "4K"},
    ]
    manifest.write_text("\n".join(map(json.dumps, jobs)))
    ending = await seedance("batch", manifest, "-o", tmp_path / "out")

    assert "2 to send · credits expected: 8 to 12 and the unknown price of 1 job" in ending.err.splitlines()


async def test_what_is_left_for_later_is_neither_sent_nor_priced(seedance: Type, tmp_path: Path) -> None:
    """A stage is estimated as a stage."""
    ending = await seedance("batch", pictures(tmp_path, 3), "-o", tmp_path / "out", "--until", "boat-1")

    assert "1 to send of 3; 2 left for later · credits expected: 8 to 12" in ending.err.splitlines()


async def test_the_runner_tells_a_program_the_same(seedance_sandbox: Sandbox, tmp_path: Path) -> None:
    """As a value, before anything is sent; and what comes of it is what was told."""
    manifest = pictures(tmp_path, 2)
    async with (
        SeedanceClient(seedance_sandbox.api_key, seedance_sandbox.base_url) as client,
        BatchRunner(client, tmp_path / "out", max_credits=30) as batch,
    ):
        plan = await batch.prepare(manifest)
        assert [] == seedance_sandbox.requests
        results = [result async for result in batch.run(manifest)]

    assert RunPlan(counts={State.PLANNED: 2}, credits_low=16, credits_high=24, max_credits=30) == plan
    assert (2, 2, True) == (plan.to_send, plan.total, plan.fits_cap)
    assert plan.to_send == len(results) == len(seedance_sandbox.paid_tasks)
