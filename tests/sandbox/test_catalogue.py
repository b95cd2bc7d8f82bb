"""Tests of the catalogue: a price or size that users or the documents have told is that figure."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import pytest

from seedance_async.sandbox.catalogue import credits_for, image_size, typical_duration, video_size
from seedance_async.sandbox.validation import parse_request
from tests.contract.tables import accepted_cases
from tests.sandbox.api import CLIP, GPT_IMAGE, NANO_BANANA, PICTURE, VIDEO

if TYPE_CHECKING:
    from collections.abc import Mapping

PRO = {**CLIP, "quality_tier": "pro"}
BANANA = {"type": "text-to-image", "prompt": "A packaging mockup"}


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (VIDEO, CLIP, 30),
        (VIDEO, {**CLIP, "duration": "15"}, 90),
        (VIDEO, {**CLIP, "quality_tier": "mini"}, 11),
        (VIDEO, {**CLIP, "quality_tier": "mini", "duration": "4"}, 9),
        (VIDEO, {**CLIP, "resolution": "1080p", "duration": "4"}, 58),
        (VIDEO, PRO, 55),
        (VIDEO, {**PRO, "resolution": "1080p"}, 120),
        (GPT_IMAGE, PICTURE, 8),
        (GPT_IMAGE, {**PICTURE, "channel": "economy"}, 4),
        (NANO_BANANA, BANANA, 12),
    ],
)
def test_a_task_costs_what_users_paid(path: str, body: Mapping[str, object], expected: int) -> None:
    """In whole credits, a fraction rounded up."""
    assert expected == credits_for(parse_request(path, json.dumps(body).encode()))


def test_everything_that_can_be_ordered_has_a_price_and_a_duration() -> None:
    """No combination of the tables may end in a KeyError."""
    for case in accepted_cases():
        request = parse_request(case.endpoint.path, json.dumps(case.body).encode())
        assert credits_for(request) > 0
        assert typical_duration(request, Random(0)) > 0


def test_sizes_follow_resolution_and_shape() -> None:
    """720p means 1280x720, and every side of a film is even."""
    shapes = ("1:1", "21:9", "4:3", "3:4", "16:9", "9:16", "adaptive")
    resolutions = ("720p", "1080p", "1080p-plus", "4k")

    assert (1280, 720) == video_size("720p", "16:9") == video_size("720p", "adaptive")
    assert (1920, 1080) == video_size("1080p", "16:9")
    assert (2160, 3840) == video_size("4k", "9:16")
    assert all(side % 2 == 0 for r in resolutions for shape in shapes for side in video_size(r, shape))
    assert (1024, 1024) == image_size("1K", "1:1") == image_size("1K", "auto")
    assert 2.0 == pytest.approx(image_size("2K", "2:1")[0] / image_size("2K", "2:1")[1], rel=0.02)
