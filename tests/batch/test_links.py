"""Links between the jobs of a batch: what takes the output of another job waits for it, and has its URL."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import attrs
import pytest

from seedance_async import (
    ConfigurationError,
    Job,
    ManifestError,
    NanoBananaPro,
    Seedance2Video,
    SeedanceClient,
    ValidationError,
    clocks,
)
from seedance_async.batch.sources import FRESH
from seedance_async.batch.states import State
from seedance_async.exit_codes import ExitCode
from seedance_async.models import Link
from seedance_async.sandbox import Behaviour, Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, charged, opened, results_of, run_once, states, submits

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.models.links import LinkedOutput
    from seedance_async.sandbox.options import SameBody


def still(name: str, prompt: str = "A boat") -> Job:
    """A picture."""
    return Job(NanoBananaPro(prompt=f"{prompt}, {name}"), name=name)


def clip(name: str, image_url: str | Link, prompt: str = "It sails") -> Job:
    """A clip that begins with a picture."""
    return Job(Seedance2Video(prompt=prompt, image_url=image_url, duration=4), name=name)


def bodies(sandbox: Sandbox) -> list[dict[str, object]]:
    """What was asked for, in order."""
    return [json.loads(body) for _, body in submits(sandbox)]


async def test_a_chain_is_sent_in_its_order_each_with_the_url_of_the_one_before(tmp_path: Path) -> None:
    """Whatever order the manifest has them in."""
    manifest = tmp_path / "jobs.jsonl"
    lines = [
        {"name": "b", "model": "seedance2", "prompt": "It sails on", "image_url": "$a.last_frame"},
        {"name": "a", "model": "seedance2", "prompt": "It sails", "image_url": "$s.image"},
        {"name": "s", "model": "nano-banana-pro", "prompt": "A boat"},
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path / "out", manifest)

    assert Counter(saved=3) == states(results)
    still_body, first, second = bodies(sandbox)
    assert "A boat" == still_body["prompt"]
    assert results["s"].urls[0] == first["image_url"]
    assert results["a"].urls[1] == second["image_url"]


async def test_jobs_of_a_program_link_to_those_before_them(tmp_path: Path) -> None:
    """As text or as a ``Link``."""
    jobs = [
        still("s"),
        clip("a", still("s").link("image")),
        Job(Seedance2Video(prompt="On and on", image_url=Link("a", "last_frame")), name="b"),
    ]
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path, jobs)

    assert Counter(saved=3) == states(results)
    assert [results["s"].urls[0], results["a"].urls[1]] == [body["image_url"] for body in bodies(sandbox)[1:]]


@pytest.mark.parametrize("shared", [True, False])
async def test_what_takes_two_outputs_that_come_at_once_is_sent_once(shared: bool, tmp_path: Path) -> None:
    """Each of its sources is the last one: they are results of one POST, or of two that end together."""
    picture: dict[str, object] = {"model": "gpt-image-2", "prompt": "A boat"}
    both: dict[str, object] = {"name": "both", "image_urls": ["$b.image", "$c.image"]}
    at_once = Conditions(duration=lambda _order, _chance: 10.0)
    async with Sandbox(conditions=at_once) as sandbox:
        manifest = manifest_of(tmp_path, *(picture | {"name": name} for name in "abc"), both)
        results = await run_once(sandbox, tmp_path / "out", manifest, share_posts=shared)

        assert 4 - shared == len(submits(sandbox))  # the first one goes alone, for its price
    assert Counter(saved=4) == states(results)


async def test_a_program_may_not_link_to_what_comes_later(tmp_path: Path) -> None:
    """Its source may never end, so what is not there yet may never come."""
    async with Sandbox() as sandbox:
        with pytest.raises(ManifestError, match="names a job that is not there"):
            await run_once(sandbox, tmp_path, [clip("a", "$s.image"), still("s")])

        assert not submits(sandbox)


@pytest.mark.parametrize("prompt", ["A boat [[sandbox:fail]]", "refused"])
async def test_what_takes_the_output_of_a_failed_job_is_blocked_and_goes_on_when_it_is_made_anew(
    tmp_path: Path, prompt: str
) -> None:
    """Refused or failed, directly or over others; the next run tells it again."""
    jobs = [still("s", prompt), still("other"), clip("a", "$s.image"), clip("b", "$a.last_frame")]
    refusal = Fault(effect="status", moment="before", on="submit", status=400, nth=1)
    faults = [refusal] if prompt == "refused" else []
    async with Sandbox(faults=faults) as sandbox:
        first = await run_once(sandbox, tmp_path, jobs)
        again = await run_once(sandbox, tmp_path, jobs)
        posts = len(submits(sandbox))
        last = await run_once(sandbox, tmp_path, [still("s"), *jobs[1:]], retry_failed=True)

    for results in (first, again):
        assert State.SAVED == results["other"].state
        assert State.BLOCKED == results["a"].state == results["b"].state
        assert "'s'" in str(results["a"].error)
        assert "'a'" in str(results["b"].error)
    assert 2 == posts
    assert Counter(saved=4) == states(last)


async def test_what_takes_a_failed_job_both_itself_and_through_another_is_blocked_once(
    tmp_path: Path,
) -> None:
    """A sheet fails: the still that was to be made of it is blocked, and so is the clip made of both."""
    manifest = manifest_of(
        tmp_path, {"name": "a", "prompt": "[[sandbox:fail]]"}, made_of("b", "a"), made_of("c", "a", "b")
    )
    async with Sandbox() as sandbox:
        for _ in range(2):
            results = await run_once(sandbox, tmp_path / "out", manifest)
            assert Counter(failed=1, blocked=2) == states(results)

        assert 1 == len(sandbox.tasks)


async def test_a_job_is_sent_again_as_it_was_after_its_source_was_polled_anew(tmp_path: Path) -> None:
    """The URL that went once goes again, although the server would give another one now."""
    jobs = [still("s"), clip("a", "$s.image")]
    fault = Fault(effect="drop", on="submit", nth=2, count=None)
    async with Sandbox(faults=[fault]) as sandbox:
        await run_once(sandbox, tmp_path, jobs)
        sandbox.faults.clear()
        results = await run_once(sandbox, tmp_path, jobs)

    assert Counter(saved=2) == states(results)
    assert 1 == len({body for key, body in submits(sandbox)[1:]})
    assert 1 == len({key for key, body in submits(sandbox)[1:]})


@pytest.mark.parametrize(("same_body", "end"), [("ignored", "saved"), ("bytes", "uncertain")])
async def test_a_journal_that_is_put_back_asks_under_the_key_of_then(
    same_body: SameBody, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URL of the source is another one by now; where the server minds, nobody pays again for that."""
    jobs = [still("s"), clip("a", "$s.image")]
    place, backup = tmp_path / "batch", tmp_path / "backup"
    async with Sandbox(behaviour=Behaviour(same_body=same_body)) as sandbox:
        await run_once(sandbox, place, jobs[:1])
        shutil.copytree(place, backup)
        await run_once(sandbox, place, jobs)
        later = clocks.wall_now() + 2 * FRESH
        monkeypatch.setattr(clocks, "wall_now", lambda: later)
        results = await run_once(sandbox, backup, jobs)

        posts = [(key, body) for key, body in submits(sandbox) if b"image_url" in body]
        assert 1 == len({key for key, _ in posts})
        assert 2 == len({body for _, body in posts})
        assert end == results["a"].state
        assert 2 == len(sandbox.tasks)


@pytest.mark.case(175)
async def test_a_url_of_the_future_is_asked_for_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock was a day ahead in the run that wrote it down: it may have expired, and the clip is paid."""
    right, jobs = clocks.wall_now, [still("s"), clip("a", "$s.image")]
    async with Sandbox(behaviour=Behaviour(url_life=2 * FRESH)) as sandbox:
        monkeypatch.setattr(clocks, "wall_now", lambda: right() + 86400.0)
        await run_once(sandbox, tmp_path, jobs[:1])
        await anyio.sleep(3 * FRESH)
        monkeypatch.setattr(clocks, "wall_now", lambda: right() + 3 * FRESH)
        before = len(sandbox.requests)
        results = await run_once(sandbox, tmp_path, jobs)

        assert {"saved"} == set(states(results))
        assert ["task", "submit"] == [record.endpoint for record in sandbox.requests[before:]][:2]


async def test_what_takes_a_renamed_source_keeps_its_result_also_along_a_chain(tmp_path: Path) -> None:
    """A shot is put in front and all others are renumbered, in their links, too; only the new one is paid."""

    def film(*scenes: str, begins: int) -> Path:
        chain: list[dict[str, object]] = [
            {"name": f"shot-{n}", "prompt": scene} for n, scene in enumerate(scenes, 1)
        ]
        for n, shot in enumerate(chain[begins:], begins):
            shot["image_urls"] = [f"$shot-{n}.image"]
        return manifest_of(tmp_path, *chain)

    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        before = await run_once(sandbox, out, film("One", "Two", "Three", "Four", begins=1))
        longer = film("Title", "One", "Two", "Three", "Four", begins=2)
        after = await run_once(sandbox, out, longer)
        again = await run_once(sandbox, out, longer)
        assert 5 == len(sandbox.tasks)

    for n in range(1, 5):
        ids = before[f"shot-{n}"].task_ids
        assert ids == after[f"shot-{n + 1}"].task_ids == again[f"shot-{n + 1}"].task_ids
    assert not any(result.stale for result in again.values())


async def test_a_job_whose_link_follows_its_renamed_source_counts_neither_as_edited_nor_as_renamed(
    tmp_path: Path,
) -> None:
    """It is the same job, made of the same picture."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest_of(tmp_path, {"name": "a"}, made_of("b", "a")))
        renamed = manifest_of(tmp_path, {"name": "s", "prompt": "A boat, a"}, made_of("b", "s"))
        async with opened(sandbox, tmp_path / "out") as batch:
            await results_of(batch, renamed)
            changes = batch.summary.changes

        assert 2 == len(sandbox.tasks)
    assert (0, 0, 0, 0, 1) == attrs.astuple(changes)[:5]


async def test_a_refused_job_is_sent_with_what_its_source_is_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was paid under its key: it takes the URL of then, and after a re-roll the new picture."""
    out, manifest = (
        tmp_path / "out",
        manifest_of(tmp_path, {"name": "a"}, made_of("b", "a"), made_of("c", "a")),
    )
    async with Sandbox(credits=PRICE, behaviour=Behaviour(url_life=2 * FRESH)) as sandbox:
        await run_once(sandbox, out, manifest)
        await anyio.sleep(3 * FRESH)
        later = clocks.wall_now() + 3 * FRESH
        monkeypatch.setattr(clocks, "wall_now", lambda: later)
        sandbox.top_up(PRICE)
        await run_once(sandbox, out, manifest)
        assert 2 == len(sandbox.tasks)
        sandbox.top_up(2 * PRICE)
        results = await run_once(sandbox, out, manifest, reroll=["a"])

        (newest,) = results["a"].task_ids
        last = [body for _, body in submits(sandbox) if b"image_urls" in body][-1]
        assert newest.encode() in last
        assert 4 == len(sandbox.tasks)


def manifest_of(directory: Path, *jobs: dict[str, object]) -> Path:
    """A manifest of pictures unless they say otherwise."""
    path = directory / "jobs.jsonl"
    lines = [{"model": "nano-banana-pro", "prompt": f"A boat, {job['name']}", **job} for job in jobs]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def made_of(name: str, *sources: str) -> dict[str, object]:
    """A picture that is made of others."""
    return {"name": name, "image_urls": [f"${source}.image" for source in sources]}


async def test_everything_that_is_wrong_with_links_is_told_at_once_by_line_and_field(tmp_path: Path) -> None:
    """Also where something else in the manifest is wrong."""
    manifest = manifest_of(
        tmp_path,
        made_of("a", "b"),
        made_of("b", "a"),
        made_of("typo", "stil"),
        {"name": "frame", "image_urls": ["$still.last_frame"]},
        {"name": "second", "image_urls": ["$still.image[2]"]},
        {"name": "clip", "image_urls": ["$film.video"]},
        {"name": "none", "image_urls": ["$still"]},
        {"name": "still"},
        {"name": "film", "model": "seedance2", "prompt": "A boat sails"},
    )
    async with Sandbox() as sandbox:
        with pytest.raises(ManifestError) as refused:
            await run_once(sandbox, tmp_path / "out", manifest)

        assert not submits(sandbox)
    reported = {line: reason for line, field, reason in refused.value.problems if field == "image_urls"}
    assert {1, 3, 4, 5, 6, 7} == set(reported)
    assert "'a' -> 'b' -> 'a'" in reported[1]
    assert "nano-banana-pro, which makes image" in reported[4]
    assert "makes 1 only" in reported[5]
    assert "must be a picture" in reported[6]
    assert "$NAME.last_frame" in reported[7]


EVERYTHING_WRONG = """\
[assets]
mira = { job = "sheet" }
logo = "https://example.com/logo.png"
odd = { film = "x" }

[[jobs]]
name = "sheet"
model = "nano-banana-pro"
prompt = "A sheet of Mira"

[[jobs]]  # 11
name = "a"
model = "seedance2"
prompt = "It sails"
duration = 99
image_url = "$b.last_frame"

[[jobs]]  # 18
name = "b"
model = "seedance2"
prompt = "It sails"
image_url = "$a.last_frame"

[[jobs]]  # 24
name = "c"
model = "seedance2"
prompt = "It sails"
seed = "x"
image_url = "$sheet.last_frame"
end_image_url = "$nobody.image"

[[jobs]]  # 32
name = "d"
model = "seedance2"
prompt = "It sails"
image_url = "$mira.image[2]"
end_image_url = "$logo.image"

[[jobs]]  # 39
name = "{city}"
model = "seedance2"
prompt = "A courier in {city}"
duration = 99
image_url = "$nobody.image"
matrix.city = ["Oslo", "Lima"]

[[jobs]]  # 47
name = "e"
model = "seedance2"
prompt = "It sails"
image_url = "$Lima.last_frame"
end_image_url = "$odd"

[[jobs]]  # 54
name = "f-{city}"
model = "seedance2"
prompt = "A courier in {city}"
image_url = "$missing.image"
matrix.city = ["Oslo", "Lima"]

[[jobs]]  # 61
name = "g-{city}"
model = "seedance2"
prompt = "A courier in {city}"
duration = 99
matrix.city = []
"""


async def test_mistakes_of_all_sorts_hide_none_of_each_other_and_each_is_told_once(tmp_path: Path) -> None:
    """A line with a wrong field has a name and links like any other; a matrix does not repeat itself."""
    manifest = tmp_path / "film.toml"
    manifest.write_text(EVERYTHING_WRONG)
    async with Sandbox() as sandbox:
        with pytest.raises(ManifestError) as refused:
            await run_once(sandbox, tmp_path / "out", manifest)

        assert not sandbox.requests
    expected = [
        (1, "assets.odd", "has 'film'"),
        (11, "duration", "got 99"),
        (11, "image_url", "waits for itself: 'a' -> 'b' -> 'a'"),
        (24, "seed", "must be"),
        (24, "image_url", "'sheet' is a job for nano-banana-pro, which makes image"),
        (24, "end_image_url", "'$nobody.image' names a job that is not there"),
        (32, "image_url", "so write '$mira', which is '$sheet.image'; or '$sheet.image[2]', of its job"),
        (32, "end_image_url", "'$logo.image': 'logo' is an asset and no job, so write '$logo'"),
        (39, "duration", "got 99"),
        (39, "image_url", "'$nobody.image' names a job that is not there"),
        (54, "image_url", "'$missing.image' names a job that is not there"),
        (61, "matrix", "has no values"),
        (61, "duration", "got 99"),
    ]
    reported = sorted(refused.value.problems)
    assert [each[:2] for each in sorted(expected)] == [each[:2] for each in reported]
    for (_, _, part), (_, _, reason) in zip(sorted(expected), reported, strict=True):
        assert part in reason


async def test_a_name_that_is_not_there_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    """With a word that may help."""
    manifest = manifest_of(tmp_path, made_of("typo", "stil"), {"name": "still"})
    async with Sandbox() as sandbox:
        with pytest.raises(ManifestError, match="did you mean 'still'"):
            await run_once(sandbox, tmp_path / "out", manifest)


@pytest.mark.parametrize(("cap", "sent"), [(3 * PRICE - 1, []), (3 * PRICE, ["a", "b", "c"])])
async def test_a_cap_that_cannot_pay_for_a_whole_chain_pays_for_none_of_it(
    tmp_path: Path, cap: int, sent: list[str]
) -> None:
    """No first half is paid for whose second half could not be."""
    manifest = manifest_of(tmp_path, made_of("c", "b"), made_of("b", "a"), {"name": "a"})
    async with Sandbox() as sandbox:
        async with opened(sandbox, tmp_path / "out", max_credits=cap) as batch:
            results = await results_of(batch, manifest)

        assert sent == [str(body["prompt"])[-1] for body in bodies(sandbox)]
    if not sent:
        assert ExitCode.OUT_OF_CREDITS == batch.summary.exit_code
        assert "without the jobs that use its output" in str(batch.summary.stopped)
        assert Counter(planned=3) == states(results)


async def test_what_a_chain_will_cost_is_not_spent_on_others(tmp_path: Path) -> None:
    """The first of the chain reserves the rest: single jobs beside it go only as far as that allows."""
    singles: list[dict[str, object]] = [{"name": f"single-{number}"} for number in range(5)]
    manifest = manifest_of(tmp_path, {"name": "a"}, *singles, made_of("b", "a"), made_of("c", "b"))
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path / "out", manifest, max_credits=5 * PRICE)

        assert 5 * PRICE == charged(sandbox)
    assert all(State.SAVED == results[name].state for name in "abc")
    assert Counter(saved=5, planned=3) == states(results)


async def test_what_a_begun_chain_still_costs_is_not_spent_on_others_by_a_later_run(tmp_path: Path) -> None:
    """Its first job is paid and saved; the singles before the rest go only as far as that allows."""
    singles: list[dict[str, object]] = [{"name": f"single-{number}"} for number in range(5)]
    manifest = manifest_of(tmp_path, {"name": "a"}, *singles, made_of("b", "a"), made_of("c", "b"))
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest, until="a")
        results = await run_once(sandbox, tmp_path / "out", manifest, max_credits=5 * PRICE)

        assert 5 * PRICE == charged(sandbox)
    assert all(State.SAVED == results[name].state for name in "abc")
    assert Counter(saved=5, planned=3) == states(results)


async def test_one_source_of_many_needs_one_of_them_to_be_affordable(tmp_path: Path) -> None:
    """A character sheet for five shots, and credits for three: it is not made in vain."""
    shots = [made_of(f"shot-{number}", "sheet") for number in range(5)]
    manifest = manifest_of(tmp_path, *shots, {"name": "sheet"})
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path / "out", manifest, max_credits=4 * PRICE)

        assert 4 * PRICE == charged(sandbox)
    assert Counter(saved=4, planned=2) == states(results)


async def test_a_run_up_to_a_stage_ends_well_and_the_next_goes_on(tmp_path: Path) -> None:
    """What the stage takes belongs to it, whatever it is called."""
    manifest = manifest_of(
        tmp_path,
        made_of("shot-1", "still-1"),
        {"name": "still-1"},
        made_of("still-2", "sheet"),
        {"name": "sheet"},
    )
    async with Sandbox() as sandbox:
        async with opened(sandbox, tmp_path / "out", until="still-*") as batch:
            first = await results_of(batch, manifest)
        posts = len(submits(sandbox))
        last = await run_once(sandbox, tmp_path / "out", manifest)

    assert {"still-1", "still-2", "sheet"} == set(first)
    assert 3 == posts
    assert ExitCode.OK == batch.summary.exit_code
    assert Counter(saved=4) == states(last)


async def test_a_stage_that_no_job_belongs_to_is_refused(tmp_path: Path) -> None:
    """A misspelt pattern sends nothing."""
    manifest = manifest_of(tmp_path, {"name": "a"})
    async with Sandbox() as sandbox:
        with pytest.raises(ConfigurationError, match="has a name that matches"):
            await run_once(sandbox, tmp_path / "out", manifest, until="stil-*")

        assert not submits(sandbox)


async def test_what_was_made_of_an_edited_job_is_told_as_stale_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It shows the old picture, and is not made again by itself."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest_of(tmp_path, {"name": "a"}, made_of("b", "a")))
        edited = manifest_of(tmp_path, {"name": "a", "prompt": "Another boat"}, made_of("b", "a"))
        await run_once(sandbox, tmp_path / "out", edited)

        assert ["A boat, a", "A boat, b", "Another boat"] == [body["prompt"] for body in bodies(sandbox)]
    lines = map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert {"b"} == {line["name"] for line in lines if line["stale"]}
    assert any("b: made from an output that was made again since" in text for text in caplog.messages)


@pytest.mark.parametrize("scale", [1.0, 0.002])
async def test_an_old_url_is_asked_for_anew_before_it_is_sent(
    scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox refuses a URL that has expired; one that is faster, sooner."""
    fresh = FRESH * scale
    monkeypatch.setenv("SEEDANCE_TIME_SCALE", f"{scale}")
    stage = manifest_of(tmp_path, {"name": "a"})
    async with Sandbox(behaviour=Behaviour(url_life=2 * fresh)) as sandbox:
        await run_once(sandbox, tmp_path / "out", stage)
        await anyio.sleep(3 * fresh)
        later = clocks.wall_now() + 3 * fresh
        monkeypatch.setattr(clocks, "wall_now", lambda: later)
        results = await run_once(
            sandbox, tmp_path / "out", manifest_of(tmp_path, {"name": "a"}, made_of("b", "a"))
        )

        assert Counter(saved=2) == states(results)


async def test_a_long_chain_of_last_frames_is_advised_against_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From the fourth link on, and not again for the same manifest."""
    clips = [
        {
            "name": f"clip-{number}",
            "model": "seedance2",
            "image_url": f"$clip-{number - 1}.last_frame",
            "duration": 4,
        }
        for number in range(1, 5)
    ]
    first = {"name": "clip-0", "model": "seedance2", "duration": 4}
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "out", manifest_of(tmp_path, first, *clips[:3]))
        assert not any("drifts" in text for text in caplog.messages)
        await run_once(sandbox, tmp_path / "out", manifest_of(tmp_path, first, *clips))

    assert 1 == sum("drifts" in text for text in caplog.messages)


async def test_a_request_with_a_link_is_no_request_for_a_client(tmp_path: Path) -> None:
    """Nobody else knows what the link stands for."""
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        with pytest.raises(ValidationError, match="is a job of a batch"):
            await client.submit(NanoBananaPro(prompt="A boat", image_urls=[Link("a", "image")]))

        assert not submits(sandbox)


@pytest.mark.parametrize(
    ("job", "output"),
    [
        (Job(NanoBananaPro(prompt="A boat")), "image"),
        (Job(NanoBananaPro(prompt="A boat"), name="a"), "video"),
    ],
)
def test_a_job_gives_links_to_what_it_makes_only(job: Job, output: LinkedOutput) -> None:
    """A link is a name and an output; both are checked where it is made."""
    with pytest.raises(ValidationError):
        job.link(output)
