"""`seedance batch --reroll`, `--takes` and `--no-adopt`: what is sent, what is said, and the way to go on."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import anyio

from seedance_async.exit_codes import ExitCode
from tests.cli.test_batch import PRICE, account, pictures, results

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type


async def test_several_jobs_are_made_anew_with_one_flag(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Names and patterns after one flag; the trial run counts what the run sends, and says how it stays."""
    out, manifest = tmp_path / "out", pictures(tmp_path, 4)
    await seedance("batch", manifest, "-o", out)
    order = ("batch", manifest, "-o", out, "--reroll", "boat-1", "boat-[23]", "--takes", "2")
    trial = await seedance(*order, "--dry-run", "--json")
    assert 6 == json.loads(trial.out)["jobs"]
    assert 4 == len(seedance_sandbox.paid_tasks)
    ending = await seedance(*order)

    assert ExitCode.OK == ending.code
    assert 10 == len(seedance_sandbox.paid_tasks)
    assert "6 new takes, each paid separately" in ending.err
    assert str(10 * PRICE) == account(ending.out)["credits"]
    assert {f"boat-{n}{take}" for n in "123" for take in ("", "-take-1", "-take-2")} | {"boat-4"} == set(
        results(out)
    )


async def test_the_command_that_goes_on_orders_nothing_anew(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """It finishes the takes that were begun; and so does the order itself, once more."""
    out, manifest = tmp_path / "out", pictures(tmp_path, 2)
    await seedance("batch", manifest, "-o", out)
    order = ("batch", manifest, "-o", out, "--reroll", "*")
    ending = await seedance(*order, "--max-credits", 3 * PRICE)

    assert ExitCode.OUT_OF_CREDITS == ending.code
    (command,) = [line for line in ending.err.splitlines() if line.startswith("  seedance batch")]
    assert "--reroll" not in command
    again = await seedance(*order)
    assert ExitCode.OK == again.code
    assert "boat-1, boat-2: not finished yet" in again.err
    assert 4 == len(seedance_sandbox.paid_tasks)


async def test_a_command_that_ends_while_the_gallery_is_written_may_be_repeated(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All was made, but nobody was told so: the same command makes nothing more, and writes the gallery."""

    async def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep(10)

    out, manifest = tmp_path / "out", pictures(tmp_path, 1)
    await seedance("batch", manifest, "-o", out)
    order = ("batch", manifest, "-o", out, "--reroll", "boat-1")
    with monkeypatch.context() as patched:
        patched.setattr("seedance_async.cli.batch_run.write_gallery_of", interrupted)
        ending = await seedance(*order)
    assert ExitCode.INTERRUPTED == ending.code
    assert 2 == len(seedance_sandbox.paid_tasks)
    assert (await seedance(*order)).code == ExitCode.OK
    assert 2 == len(seedance_sandbox.paid_tasks)
    assert "boat-1-take-1" in (out / "gallery.html").read_text()


async def test_an_order_that_means_nothing_is_a_mistake(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Nothing is sent, not even what the manifest asks for beside it."""
    out, manifest = tmp_path / "out", pictures(tmp_path, 1)
    for words, reason in (
        (("--reroll", "boot-1"), "did you mean 'boat-1'?"),
        (("--reroll", "rejected"), "run seedance review first"),
        (("--takes", "2"), "name them with reroll"),
        (("--reroll", "boat-1", "--takes", "0"), "--takes must be"),
    ):
        for trial in ((), ("--dry-run",)):
            ending = await seedance("batch", manifest, "-o", out, *words, *trial)
            assert ExitCode.USAGE == ending.code, (words, trial, ending.err)
            assert reason in ending.err
    ending = await seedance("batch", "-o", out, "--reroll", "boat-1", manifest)
    assert ExitCode.USAGE == ending.code
    assert "all words after --reroll are names" in ending.err
    assert [] == seedance_sandbox.requests


async def test_a_renamed_job_is_told_by_the_trial_run_and_paid_if_asked_for(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The trial run renames nothing."""
    out, manifest = tmp_path / "out", pictures(tmp_path, 1)
    await seedance("batch", manifest, "-o", out)
    manifest.write_text(manifest.read_text().replace("boat-1", "ship"))
    told = "'ship' is 'boat-1' renamed: its result is taken over; --no-adopt pays for a new one"
    trial = await seedance("batch", manifest, "-o", out, "--dry-run")
    assert told in trial.err
    assert "jobs      0 to send of 1; 1 saved" == trial.lines[0]
    assert (out / "boat-1.jpg").exists()
    paying = await seedance("batch", manifest, "-o", out, "--dry-run", "--no-adopt", "--json")
    assert 1 == json.loads(paying.out)["jobs"]

    ending = await seedance("batch", manifest, "-o", out)
    assert told in ending.err
    assert 1 == len(seedance_sandbox.paid_tasks)
    assert ["ship.jpg"] == [path.name for path in out.glob("*.jpg")]


async def test_what_is_told_of_takes_is_true_and_in_the_right_number(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """One or several; an edit that is taken back is not paid; and older takes are no jobs."""
    out, manifest = tmp_path / "out", tmp_path / "jobs.jsonl"

    def write(*prompts: str) -> None:
        jobs = [
            {"name": f"boat-{n}", "model": "nano-banana-pro", "prompt": f"A boat on pond {prompt}"}
            for n, prompt in enumerate(prompts)
        ]
        manifest.write_text("".join(json.dumps(job) + "\n" for job in jobs))

    endings = []
    for prompts in (("A", "B"), ("A2", "B"), ("A", "B"), ("A3", "B3"), ("A", "B")):
        write(*prompts)
        endings.append(await seedance("batch", manifest, "-o", out))
    endings.append(await seedance("batch", manifest, "-o", out, "--reroll", "boat-1"))

    one, back, two, both_back, take = endings[1:]
    assert 6 == len(seedance_sandbox.paid_tasks)
    assert "1 edited since the last run: it is a new job, paid separately" in one.err
    assert "2 edited since the last run: each is a new job, paid separately" in two.err
    for ending, words in (
        (back, "1 edited since the last run"),
        (both_back, "2 edited since the last run"),
    ):
        assert f"{words}, at no cost" in ending.err
        assert "paid separately" not in ending.err
    assert "1 new take, paid separately: the newest has the job's own name" in take.err
    assert {"2: 2 saved"} == {account(ending.out)["jobs"] for ending in endings}
    assert (
        "4: 4 saved (older takes, finals, and jobs no longer in the manifest)" == account(take.out)["others"]
    )


async def test_an_older_take_that_failed_is_no_failure(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Its line was mended: every job is saved, and nothing advises to send it anew."""
    out, manifest = tmp_path / "out", tmp_path / "jobs.jsonl"
    endings = []
    for prompt in ("A boat [[sandbox:fail]]", "A boat", "A boat"):
        manifest.write_text(json.dumps({"name": "a", "model": "nano-banana-pro", "prompt": prompt}) + "\n")
        endings.append(await seedance("batch", manifest, "-o", out))

    assert [ExitCode.FAILED, ExitCode.OK, ExitCode.OK] == [ending.code for ending in endings]
    assert "--retry-failed" in endings[0].err
    assert "--retry-failed" not in endings[2].err
    assert (
        "1: 1 failed (older takes, finals, and jobs no longer in the manifest)"
        == account(endings[2].out)["others"]
    )
    assert 1 == len(seedance_sandbox.paid_tasks)
