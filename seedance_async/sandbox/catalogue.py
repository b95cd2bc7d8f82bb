"""The catalogue of prices, durations and output sizes of each kind of work.

The vendor publishes no price list, no durations and no pixel sizes. The figures marked *seen* come from its
examples and from its users; the others are plausible values in between. A client must rely on
``credits_used`` and ``updated_at``, never on a table, so these figures need not be exact, only realistic and
constant.
"""

from __future__ import annotations

from math import ceil, exp, sqrt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

    from seedance_async.sandbox.validation import GenerationRequest

_VIDEO_CREDITS_A_SECOND: Final = {
    ("mini", "720p"): 2.2,  # seen
    ("mini", "1080p"): 5.0,
    ("standard", "720p"): 6.0,  # seen, and the vendor's example: 30 for 5 s
    ("standard", "1080p"): 14.5,  # seen
    ("pro", "720p"): 11.0,  # seen
    ("pro", "1080p"): 24.0,  # seen
    ("pro", "1080p-plus"): 30.0,
    ("pro", "4k"): 60.0,
}
_IMAGE_CREDITS: Final = {
    ("gpt-image-2", "1K"): 8,  # the vendor's example
    ("gpt-image-2", "2K"): 12,
    ("gpt-image-2", "4K"): 20,
    ("nano-banana-pro", "1K"): 12,  # the vendor's example
    ("nano-banana-pro", "2K"): 18,
    ("nano-banana-pro", "4K"): 24,
}

# Nineteen videos of one user took 106 s (p10), 184 s (median), 262 s (p90): a log-normal of sigma 0.35.
_VIDEO_MEDIAN: Final = 184.0
_VIDEO_SIGMA: Final = 0.35
_IMAGE_MEDIAN: Final = {"gpt-image-2": 60.0, "nano-banana-pro": 70.0}
_IMAGE_SIGMA: Final = 0.3
_TIME_FACTOR: Final = {
    "mini": 0.75, "standard": 1.0, "pro": 1.15,
    "720p": 1.0, "1080p": 1.15, "1080p-plus": 1.25, "4k": 1.5,
    "1K": 1.0, "2K": 1.2, "4K": 1.5,
}  # fmt: skip

# Width and height at 720p; every side is even because H.264 halves the chroma planes.
_VIDEO_720P: Final = {
    "16:9": (1280, 720),
    "9:16": (720, 1280),
    "1:1": (960, 960),
    "4:3": (1112, 834),
    "3:4": (834, 1112),
    "21:9": (1470, 630),
}
_VIDEO_SCALE: Final = {"720p": 1.0, "1080p": 1.5, "1080p-plus": 1.5, "4k": 3.0}
_IMAGE_SIDE: Final = {"1K": 1024, "2K": 2048, "4K": 4096}
_IMAGE_GRID: Final = 16  # image models work in blocks of 16 pixels


def credits_for(request: GenerationRequest) -> int:
    """The credits of one task of the request; a batch of images costs this for each image."""
    if request.model == "seedance2":
        rate = _VIDEO_CREDITS_A_SECOND[request.text("quality_tier"), request.text("resolution")]
        return ceil(round(rate * request.seconds, 6))
    price = _IMAGE_CREDITS[request.model, request.text("resolution")]
    return price // 2 if request.fields.get("channel") == "economy" else price


def typical_duration(request: GenerationRequest, rng: Random) -> float:
    """Draw the duration of one task of the request, in account seconds."""
    median, sigma = _median_and_sigma(request)
    return median * exp(rng.gauss(0.0, sigma))


def video_size(resolution: str, aspect_ratio: str) -> tuple[int, int]:
    """Width and height in pixels of a clip; ``adaptive`` without a picture to adapt to is 16:9."""
    width, height = _VIDEO_720P["16:9" if aspect_ratio == "adaptive" else aspect_ratio]
    scale = _VIDEO_SCALE[resolution]
    return _to_multiple(width * scale, 2), _to_multiple(height * scale, 2)


def image_size(resolution: str, aspect_ratio: str) -> tuple[int, int]:
    """Width and height in pixels of a picture, with the area of its resolution; ``auto`` is square."""
    width, height = (1, 1) if aspect_ratio == "auto" else map(int, aspect_ratio.split(":"))
    side, stretch = _IMAGE_SIDE[resolution], sqrt(width / height)
    return _to_multiple(side * stretch, _IMAGE_GRID), _to_multiple(side / stretch, _IMAGE_GRID)


def _median_and_sigma(request: GenerationRequest) -> tuple[float, float]:
    factor = _TIME_FACTOR[request.text("resolution")]
    if request.model == "seedance2":
        # Rendering time grows with the clip's length, but much less than in proportion.
        length = (request.seconds / 5) ** 0.3
        return _VIDEO_MEDIAN * _TIME_FACTOR[request.text("quality_tier")] * factor * length, _VIDEO_SIGMA
    return _IMAGE_MEDIAN[request.model] * factor, _IMAGE_SIGMA


def _to_multiple(pixels: float, step: int) -> int:
    return max(step, step * round(pixels / step))
