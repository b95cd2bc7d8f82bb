"""Takes of a job: the newest result has the name, older ones move; re-rolls, renamed jobs, and jobs gone."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from seedance_async import ConfigurationError, Job, NanoBananaPro
from seedance_async.batch import picks
from seedance_async.batch.report import write_gallery
from seedance_async.batch.run_options import PlanOptions
from seedance_async.batch.survey import survey
from seedance_async.errors import CreditCapError
from seedance_async.exit_codes import ExitCode
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, opened, results_of, run_once, states, submits

if TYPE_CHECKING:
    from pathlib import Path

ONE_PRICE = Conditions(price=lambda _: PRICE)


def manifest_of(path: Path, *jobs: dict[str, Any]) -> Path:
    """A manifest of pictures, each with a prompt of its own unless one is given."""
    lines = [{"model": "nano-banana-pro", "prompt": f"A boat, {job.get('name')}", **job} for job in jobs]
    manifest = path / "jobs.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def lines_of(out: Path) -> dict[str, dict[str, Any]]:
    """The lines of the results."""
    return {line["name"]: line for line in map(json.loads, (out / "results.jsonl").read_text().splitlines())}


def task_of(path: Path) -> str:
    """The task that a file is of, by its sidecar, which names this file."""
    story = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert path.name == story["file"] == story["main_file"]
    assert path.stem == story["name"].rpartition("/")[2]
    return str(story["task_id"])


# --- edits


async def test_the_newest_result_of_an_edited_job_has_its_name(tmp_path: Path) -> None:
    """On disk, in the results and the sidecars alike; each edit moves the one before away."""
    out = tmp_path / "out"
    tasks = []
    async with Sandbox() as sandbox:
        for prompt in ("A boat", "A red boat", "A blue boat"):
            manifest = manifest_of(tmp_path, {"name": "boat", "prompt": prompt})
            tasks.append((await run_once(sandbox, out, manifest))["boat"].task_ids[0])

    assert tasks == [task_of(out / f"boat{end}.png") for end in ("-before-edit", "-before-edit-2", "")]
    lines = lines_of(out)
    assert [[f"{name}.png"] for name in lines] == [line["files"] for line in lines.values()]
    assert {"boat": None, "boat-before-edit": "boat", "boat-before-edit-2": "boat"} == {
        name: line["older_of"] for name, line in lines.items()
    }


async def test_an_edit_taken_back_gives_the_first_result_its_name_again(tmp_path: Path) -> None:
    """Both were made already: nothing is paid, and the file of the job is what it asks for."""
    out = tmp_path / "out"
    first = {"name": "boat", "prompt": "A boat"}
    async with Sandbox() as sandbox:
        one = (await run_once(sandbox, out, manifest_of(tmp_path, first)))["boat"].task_ids[0]
        edited = manifest_of(tmp_path, {"name": "boat", "prompt": "A red boat"})
        two = (await run_once(sandbox, out, edited))["boat"].task_ids[0]
        (back,) = (await run_once(sandbox, out, manifest_of(tmp_path, first))).values()

        assert 2 == len(sandbox.paid_tasks)
    assert (one, (out / "boat.png",)) == (back.task_ids[0], back.files)
    assert (one, two) == (task_of(out / "boat.png"), task_of(out / "boat-before-edit-2.png"))
    assert 2 == len(list(out.glob("*.png")))


async def test_a_file_keeps_its_name_until_there_is_a_newer_one(tmp_path: Path) -> None:
    """The edited job fails: what was made before is still the newest result, and the results say whose."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "boat", "prompt": "A boat"}))
        before = (out / "boat.png").read_bytes()
        broken = manifest_of(tmp_path, {"name": "boat", "prompt": "A red boat [[sandbox:fail]]"})
        await run_once(sandbox, out, broken)

    lines = lines_of(out)
    assert ("failed", []) == (lines["boat"]["state"], lines["boat"]["files"])
    assert ["boat.png"] == lines["boat-before-edit"]["files"]
    assert before == (out / "boat.png").read_bytes()


async def test_files_of_strangers_are_never_written_over(tmp_path: Path) -> None:
    """The older result takes the next name that is free, for itself or for its sidecar."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "boat", "prompt": "A boat"}))
        (out / "boat-before-edit.png").write_bytes(b"holiday")
        (out / "boat-before-edit-2.png.json").write_text('{"mine": true}')
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "boat", "prompt": "A red boat"}))

    lines = lines_of(out)
    assert ["boat-before-edit-3.png"] == lines["boat-before-edit"]["files"]
    assert (out / "boat-before-edit-3.png").exists()
    assert b"holiday" == (out / "boat-before-edit.png").read_bytes()
    assert '{"mine": true}' == (out / "boat-before-edit-2.png.json").read_text()
    assert ["boat.png"] == lines["boat"]["files"]


async def test_where_there_are_no_hard_links_files_are_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On such a file system each file has one name at a time, and still none is written over."""

    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "boat", "prompt": "A boat"}))
        (out / "boat-before-edit.png").write_bytes(b"holiday")
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "boat", "prompt": "A red boat"}))

    assert {"boat": ["boat.png"], "boat-before-edit": ["boat-before-edit-2.png"]} == {
        name: line["files"] for name, line in lines_of(out).items()
    }
    assert b"holiday" == (out / "boat-before-edit.png").read_bytes()
    assert "A red boat" == json.loads((out / "boat.png.json").read_text())["request"]["prompt"]


async def test_a_file_that_was_deleted_is_passed_over(tmp_path: Path) -> None:
    """Also where a stranger has the name that it would get."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "boat", "prompt": "A boat"}))
        (out / "boat.png").unlink()
        (out / "boat-before-edit.png").write_bytes(b"holiday")
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "boat", "prompt": "A red boat"}))

    assert ["boat.png"] == lines_of(out)["boat"]["files"]
    assert ["boat-before-edit-2.png"] == lines_of(out)["boat-before-edit"]["files"]
    assert "A red boat" == json.loads((out / "boat.png.json").read_text())["request"]["prompt"]


async def test_a_link_out_of_the_directory_moves_nothing_out_of_it(tmp_path: Path) -> None:
    """Somebody has turned a folder elsewhere: the job is told, its files stay, and nothing is lost."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "boat", "prompt": "A boat"}))
        (out / "shots").symlink_to(elsewhere)
        renamed = manifest_of(tmp_path, {"name": "shots/boat", "prompt": "A boat"})
        await run_once(sandbox, out, renamed)
        assert [] == list(elsewhere.iterdir())
        assert ["boat.png"] == lines_of(out)["shots/boat"]["files"]
        (out / "shots").unlink()
        await run_once(sandbox, out, renamed)

        assert 1 == len(sandbox.paid_tasks)
    assert task_of(out / "shots" / "boat.png")
    assert not (out / "boat.png").exists()


@pytest.mark.parametrize(
    "template", ["{model}/{index}-{name}.{ext}", "{task_id}.{ext}", "{name}-{take}.{ext}"]
)
async def test_files_move_within_their_template(template: str, tmp_path: Path) -> None:
    """What is not called after the job's name does not move; what is keeps the rest of its path."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        for prompt in ("A boat", "A red boat"):
            manifest = manifest_of(tmp_path, {"name": "boat", "prompt": prompt})
            await run_once(sandbox, out, manifest, output_name=template)

    for line in lines_of(out).values():
        (file,) = line["files"]
        wanted = template.replace("{ext}", "png").format(
            model="nano-banana-pro",
            index="000002" if line["older_of"] is None else "000001",
            name=line["name"],
            take="1",
            task_id=line["task_ids"][0],
        )
        assert wanted == file
        assert (out / file).exists()


async def test_takers_of_an_edited_source_are_told_as_stale_and_keep_their_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The clip's still was made anew under the still's name; the clip is not made again by itself."""
    out = tmp_path / "out"
    clip = {"name": "clip", "image_urls": ["$still.image"]}
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "still"}, clip))
        edited = manifest_of(tmp_path, {"name": "still", "prompt": "Another still"}, clip)
        await run_once(sandbox, out, edited)
        assert 3 == len(sandbox.paid_tasks)
        assert {"clip"} == {name for name, line in lines_of(out).items() if line["stale"]}
        assert any("clip: made from an output that was made again since" in text for text in caplog.messages)

        await run_once(sandbox, out, edited, reroll=["clip"])
    assert {"clip-take-1"} == {name for name, line in lines_of(out).items() if line["stale"]}


# --- re-rolls


async def test_a_reroll_makes_a_job_anew_under_a_new_key(tmp_path: Path) -> None:
    """The same request, another key, another picture; the first one moves when the new one is there."""
    out = tmp_path / "out"
    manifest = manifest_of(tmp_path, {"name": "boat"}, {"name": "swan"})
    async with Sandbox() as sandbox:
        before = (await run_once(sandbox, out, manifest))["boat"]
        after = await run_once(sandbox, out, manifest, reroll=["boat"])

        posts = submits(sandbox)
        assert 3 == len(posts) == len({key for key, _ in posts}) == len(sandbox.paid_tasks)
        assert posts[2][1] in {body for _, body in posts[:2]}
    assert before.task_ids != after["boat"].task_ids
    assert [before.task_ids[0]] == [task_of(out / "boat-take-1.png")]
    assert list(after["boat"].task_ids) == [task_of(out / "boat.png")]
    assert {"boat", "swan"} == set(after)
    assert after["swan"].earlier


async def test_more_takes_of_each_job_that_a_pattern_means(tmp_path: Path) -> None:
    """The last of the new ones has the name; the counts of an estimate are those of the run."""
    out = tmp_path / "out"
    manifest = manifest_of(tmp_path, {"name": "still-1"}, {"name": "still-2"}, {"name": "sheet"})
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        await run_once(sandbox, out, manifest)
        found = await survey(manifest, out, PlanOptions(reroll=("still-*",), takes=2))
        async with opened(sandbox, out, reroll=["still-*"], takes=2) as batch:
            await results_of(batch, manifest)

        assert 4 == sum(found.posts().values()) == batch.summary.rerolled
        assert 7 == len(sandbox.paid_tasks) == len({key for key, _ in submits(sandbox)})
        assert 7 * PRICE == batch.summary.credits_used
        await run_once(sandbox, out, manifest, reroll=["still-1"])
    stills = {f"still-{still}{take}" for still in "12" for take in ("", "-take-1", "-take-2")}
    lines = lines_of(out)
    assert stills | {"sheet", "still-1-take-3"} == set(lines)
    assert [[f"{name}.png"] for name in lines] == [line["files"] for line in lines.values()]


async def test_equal_pictures_of_a_reroll_share_a_post(tmp_path: Path) -> None:
    """As the takes of a line with ``repeat`` do, each of which is a job of its own."""
    hat = {"name": "hat", "model": "gpt-image-2", "prompt": "A hat", "repeat": 2}
    manifest = manifest_of(tmp_path, hat)
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest)
        posts = len(submits(sandbox))
        await run_once(sandbox, tmp_path / "out", manifest, reroll=["hat*"], takes=2)

        assert posts + 1 == len(submits(sandbox))
        assert 6 == len(sandbox.paid_tasks)
    names = {f"{hat}{take}" for hat in ("hat", "hat-2") for take in ("", "-take-1", "-take-2")}
    lines = lines_of(tmp_path / "out")
    assert names == set(lines)
    assert [[f"{name}.png"] for name in lines] == [line["files"] for line in lines.values()]


@pytest.mark.parametrize("after", [0.0, 5.0, 60.0, 200.0, 400.0])
async def test_a_reroll_that_was_cut_off_is_not_paid_twice_by_its_repetition(
    after: float, tmp_path: Path
) -> None:
    """However far it came: the same order again finishes what the first one began, and begins nothing."""
    manifest = manifest_of(tmp_path, {"name": "boat"}, {"name": "swan"})
    order: dict[str, Any] = {"reroll": ["boat", "swan"], "takes": 2}
    lasts = iter([10.0, 10.0, 50.0, 150.0, 300.0, 500.0, *[10.0] * 4])
    slow = Conditions(duration=lambda _request, _chance: next(lasts))
    async with Sandbox(conditions=slow) as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest)
        with anyio.move_on_after(after):
            await run_once(sandbox, tmp_path / "out", manifest, **order)
        await run_once(sandbox, tmp_path / "out", manifest, **order)

        assert 6 == len(sandbox.paid_tasks) == len({key for key, _ in submits(sandbox)})
        await run_once(sandbox, tmp_path / "out", manifest, **order)  # the first came to its end: another one
        assert 10 == len(sandbox.paid_tasks)


async def test_a_job_done_in_a_run_that_was_cut_off_is_not_made_anew_by_its_repetition(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is saved, and others of the run were not: whoever repeats the command wants no third take."""
    manifest = manifest_of(tmp_path, {"name": "boat"}, {"name": "swan"})
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest)
        async with opened(sandbox, tmp_path / "out", reroll=["*"]) as batch:
            async for result in batch.run(manifest):
                assert not result.earlier
                break
        results = await run_once(sandbox, tmp_path / "out", manifest, reroll=["*"])

        assert {"saved": 2} == states(results)
        assert 4 == len(sandbox.paid_tasks)
    assert any("boat, swan: not finished yet" in text for text in caplog.messages)


async def test_an_order_is_open_until_its_batch_is_closed_in_good_order(tmp_path: Path) -> None:
    """What comes after the run belongs to the command: if that dies, its repetition makes no other take."""
    out, manifest = tmp_path / "out", manifest_of(tmp_path, {"name": "boat"})
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest)
        with suppress(ZeroDivisionError):
            async with opened(sandbox, out, reroll=["boat"]) as batch:
                await results_of(batch, manifest)
                raise ZeroDivisionError
        assert 2 == len(sandbox.paid_tasks)
        async with opened(sandbox, out, reroll=["boat"]) as batch:
            await results_of(batch, manifest)
            await results_of(batch, manifest)
        assert 2 == len(sandbox.paid_tasks)
        await run_once(sandbox, out, manifest, reroll=["boat"])

        assert 3 == len(sandbox.paid_tasks)


async def test_what_failed_is_made_anew_once_though_the_command_dies_and_is_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It failed once more in the run that died; the repetition says so, and a further one makes it anew."""
    out, manifest = tmp_path / "out", manifest_of(tmp_path, {"name": "a", "prompt": "It [[sandbox:fail]]"})
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest)
        with suppress(ZeroDivisionError):
            async with opened(sandbox, out, retry_failed=True) as batch:
                await results_of(batch, manifest)
                raise ZeroDivisionError
        results = await run_once(sandbox, out, manifest, retry_failed=True)
        assert {"failed": 1} == states(results)
        assert 2 == len(submits(sandbox))
        assert any("a: not finished yet" in text for text in caplog.messages)
        await run_once(sandbox, out, manifest, retry_failed=True)

        assert 3 == len(submits(sandbox))


async def test_a_new_job_is_made_once_however_often_it_is_ordered_anew(tmp_path: Path) -> None:
    """There is nothing to make anew yet; and the command that made it may have been cut off at its end."""
    manifest = manifest_of(tmp_path, {"name": "boat"}, {"name": "swan"})
    async with Sandbox() as sandbox:
        async with opened(sandbox, tmp_path / "out", reroll=["*"]) as batch:
            async for _ in batch.run(manifest):
                break
        await run_once(sandbox, tmp_path / "out", manifest, reroll=["*"])

        assert 2 == len(sandbox.paid_tasks)


async def test_a_cap_stops_a_reroll_and_the_next_run_goes_on_with_it(tmp_path: Path) -> None:
    """With the order or without; and the older takes keep their names as long as nothing newer is there."""
    manifest = manifest_of(tmp_path, {"name": "boat"}, {"name": "swan"})
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest)
        async with opened(sandbox, tmp_path / "out", reroll=["*"], max_credits=3 * PRICE) as batch:
            await results_of(batch, manifest)
            assert isinstance(batch.summary.stopped, CreditCapError)
            assert ExitCode.OUT_OF_CREDITS == batch.summary.exit_code
        assert 3 == len(sandbox.paid_tasks)
        assert ["swan.png"] == lines_of(tmp_path / "out")["swan-take-1"]["files"]
        await run_once(sandbox, tmp_path / "out", manifest, reroll=["*"], max_credits=9 * PRICE)

        assert 4 == len(sandbox.paid_tasks)
    assert ["swan-take-1.png"] == lines_of(tmp_path / "out")["swan-take-1"]["files"]


async def test_an_uncertain_job_gets_no_other_take(tmp_path: Path) -> None:
    """It may be paid: its own key decides, and the order says that it is not finished."""
    manifest = manifest_of(tmp_path, {"name": "boat"})
    async with Sandbox() as sandbox:
        sandbox.faults.add(Fault(effect="drop", on="submit", moment="after", count=None))
        await run_once(sandbox, tmp_path / "out", manifest)
        assert 1 == len(sandbox.paid_tasks)
        sandbox.faults.clear()
        results = await run_once(sandbox, tmp_path / "out", manifest, reroll=["boat"])

        assert {"saved": 1} == states(results)
        assert 1 == len(sandbox.paid_tasks) == len({key for key, _ in submits(sandbox)})


async def test_a_failed_take_is_made_anew_in_its_place_and_the_older_file_keeps_the_name(
    tmp_path: Path,
) -> None:
    """The first result is the newest until the third is there."""
    out = tmp_path / "out"
    manifest = manifest_of(tmp_path, {"name": "boat"})
    fails = Fault(effect="status", on="submit", moment="before", status=400)
    async with Sandbox() as sandbox:
        first = (await run_once(sandbox, out, manifest))["boat"].task_ids[0]
        sandbox.faults.add(fails)
        failed = (await run_once(sandbox, out, manifest, reroll=["boat"]))["boat"]
        assert "refused" == failed.state
        assert ["boat.png"] == lines_of(out)["boat-take-1"]["files"]
        third = (await run_once(sandbox, out, manifest, reroll=["boat"]))["boat"]

    assert "saved" == third.state
    assert (first, third.task_ids[0]) == (task_of(out / "boat-take-1.png"), task_of(out / "boat.png"))
    assert {"boat", "boat-take-1"} == set(lines_of(out))


async def test_where_the_last_take_fails_the_newest_that_is_saved_has_the_name(tmp_path: Path) -> None:
    """In the results and on disk; the failed one is on record as the take that it was."""
    out = tmp_path / "out"
    manifest = manifest_of(tmp_path, {"name": "boat"})
    async with Sandbox() as sandbox:
        first = (await run_once(sandbox, out, manifest))["boat"].task_ids[0]
        sandbox.faults.add(Fault(effect="status", on="submit", moment="before", nth=2, status=400))
        await run_once(sandbox, out, manifest, reroll=["boat"], takes=2)
        again = await run_once(sandbox, out, manifest)

        assert {"boat": "saved"} == {name: str(result.state) for name, result in again.items()}
    lines = lines_of(out)
    assert {"boat": "saved", "boat-take-1": "saved", "boat-take-2": "refused"} == {
        name: line["state"] for name, line in lines.items()
    }
    assert first == task_of(out / "boat-take-1.png")
    assert lines["boat"]["task_ids"][0] == task_of(out / "boat.png") != first


async def test_a_job_without_a_name_is_made_anew_by_the_name_it_got(tmp_path: Path) -> None:
    """And recognised by its request still: the newest take is the one of its line."""
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text('{"model": "nano-banana-pro", "prompt": "A boat"}\n')
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest)
        await run_once(sandbox, tmp_path / "out", manifest, reroll=["job-000001"])
        manifest.write_text('\n{"model": "nano-banana-pro", "prompt": "A boat"}\n')
        results = await run_once(sandbox, tmp_path / "out", manifest)

        assert 2 == len(sandbox.paid_tasks)
    assert {"job-000001"} == set(results)
    assert {"job-000001": None, "job-000001-take-1": "job-000001"} == {
        name: line["older_of"] for name, line in lines_of(tmp_path / "out").items()
    }


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"reroll": ["bote"]}, "matches 'bote'; did you mean 'boat'?"),
        ({"reroll": ["boat", "x*"]}, "matches 'x\\*'"),
        ({"reroll": ["rejected"]}, "run seedance review first"),
        ({"reroll": [""]}, "reroll must be a list of names"),
        ({"reroll": 3}, "reroll must be a list of names"),
        ({"takes": 2}, "takes says how many"),
        ({"reroll": ["boat"], "takes": 0}, "takes must be"),
    ],
)
async def test_an_order_that_is_not_clear_is_refused_before_anything_is_sent(
    options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """No word that means no job becomes money, nor a job that stands beside it."""
    manifest = manifest_of(tmp_path, {"name": "boat"})
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest)
        with pytest.raises(ConfigurationError, match=reason):
            await run_once(sandbox, tmp_path / "out", manifest, **options)
        await run_once(sandbox, tmp_path / "out", manifest)

        assert 1 == len(sandbox.paid_tasks)


async def test_the_word_for_rejected_jobs_means_those_of_the_review(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pick is of a take: the new one is undecided, so the same order again pays nothing, and says so."""
    out, manifest = tmp_path / "out", manifest_of(tmp_path, {"name": "boat"}, {"name": "swan"})
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, out, manifest)
        picks.write(out, "boat", results["boat"].task_ids, pick="keep")
        picks.write(out, "swan", results["swan"].task_ids, pick="reject")
        picks.write(out, "gone", ("nbp_gone",), pick="reject")
        await run_once(sandbox, out, manifest, reroll=["rejected"])
        assert {"swan-take-1", "swan", "boat"} == set(lines_of(out))
        await run_once(sandbox, out, manifest, reroll=["rejected"])

        assert 3 == len(sandbox.paid_tasks)
        named = manifest_of(tmp_path, {"name": "boat"}, {"name": "rejected"})
        with pytest.raises(ConfigurationError, match="is a job's name and the word"):
            await run_once(sandbox, out, named, reroll=["rejected"])
    assert any("no job of the manifest is rejected" in text for text in caplog.messages)


async def test_what_is_rejected_is_asked_of_the_journal(tmp_path: Path) -> None:
    """Results that were copied back tell of the take before, and it is made anew no second time."""
    out, manifest = tmp_path / "out", manifest_of(tmp_path, {"name": "boat"})
    async with Sandbox() as sandbox:
        boat = (await run_once(sandbox, out, manifest))["boat"]
        picks.write(out, "boat", boat.task_ids, pick="reject")
        before = (out / "results.jsonl").read_bytes()
        await run_once(sandbox, out, manifest, reroll=["rejected"])
        (out / "results.jsonl").write_bytes(before)
        await run_once(sandbox, out, manifest, reroll=["rejected"])

        assert 2 == len(sandbox.paid_tasks)


async def test_a_name_that_looks_like_a_pattern_means_its_job_alone(tmp_path: Path) -> None:
    """What is a job's very name is no pattern."""
    manifest = manifest_of(tmp_path, {"name": "boat*"}, {"name": "boats"})
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest)
        await run_once(sandbox, tmp_path / "out", manifest, reroll=["boat*"])

    assert {"boat*", "boats", "boat*-take-1"} == set(lines_of(tmp_path / "out"))


async def test_jobs_of_a_program_are_not_ordered_anew_by_name(tmp_path: Path) -> None:
    """They come one by one; who means them can give them another name or a manifest."""
    async with Sandbox() as sandbox:
        with pytest.raises(ConfigurationError, match="give the path of one"):
            await run_once(sandbox, tmp_path, [Job(NanoBananaPro(prompt="A boat"), name="b")], reroll=["b"])

        assert [] == submits(sandbox)


async def test_an_edit_before_the_further_takes_are_made_makes_them_no_more(tmp_path: Path) -> None:
    """They were asked for of the request before; only the edited job is made."""
    manifest = manifest_of(tmp_path, {"name": "boat"})
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest)
        await run_once(sandbox, tmp_path / "out", manifest, reroll=["boat"], takes=3, max_credits=PRICE)
        edited = manifest_of(tmp_path, {"name": "boat", "prompt": "A red boat"})
        await run_once(sandbox, tmp_path / "out", edited)

        assert 2 == len(sandbox.paid_tasks)
    assert {"boat", "boat-take-1"} == set(lines_of(tmp_path / "out"))


async def test_an_edited_line_without_a_name_keeps_the_name_of_its_place(tmp_path: Path) -> None:
    """And gives it back when the edit is taken back; a line put in on top takes no name from any other."""
    out, manifest = tmp_path / "out", tmp_path / "jobs.jsonl"

    async def run(*prompts: str) -> dict[str, str]:
        lines = ({"model": "nano-banana-pro", "prompt": prompt} for prompt in prompts)
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        await run_once(sandbox, out, manifest)
        found = lines_of(out)
        assert [[f"{name}.png"] for name in found] == [line["files"] for line in found.values()]
        return {name: task_of(out / f"{name}.png") for name in found}

    async with Sandbox() as sandbox:
        first = await run("A boat", "A swan")
        edited = await run("A red boat", "A swan")
        assert first["job-000001"] == edited["job-000001-before-edit"]
        assert first["job-000002"] == edited["job-000002"]
        back = await run("A boat", "A swan")
        assert first == {name: back[name] for name in first}
        more = await run("A fox", "A boat", "A swan")
        assert first == {name: more[name] for name in first}
        assert {"job-000001-2"} == more.keys() - back.keys()

        assert 4 == len(sandbox.paid_tasks)


async def test_a_stage_is_left_with_all_new_takes_of_its_jobs(tmp_path: Path) -> None:
    """The pattern means the job; its further takes are no jobs of the manifest."""
    manifest = manifest_of(tmp_path, {"name": "boat"}, {"name": "swan"})
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest, until="boat")
        async with opened(sandbox, tmp_path / "out", reroll=["boat"], takes=2, until="boat") as batch:
            await results_of(batch, manifest)
            assert 1 == batch.summary.later

        assert 3 == len(sandbox.paid_tasks)


async def test_jobs_of_a_program_keep_their_names_too(tmp_path: Path) -> None:
    """An edit is seen as the job comes; further takes that a manifest's run left are made with it."""
    manifest = manifest_of(tmp_path, {"name": "boat"})
    out = tmp_path / "out"
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        first = (await run_once(sandbox, out, manifest))["boat"].task_ids[0]
        await run_once(sandbox, out, manifest, reroll=["boat"], takes=2, max_credits=2 * PRICE)
        await run_once(sandbox, out, [Job(NanoBananaPro(prompt="A boat, boat"), name="boat")])
        assert 3 == len(sandbox.paid_tasks)
        await run_once(sandbox, out, [Job(NanoBananaPro(prompt="A red boat"), name="boat")])

        assert 4 == len(sandbox.paid_tasks)
    assert first == task_of(out / "boat-take-1.png")
    names = {"boat", "boat-take-1", "boat-take-2", "boat-before-edit"}
    assert names == {path.stem for path in out.glob("*.png")} == set(lines_of(out))


# --- renamed jobs


@pytest.mark.parametrize("change", ["edit", "reroll"])
async def test_a_file_gives_up_a_name_that_no_job_has_any_more(change: str, tmp_path: Path) -> None:
    """The job was renamed before its newer result was made: the older file does not keep the name."""
    out, prompt = tmp_path / "out", "A red boat" if change == "edit" else "A boat"
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "a", "prompt": "A boat"}))
        order = {"reroll": ["a"]} if change == "reroll" else {}
        again = manifest_of(tmp_path, {"name": "a", "prompt": prompt})
        with suppress(CreditCapError):
            await run_once(sandbox, out, again, max_credits=PRICE, **order)
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "b", "prompt": prompt}))

        assert 2 == len(sandbox.paid_tasks)
    lines = lines_of(out)
    assert {f"{name}.png" for name in lines} == {path.name for path in out.glob("*.png")}
    assert all(line["task_ids"] == [task_of(out / f"{name}.png")] for name, line in lines.items())


@pytest.mark.parametrize("end", ["refused", "capped"])
async def test_a_renamed_job_keeps_the_takes_from_before_one_that_came_to_nothing(
    end: str, tmp_path: Path
) -> None:
    """Under the new name it stands as it stood under the old one, and is not paid for as a new job."""
    out = tmp_path / "out"
    refusal = Fault(effect="status", on="submit", moment="before", nth=2, status=400)
    async with Sandbox(conditions=ONE_PRICE, faults=[refusal] if end == "refused" else []) as sandbox:
        before = manifest_of(tmp_path, {"name": "a", "prompt": "A boat"})
        await run_once(sandbox, out, before)
        with suppress(CreditCapError):
            await run_once(
                sandbox, out, before, reroll=["a"], max_credits=None if end == "refused" else PRICE
            )
        renamed = manifest_of(tmp_path, {"name": "b", "prompt": "A boat"})
        await run_once(sandbox, out, renamed)
        assert (1 if end == "refused" else 2) == len(sandbox.paid_tasks)
        await run_once(sandbox, out, renamed, retry_failed=True)

        assert 2 == len(sandbox.paid_tasks)
    lines = lines_of(out)
    assert {"b": None, "a-take-1": "b"} == {name: line["older_of"] for name, line in lines.items()}
    assert {"a-take-1.png", "b.png"} == {path.name for path in out.glob("*.png")}


async def test_a_renamed_job_takes_its_result_over_and_tells_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is paid; the file follows, and the older takes of the job belong to the new name."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        first = manifest_of(tmp_path, {"name": "a", "prompt": "A boat"})
        await run_once(sandbox, out, first)
        before = (await run_once(sandbox, out, first, reroll=["a"]))["a"].task_ids[0]
        async with opened(sandbox, out) as batch:
            renamed = manifest_of(tmp_path, {"name": "shots/b", "prompt": "A boat"})
            (result,) = (await results_of(batch, renamed)).values()
            changes = batch.summary.changes
        assert 2 == len(sandbox.paid_tasks)

    assert "'shots/b' is 'a' renamed: its result is taken over; --no-adopt pays for a new one" in caplog.text
    assert (0, 0, 0, 1) == (changes.added, changes.removed, changes.edited, changes.adopted)
    assert (before, [out / "shots" / "b.png"]) == (result.task_ids[0], list(result.files))
    assert before == task_of(out / "shots" / "b.png")
    assert not (out / "a.png").exists()
    assert {"shots/b": None, "a-take-1": "shots/b"} == {
        name: line["older_of"] for name, line in lines_of(out).items()
    }


async def test_who_wants_a_new_result_for_a_renamed_job_pays_for_it(tmp_path: Path) -> None:
    """The one that is gone stays, marked as such, in the results and the gallery."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "a", "prompt": "A boat"}))
        renamed = manifest_of(tmp_path, {"name": "b", "prompt": "A boat"})
        await run_once(sandbox, out, renamed, adopt=False)
        await run_once(sandbox, out, renamed)

        assert 2 == len(sandbox.paid_tasks)
    assert {"a": False, "b": True} == {name: line["in_manifest"] for name, line in lines_of(out).items()}
    page = (await write_gallery(out)).read_text()
    assert 1 == page.count('<span class="mark">not in the manifest</span>')


async def test_a_shot_put_in_between_renumbers_the_others_and_pays_for_itself_alone(tmp_path: Path) -> None:
    """Each number stands for another request now; every result is found again, on disk as well."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        shots = [{"name": f"shot-{number}", "prompt": f"Shot {number}"} for number in range(1, 4)]
        before = await run_once(sandbox, out, manifest_of(tmp_path, *shots))
        prompts = ["Shot 1", "A new shot", "Shot 2", "Shot 3"]
        more = [{"name": f"shot-{n}", "prompt": prompt} for n, prompt in enumerate(prompts, start=1)]
        async with opened(sandbox, out) as batch:
            after = await results_of(batch, manifest_of(tmp_path, *more))
            changes = batch.summary.changes
        assert 4 == len(sandbox.paid_tasks)

    assert (0, 2, 2) == (changes.added, changes.edited, changes.adopted)
    for was, now in ((1, 1), (2, 3), (3, 4)):
        assert before[f"shot-{was}"].task_ids == after[f"shot-{now}"].task_ids
        assert before[f"shot-{was}"].task_ids[0] == task_of(out / f"shot-{now}.png")
    assert 4 == len(list(out.glob("*.png")))


async def test_a_job_that_is_wanted_twice_is_not_renamed(tmp_path: Path) -> None:
    """The first is still in the manifest; two gone ones serve two new ones, and a third is paid."""
    async with Sandbox() as sandbox:
        names = ({"name": "a", "prompt": "A boat"}, {"name": "b", "prompt": "A boat"})
        await run_once(sandbox, tmp_path / "out", manifest_of(tmp_path, *names[:1]))
        await run_once(sandbox, tmp_path / "out", manifest_of(tmp_path, *names))
        assert 2 == len(sandbox.paid_tasks)
        new = [{"name": name, "prompt": "A boat"} for name in "cde"]
        await run_once(sandbox, tmp_path / "out", manifest_of(tmp_path, *new))

        assert 3 == len(sandbox.paid_tasks)
    assert set("cde") == set(lines_of(tmp_path / "out"))


async def test_a_renamed_job_whose_answer_is_still_awaited_keeps_its_key(tmp_path: Path) -> None:
    """It is sent again as it was, and its file gets the new name."""
    async with Sandbox() as sandbox:
        sandbox.faults.add(Fault(effect="drop", on="submit", moment="after", count=None))
        with anyio.move_on_after(10.0):
            await run_once(
                sandbox, tmp_path / "out", manifest_of(tmp_path, {"name": "a", "prompt": "A boat"})
            )
        sandbox.faults.clear()
        renamed = manifest_of(tmp_path, {"name": "b", "prompt": "A boat"})
        results = await run_once(sandbox, tmp_path / "out", renamed)

        assert {"b": "saved"} == {name: str(result.state) for name, result in results.items()}
        assert 1 == len(sandbox.paid_tasks) == len(set(submits(sandbox)))
    assert task_of(tmp_path / "out" / "b.png")


async def test_a_take_of_a_job_is_not_given_to_another_one(tmp_path: Path) -> None:
    """It was made anew because it was no good; and a job that failed has nothing to give."""
    async with Sandbox() as sandbox:
        boat = {"name": "a", "prompt": "A boat"}
        await run_once(sandbox, tmp_path / "out", manifest_of(tmp_path, boat))
        await run_once(sandbox, tmp_path / "out", manifest_of(tmp_path, boat), reroll=["a"])
        await run_once(sandbox, tmp_path / "out", manifest_of(tmp_path, boat, {**boat, "name": "b"}))

        assert 3 == len(sandbox.paid_tasks)


async def test_the_files_of_a_job_that_is_renamed_and_made_anew_in_one_run_get_its_new_name(
    tmp_path: Path,
) -> None:
    """No newer result comes under the former name, which they would wait for."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        first = await run_once(sandbox, out, manifest_of(tmp_path, {"name": "a", "prompt": "A boat"}))
        renamed = manifest_of(tmp_path, {"name": "b", "prompt": "A boat"})
        await run_once(sandbox, out, renamed, reroll=["b"])
        paid = len(sandbox.paid_tasks)

    assert 2 == paid
    assert first["a"].task_ids == (task_of(out / "b-take-1.png"),)
    assert ["b-take-1.png"] == lines_of(out)["b-take-1"]["files"]
    assert not (out / "a.png").exists()


async def test_a_renamed_job_keeps_the_order_that_is_open(tmp_path: Path) -> None:
    """Its newest take is made, the further one is not: the order for its new name begins no other takes."""
    out, lasts = tmp_path / "out", iter([10.0, 1000.0, 10.0])
    slow = Conditions(duration=lambda _request, _chance: next(lasts, 10.0))
    async with Sandbox(conditions=slow) as sandbox:
        manifest = manifest_of(tmp_path, {"name": "a", "prompt": "A boat"})
        await run_once(sandbox, out, manifest)
        with anyio.move_on_after(300.0):
            await run_once(sandbox, out, manifest, reroll=["a"], takes=2)
        assert 3 == len(sandbox.paid_tasks)
        assert 2 == len(list(out.glob("*.png")))
        renamed = manifest_of(tmp_path, {"name": "b", "prompt": "A boat"})
        await run_once(sandbox, out, renamed, reroll=["b"], takes=2)

        assert 3 == len(sandbox.paid_tasks)


async def test_a_renamed_job_is_made_anew_no_more_often_than_under_its_first_name(tmp_path: Path) -> None:
    """It failed and was refunded once already, and the take that followed is on its way."""
    out = tmp_path / "out"
    failing = Conditions(duration=lambda _request, _chance: 100.0)
    async with Sandbox(conditions=failing) as sandbox:
        with anyio.move_on_after(160.0):
            manifest = manifest_of(tmp_path, {"name": "a", "prompt": "A boat [[sandbox:fail]]"})
            await run_once(sandbox, out, manifest, reroll_refunded=1)
        assert 2 == len(submits(sandbox))
        renamed = manifest_of(tmp_path, {"name": "b", "prompt": "A boat [[sandbox:fail]]"})
        await run_once(sandbox, out, renamed, reroll_refunded=1)

        assert 2 == len(submits(sandbox))


async def test_a_renamed_job_is_found_though_the_last_number_is_given_again(tmp_path: Path) -> None:
    """In the same reading an edit that was never sent is taken back, and its number goes to the new name."""
    out = tmp_path / "out"
    a, cat = {"name": "a", "prompt": "A boat"}, {"name": "c", "prompt": "A cat"}
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, manifest_of(tmp_path, a, cat))
        edited = manifest_of(tmp_path, {**a, "prompt": "A blue boat"}, cat)
        await run_once(sandbox, out, edited, until="c")
        await run_once(sandbox, out, manifest_of(tmp_path, a, {**cat, "name": "d"}))

        assert 2 == len(sandbox.paid_tasks)
    assert {"a", "d"} == set(lines_of(out))


# --- jobs gone


async def test_jobs_gone_from_the_manifest_are_marked(tmp_path: Path) -> None:
    """With their older takes; fed back as a manifest, the results say nothing of it to the next run."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        both = manifest_of(tmp_path, {"name": "a"}, {"name": "b"})
        await run_once(sandbox, out, both)
        await run_once(sandbox, out, both, reroll=["a", "b"])
        await run_once(sandbox, out, manifest_of(tmp_path, {"name": "b"}))
        marks = {name: line["in_manifest"] for name, line in lines_of(out).items()}
        assert {"a": False, "a-take-1": False, "b": True, "b-take-1": True} == marks

        page = (await write_gallery(out)).read_text()
        assert 2 == page.count('<span class="mark">not in the manifest</span>')
        assert 1 == page.count('<span class="mark">older take</span>')
        await run_once(sandbox, out, out / "results.jsonl")
        assert 4 == len(sandbox.paid_tasks)
    assert all(line["in_manifest"] for line in lines_of(out).values())


async def test_a_runner_takes_one_name_as_it_is(tmp_path: Path) -> None:
    """A text alone is one name, not its letters."""
    manifest = manifest_of(tmp_path, {"name": "b"}, {"name": "boat"})
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest)
        await run_once(sandbox, tmp_path / "out", manifest, reroll="boat")

        assert 3 == len(sandbox.paid_tasks)
