"""`seedance demo`: the first thing that anybody runs, so it must work everywhere, and again."""

from __future__ import annotations

import re
import sys
from functools import partial
from typing import TYPE_CHECKING

import anyio
import av
import pytest
from PIL import Image

from seedance_async.cli.demo_jobs import JOBS as MANIFEST
from seedance_async.cli.demo_jobs import demo_jobs
from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Type

JOBS = 5


@pytest.fixture
def demo(seedance: Type, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Run `seedance demo` with nothing in the environment to lean on."""
    for name in ("SEEDANCE_API_KEY", "SEEDANCE_BASE_URL", "SEEDANCE_RATE_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    return partial(seedance, "demo")


def look_at(directory: Path) -> dict[str, list[str]]:
    """Open everything in the directory; the names by kind."""
    for clip in directory.glob("*.mp4"):
        with av.open(clip) as container:
            assert sum(1 for _ in container.decode(video=0)) > 24
    pictures = [*directory.glob("*.png"), *directory.glob("*.jpg")]
    for picture in pictures:
        with Image.open(picture) as image:
            image.load()
    return {
        "clips": sorted(clip.name for clip in directory.glob("*.mp4")),
        "pictures": sorted(picture.name for picture in pictures),
    }


async def test_the_demo_leaves_media_that_play_and_a_gallery_of_them(demo: Type, tmp_path: Path) -> None:
    """Each job has its file under its name, and the page links every one."""
    ending = await demo("-o", tmp_path / "out", "--jobs", JOBS)

    found = look_at(tmp_path / "out")
    page = (tmp_path / "out" / "gallery.html").read_text(encoding="utf-8")
    assert ExitCode.OK == ending.code
    assert ["01-glass-train.mp4", "03-lighthouse-keeper.mp4", "05-clockwork-koi.mp4"] == found["clips"]
    assert {"02-tea-poster.png", "04-market-still.png"} < set(found["pictures"])
    assert set(found["clips"]) | set(found["pictures"]) == set(
        re.findall(r'(?:src|poster)="\./([^"]+)"', page)
    )


async def test_the_demo_tells_what_the_sandbox_saw_of_it(demo: Type, tmp_path: Path) -> None:
    """Jobs, requests beside the least that can do it, the limit, money, files and where the gallery is."""
    ending = await demo("-o", tmp_path, "--jobs", JOBS)

    reported = dict(line.split(maxsplit=1) for line in ending.lines)
    requests, least = map(int, re.findall(r"(\d+) for 5 jobs; the minimum is (\d+)", reported["requests"])[0])
    assert "5, of which 5 saved and 0 failed" == reported["jobs"]
    assert 2 * JOBS == least <= requests
    assert int(reported["limit"].split()[0]) <= 30
    assert "for 5 paid tasks" in reported["credits"]
    assert (tmp_path / "gallery.html").as_uri() == reported["gallery"]


async def test_the_demo_can_be_run_again_into_the_same_directory(demo: Type, tmp_path: Path) -> None:
    """What an earlier one left under its own names is replaced; other people's files stay."""
    (tmp_path / "mine.png").write_bytes(b"mine")
    first = await demo("-o", tmp_path, "--jobs", JOBS)
    (tmp_path / "02-tea-poster.png").write_bytes(b"of another version")
    there = sorted(path.name for path in tmp_path.iterdir())

    again = await demo("-o", tmp_path, "--jobs", JOBS)

    assert (ExitCode.OK, ExitCode.OK) == (first.code, again.code)
    assert "02-tea-poster-2.png" not in there
    assert there == sorted(path.name for path in tmp_path.iterdir())
    assert b"mine" == (tmp_path / "mine.png").read_bytes()


@pytest.mark.parametrize("name", ["gallery.html", "journal.sqlite", "02-tea-poster.png"])
async def test_the_demo_replaces_nothing_that_no_demo_has_made(name: str, demo: Type, tmp_path: Path) -> None:
    """A gallery of the user's own is worth more than a demo."""
    (tmp_path / name).write_bytes(b"mine")

    ending = await demo("-o", tmp_path, "--jobs", JOBS)

    assert ExitCode.USAGE == ending.code
    assert f"{name} exists" in ending.err
    assert [b"mine"] == [path.read_bytes() for path in tmp_path.iterdir()]


async def test_the_demo_looks_for_its_directory_before_it_plays(demo: Type, tmp_path: Path) -> None:
    """A file in its place is told at once."""
    (tmp_path / "file").write_bytes(b"mine")

    ending = await demo("-o", tmp_path / "file", "--jobs", JOBS)

    assert ExitCode.USAGE == ending.code
    assert "is not a directory" in ending.err


async def test_a_directory_of_the_demo_takes_no_other_batch(
    seedance: Type, demo: Type, tmp_path: Path
) -> None:
    """The next demo would remove its journal, and with it the record of what was paid."""
    out, manifest = tmp_path / "out", tmp_path / "jobs.jsonl"
    manifest.write_text('{"model": "gpt-image-2", "prompt": "A kite"}\n')
    await demo("-o", out, "--jobs", 1)

    for flag in ("--sandbox", "--dry-run"):
        ending = await seedance("batch", manifest, "-o", out, flag)
        assert ExitCode.USAGE == ending.code
        assert "belongs to `seedance demo`" in ending.err
    assert ExitCode.OK == (await demo("-o", out, "--jobs", 1)).code


async def test_a_line_now_and_then_shows_how_far_the_demo_is(demo: Type, tmp_path: Path) -> None:
    """Where there is no terminal to draw on."""
    ending = await demo("-o", tmp_path, "--jobs", JOBS)

    lines = [line for line in ending.err.splitlines() if line.startswith("[")]
    assert lines
    assert all(re.match(r"\[\d/5\] .* of 30 requests in the last 3 s", line) for line in lines)


async def test_the_demo_works_without_the_extra_that_makes_media(
    demo: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small files baked beforehand stand in, and they play as well."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "av", None)

    ending = await demo("-o", tmp_path, "--jobs", 2)

    monkeypatch.undo()
    assert ExitCode.OK == ending.code
    assert {
        "clips": ["01-glass-train.mp4"],
        "pictures": ["01-glass-train-last-frame.png", "02-tea-poster.png"],
    } == (look_at(tmp_path))


async def test_the_demo_that_is_cut_short_ends_at_once(demo: Type, tmp_path: Path) -> None:
    """It plays with its own server's money, so there is nothing to collect."""
    async with anyio.create_task_group() as keyboard:
        keyboard.start_soon(demo, "-o", tmp_path)
        await anyio.sleep(1)
        keyboard.cancel_scope.cancel()

    assert [] == list(tmp_path.glob("*.html"))


async def test_a_demo_of_no_jobs_is_a_mistake(demo: Type, tmp_path: Path) -> None:
    """It would show nothing."""
    ending = await demo("-o", tmp_path, "--jobs", 0)

    assert ExitCode.USAGE == ending.code


def test_any_number_of_demo_jobs_are_all_different() -> None:
    """Beyond the last they are further takes, with names and prompts of their own."""
    jobs = demo_jobs(3 * len(MANIFEST))

    assert 3 * len(MANIFEST) == len({job.name for job in jobs}) == len({job.request.prompt for job in jobs})
    assert {"seedance2", "gpt-image-2", "nano-banana-pro"} == {job.request.model for job in jobs[:4]}
