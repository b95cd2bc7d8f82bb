"""Tests of the generated files: they have the requested size, length and type, and are playable."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import av
import pytest
from PIL import Image, ImageChops

from seedance_async.sandbox.media import ImageFormat, clip, picture

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

PROMPT = "A cinematic shot of a glass train crossing a snowy mountain bridge"


def brightness(frame: VideoFrame) -> Image.Image:
    """Return what a frame shows, in shades of grey."""
    plane = frame.planes[0]
    return Image.frombytes("L", (plane.line_size, plane.height), bytes(plane))


def opened(film: bytes) -> InputContainer:
    """Open a film from memory, as a player would."""
    return av.open(io.BytesIO(film), "r")


@pytest.mark.parametrize(
    ("width", "height", "seconds"),
    [(320, 180, 5), (180, 320, 4), (336, 144, 15), (240, 240, 4.5)],
    ids=["16:9", "9:16", "21:9 long", "1:1 broken seconds"],
)
def test_a_clip_has_the_size_and_length_asked_for(width: int, height: int, seconds: float) -> None:
    """Players and probes read both from the file; they must be those of the request."""
    with opened(clip(width, height, seconds, PROMPT)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        frames = list(container.decode(video))

        assert ("h264", "aac") == (video.codec_context.name, audio.codec_context.name)
        assert (width, height) == (video.width, video.height)
        assert 12 * seconds == len(frames)
        assert seconds * 1_000_000 == container.duration


def test_a_clip_without_audio_has_no_sound_track() -> None:
    """``generate_audio=false`` yields a silent file, not a track of silence."""
    with opened(clip(160, 90, 1, PROMPT, audio=False)) as container:
        assert ["video"] == [stream.type for stream in container.streams]


def test_the_sound_can_be_decoded_and_is_quiet() -> None:
    """Nobody's speakers are startled by a test."""
    with opened(clip(160, 90, 1, PROMPT)) as container:
        frames = list(container.decode(audio=0))

    levels = [abs(level) for frame in frames for level in memoryview(frame.planes[0]).cast("f")]
    assert 0.01 < max(levels) < 0.1


def test_the_index_of_a_clip_comes_before_its_data() -> None:
    """A player that streams starts at once, and the magic bytes are those of an MP4."""
    film = clip(160, 90, 1, PROMPT)

    assert b"ftyp" == film[4:8]
    assert film.index(b"moov") < film.index(b"mdat")


def test_a_clip_moves_only_in_its_strip() -> None:
    """The bar shows that it plays; the landscape above stands still."""
    with opened(clip(320, 180, 2, PROMPT)) as container:
        first, *_, last = [brightness(frame) for frame in container.decode(video=0)]

    change = ImageChops.difference(first, last).point([0] * 48 + [255] * 208).getbbox()
    assert change is not None
    left, top, right, _ = change
    assert right - left > 200
    assert top >= 180 - 14


def test_the_prompt_is_in_the_comment_of_a_clip() -> None:
    """A file that lost its name can still be told from the others."""
    with opened(clip(160, 90, 1, "Überall 霓虹 lights")) as container:
        assert "Überall 霓虹 lights" == container.metadata["comment"]


def test_odd_sizes_become_even() -> None:
    """H.264 shares one colour between four pixels."""
    with opened(clip(161, 91, 1, PROMPT)) as container:
        assert (162, 92) == (container.streams.video[0].width, container.streams.video[0].height)


@pytest.mark.parametrize(
    ("image_format", "magic"), [("png", b"\x89PNG\r\n\x1a\n"), ("jpeg", b"\xff\xd8\xff")]
)
def test_a_picture_has_the_size_and_format_asked_for(image_format: ImageFormat, magic: bytes) -> None:
    """``output_format`` and the size of the request are those of the file."""
    file = picture(301, 200, image_format, PROMPT)

    image = Image.open(io.BytesIO(file))
    image.load()
    assert file.startswith(magic)
    assert (image_format.upper(), (301, 200)) == (image.format, image.size)


def test_the_same_arguments_make_the_same_bytes() -> None:
    """A digest noted in one run is good in the next."""
    assert clip(160, 90, 1, PROMPT) == clip(160, 90, 1, PROMPT)
    assert picture(64, 64, "png", PROMPT, seed=7) == picture(64, 64, "png", PROMPT, seed=7)


def test_prompts_and_seeds_make_different_pictures() -> None:
    """The pictures of one batch can be told apart."""
    prompts = {picture(64, 64, "png", prompt) for prompt in ("a red fox", "a grey fox")}
    seeds = {picture(64, 64, "png", PROMPT, seed=seed) for seed in range(4)}

    assert (2, 4) == (len(prompts), len(seeds))


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "x" * 20_000,
        "a lighthouse keeper climbs a spiral stair. " * 400,
        "霓虹灯下的雨夜街道" * 50,
        "a\nb\tc\0d",
        "\ud800",
    ],
    ids=["empty", "one endless word", "long", "Chinese", "control characters", "half a pair"],
)
@pytest.mark.parametrize("size", [(320, 180), (16, 16), (300, 100)], ids=str)
def test_any_prompt_fits_any_size(prompt: str, size: tuple[int, int]) -> None:
    """Up to 20,000 characters are allowed, and no script is forbidden."""
    image = Image.open(io.BytesIO(picture(*size, "png", prompt)))

    assert size == image.size


def test_lettering_stays_inside_its_margins() -> None:
    """Text that does not fit is cut, not drawn over the edge."""
    image = Image.open(io.BytesIO(picture(640, 360, "png", "W" * 20_000))).convert("L")
    lettering = image.point([0] * 255 + [255]).getbbox()

    assert lettering is not None
    left, top, right, bottom = lettering
    assert left >= 20
    assert top >= 20
    assert right <= 620
    assert bottom <= 310


@pytest.mark.parametrize("missing", ["PIL", "av"])
def test_without_the_extra_a_grey_clip_stands_in(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox works after a bare install, with a clip that plays all the same, and as long as asked."""
    monkeypatch.setitem(sys.modules, missing, None)
    film = clip(1280, 720, 15, PROMPT)

    monkeypatch.undo()
    with opened(film) as container:
        assert ["video", "audio"] == [stream.type for stream in container.streams]
        assert 180 == len(list(container.decode(video=0)))


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_without_the_extra_a_grey_picture_stands_in(
    image_format: ImageFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Format and size are right."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    file = picture(1024, 768, image_format, PROMPT)

    monkeypatch.undo()
    image = Image.open(io.BytesIO(file))
    assert (image_format.upper(), (1024, 768)) == (image.format, image.size)
