"""What a request asks of its files: what differs for certain is told, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import pytest

from seedance_async import Delivered, GptImage2, NanoBananaPro, Seedance2Video, wire
from seedance_async.batch.mismatches import mismatches, price_mismatch, wish_of
from seedance_async.models import VideoAspectRatio, VideoResolution
from seedance_async.models.requests import ImageAspectRatio, ImageResolution, ImageSize
from seedance_async.prices import Price
from seedance_async.sandbox.catalogue import image_size, video_size

if TYPE_CHECKING:
    from seedance_async import Request

FRAME = "https://a.example/frame.png"
CLIP = "https://a.example/clip.mp4"


def told(request: Request, size: tuple[int, int], **measured: Any) -> tuple[str, ...]:  # noqa: ANN401
    """The differences of a file of this size from what a request asks."""
    clip: dict[str, Any] = {"seconds": 5.0, "fps": 24.0, "sound": True}
    is_clip = isinstance(request, Seedance2Video)
    file = Delivered(width=size[0], height=size[1], **({**clip, **measured} if is_clip else measured))
    return mismatches(wish_of(request.model, json.loads(wire.encode(request))), file)


def video(**fields: Any) -> Seedance2Video:  # noqa: ANN401
    """A request for a clip of five seconds."""
    tier = "pro" if fields.get("resolution") in {"4k", "1080p-plus"} else "standard"
    return Seedance2Video(**{"prompt": "A boat", "quality_tier": tier, **fields})


@pytest.mark.parametrize("shape", get_args(VideoAspectRatio))
@pytest.mark.parametrize("resolution", get_args(VideoResolution))
def test_every_documented_clip_of_the_sandbox_is_as_asked(resolution: str, shape: str) -> None:
    """The sandbox draws what was asked for, and nothing is told of that."""
    request = video(resolution=resolution, aspect_ratio=shape)

    assert () == told(request, video_size(resolution, shape))


@pytest.mark.parametrize("resolution", get_args(ImageResolution))
def test_every_documented_picture_of_the_sandbox_is_as_asked(resolution: Any) -> None:  # noqa: ANN401
    """For both models, in all shapes."""
    for shape in get_args(ImageAspectRatio):
        gpt = GptImage2(prompt="Cats", resolution=resolution, aspect_ratio=shape)
        assert () == told(gpt, image_size(resolution, shape))
    for shape in get_args(ImageSize):
        banana = NanoBananaPro(prompt="Cats", resolution=resolution, image_size=shape)
        assert () == told(banana, image_size(resolution, shape))


@pytest.mark.parametrize(
    ("resolution", "shape", "size"),
    [
        ("720p", "16:9", (1248, 704)),
        ("720p", "21:9", (1504, 640)),
        ("720p", "1:1", (720, 720)),
        ("720p", "1:1", (960, 960)),
        ("720p", "4:3", (1120, 832)),
        ("1080p", "16:9", (1920, 1088)),
        ("1080p", "9:16", (1072, 1920)),
        ("1080p", "21:9", (2176, 928)),
        ("1080p", "21:9", (2520, 1080)),
        ("1080p-plus", "16:9", (2560, 1440)),
        ("4k", "16:9", (4096, 2304)),
    ],
)
def test_a_size_that_some_reading_allows_is_no_difference(
    resolution: str, shape: str, size: tuple[int, int]
) -> None:
    """Rounded to blocks of 16, or another meaning of the same word."""
    assert () == told(video(resolution=resolution, aspect_ratio=shape), size)


@pytest.mark.parametrize(
    ("resolution", "shape", "size", "words"),
    [
        ("1080p", "9:16", (720, 1280), "720x1280, asked for 1080x1920"),
        ("720p", "9:16", (496, 864), "496x864, asked for 720x1280"),
        ("1080p", "16:9", (1280, 720), "1280x720, asked for 1920x1080"),
        ("720p", "16:9", (1920, 1080), "1920x1080, asked for 1280x720"),
        ("720p", "9:16", (1280, 720), "1280x720, asked for 720x1280"),
        ("1080p", "1:1", (960, 960), "960x960, asked for 1080p 1:1, at least 1080x1080"),
        ("4k", "16:9", (1920, 1080), "1920x1080, asked for 4k 16:9, at least 3840x2160"),
        ("1080p", "adaptive", (720, 1280), "720x1280, asked for 1080p"),
    ],
)
def test_a_size_that_no_reading_allows_is_told(
    resolution: str, shape: str, size: tuple[int, int], words: str
) -> None:
    """What users have seen of this vendor, and the like."""
    assert (words,) == told(video(resolution=resolution, aspect_ratio=shape), size)


@pytest.mark.parametrize(
    "fields",
    [
        {"image_url": FRAME},
        {"image_url": "$still.image", "end_image_url": FRAME},
        {"media_urls": [CLIP]},
        {"media_urls": ["$shot.video", FRAME]},
        {"aspect_ratio": "adaptive"},
    ],
)
def test_a_shape_that_something_else_decides_is_open(fields: dict[str, Any]) -> None:
    """A start frame, a clip to edit, or the server; the resolution still counts."""
    assert () == told(video(**fields), (720, 1280))
    assert () == told(video(**fields), (960, 960))
    assert ("496x864, asked for 720p",) == told(video(**fields), (496, 864))


def test_pictures_as_references_decide_no_shape() -> None:
    """A character reference is no frame."""
    request = video(media_urls=[FRAME, "$still.image", "$shot.last_frame"])

    assert ("720x1280, asked for 1280x720",) == told(request, (720, 1280))


def test_seconds_and_sound_are_told() -> None:
    """To half a second; a track that was not asked for may be silent."""
    size = 1280, 720
    assert () == told(video(), size, seconds=5.04)
    assert ("3 s, asked for 5 s", "no sound, asked for sound") == told(
        video(), size, seconds=3.0, sound=False
    )
    assert () == told(video(generate_audio=False), size, sound=True)
    assert () == told(video(media_urls=[CLIP]), size, seconds=11.0)
    assert () == told(video(), size, seconds=None)


def test_a_last_frame_is_not_judged() -> None:
    """Nothing is promised of it."""
    assert () == told(video(), (64, 64), seconds=None, fps=None, sound=None)


@pytest.mark.parametrize(
    ("resolution", "shape", "size", "is_right"),
    [
        ("1K", "16:9", (1376, 768), True),
        ("1K", "16:9", (1024, 576), True),
        ("1K", "3:2", (1536, 1024), True),
        ("4K", "16:9", (3840, 2160), True),
        ("4K", "1:1", (2880, 2880), True),
        ("2K", "21:9", (3168, 1344), True),
        ("2K", "1:1", (1024, 1024), False),
        ("4K", "1:1", (2048, 2048), False),
        ("1K", "1:1", (2048, 2048), False),
        ("1K", "3:4", (928, 1152), False),
    ],
)
def test_pictures(resolution: Any, shape: Any, size: tuple[int, int], is_right: bool) -> None:  # noqa: ANN401
    """``4K`` may be 3840x2160; 4:5 is not 3:4."""
    assert is_right == (() == told(GptImage2(prompt="Cats", resolution=resolution, aspect_ratio=shape), size))


def test_a_charge_above_the_estimate_names_both() -> None:
    """A lower one, or one that nobody could estimate, is none."""
    estimate = Price(8, 12, "documented")

    assert price_mismatch(20, estimate) == "cost 20 credits, estimated 12 by an example of the vendor's"
    assert [None] * 4 == [
        price_mismatch(12, estimate),
        price_mismatch(1, estimate),
        price_mismatch(None, estimate),
        price_mismatch(20, None),
    ]
