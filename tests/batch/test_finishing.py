"""Finals of kept takes, end to end: what the sandbox was asked for, and that nothing is paid twice."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from seedance_async import BatchRunner, ConfigurationError, SeedanceClient, ValidationError
from seedance_async.batch import picks, results_reading
from seedance_async.batch.run_options import PlanOptions
from seedance_async.batch.states import State
from seedance_async.batch.survey import survey
from seedance_async.cli.media import PlayStore
from seedance_async.sandbox import Sandbox
from tests.batch.helpers import charged, opened, pictures, results_of, run_once, states, submits
from tests.batch.test_local_files import painted
from tests.batch.test_local_files import run as run_with_store

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async import JobResult

CLIP: dict[str, object] = {"model": "seedance2", "prompt": "A paper boat on a pond", "duration": "4"}
PICTURE: dict[str, object] = {"model": "nano-banana-pro", "prompt": "A red hat"}
BETTER: dict[str, object] = {"resolution": "1080p"}
LARGER: dict[str, object] = {"resolution": "2K"}


def manifest_of(directory: Path, **jobs: dict[str, object]) -> Path:
    """A manifest of these jobs by name."""
    path = directory / "jobs.jsonl"
    path.write_text("".join(json.dumps({"name": name, **job}) + "\n" for name, job in jobs.items()))
    return path


def keep(directory: Path, *names: str) -> None:
    """Keep takes as the review page does."""
    found = results_reading.read(directory)
    for name in names:
        picks.write(directory, name, found[name].task_ids, pick="keep")


def bodies(sandbox: Sandbox, *, after: int = 0) -> list[dict[str, Any]]:
    """What was asked for, without the first so many."""
    return [json.loads(body) for _, body in submits(sandbox)][after:]


async def begun(
    sandbox: Sandbox, directory: Path, *, kept: tuple[str, ...], **jobs: dict[str, object]
) -> Path:
    """A batch that was run once, and of which some takes are kept; the manifest."""
    manifest = manifest_of(directory, **jobs)
    await run_once(sandbox, directory / "out", manifest)
    keep(directory / "out", *kept)
    return manifest


async def finished(
    sandbox: Sandbox,
    manifest: Path,
    changes: dict[str, object] = LARGER,
    **options: Any,  # noqa: ANN401 - whatever a runner takes
) -> dict[str, JobResult]:
    """Run the finals."""
    return await run_once(sandbox, manifest.parent / "out", manifest, finish=changes, **options)


async def test_a_kept_take_is_made_again_with_its_seed_and_the_changed_fields_once(tmp_path: Path) -> None:
    """The seed is that which the API told of; nothing else is sent, and asking again pays nothing."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=CLIP, fox={**CLIP, "prompt": "A fox"})
        (boat,) = [task for task in sandbox.tasks.values() if task.request.prompt == CLIP["prompt"]]
        first = await finished(sandbox, manifest, BETTER)
        paid = charged(sandbox)
        second = await finished(sandbox, manifest, BETTER)
        plain = await run_once(sandbox, tmp_path / "out", manifest)

        (before,) = [body for body in bodies(sandbox)[:2] if body["prompt"] == CLIP["prompt"]]
        assert [before | BETTER | {"seed": boat.seed}] == bodies(sandbox, after=2)
        assert paid == charged(sandbox)
        assert 3 == len(sandbox.paid_tasks)
    assert State.SAVED is first["boat-final"].state is second["boat-final"].state
    assert (tmp_path / "out" / "boat-final.mp4").is_file()
    assert "boat" in plain


async def test_a_run_that_died_is_gone_on_with_and_pays_nothing_twice(tmp_path: Path) -> None:
    """One POST for each final, under its own key, though the first run ended after the first of them."""
    jobs = {name: {**PICTURE, "prompt": f"A boat, {name}"} for name in ("a", "b", "c")}
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("a", "b", "c"), **jobs)
        async with opened(sandbox, tmp_path / "out", finish=LARGER, max_in_flight=1) as batch:
            async for result in batch.run(manifest):
                if result.name.endswith("-final"):
                    break
        sent = len(submits(sandbox))
        await run_once(sandbox, tmp_path / "out", manifest)  # without finals: theirs are left alone
        assert sent == len(submits(sandbox))
        results = await finished(sandbox, manifest)

        assert 3 < sent < 6
        assert 6 == len(submits(sandbox)) == len({key for key, _ in submits(sandbox)})
        assert 6 == len(sandbox.paid_tasks)
    assert {"a-final", "b-final", "c-final"} <= {
        name for name, each in results.items() if each.state is State.SAVED
    }


async def test_all_finals_are_checked_before_one_is_sent(tmp_path: Path) -> None:
    """One bad request among good ones; the message says which, and how to have the good ones."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat", "hat"), boat=CLIP, hat=PICTURE)
        with pytest.raises(ValidationError) as refused:
            await finished(sandbox, manifest, BETTER)
        assert 2 == len(submits(sandbox))

        await finished(sandbox, manifest, BETTER, until="b*")
        assert ["1080p"] == [body["resolution"] for body in bodies(sandbox, after=2)]
    assert ["resolution", "until"] == [field for field, _ in refused.value.problems]
    assert "(hat)" in str(refused.value)
    assert "boat can be so" in str(refused.value)


@pytest.mark.parametrize(
    ("job", "changes"),
    [({**CLIP, "quality_tier": "mini"}, BETTER), (PICTURE, LARGER)],
    ids=["mini", "picture"],
)
async def test_where_there_is_no_field_for_a_seed_one_line_says_so(
    job: dict[str, object], changes: dict[str, object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the final is made without one."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("it",), it=job)
        await finished(sandbox, manifest, changes)
        (sent,) = bodies(sandbox, after=1)

    assert "seed" not in sent
    assert changes["resolution"] == sent["resolution"]
    assert 1 == sum("made without a seed" in line for line in caplog.messages)


async def test_a_seed_that_is_set_is_the_seed(tmp_path: Path) -> None:
    """Whoever asks for another one gets it."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=CLIP)
        await finished(sandbox, manifest, {"seed": 7})

        assert [7] == [body["seed"] for body in bodies(sandbox, after=1)]


async def test_other_fields_and_back_again_pay_for_each_once(tmp_path: Path) -> None:
    """What was made with the first fields stays under another name, and is found there."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=PICTURE)
        square: dict[str, object] = {"image_size": "1:1"}
        for changes in (LARGER, square, LARGER, square):
            await finished(sandbox, manifest, changes)

        assert 3 == len(submits(sandbox)) == len(sandbox.paid_tasks)
    made = {line.name: line for line in results_reading.read(tmp_path / "out").values()}
    assert {"2K", "1K"} == {line.fields["resolution"] for name, line in made.items() if "-final" in name}
    assert all((tmp_path / "out" / file).is_file() for line in made.values() for file in line.files)


async def test_what_is_made_so_already_is_not_made_again(tmp_path: Path) -> None:
    """Fields that the take has cost nothing."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=PICTURE)
        with pytest.raises(ConfigurationError, match="made with these fields already"):
            await finished(sandbox, manifest, {"resolution": "1K"})

        assert 1 == len(submits(sandbox))


async def test_finals_are_not_finished_themselves(tmp_path: Path) -> None:
    """One that is kept as well is left out."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=PICTURE)
        await finished(sandbox, manifest)
        keep(tmp_path / "out", "boat-final")
        await finished(sandbox, manifest)
        assert 2 == len(submits(sandbox))

        with pytest.raises(ConfigurationError, match="nothing that is kept can be finished"):
            await finished(sandbox, manifest, until="boat-final")


async def test_a_take_of_which_nothing_came_is_not_finished(tmp_path: Path) -> None:
    """Nobody can have seen it."""
    async with Sandbox() as sandbox:
        doomed = {**PICTURE, "prompt": "It fails [[sandbox:fail]]"}
        manifest = await begun(sandbox, tmp_path, kept=("boat", "doomed"), boat=PICTURE, doomed=doomed)
        await finished(sandbox, manifest)

        assert [PICTURE["prompt"]] == [body["prompt"] for body in bodies(sandbox, after=2)]


async def test_a_job_that_is_called_like_a_final_keeps_its_name(tmp_path: Path) -> None:
    """The final takes the next one."""
    other = {**PICTURE, "prompt": "Another"}
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=PICTURE, **{"boat-final": other})
        await finished(sandbox, manifest)
        results = await finished(sandbox, manifest)

        assert 3 == len(submits(sandbox))
    assert (tmp_path / "out" / "boat-final-2.png").is_file()
    assert Counter(saved=3) == states(results)


@pytest.mark.parametrize("name", ["boat-final", "hero"])
@pytest.mark.parametrize("at_once", [False, True])
async def test_a_final_that_was_put_into_the_manifest_is_not_made_again(
    name: str, at_once: bool, tmp_path: Path
) -> None:
    """Under whatever name: the manifest's job is the final, and has what was made."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=PICTURE)
        made = (await finished(sandbox, manifest))["boat-final"]
        manifest_of(tmp_path, boat=PICTURE, **{name: {**PICTURE, **LARGER}})
        if not at_once:
            await run_once(sandbox, tmp_path / "out", manifest)
        results = await finished(sandbox, manifest)
        await run_once(sandbox, tmp_path / "out", manifest)

        assert 2 == len(submits(sandbox))
    assert {"boat", name} == set(results_reading.read(tmp_path / "out"))
    assert made.task_ids == results[name].task_ids


async def test_a_final_that_the_manifest_asks_for_is_made_as_its_job(tmp_path: Path) -> None:
    """One final for each job that is there; a second kept take of the same gets one of its own."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=PICTURE)
        await run_once(sandbox, tmp_path / "out", manifest, reroll=["boat"])
        keep(tmp_path / "out", "boat")
        manifest_of(tmp_path, boat=PICTURE, hero={**PICTURE, **LARGER}, fox={**PICTURE, "prompt": "A fox"})
        for _ in range(2):
            await finished(sandbox, manifest)
        assert ["2K", "2K"] == [body["resolution"] for body in bodies(sandbox, after=2)]
        await run_once(sandbox, tmp_path / "out", manifest)

        assert ["A fox"] == [body["prompt"] for body in bodies(sandbox, after=4)]


async def test_a_kept_take_is_finished_though_its_job_was_edited(tmp_path: Path) -> None:
    """What was seen is what is made again, not what the line says now; the edited line is not sent either."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=PICTURE)
        manifest_of(tmp_path, boat={**PICTURE, "prompt": "A whale"})
        await finished(sandbox, manifest)

        assert [(PICTURE["prompt"], "2K")] == [
            (body["prompt"], body["resolution"]) for body in bodies(sandbox, after=1)
        ]


async def test_a_final_is_found_again_though_its_take_has_another_name_by_now(tmp_path: Path) -> None:
    """The line was edited, and the kept take is the one before the edit: its final is paid already."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=PICTURE)
        await finished(sandbox, manifest)
        manifest_of(tmp_path, boat={**PICTURE, "prompt": "A whale"})
        await run_once(sandbox, tmp_path / "out", manifest)
        assert 3 == len(submits(sandbox))
        results = await finished(sandbox, manifest)

        assert 3 == len(submits(sandbox))
    assert State.SAVED is results["boat-final"].state


async def test_what_a_take_was_made_of_is_what_its_final_is_made_of(tmp_path: Path) -> None:
    """By its link; and where that was made anew since, nothing is sent."""
    linked = {**CLIP, "image_url": "$hat.image"}
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=linked, hat=PICTURE)
        await finished(sandbox, manifest, BETTER)
        clip, final = [body for body in bodies(sandbox) if "image_url" in body]
        assert clip["image_url"].split("?")[0] == final["image_url"].split("?")[0]

        manifest_of(tmp_path, boat=linked, hat={**PICTURE, "prompt": "A blue hat"})
        sent = len(submits(sandbox))
        with pytest.raises(ValidationError, match=r"hat\.image'.*made again"):
            await finished(sandbox, manifest, {"resolution": "1080p", "generate_audio": False})
        assert sent == len(submits(sandbox))


async def test_a_final_belongs_to_the_project_of_its_take(tmp_path: Path) -> None:
    """Its costs are those of the project, not of the batch's directory."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat={**PICTURE, "project": "harbour"})
        await finished(sandbox, manifest)

    results = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {"boat": "harbour", "boat-final": "harbour"} == {each["name"]: each["project"] for each in results}


async def test_the_cap_is_the_batchs(tmp_path: Path) -> None:
    """Finals are paid from the same credits as everything else in the directory."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=PICTURE)
        results = await finished(sandbox, manifest, {"image_size": "1:1"}, max_credits=charged(sandbox) + 1)

        assert 1 == len(submits(sandbox))
    assert State.PLANNED is results["boat-final"].state


async def test_finals_are_surveyed_before_they_are_paid_for(tmp_path: Path) -> None:
    """The survey counts them, and leaves no trace in the directory."""
    async with Sandbox() as sandbox:
        manifest = await begun(
            sandbox, tmp_path, kept=("boat",), boat=PICTURE, fox={**PICTURE, "prompt": "A fox"}
        )
        found = await survey(manifest, tmp_path / "out", PlanOptions(finish=LARGER))
        results = await run_once(sandbox, tmp_path / "out", manifest)

        assert 2 == len(submits(sandbox))
    assert [1] == list(found.jobs(State.PLANNED).values())
    assert {"boat", "fox"} == set(results)


async def test_without_anything_kept_nothing_is_begun(tmp_path: Path) -> None:
    """Neither without picks nor with a pattern that none of them has; nor are streamed jobs finished."""
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=(), boat=PICTURE)
        picks.write(tmp_path / "out", "boat", ("sd2_other",), pick="reject")
        with pytest.raises(ConfigurationError, match="nothing is kept"):
            await finished(sandbox, manifest)
        keep(tmp_path / "out", "boat")
        with pytest.raises(ConfigurationError, match="no take that is kept has a name"):
            await finished(sandbox, manifest, until="whale")
        with pytest.raises(ConfigurationError, match="give the path of one"):
            await run_once(sandbox, tmp_path / "streamed", pictures(1), finish=LARGER)

        assert 1 == len(submits(sandbox))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "mapping"),
        ("resolution=2K", "mapping"),
        ({"resolutoin": 1}, "'resolution'"),
        ({"name": "x"}, "own"),
    ],
    ids=str,
)
async def test_changes_that_make_no_sense_are_refused_at_once(
    changes: dict[str, object], reason: str, tmp_path: Path
) -> None:
    """By name, with the word that was probably meant."""
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        with pytest.raises(ConfigurationError, match=reason):
            BatchRunner(client, tmp_path, finish=changes)


async def test_a_take_with_local_files_is_finished_with_the_same_files(tmp_path: Path) -> None:
    """By its content, through the media store, whatever the file is called by now; once, and then no more."""
    local = {**CLIP, "media_urls": ["shots/red.png"], "image_url": None}
    picture = {**PICTURE, "image_urls": ["shots/red.png", "$still.image"]}
    painted(tmp_path / "shots" / "red.png")
    out, kept = tmp_path / "out", ("boat", "hat")
    async with Sandbox() as sandbox:
        manifest = manifest_of(tmp_path, still=PICTURE, boat=local, hat=picture)
        await run_with_store(sandbox, out, manifest, PlayStore())
        keep(out, *kept)
        (tmp_path / "shots" / "red.png").rename(tmp_path / "red.png")
        manifest_of(
            tmp_path,
            still=PICTURE,
            boat={**local, "media_urls": ["red.png"]},
            hat={**picture, "image_urls": ["red.png", "$still.image"]},
        )
        results, _ = await run_with_store(sandbox, out, manifest, PlayStore(), finish={"prompt": "It sails"})
        await run_with_store(sandbox, out, manifest, PlayStore(), finish={"prompt": "It sails"})

        sent = bodies(sandbox)
        assert 5 == len(sent) == len(sandbox.paid_tasks)
        for field in ("media_urls", "image_urls"):
            before, after = [
                [url.split("?")[0] for url in body[field]] for body in sent if body.get(field) is not None
            ]
            assert before == after
    assert all(State.SAVED is results[f"{name}-final"].state for name in kept)
    assert str(tmp_path / "red.png") == results_reading.read(out)["boat-final"].fields["media_urls"][0]  # type: ignore[index]


async def test_all_that_keeps_finals_from_being_made_is_told_at_once(tmp_path: Path) -> None:
    """Stills made anew, files that changed, fields that break a rule; then the good ones can be chosen."""
    painted(tmp_path / "red.png")
    jobs = {
        "still": PICTURE,
        "clip": {**CLIP, "image_url": "$still.image"},
        "filed": {**CLIP, "image_url": "red.png"},
        "hat": {**PICTURE, "prompt": "A blue hat"},
        "good": CLIP,
    }
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        manifest = manifest_of(tmp_path, **jobs)
        await run_with_store(sandbox, out, manifest, PlayStore())
        keep(out, "clip", "filed", "hat", "good")
        await run_with_store(sandbox, out, manifest, PlayStore(), reroll=["still"])
        painted(tmp_path / "red.png", "blue")
        manifest_of(tmp_path, **{name: job for name, job in jobs.items() if name != "filed"})
        sent = len(submits(sandbox))
        with pytest.raises(ValidationError) as refused:
            await run_with_store(sandbox, out, manifest, PlayStore(), finish=BETTER)
        with pytest.raises(ValidationError, match="is a local file, and the API fetches URLs only"):
            await run_with_store(sandbox, out, manifest, None, finish=BETTER)
        assert sent == len(submits(sandbox))
        await run_with_store(sandbox, out, manifest, PlayStore(), finish=BETTER, until="good")

        assert ["1080p"] == [body["resolution"] for body in bodies(sandbox, after=sent)]
    told = str(refused.value)
    for words in (
        "takes '$still.image', which was made again or removed since: keep a take of the current one (clip)",
        "red.png' has changed since the take was made (filed)",
        "none is made as long as one cannot be; --until PATTERN",
        "good can be so",
    ):
        assert words in told
    assert ["image_url", "image_url", "resolution", "until"] == [field for field, _ in refused.value.problems]


async def test_what_a_final_is_made_of_stays_on_record(tmp_path: Path) -> None:
    """In whatever run comes after it, and under the name that the take has then; not once it is a job."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        manifest = await begun(sandbox, tmp_path, kept=("boat",), boat=PICTURE)
        await finished(sandbox, manifest)
        told = [results_reading.read(out)["boat-final"]]
        async with opened(sandbox, out) as batch:
            await results_of(batch, manifest)
            counts, others = batch.summary.counts, batch.summary.others
        told.append(results_reading.read(out)["boat-final"])
        await run_once(sandbox, out, manifest, reroll=["boat"])
        told.append(results_reading.read(out)["boat-final"])
        manifest_of(tmp_path, **{"boat": PICTURE, "boat-final": {**PICTURE, **LARGER}})
        await run_once(sandbox, out, manifest)
        told.append(results_reading.read(out)["boat-final"])

        assert 3 == len(submits(sandbox))
    assert ["boat", "boat", "boat-take-1", None] == [each.final_of for each in told]
    assert all(each.in_manifest for each in told)
    assert ({State.SAVED: 1}, {State.SAVED: 1}) == (counts, others)
