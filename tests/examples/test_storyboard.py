"""Tests of the example storyboard: killed at random, every job is paid once, and every clip is right.

A run of the tests kills it a few times. All twenty, for which the sandbox is slower:

    SEEDANCE_TEST_FILM_KILLS=20 python -m pytest tests/examples/test_storyboard.py
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import av
import pytest
from PIL import Image, ImageChops, ImageStat

from seedance_async.cli.sandbox import variables
from seedance_async.sandbox import Sandbox
from seedance_async.sandbox.media.scene import SOURCE_SIZE, WHITE
from tests.batch.test_crashes import judge

if TYPE_CHECKING:
    from collections.abc import Iterator

FILM = Path(__file__).parents[2] / "examples" / "storyboard" / "film.toml"
JOBS = 8

KILLS = int(os.environ.get("SEEDANCE_TEST_FILM_KILLS", "4"))
SPEED = 120 / KILLS
"""So that the film is not made before it was killed so often."""

LONGEST_LIFE = 1.2
"""Seconds that a run may live at most once it has opened its journal."""

SOURCES: Final = {
    "clip-1-street": ("still-dawn.png", "still-ride.png"),
    "clip-2-corner": ("clip-1-street-last-frame.png",),
    "clip-3-bridge": ("clip-2-corner-last-frame.png", "still-bridge.png"),
    "clip-4-letter": ("sheet-mira.png",),
}


@pytest.fixture
def anyio_backend() -> str:
    """Child processes live on the real clock."""
    return "asyncio"


async def killed(command: list[str], environment: dict[str, str], pid: Path, life: float) -> bool:
    """Run the batch, and kill it so long after it has opened its journal; whether it still ran."""
    async with await anyio.open_process(command, env=environment) as process:
        while process.returncode is None and not is_open(pid, process.pid):  # noqa: ASYNC110 - another process
            await anyio.sleep(0.02)
        with anyio.move_on_after(life):
            await process.wait()
        if process.returncode is not None:
            return False
        process.send_signal(signal.SIGKILL)
        return True


def is_open(pid: Path, process: int) -> bool:
    """Whether this process has the journal open."""
    return pid.exists() and str(process) in pid.read_text()


def first_frame(clip: Path) -> Image.Image:
    """The picture that a clip begins with."""
    with av.open(str(clip)) as container:
        picture = next(container.decode(video=0)).to_image()  # type: ignore[no-untyped-call]
    assert isinstance(picture, Image.Image)
    return picture


def insets(picture: Image.Image, shapes: list[tuple[int, int]]) -> Iterator[Image.Image]:
    """What a made picture shows of its sources, which are of these sizes; each has a white frame."""
    side = min(picture.size)
    most, margin = round(SOURCE_SIZE * side), round(0.07 * side)
    left, bottom = margin, round(0.86 * picture.height)
    for shape in shapes:
        scale = most / max(shape)
        width, height = (round(length * scale) for length in shape)
        middle = bottom - height // 2
        assert is_white(picture, left - 2, middle)
        assert is_white(picture, left + width + 1, middle)
        yield picture.crop((left, bottom - height, left + width, bottom))
        left += width + margin // 2
    assert not is_white(picture, left - 2, bottom - 20)


def is_white(picture: Image.Image, x: int, y: int) -> bool:
    """As white as a compressed clip is."""
    pixel = picture.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return all(abs(part - full) < 40 for part, full in zip(pixel, WHITE, strict=True))


def difference(one: Image.Image, other: Image.Image) -> float:
    """How much two pictures differ, as the mean over all parts of all pixels."""
    other = other.convert("RGB").resize(one.size)
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean)


@pytest.mark.timeout(60 + 25 * KILLS)
async def test_the_film_is_paid_once_and_shows_its_sources_however_often_it_is_killed(tmp_path: Path) -> None:
    """SIGKILL at seeded random instants, and gone on with by the same command each time."""
    out = tmp_path / "film"
    command = [sys.executable, "-m", "seedance_async", "batch", str(FILM), "-o", str(out), "--json"]
    lives = random.Random("storyboard")
    async with Sandbox(speed=SPEED) as sandbox:
        environment = {**os.environ, **variables(sandbox), "SEEDANCE_STATE_DIR": str(tmp_path / "state")}
        kills = 0
        while kills < KILLS and await killed(
            command, environment, out / "journal.pid", lives.uniform(0.0, LONGEST_LIFE)
        ):
            kills += 1
        ended = await anyio.run_process(command, env=environment, check=False)

        assert KILLS == kills
        assert 0 == ended.returncode, ended.stderr.decode()
        judge(sandbox, out, jobs=JOBS, tasks=JOBS)
        charges = [entry for entry in sandbox.ledger if entry.kind == "charge"]
        assert JOBS == len(charges)

    pictures = {path.name: Image.open(path).convert("RGB") for path in out.iterdir() if is_picture(path)}
    for name, sources in SOURCES.items():
        shown = insets(first_frame(out / f"{name}.mp4"), [pictures[source].size for source in sources])
        for source, inset in zip(sources, shown, strict=True):
            alike = {other: difference(inset, picture) for other, picture in pictures.items()}
            assert source == min(alike, key=alike.__getitem__), (name, alike)


def is_picture(path: Path) -> bool:
    """Whether a file of the film is one."""
    return path.suffix in {".png", ".jpg", ".webp"}
