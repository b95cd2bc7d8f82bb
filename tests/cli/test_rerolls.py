"""``seedance batch --reroll-refunded N``, from the shell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from seedance_async.cli.batch_options import Options

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type


@pytest.fixture
def sinking(tmp_path: Path) -> Path:
    """A manifest of a picture that fails and is refunded, and one that does not."""
    path = tmp_path / "jobs.jsonl"
    prompts = {"sinks": "A boat [[sandbox:fail]]", "sails": "A boat"}
    jobs = [
        {"name": name, "model": "nano-banana-pro", "prompt": prompt, "output_format": "jpeg"}
        for name, prompt in prompts.items()
    ]
    path.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return path


async def test_what_is_made_anew_is_told_and_so_is_the_likely_cause(
    seedance: Type, sinking: Path, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """Twice, and no more; the code says that one has failed."""
    ended = await seedance(
        "batch", sinking, "-o", tmp_path / "out", "--reroll-refunded", 2, "--max-credits", 24
    )

    assert 1 == ended.code
    assert 4 == len(seedance_sandbox.tasks)
    assert "sinks is made again, 1 of 2 times: task failed" in ended.err
    assert "sinks is made again, 2 of 2 times: task failed" in ended.err
    assert 1 == ended.err.count("sinks failed twice in the same words")
    assert 1 == ended.err.count("failed sinks: task failed")


async def test_a_trial_run_says_what_may_come_to_it(
    seedance: Type, sinking: Path, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """The figures are those of one attempt a job."""
    first = await seedance("batch", sinking, "--dry-run", "--reroll-refunded", 1)
    await seedance("batch", sinking, "-o", tmp_path / "out")
    left = await seedance("batch", sinking, "-o", tmp_path / "out", "--dry-run", "--reroll-refunded", 3)

    assert "sent again, at most once each" in first.out
    assert "sent again, at most 3 times each" in left.out
    assert "1 to send of 2; 1 saved" in left.out
    assert 2 == len(seedance_sandbox.tasks)


async def test_a_number_below_zero_is_a_mistake(seedance: Type, sinking: Path, tmp_path: Path) -> None:
    """Before anything is made."""
    ended = await seedance("batch", sinking, "-o", tmp_path / "out", "--reroll-refunded", -1)

    assert 2 == ended.code
    assert "--reroll-refunded must be 0 or more" in ended.err
    assert not (tmp_path / "out").exists()


def test_the_command_that_goes_on_has_the_flags() -> None:
    """Also those of a program that is told."""
    options = Options(reroll_refunded=2, on_event="./tell.sh", on_event_for="ended")

    assert [
        "--reroll-refunded", "2", "--on-event", "./tell.sh", "--on-event-for", "ended",
    ] == options.words()  # fmt: skip
