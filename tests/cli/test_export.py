"""``seedance export`` on batches that the sandbox made: what is written is read back by others' libraries."""

from __future__ import annotations

import json
import shlex
import shutil
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import av
import opentimelineio as otio
import pytest
from attrs import frozen
from opentimelineio.url_utils import filepath_from_url
from PIL import Image

from seedance_async import BatchRunner, Job, NanoBananaPro, Seedance2Video, SeedanceClient
from seedance_async.batch import picks, results_reading
from seedance_async.export import places
from seedance_async.sandbox import Fault, Sandbox
from seedance_async.sandbox.media import clip as drawn_clip

if TYPE_CHECKING:
    from tests.cli.conftest import Type

HOSTILE = "act 1/it's #1 100%; late é 船 \u202eevil\u202c 🚢 " + "long" * 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the sandbox's own clips, as a batch leaves it; copied by those who change it."""
    directory = tmp_path_factory.mktemp("made") / "boats"
    directory.mkdir()
    shots = {"dawn": (4.0, True), "noon": (5.5, True), "silent": (4.0, False)}
    lines = []
    for name, (seconds, sound) in shots.items():
        (directory / f"{name}.mp4").write_bytes(drawn_clip(320, 180, seconds, name, audio=sound))
        lines.append(line(name, [f"{name}.mp4"], seed=7 if name == "noon" else None))
    Image.new("RGB", (64, 96), "red").save(directory / "poster.png")
    lines.append(line("poster", ["poster.png"], model="nano-banana-pro"))
    lines.append(line("sunk", [], state="failed"))
    write_results(directory, lines)
    return directory


def line(name: str, files: list[str], **fields: object) -> dict[str, Any]:
    """A line of results.jsonl."""
    own = {"name": name, "model": "seedance2", "state": "saved", "task_ids": [f"t-{name}"], "files": files}
    return {**own, "prompt": f'"{name}" at sea', **{key: value for key, value in fields.items() if value}}


def write_results(directory: Path, lines: list[dict[str, Any]], name: str = "results.jsonl") -> None:
    """Write lines of JSON."""
    (directory / name).write_text("".join(json.dumps(each) + "\n" for each in lines))


@pytest.fixture
def boats(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the directory, in the present one."""
    monkeypatch.chdir(tmp_path)
    directory = Path("boats")
    shutil.copytree(made, directory)
    return directory


def frames_of(path: Path) -> tuple[int, Fraction]:
    """Frames of a clip and its rate, counted by decoding it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate is not None
        return sum(1 for _ in container.decode(stream)), Fraction(stream.average_rate)


def shots_of(path: str) -> list[str]:
    """The names of the clips in a timeline."""
    timeline = otio.adapters.read_from_file(path)  # its tracks end with it
    return [clip.name for clip in timeline.tracks[0]]


async def test_a_timeline_has_the_clips_whole_at_their_own_rate_and_relative(
    boats: Path, seedance: Type
) -> None:
    """Read back by the library: each reference leads to the file, and the sound is where there is sound."""
    (Path("edit")).mkdir()
    ended = await seedance("export", boats, "--otio", "edit/cut.otio")

    assert 0 == ended.code, ended.err
    timeline = otio.adapters.read_from_file("edit/cut.otio")
    pictures, sound = timeline.tracks
    assert "boats" == timeline.name
    assert ["dawn", "noon", "silent"] == [clip.name for clip in pictures]
    for clip in pictures:
        target = Path("edit", filepath_from_url(clip.media_reference.target_url))
        assert not clip.media_reference.target_url.startswith("/")
        frames, rate = frames_of(target)
        assert (frames, float(rate)) == (clip.duration().value, clip.duration().rate)
        assert clip.source_range == clip.media_reference.available_range
    assert [otio.schema.Clip, otio.schema.Clip, otio.schema.Gap] == [type(item) for item in sound]
    assert timeline.duration() == sound.duration()
    assert 7 == pictures[1].metadata["seedance"]["seed"]
    assert "left out, because not saved: sunk" in ended.err


async def test_a_list_of_edits_is_read_back_clip_by_clip(boats: Path, seedance: Type) -> None:
    """The sandbox's twelve frames a second are counted as twenty-four: a frame is two of them."""
    ended = await seedance("export", boats, "--edl", "cut.edl")

    assert 0 == ended.code, ended.err
    text = Path("cut.edl").read_text()
    timeline = otio.adapters.read_from_string(text, "cmx_3600", rate=24)
    (pictures,) = timeline.video_tracks()
    found = {clip.name: clip for clip in pictures}
    assert text.startswith("TITLE: boats\nFCM: NON-DROP FRAME\n")
    assert {"dawn.mp4": 96, "noon.mp4": 132, "silent.mp4": 96} == {
        name: clip.duration().value for name, clip in found.items()
    }
    assert ["DAWN", "NOON", "SILENT"] == [clip.metadata["cmx_3600"]["reel"] for clip in pictures]
    assert all(Path(clip.media_reference.target_url).is_file() for clip in pictures)
    assert ["dawn.mp4", "noon.mp4"] == [clip.name for clip in timeline.audio_tracks()[0] if clip.name]
    assert "counted in 24 frames a second" in ended.out


async def test_without_flags_the_list_for_ffmpeg_is_written_and_the_command_printed(
    boats: Path, seedance: Type
) -> None:
    """Clips that are alike are copied; the list lies beside them."""
    write_results(boats, [line("dawn", ["dawn.mp4"]), line("noon", ["noon.mp4"])])
    ended = await seedance("export", boats)

    assert 0 == ended.code, ended.err
    assert ["file 'dawn.mp4'", "file 'noon.mp4'"] == (boats / "concat.txt").read_text().splitlines()[2:]
    assert "concat    boats/concat.txt: 2 clips, 9.5 s" == ended.lines[0]
    command = "ffmpeg -f concat -safe 0 -i boats/concat.txt -c copy boats/joined.mp4"
    assert f"join      {command}" == ended.lines[1]


async def test_clips_that_do_not_agree_are_an_error_with_a_command_all_the_same(
    boats: Path, seedance: Type
) -> None:
    """A joined file of several sizes plays nowhere; one clip is silent."""
    (boats / "tall.mp4").write_bytes(drawn_clip(180, 320, 1.0, "tall"))
    lines = [line(name, [f"{name}.mp4"]) for name in ("dawn", "tall", "silent")]
    write_results(boats, lines)
    ended = await seedance("export", boats)

    assert 1 == ended.code
    assert "sizes differ: 320x180 in 2; 180x320 in tall" in ended.err
    assert "sound differs: aac in 2; none in silent" in ended.err
    words = shlex.split(ended.lines[1].removeprefix("join "))
    assert "scale=320:180" in words[words.index("-vf") + 1]


async def test_a_first_clip_without_sound_is_said_to_silence_all(boats: Path, seedance: Type) -> None:
    """The streams of the first are those of the whole."""
    write_results(boats, [line("silent", ["silent.mp4"]), line("dawn", ["dawn.mp4"])])
    ended = await seedance("export", boats)

    assert "the joined clip is silent, because silent, its first, has no sound" in ended.err


async def test_a_contact_sheet_shows_frames_in_time_and_pictures(boats: Path, seedance: Type) -> None:
    """Three clips of four frames and a picture; the bar at the bottom of a clip moves from frame to frame."""
    ended = await seedance("export", boats, "--contact-sheet", "sheet.jpg")

    assert 0 == ended.code, ended.err
    with Image.open("sheet.jpg") as sheet:
        assert (4 * 332 + 12, 4 * (180 + 52) + 12) == sheet.size
        row = [sheet.crop((12 + 332 * column, 12, 332 + 332 * column, 192)) for column in range(4)]
    bars = [
        sum(pixel > 200 for pixel in each.convert("L").crop((0, 150, 320, 180)).tobytes()) for each in row
    ]
    assert bars == sorted(set(bars)), "the frames do not follow one another"


@pytest.mark.parametrize("frames", [1, 3, 12])
async def test_a_sheet_has_as_many_frames_of_a_clip_as_were_asked_for(
    frames: int, boats: Path, seedance: Type
) -> None:
    """One after the other."""
    ended = await seedance("export", boats, "--contact-sheet", "s.jpeg", "--frames", frames)

    assert 0 == ended.code, ended.err
    with Image.open("s.jpeg") as sheet:
        assert sheet.width == {1: 4, 3: 6, 12: 12}[frames] * 332 + 12


async def test_a_long_sheet_has_pages_and_a_shorter_one_takes_the_rest_away(
    boats: Path, seedance: Type
) -> None:
    """Pages of others are left alone, and are in the way of a sheet that needs their place."""
    with mock.patch("seedance_async.export.sheet_layout.PAGE_HEIGHT", 260):
        await seedance("export", boats, "--contact-sheet", "s.jpg")
    assert ["s-2.jpg", "s-3.jpg", "s-4.jpg", "s.jpg"] == sorted(path.name for path in Path().glob("s*.jpg"))
    Path("s-4.jpg").write_bytes(b"mine")
    await seedance("export", boats, "--contact-sheet", "s.jpg")

    assert ["s-4.jpg", "s.jpg"] == sorted(path.name for path in Path().glob("s*.jpg"))
    with mock.patch("seedance_async.export.sheet_layout.PAGE_HEIGHT", 260):
        ended = await seedance("export", boats, "--contact-sheet", "s.jpg")
    assert 2 == ended.code
    assert "s-4.jpg exists and is not as" in ended.err
    assert b"mine" == Path("s-4.jpg").read_bytes()


async def test_a_dataset_has_a_line_for_each_file_beside_copies(boats: Path, seedance: Type) -> None:
    """What is done to the copies is not done to what was paid for."""
    ended = await seedance("export", boats, "--dataset", "ds")

    assert 0 == ended.code, ended.err
    lines = [json.loads(each) for each in Path("ds/metadata.jsonl").read_text().splitlines()]
    assert {
        "file_name": "noon.mp4",
        "text": '"noon" at sea',
        "seed": 7,
        "model": "seedance2",
        "name": "noon",
    } == (lines[1])
    for each in lines:
        copy, original = Path("ds", each["file_name"]), boats / each["file_name"]
        assert copy.read_bytes() == original.read_bytes()
        assert not copy.samefile(original)
    assert {"metadata.jsonl", *(each["file_name"] for each in lines)} == {
        path.name for path in Path("ds").iterdir()
    }
    assert {"boats", "ds"} == {path.name for path in Path().iterdir()}


async def test_only_what_was_kept_is_handed_over(boats: Path, seedance: Type) -> None:
    """Everywhere."""
    write_results(boats, [{"name": "noon", "task_ids": ["t-noon"], "pick": "keep"}], "picks.jsonl")
    ended = await seedance(
        "export", boats, "--otio", "c.otio", "--edl", "c.edl", "--dataset", "ds", "--concat", "c.txt"
    )

    assert 0 == ended.code, ended.err
    assert "only the takes kept in the review" in ended.err
    assert ["noon"] == shots_of("c.otio")
    assert ["file 'boats/noon.mp4'"] == Path("c.txt").read_text().splitlines()[2:]
    assert 1 == len(Path("ds/metadata.jsonl").read_text().splitlines())
    assert "dawn" not in Path("c.edl").read_text()


async def test_files_of_ours_are_replaced_and_those_of_others_or_edited_ones_are_not(
    boats: Path, seedance: Type
) -> None:
    """An editor saves its work under the name it was opened by."""
    flags = ("--otio", "c.otio", "--edl", "c.edl", "--concat", "c.txt", "--contact-sheet", "c.jpg")
    for _ in range(2):
        ended = await seedance("export", boats, *flags)
        assert 1 == ended.code, ended.err  # one clip is silent
    for flag, name in zip(flags[::2], flags[1::2], strict=True):
        edited = Path(name).read_bytes() + b"\n"
        Path(name).write_bytes(edited)
        ended = await seedance("export", boats, flag, name)
        assert 2 == ended.code
        assert f"{flag} {name} exists" in ended.err
        assert edited == Path(name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "has no results.jsonl"),
        (("boats", "--otio", "boats/results.jsonl"), "the name must end in .otio"),
        (("boats", "--otio", "no/c.otio"), "there is no folder no"),
        (("boats", "--dataset", "boats"), "name a new or empty folder"),
        (("boats", "--contact-sheet", "s.jpg", "--frames", "13"), "--frames must be 1 to 12"),
        (("boats", "--contact-sheet", "s.tiff"), "must end in .jpg"),
    ],
)
async def test_mistakes_are_said_and_nothing_is_written(
    arguments: tuple[str, ...], said: str, boats: Path, seedance: Type
) -> None:
    """Also where another file could have been."""
    before = sorted(Path().rglob("*"))
    ended = await seedance("export", *arguments)

    assert 2 == ended.code
    assert said in ended.err
    assert before == sorted(Path().rglob("*"))


async def test_a_batch_without_clips_has_no_timeline_but_a_sheet(boats: Path, seedance: Type) -> None:
    """A picture has no length."""
    write_results(boats, [line("poster", ["poster.png"])])

    refused = await seedance("export", boats)
    shown = await seedance("export", boats, "--contact-sheet", "s.jpg")

    assert (2, 0) == (refused.code, shown.code)
    assert "--contact-sheet and --dataset take pictures" in refused.err


async def test_a_batch_of_which_nothing_is_saved_has_nothing_to_export(boats: Path, seedance: Type) -> None:
    """That is a mistake of whoever asks."""
    write_results(boats, [line("sunk", [], state="failed")])
    ended = await seedance("export", boats)

    assert 2 == ended.code
    assert "none of its jobs is saved" in ended.err


async def test_what_cannot_be_read_is_left_out_and_said(boats: Path, seedance: Type) -> None:
    """The others are handed over; the sheet shows where one is missing."""
    (boats / "noon.mp4").write_bytes(b"no clip")
    (boats / "poster.png").write_bytes(b"no picture")
    (boats / "dawn.mp4").unlink()
    ended = await seedance("export", boats, "--otio", "c.otio", "--contact-sheet", "s.jpg")

    assert 1 == ended.code
    for file in ("noon.mp4", "poster", "dawn.mp4"):
        assert file in ended.err
    assert ["silent"] == shots_of("c.otio")
    assert Path("s.jpg").is_file()


async def test_a_job_that_is_gone_from_the_manifest_is_left_out_and_said(boats: Path, seedance: Type) -> None:
    """Its files stay; a review can keep it."""
    gone = line("noon", ["noon.mp4"]) | {"in_manifest": False}
    write_results(boats, [line("dawn", ["dawn.mp4"]), gone])
    left_out = await seedance("export", boats, "--otio", "c.otio")
    assert 0 == left_out.code, left_out.err
    assert ["dawn"] == shots_of("c.otio")
    assert "left out, because no longer in the manifest: 1 job;" in left_out.err

    write_results(boats, [gone])
    nothing = await seedance("export", boats, "--otio", "c.otio")
    assert 2 == nothing.code
    assert "all saved jobs are no longer in the manifest: 1 job;" in nothing.err

    write_results(boats, [{"name": "noon", "task_ids": ["t-noon"], "pick": "keep"}], "picks.jsonl")
    kept = await seedance("export", boats, "--otio", "c.otio")
    assert 0 == kept.code, kept.err
    assert ["noon"] == shots_of("c.otio")


async def test_a_batch_of_which_all_is_rejected_has_nothing_to_export(boats: Path, seedance: Type) -> None:
    """That is said, rather than that nothing is saved."""
    write_results(boats, [line("noon", ["noon.mp4"])])
    write_results(boats, [{"name": "noon", "task_ids": ["t-noon"], "pick": "reject"}], "picks.jsonl")
    ended = await seedance("export", boats)

    assert 2 == ended.code
    assert "all saved takes are rejected in the review" in ended.err


async def test_a_rerolled_batch_hands_over_the_newest_takes_with_the_seeds_that_were_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seedance: Type
) -> None:
    """A real batch, made, rolled anew, and with a job less: by what its results say."""
    monkeypatch.chdir(tmp_path)
    jobs = [{"name": name, "model": "seedance2", "prompt": "It sails", "duration": 4} for name in "ab"]
    write_results(Path(), jobs, "two.jsonl")
    write_results(Path(), jobs[:1], "one.jsonl")
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        async with BatchRunner(client, "out") as batch:
            assert 2 == len([result async for result in batch.run("two.jsonl")])
        async with BatchRunner(client, "out", reroll=["a"]) as batch:
            newest = {result.name: result async for result in batch.run("one.jsonl")}
    ended = await seedance("export", "out", "--dataset", "ds")

    assert 0 == ended.code, ended.err
    (only,) = map(json.loads, Path("ds/metadata.jsonl").read_text().splitlines())
    assert ("a.mp4", newest["a"].seed) == (only["file_name"], only["seed"])
    assert newest["a"].seed is not None
    assert Path("out/a-take-1.mp4").is_file()
    assert "left out, because no longer in the manifest: 1 job;" in ended.err


@pytest.mark.parametrize("file", ["a\0.mp4", f"{'a' * 5000}.mp4"])
@pytest.mark.parametrize("target", [("--dataset", "ds"), ("--otio", "film.otio")])
async def test_a_listed_name_that_no_file_can_have_costs_that_file_alone(
    file: str, target: tuple[str, str], boats: Path, seedance: Type
) -> None:
    """Results are a file that others may have written."""
    write_results(boats, [line("dawn", ["dawn.mp4"]), line("nowhere", [file])])
    ended = await seedance("export", boats, *target)

    assert 1 == ended.code
    assert "no file can have that name" in ended.err
    assert Path(target[1]).exists()


@pytest.mark.parametrize("file", ["../secret.mp4", "/etc/hosts.mp4", "link/secret.mp4"])
async def test_files_outside_of_the_batch_are_not_handed_over(file: str, boats: Path, seedance: Type) -> None:
    """Results are a file that others may have written."""
    Path("secret.mp4").write_bytes((boats / "dawn.mp4").read_bytes())
    (boats / "link").symlink_to(Path.cwd())
    write_results(boats, [line("dawn", ["dawn.mp4"]), line("secret", [file])])
    ended = await seedance("export", boats, "--dataset", "ds")

    assert 1 == ended.code
    assert "leads out of the batch's directory" in ended.err
    assert ["dawn.mp4", "metadata.jsonl"] == sorted(path.name for path in Path("ds").iterdir())


async def test_lines_of_results_that_are_none_are_said(boats: Path, seedance: Type) -> None:
    """By number; the rest is handed over."""
    with (boats / "results.jsonl").open("a") as results:
        results.write("{cut off\n")
    ended = await seedance("export", boats, "--otio", "c.otio")

    assert 1 == ended.code
    assert "lines 6 of results.jsonl cannot be read" in ended.err


@pytest.mark.parametrize(
    ("module", "flag"), [("opentimelineio", "--edl"), ("av", "--concat"), ("PIL", "--contact-sheet")]
)
async def test_a_missing_package_is_named_with_the_command_that_installs_it(
    module: str, flag: str, boats: Path, seedance: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is written."""
    name = {"--edl": "c.edl", "--concat": "c.txt", "--contact-sheet": "c.jpg"}[flag]
    blocked = {"PIL": ("PIL", "PIL.Image")}.get(module, (module,))
    for each in blocked:
        monkeypatch.setitem(__import__("sys").modules, each, None)
    ended = await seedance("export", boats, flag, name)

    assert 2 == ended.code
    assert "packages of the extra, export" in ended.err
    assert "-m pip install opentimelineio" in ended.err
    assert not Path(name).exists()


async def test_a_batch_of_hostile_names_is_handed_over_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seedance: Type
) -> None:
    """A real batch: quotes, marks of direction, letters that no font here has, and very long."""
    monkeypatch.chdir(tmp_path)
    jobs = [
        Job(Seedance2Video(prompt="It sails", duration=4), name=HOSTILE),
        Job(NanoBananaPro(prompt="A fox"), name="🦊\u202efox" + "x" * 100),
    ]
    async with (
        Sandbox() as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
        BatchRunner(client, "out") as batch,
    ):
        assert ["saved"] * 2 == [result.state async for result in batch.run(jobs)]
    flags = (
        "--otio",
        "c.otio",
        "--edl",
        "c.edl",
        "--concat",
        "c.txt",
        "--contact-sheet",
        "c.jpg",
        "--dataset",
        "d",
    )
    ended = await seedance("export", "out", *flags)

    assert 0 == ended.code, ended.err
    timeline = otio.adapters.read_from_file("c.otio")
    (clip,) = timeline.tracks[0]
    (file,) = Path("out/act 1").glob("*.mp4")
    assert Path(filepath_from_url(clip.media_reference.target_url)) == file
    assert file.as_posix() in Path("c.edl").read_text()
    assert 2 == len(Path("d/metadata.jsonl").read_text().splitlines())
    with Image.open("c.jpg") as sheet:
        sheet.load()


def test_a_file_with_a_line_break_above_it_is_refused(tmp_path: Path) -> None:
    """No list can name it."""
    with pytest.raises(Exception, match="line break"):
        places.relative(tmp_path / "a\nb" / "c.mp4", tmp_path)


async def test_a_mistake_of_one_flag_leaves_nothing_of_the_others(boats: Path, seedance: Type) -> None:
    """Seven frames a second have no timecode: the timeline that could be written is not, either."""
    with mock.patch("seedance_async.export.probe.nearest_rate", return_value=Fraction(7)):
        ended = await seedance("export", boats, "--otio", "c.otio", "--edl", "c.edl")

    assert 2 == ended.code
    assert "7 frames a second have no timecode; use --otio" in ended.err
    assert not Path("c.otio").exists()


async def test_a_final_and_a_take_whose_newer_one_has_failed_are_what_is_handed_over(
    tmp_path: Path, seedance: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every form alike, after whatever run: never beside the take, and never the job left out."""
    monkeypatch.chdir(tmp_path)
    manifest, out = Path("jobs.jsonl"), Path("out")
    jobs = [
        {"name": name, "model": "seedance2", "prompt": f"A boat, {name}", "duration": 4}
        for name in ("dawn", "noon")
    ]
    manifest.write_text("".join(json.dumps(job) + "\n" for job in jobs))

    async def run(sandbox: Sandbox, **options: Any) -> None:  # noqa: ANN401 - whatever a runner takes
        async with (
            SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
            BatchRunner(client, out, **options) as batch,
        ):
            [result async for result in batch.run(manifest)]

    async with Sandbox() as sandbox:
        await run(sandbox)
        (dawn,) = [each for each in results_reading.read(out).values() if each.name == "dawn"]
        picks.write(out, "dawn", dawn.task_ids, pick="keep")
        await run(sandbox, finish={"generate_audio": False})
        picks.write(out, "dawn", dawn.task_ids, pick=None)
        finished = await exported(seedance, out)
        sandbox.faults.add(Fault(effect="status", on="submit", moment="before", status=400))
        await run(sandbox, reroll=["noon"])
        refused = await exported(seedance, out)

        assert 3 == len(sandbox.paid_tasks)
    assert [["dawn-final", "noon"]] * 4 == finished.forms == refused.forms
    assert "newest saved take" not in finished.told
    assert "noon-take-1 is exported as the newest saved take of noon: a newer one was refused" in refused.told
    assert "not saved" not in refused.told


@frozen
class Exported:
    """What was handed over: the names of the files by timeline, list of edits, dataset and list of clips."""

    forms: list[list[str]]
    told: str


async def exported(seedance: Type, out: Path) -> Exported:
    """Hand over a batch in every form."""
    shutil.rmtree("set", ignore_errors=True)
    ending = await seedance(
        "export", out, "--otio", "t.otio", "--edl", "t.edl", "--contact-sheet", "s.jpg", "--dataset", "set",
        "--concat", "c.txt",
    )  # fmt: skip
    assert 0 <= ending.code <= 1
    clips = otio.adapters.read_from_file("t.otio").video_tracks()[0]
    edits = [text.split(":")[-1] for text in Path("t.edl").read_text().splitlines() if ".mp4" in text]
    lines = [json.loads(text) for text in Path("set/metadata.jsonl").read_text().splitlines()]
    listed = [text for text in Path("c.txt").read_text().splitlines() if text.startswith("file")]
    forms = [
        [clip.media_reference.target_url for clip in clips],
        edits,
        [each["file_name"] for each in lines],
        [text.strip("'") for text in listed],
    ]
    names = [list(dict.fromkeys(Path(file.strip()).stem for file in files)) for files in forms]
    return Exported(names, ending.err)
