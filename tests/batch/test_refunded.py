"""Jobs that failed and were refunded are made anew so often, never more, and nothing else is."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from seedance_async import ConfigurationError, GptImage2, Job, NanoBananaPro, SeedanceClient
from seedance_async.batch.journal import Journal
from seedance_async.batch.run_options import PlanOptions
from seedance_async.batch.runner import BatchRunner
from seedance_async.batch.survey import survey
from seedance_async.fault_points import EXIT_CODE
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, charged, opened, pictures, results_of, run_once, states, submits
from tests.forked import run_python

if TYPE_CHECKING:
    from subprocess import CompletedProcess

PROGRAM = Path(__file__).with_name("batch_process.py")
SPEED = 1200.0


def sinking(name: str = "sinks") -> Job:
    """A job that the sandbox fails and refunds, always."""
    return Job(NanoBananaPro(prompt="A boat sinks [[sandbox:fail]]"), name=name)


def failed(**fields: object) -> Fault:
    """Polls that say a task has failed, with these fields."""
    return Fault(
        effect="edit",
        on="task",
        count=None,
        fields={"status": "failed", "output": None, "error": "x", **fields},
    )


def most_spent(sandbox: Sandbox) -> int:
    """The most that was charged and not refunded at any instant."""
    spent, most = 0, 0
    for entry in sandbox.ledger:
        spent += {"charge": entry.credits, "refund": -entry.credits}.get(entry.kind, 0)
        most = max(most, spent)
    return most


@pytest.mark.parametrize("rerolls", [0, 1, 3])
async def test_a_refunded_failure_is_made_anew_so_often_and_not_once_more(
    rerolls: int, tmp_path: Path
) -> None:
    """Each time under a key of its own; running it again adds none, a higher number adds the rest."""
    async with Sandbox() as sandbox:
        for _ in range(3):
            results = await run_once(sandbox, tmp_path, [sinking()], reroll_refunded=rerolls)
            assert {"failed": 1} == states(results)
            assert 1 + rerolls == len(sandbox.tasks) == len({key for key, _ in submits(sandbox)})
        await run_once(sandbox, tmp_path, [sinking()], reroll_refunded=rerolls + 1)

        assert 2 + rerolls == len(sandbox.tasks)
        assert [] == sandbox.paid_tasks


async def test_with_luck_every_job_is_saved_and_paid_once(tmp_path: Path) -> None:
    """Half of all tasks fail; what is refunded is asked for again in the same run."""
    async with Sandbox(conditions=Conditions(failure_rate=0.5)) as sandbox:
        async with opened(sandbox, tmp_path, reroll_refunded=30) as batch:
            results = await results_of(batch, pictures(8))
            summary = batch.summary

        assert {"saved": 8} == states(results)
        assert 8 == len(sandbox.paid_tasks) < len(sandbox.tasks)
        assert charged(sandbox) == summary.credits_used
        assert 8 * PRICE == summary.credits_used - summary.credits_refunded


@pytest.mark.parametrize(
    "fault",
    [
        failed(),
        failed(credits_refunded=0),
        failed(credits_refunded=PRICE - 1),
        failed(credits_refunded=None),
        Fault(effect="status", on="submit", moment="before", status=400, count=None),
    ],
    ids=["as it was", "nothing", "a part", "not stated", "a 400"],
)
async def test_what_was_not_refunded_or_was_refused_is_left_alone(fault: Fault, tmp_path: Path) -> None:
    """It is paid, or the next answer is the same: that is for somebody to decide."""
    async with Sandbox() as sandbox:
        sandbox.faults.add(fault)
        for _ in range(2):
            results = await run_once(sandbox, tmp_path, pictures(1), reroll_refunded=3)
            assert states(results) in ({"failed": 1}, {"refused": 1})
        assert 1 == len(submits(sandbox))


async def test_a_cap_holds_over_all_attempts(tmp_path: Path) -> None:
    """What is in flight together with what is spent never exceeds it, however often jobs are made anew."""
    cap = 2 * PRICE
    async with Sandbox() as sandbox:
        jobs = [*pictures(1), *(sinking(f"sinks-{number}") for number in range(3))]
        results = await run_once(sandbox, tmp_path, jobs, reroll_refunded=2, max_credits=cap)

        assert {"saved": 1, "failed": 3} == states(results)
        assert 1 + 3 * 3 == len(sandbox.tasks)
        assert most_spent(sandbox) <= cap


async def test_a_run_that_is_stopped_leaves_them_for_the_next(tmp_path: Path) -> None:
    """No credits are left for others: what fails meanwhile stays failed, and the next run makes it anew."""
    async with Sandbox(credits=PRICE) as sandbox:
        jobs = [sinking(), *pictures(1)]
        first = await run_once(sandbox, tmp_path, jobs, reroll_refunded=1)
        assert {"failed": 1, "planned": 1} == states(first)
        sandbox.top_up(1000)
        await run_once(sandbox, tmp_path, jobs, reroll_refunded=1)

        assert {"failed": 2, "completed": 1} == outcomes(sandbox)


def outcomes(sandbox: Sandbox) -> dict[str, int]:
    """How many tasks ended how."""
    ends = [task.outcome for task in sandbox.tasks.values()]
    return {end: ends.count(end) for end in set(ends)}


async def test_failures_of_earlier_runs_are_made_anew_at_its_start(tmp_path: Path) -> None:
    """Also where the process died before it could plan them: they stand in the journal as failed."""
    async with Sandbox() as sandbox:
        sandbox.faults.add(failed(credits_refunded=PRICE))
        first = await run_once(sandbox, tmp_path, pictures(2))
        assert {"failed": 2} == states(first)
        sandbox.faults.clear()
        results = await run_once(sandbox, tmp_path, pictures(2), reroll_refunded=1)

        assert {"saved": 2} == states(results)
        assert not any(result.earlier for result in results.values())
        assert 4 == len(sandbox.tasks)


async def test_what_others_are_made_of_is_made_anew_and_they_go_on(tmp_path: Path) -> None:
    """A job that waits for the output of a failed one is not blocked while that is made anew."""
    still = Job(NanoBananaPro(prompt="A red boat"), name="still")
    taker = Job(NanoBananaPro(prompt="The same", image_urls=[still.link("image")]), name="taker")
    fault = failed(credits_refunded=PRICE)
    async with Sandbox() as sandbox:
        sandbox.faults.add(evolve(fault, count=1))
        results = await run_once(sandbox, tmp_path, [still, taker], reroll_refunded=1)

        assert {"saved": 2} == states(results)
        assert 3 == len(submits(sandbox))


async def test_jobs_that_shared_a_post_are_made_anew_each_for_itself(tmp_path: Path) -> None:
    """Each has its own count, and its own part of the credits."""
    hat = Job(GptImage2(prompt="A hat [[sandbox:fail]]"), name="hat", repeat=4)
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path, [hat], reroll_refunded=1)

        assert {"failed": 4} == states(results)
        assert 8 == len(sandbox.tasks)
        assert [] == sandbox.paid_tasks


async def test_the_same_failure_twice_names_the_prompt_as_the_cause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Asking again is no remedy for what is wrong in what is asked; it is said once a job."""
    async with Sandbox() as sandbox:
        with caplog.at_level(logging.WARNING):
            await run_once(sandbox, tmp_path, [sinking()])  # is counted by the next run
            for _ in range(3):
                await run_once(sandbox, tmp_path, [sinking()], reroll_refunded=2)

    told = [line for line in caplog.messages if "its prompt or its picture is likely the cause" in line]
    assert 1 == len(told)
    assert told[0].startswith("sinks failed twice in the same words")


async def test_a_job_that_leaves_the_manifest_and_comes_back_keeps_its_count(tmp_path: Path) -> None:
    """It is known by its name and its request, not by its row, which may be another one then."""
    directory = tmp_path / "out"
    manifest = tmp_path / "jobs.jsonl"
    line = json.dumps({"name": "sinks", "model": "nano-banana-pro", "prompt": "A boat [[sandbox:fail]]"})
    async with Sandbox() as sandbox:
        manifest.write_text(line)
        await run_once(sandbox, directory, manifest)
        journal = await Journal.open(directory)
        try:  # as a process leaves it that dies before the POST
            numbers = await journal.do(journal.store.refunded, after=0)
            await journal.do(journal.store.plan_refunded_again, numbers, most=1)
        finally:
            await journal.close()
        manifest.write_text(json.dumps({"model": "nano-banana-pro", "prompt": "A boat", "name": "boat"}))
        await run_once(sandbox, directory, manifest, reroll_refunded=1)
        manifest.write_text(line)
        await run_once(sandbox, directory, manifest, reroll_refunded=1)

        assert {"failed": 2, "completed": 1} == outcomes(sandbox)


async def test_a_trial_run_counts_them_and_changes_nothing(tmp_path: Path) -> None:
    """Those that may be made anew are to be sent; those that were so often already are not."""
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(
        json.dumps({"name": "sinks", "model": "nano-banana-pro", "prompt": "A boat [[sandbox:fail]]"})
    )
    directory = tmp_path / "out"
    async with Sandbox() as sandbox:
        await run_once(sandbox, directory, manifest, reroll_refunded=1)
        for _ in range(2):
            enough = await survey(manifest, directory, PlanOptions(reroll_refunded=1))
            more = await survey(manifest, directory, PlanOptions(reroll_refunded=2))
            assert (0, 1) == tuple(sum(found.tally.get(key, 0) for key in found.tally if key[1] == "planned")
                                   for found in (enough, more))  # fmt: skip


@pytest.mark.parametrize("nonsense", [-1, 1.5, "2", True])
async def test_a_number_that_is_none_is_refused(nonsense: Any, tmp_path: Path) -> None:  # noqa: ANN401 - what a caller might pass
    """Before anything is opened."""
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        with pytest.raises(ConfigurationError, match="reroll_refunded must be a whole number"):
            BatchRunner(client, tmp_path, reroll_refunded=nonsense)


class TestCrashes:
    """A process may die at any instruction; the sandbox counts the attempts."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Child processes live on the real clock."""
        return "asyncio"

    async def run(self, sandbox: Sandbox, manifest: Path, fault_point: str = "") -> CompletedProcess[bytes]:
        """Run the batch, with one reroll, until it ends or dies."""
        out, speed = str(manifest.parent / "out"), str(sandbox.conditions.speed)
        options = json.dumps({"reroll_refunded": 1})
        command = [str(PROGRAM), sandbox.base_url, out, str(manifest), speed, options]
        environment = {**os.environ, "SEEDANCE_FAULT_POINT": fault_point}
        return await run_python(command, env=environment)

    @pytest.mark.parametrize("hit", [1, 2])
    @pytest.mark.parametrize(
        "point", ["after_intent", "after_send", "after_body", "before_record", "after_record"]
    )
    async def test_a_death_at_a_fault_point_adds_no_attempt(
        self, point: str, hit: int, tmp_path: Path
    ) -> None:
        """At the first attempt and at the second: both are made, and no third one."""
        manifest = tmp_path / "jobs.jsonl"
        job = {"name": "sinks", "model": "nano-banana-pro", "prompt": "A boat [[sandbox:fail]]"}
        manifest.write_text(json.dumps(job))
        async with Sandbox(speed=SPEED) as sandbox:
            died = await self.run(sandbox, manifest, f"{point}:{hit}")
            assert EXIT_CODE == died.returncode, died.stderr.decode()
            for _ in range(2):
                ended = await self.run(sandbox, manifest)
                assert 1 == ended.returncode, ended.stderr.decode()

            assert 2 == len(sandbox.tasks)
            assert [] == sandbox.paid_tasks


async def test_the_count_and_the_plan_are_one_transaction(tmp_path: Path) -> None:
    """If the job cannot be planned anew, nothing was counted."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, [sinking()])
        journal = await Journal.open(tmp_path)
        try:
            await journal.do(
                journal.store.file.write,
                "CREATE TEMP TRIGGER broken BEFORE UPDATE ON jobs BEGIN SELECT raise(ABORT, 'broken'); END",
            )
            numbers = await journal.do(journal.store.refunded, after=0)
            with pytest.raises(Exception, match="broken"):
                await journal.do(journal.store.plan_refunded_again, numbers, most=1)
        finally:
            await journal.close()
        with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            counted = list(connection.execute("SELECT * FROM refunds")) if "refunds" in tables else []
        assert [] == counted
