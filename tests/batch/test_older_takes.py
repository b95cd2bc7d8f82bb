"""Older takes beside the jobs: neither the end of a run nor its counts, canaries or cap go by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from seedance_async import Job, NanoBananaPro
from seedance_async.batch import picks
from seedance_async.batch.report import write_gallery
from seedance_async.batch.states import State
from seedance_async.errors import CreditCapError, ManifestError
from seedance_async.exit_codes import ExitCode
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, opened, results_of, run_once, states, submits
from tests.batch.test_takes import lines_of, manifest_of

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async import Summary

FAILS = "A boat [[sandbox:fail]]"
SMALL = Fault(effect="deliver", on="media", fields={"size": "512x512"})
UNTOLD = (
    Fault(effect="edit", on="submit", without=("credits_used",), count=None),
    Fault(effect="edit", on="task", without=("credits_used", "credits_refunded"), count=None),
)


async def summary_of(
    sandbox: Sandbox,
    out: Path,
    manifest: Path,
    **options: Any,  # noqa: ANN401 - whatever a runner takes
) -> Summary:
    """A run, and how the batch stands after it."""
    async with opened(sandbox, out, **options) as batch:
        await results_of(batch, manifest)
    return batch.summary


# --- how a run ends


@pytest.mark.parametrize("edit", [{"prompt": "A red boat"}, {"prompt": "A red boat", "name": "swan"}])
async def test_a_failure_that_was_mended_is_no_part_of_the_end(edit: dict[str, str], tmp_path: Path) -> None:
    """The line was edited, or another stands in its place: every job is saved, and that is the end."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        failed = await summary_of(sandbox, out, manifest_of(tmp_path, {"name": "boat", "prompt": FAILS}))
        manifest = manifest_of(tmp_path, {"name": "boat", **edit})
        await summary_of(sandbox, out, manifest)
        mended = await summary_of(sandbox, out, manifest)

        assert 1 == len(sandbox.paid_tasks)
    assert ExitCode.FAILED == failed.exit_code
    assert ExitCode.OK == mended.exit_code
    assert ({State.SAVED: 1}, {State.FAILED: 1}) == (mended.counts, mended.others)
    assert {} == mended.left


async def test_a_take_that_failed_beside_a_saved_one_is_no_part_of_the_end(tmp_path: Path) -> None:
    """The newest saved one has the job's name; the run, the runner that is closed, and the next run agree."""
    out, manifest = tmp_path / "out", manifest_of(tmp_path, {"name": "boat"})
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest)
        sandbox.faults.add(Fault(effect="status", on="submit", moment="before", nth=2, status=400))
        async with opened(sandbox, out, reroll=["boat"], takes=2) as batch:
            await results_of(batch, manifest)
            during = batch.summary
        again = await summary_of(sandbox, out, manifest)

    assert {ExitCode.OK} == {during.exit_code, batch.summary.exit_code, again.exit_code}
    assert {State.SAVED: 1} == during.counts == batch.summary.counts == again.counts
    assert {State.SAVED: 1, State.REFUSED: 1} == during.others == again.others


async def test_a_run_that_is_cut_before_its_takes_are_made_does_not_end_as_if_all_was_done(
    tmp_path: Path,
) -> None:
    """The job itself is saved, and further takes were ordered: the cap ends the run, and says so."""
    out, manifest = tmp_path / "out", manifest_of(tmp_path, {"name": "boat"})
    async with Sandbox(conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        sandbox.faults.add(Fault(effect="status", on="submit", moment="before", status=400, count=None))
        refused = await summary_of(sandbox, out, manifest)
        sandbox.faults.clear()
        capped = await summary_of(sandbox, out, manifest, reroll=["boat"], takes=3, max_credits=2 * PRICE)

    assert ExitCode.FAILED == refused.exit_code
    assert ExitCode.OUT_OF_CREDITS == capped.exit_code
    assert {State.SAVED: 1} == capped.counts
    assert {State.PLANNED: 1} == capped.left


async def test_the_counts_of_a_run_are_those_of_the_file(tmp_path: Path) -> None:
    """Kept in memory move by move, they are what is counted when the journal is opened anew."""
    out, manifest = tmp_path / "out", manifest_of(tmp_path, {"name": "boat"}, {"name": "swan"})
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest)
        async with opened(sandbox, out, reroll=["boat"], takes=2) as batch:
            await results_of(batch, manifest)
            store = batch.journal.store
            kept = {state: store.counts[state] for state in State}, {s: store.others[s] for s in State}
            await batch.journal.do(store.reload)
            assert kept == ({s: store.counts[s] for s in State}, {s: store.others[s] for s in State})
    assert (2, 2) == (sum(kept[0].values()), sum(kept[1].values()))


async def test_the_gallery_counts_jobs_and_names_the_rest(tmp_path: Path) -> None:
    """Its head says how many pictures there are to be had; every card is there all the same."""
    out, manifest = tmp_path / "out", manifest_of(tmp_path, {"name": "boat"})
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest)
        await run_once(sandbox, out, manifest, reroll=["boat"])
    page = (await write_gallery(out)).read_text()

    assert "<p>1 nano-banana-pro · 1 older or gone from the manifest · 24 credits · a sandbox" in page
    assert "all <b>2</b>" in page


# --- canaries


@pytest.mark.parametrize("order", ["reroll", "edit", "gone"])
async def test_a_canary_that_was_made_anew_is_judged_by_its_newest_result(order: str, tmp_path: Path) -> None:
    """The bad one is an older take, or gone: the new one goes alone, is as asked, and the others follow."""
    out, prompt = tmp_path / "out", "A boat"
    jobs = [{"name": "boat", "prompt": prompt}, {"name": "swan"}]
    async with Sandbox(faults=[SMALL]) as sandbox:
        bad = await summary_of(sandbox, out, manifest_of(tmp_path, *jobs), canary=True)
        if order == "edit":
            jobs[0]["prompt"] = "A red boat"
        if order == "gone":
            del jobs[0]
        options = {"reroll": ["boat"]} if order == "reroll" else {}
        mended = await summary_of(sandbox, out, manifest_of(tmp_path, *jobs), canary=True, **options)

        assert 1 + (order != "gone") + 1 == len(sandbox.paid_tasks)
    assert ExitCode.CANARY == bad.exit_code
    assert ExitCode.OK == mended.exit_code


async def test_a_bad_canary_that_was_finished_is_judged_by_its_final(tmp_path: Path) -> None:
    """It is kept all the same, and its final is as asked: the next job of the kind may go."""
    out, jobs = tmp_path / "out", [{"name": "boat"}, {"name": "swan"}]
    async with Sandbox(faults=[SMALL]) as sandbox:
        manifest = manifest_of(tmp_path, *jobs)
        await summary_of(sandbox, out, manifest, canary=True)
        picks.write(out, "boat", tuple(lines_of(out)["boat"]["task_ids"]), pick="keep")
        await summary_of(sandbox, out, manifest, finish={"prompt": "A red boat"})
        assert 2 == len(sandbox.paid_tasks)
        done = await summary_of(sandbox, out, manifest, canary=True)

        assert 3 == len(sandbox.paid_tasks)
    assert ExitCode.OK == done.exit_code


async def test_a_bad_canary_stops_nothing_where_there_is_nothing_to_send(tmp_path: Path) -> None:
    """All is saved, by a run that accepted it; a job more is held back, for the newest result is bad."""
    out, jobs = tmp_path / "out", [{"name": "boat"}, {"name": "swan"}]
    always = Fault(effect="deliver", on="media", fields={"size": "512x512"}, count=None)
    async with Sandbox(faults=[always]) as sandbox:
        await run_once(sandbox, out, manifest_of(tmp_path, *jobs))
        done = await summary_of(sandbox, out, manifest_of(tmp_path, *jobs), canary=True)
        assert (ExitCode.OK, None) == (done.exit_code, done.stopped)
        more = await summary_of(sandbox, out, manifest_of(tmp_path, *jobs, {"name": "fox"}), canary=True)

        assert 2 == len(submits(sandbox))
    assert ExitCode.CANARY == more.exit_code


# --- names


@pytest.mark.parametrize("names", [("a", "a-before-edit"), ("a-before-edit", "a")])
async def test_no_line_is_dropped_that_is_called_as_a_job_was(names: tuple[str, ...], tmp_path: Path) -> None:
    """After an edit and back: in whatever order they stand, it is told that one result is there for both."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        made = [
            await run_once(sandbox, out, manifest_of(tmp_path, {"name": "a", "prompt": prompt}))
            for prompt in ("A boat", "A red boat", "A boat")
        ]
        both = manifest_of(tmp_path, *({"name": name, "prompt": "A boat"} for name in names))
        with pytest.raises(ManifestError) as refused:
            await run_once(sandbox, out, both)
        ((line, field, reason),) = refused.value.problems
        assert 2 == len(submits(sandbox))
        others = manifest_of(tmp_path, *({"name": name, "prompt": "A boat"} for name in ("a", "b")))
        results = await run_once(sandbox, out, others)

        assert 3 == len(sandbox.paid_tasks)
    assert (2, "name") == (line, field)
    assert f"{names[1]!r} is the former name of {names[0]!r}, at line 1, and both ask for the same" in reason
    assert {"saved": 2} == states(results)
    assert made[0]["a"].task_ids == results["a"].task_ids
    assert {"a": None, "b": None, "a-before-edit-2": "a"} == {
        name: line["older_of"] for name, line in lines_of(out).items()
    }


async def test_an_older_result_that_a_line_asks_for_is_a_job_again(tmp_path: Path) -> None:
    """Under the name that it has: it is paid already, and no older take any more."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        for prompt in ("A boat", "A red boat"):
            await run_once(sandbox, out, manifest_of(tmp_path, {"name": "a", "prompt": prompt}))
        jobs = ({"name": "a", "prompt": "A red boat"}, {"name": "a-before-edit", "prompt": "A boat"})
        summary = await summary_of(sandbox, out, manifest_of(tmp_path, *jobs))

        assert 2 == len(sandbox.paid_tasks)
    assert ({State.SAVED: 2}, {}) == (summary.counts, summary.others)
    assert {None} == {line["older_of"] for line in lines_of(out).values()}


async def test_a_programs_result_has_the_names_that_its_files_have(tmp_path: Path) -> None:
    """Also in the run in which an edit is taken back: the files get the job's name before it is yielded."""
    out = tmp_path / "out"
    boat, red = (Job(NanoBananaPro(prompt=prompt), name="boat") for prompt in ("A boat", "A red boat"))
    async with Sandbox() as sandbox:
        for job in (boat, red, boat):
            async with opened(sandbox, out) as batch:
                (result,) = [each async for each in batch.run([job]) if each.older_of is None]
                assert [out / "boat.png"] == list(result.files)
                assert all(path.is_file() for path in result.files)

        assert 2 == len(sandbox.paid_tasks)


async def test_an_edit_that_is_taken_back_is_no_paid_one(tmp_path: Path) -> None:
    """It is an edit still, and its result is found: what is told of the money goes by the difference."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        told = []
        manifest = tmp_path / "jobs.jsonl"
        for prompt in ("A boat", "A red boat", "A boat"):
            manifest_of(tmp_path, {"name": "a", "prompt": prompt})
            told.append((await summary_of(sandbox, out, manifest)).changes)
        for prompt in ("A fox", "A hare", "A fox"):
            manifest.write_text(f'{{"model": "nano-banana-pro", "prompt": "{prompt}"}}\n')
            told.append((await summary_of(sandbox, out, manifest)).changes)

        assert 4 == len(sandbox.paid_tasks)
    assert [(0, 0), (1, 0), (1, 1), (0, 0), (1, 0), (1, 1)] == [(each.edited, each.found) for each in told]
    assert [1, 0, 0, 1, 0, 0] == [each.added for each in told]


# --- the cap, where nobody says what anything costs


@pytest.mark.parametrize("order", [{"retry_failed": True}, {"reroll": ["boat"]}])
async def test_what_nobody_told_the_price_of_stays_held_when_it_is_made_anew(
    order: dict[str, Any], tmp_path: Path
) -> None:
    """Each attempt may be charged: under a cap no second one leaves, in no run, nor does any other job."""
    out, boat = tmp_path / "out", {"name": "boat", "prompt": FAILS}
    async with Sandbox(faults=UNTOLD, conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        first = await summary_of(sandbox, out, manifest_of(tmp_path, boat), max_credits=PRICE)
        assert 1 == len(sandbox.tasks)
        held = [
            await summary_of(sandbox, out, manifest_of(tmp_path, boat), max_credits=PRICE, **order)
            for _ in range(3)
        ]
        gone = manifest_of(tmp_path, {"name": "swan"})
        assert isinstance((await summary_of(sandbox, out, gone, max_credits=PRICE)).stopped, CreditCapError)

        assert 1 == len(sandbox.tasks)
        await summary_of(sandbox, out, manifest_of(tmp_path, boat), **order)  # without a cap it may go
        assert 2 == len(sandbox.tasks)
    assert ExitCode.FAILED == first.exit_code
    assert {ExitCode.OUT_OF_CREDITS} == {each.exit_code for each in held}
