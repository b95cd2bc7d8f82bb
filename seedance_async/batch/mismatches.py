"""The comparison of delivered files with the request and its expected price.

The vendor documents neither pixel sizes nor tolerances, so a difference is reported only if no interpretation
of the request allows it:

*shape*: the aspect ratio that the request names. It is open if there is a start or end frame, for
``adaptive`` and ``auto``, and if references may be clips, because an edited clip keeps its own shape.

*resolution*: ``1080p`` may mean the shorter side, the longer side of a 16:9 frame, or the number of pixels;
``2K`` likewise, for a square. A file that is smaller than all of these, or larger than all, differs;
``1080p-plus`` and ``4k`` have only a lower bound.

*rounding*: models work in blocks. A side may differ by rounding to a multiple of 16, or by 3 %: published
sizes of 720p in the same family of models go down to 1248x704.

*seconds*: with a tolerance of half a second, because encoders add a frame or two. Open if a clip may be
edited or extended.

*sound*: a difference only if sound was requested and there is no track; with ``generate_audio: false`` there
may be a silent track.

For a request of clips only the clips are compared: the size of a last frame is not documented.

Pure. Source: the parameter tables of the vendor's llms.txt.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from seedance_async.models import Delivered
    from seedance_async.prices import Price, Source

CLIPS: Final = "seedance2"
"""The model that makes clips."""

BLOCK: Final = 16
"""Sides are rounded to multiples of this number of pixels."""

TOLERANCE: Final = 0.03
"""Relative tolerance of a side."""

SHAPE_TOLERANCE: Final = 0.06
"""Largest relative tolerance of a shape: documented shapes differ by at least 0.066 (3:4 and 4:5)."""

SECONDS_TOLERANCE: Final = 0.5

FRAMES: Final[Mapping[str, tuple[int, int]]] = {
    "720p": (1280, 720), "1080p": (1920, 1080), "1080p-plus": (1920, 1080), "4k": (3840, 2160),
}  # fmt: skip
"""The 16:9 frame of each resolution of clips."""

NO_MOST: Final = frozenset({"1080p-plus", "4k"})
"""Resolutions without an upper bound."""

SIDES: Final[Mapping[str, int]] = {"1K": 1024, "2K": 2048, "4K": 4096}
"""The side of a square picture of each resolution."""

SMALLER_FRAME: Final = (0.9375, 0.52734375)
"""The 16:9 frame of the same name, relative to the side of that square: 3840x2160 is also called 4K."""

PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".heic", ".bmp")
NAMED: Final[Mapping[Source, str]] = {
    "learned": "as this batch was charged before",
    "recorded": "as the account was charged before",
    "documented": "by an example of the vendor's",
    "observed": "by what users have seen",
}


@frozen(kw_only=True)
class Wish:
    """The properties of files that a request asks for; None for those that it leaves open.

    Attributes:
        is_clip: whether clips are requested.
        shape: the aspect ratio, such as ``9:16``.
        resolution: the value of the request's field.
        seconds: length of a clip.
        sound: whether a sound track is requested.
    """

    is_clip: bool
    shape: str | None
    resolution: str | None
    seconds: float | None = None
    sound: bool = False


@frozen
class Bounds:
    """The smallest and the largest size (width, height) of a resolution; None for no upper bound."""

    least: tuple[float, float]
    most: tuple[float, float] | None

    def allow(self, width: int, height: int) -> bool:
        """Whether a size is within the bounds, allowing for rounding."""
        sides = list(zip((width, height), self.least, self.most or self.least, strict=True))
        is_large = all(side > least - _slack(least) for side, least, _ in sides)
        is_small = self.most is None or all(side < most + _slack(most) for side, _, most in sides)
        return is_large and is_small


def wish_of(model: str, fields: Mapping[str, object]) -> Wish:
    """Return what a request asks of its files.

    Args:
        model: the API's name of the model.
        fields: the fields of the body that was sent, including defaults.
    """
    is_clip = model == CLIPS
    shape = fields.get("image_size" if model == "nano-banana-pro" else "aspect_ratio")
    resolution = str(fields.get("resolution"))
    may_be_edited = _may_hold_clips(fields.get("media_urls"))
    is_open = shape in {None, "adaptive", "auto"} or _starts_with_a_frame(fields) or may_be_edited
    seconds = None if may_be_edited or not is_clip else _seconds(fields.get("duration"))
    return Wish(
        is_clip=is_clip,
        shape=None if is_open else str(shape),
        resolution=resolution if resolution in (FRAMES if is_clip else SIDES) else None,
        seconds=seconds,
        sound=is_clip and fields.get("generate_audio") is True,
    )


def mismatches(wish: Wish, delivered: Delivered) -> tuple[str, ...]:
    """Return the differences of a file from the request, such as ``720x1280, asked for 1080x1920``."""
    if wish.is_clip and not delivered.is_clip:
        return ()
    return tuple(_mismatches(wish, delivered))


def file_mismatches(wish: Wish, files: Iterable[Delivered | None]) -> tuple[str, ...]:
    """Return the differences of all files of a job from the request, each once."""
    found = [text for file in files if file is not None for text in mismatches(wish, file)]
    return tuple(dict.fromkeys(found))


def price_mismatch(charged: float | None, expected: Price | None) -> str | None:
    """Return how a charge exceeds the expected price; None if it does not, or if one of them is unknown."""
    if charged is None or expected is None or charged <= expected.high:
        return None
    return f"cost {charged:g} credits, estimated {expected.high:g} {NAMED[expected.source]}"


def _mismatches(wish: Wish, delivered: Delivered) -> Iterator[str]:
    if _differs_in_size(wish, delivered):
        yield f"{delivered.size}, asked for {_size_asked(wish, delivered)}"
    seconds = delivered.seconds
    if wish.seconds and seconds and abs(seconds - wish.seconds) > SECONDS_TOLERANCE:
        yield f"{seconds:.4g} s, asked for {wish.seconds:g} s"
    if wish.sound and delivered.sound is False:
        yield "no sound, asked for sound"


# --- sizes


def _differs_in_size(wish: Wish, delivered: Delivered) -> bool:
    width, height = delivered.width, delivered.height
    ratio = width / height
    if wish.shape is not None:
        wanted = _ratio(wish.shape)
        tolerance = min(SHAPE_TOLERANCE, TOLERANCE + BLOCK / min(width, height))
        if abs(ratio / wanted - 1) > tolerance:
            return True
        ratio = wanted
    return wish.resolution is not None and not bounds(wish.resolution, ratio).allow(width, height)


def bounds(resolution: str, ratio: float) -> Bounds:
    """Return the possible sizes of a resolution for an aspect ratio (width / height)."""
    if resolution in FRAMES:
        width, height = FRAMES[resolution]
        heights = [_of_shorter(height, ratio), _of_longer(width, ratio), sqrt(width * height / ratio)]
    else:
        side = SIDES[resolution]
        frame_width, frame_height = (side * share for share in SMALLER_FRAME)
        heights = [_of_shorter(side, ratio), _of_longer(side, ratio), side / sqrt(ratio)]
        heights += [_of_longer(frame_width, ratio), sqrt(frame_width * frame_height / ratio)]
    least, most = min(heights), max(heights)
    return Bounds((least * ratio, least), None if resolution in NO_MOST else (most * ratio, most))


def _of_shorter(side: float, ratio: float) -> float:
    """Return the height of a size whose shorter side has this length."""
    return side / min(1.0, ratio)


def _of_longer(side: float, ratio: float) -> float:
    """Return the height of a size whose longer side has this length."""
    return side / max(1.0, ratio)


def _slack(side: float) -> float:
    return max(BLOCK, TOLERANCE * side)


def _size_asked(wish: Wish, delivered: Delivered) -> str:
    """Return the requested size: in pixels if there is only one, else in the request's terms."""
    if wish.resolution is None:
        return str(wish.shape)
    if wish.shape is None:
        return wish.resolution
    allowed = bounds(wish.resolution, _ratio(wish.shape))
    (width, height), most = allowed.least, allowed.most
    if most is not None and most[1] - height < 1:
        return f"{width:.0f}x{height:.0f}"
    limit, word = (allowed.least, "at least")
    if most is not None and delivered.height > most[1]:
        limit, word = most, "at most"
    return f"{wish.resolution} {wish.shape}, {word} {limit[0]:.0f}x{limit[1]:.0f}"


def _ratio(shape: str) -> float:
    width, height = shape.split(":")
    return int(width) / int(height)


# --- what the fields of a request leave open


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, str | int) else None


def _starts_with_a_frame(fields: Mapping[str, object]) -> bool:
    return bool(fields.get("image_url") or fields.get("end_image_url"))


def _may_hold_clips(urls: object) -> bool:
    """Whether a reference may be a clip, which holds for all that are not known to be pictures."""
    return isinstance(urls, list) and not all(_is_picture(str(url)) for url in urls)


def _is_picture(url: str) -> bool:
    link = url.startswith("$")
    path = url.partition("?")[0].lower()
    return ".image" in path or path.endswith(".last_frame") if link else path.endswith(PICTURES)
