"""A vendor who delivers something else: by rules of faults, and by directives in prompts."""

from __future__ import annotations

import io
from typing import Any

import av
import pytest

from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.sandbox.api import VIDEO, Api, calling
from tests.sandbox.test_media_server import fetch

AT_ONCE = Conditions(duration=lambda _order, _rng: 0.0)


def deliver(**fields: object) -> Fault:
    """A rule for all downloads."""
    return Fault(effect="deliver", on="media", count=None, fields=fields)


async def film(api: Api, prompt: str = "A glass train") -> tuple[int, int, float, bool]:
    """Size, seconds and sound of a small clip as it is downloaded."""
    submitted = await api.post(VIDEO, {"prompt": prompt, "duration": "4", "quality_tier": "mini"})
    output: Any = (await api.task(submitted.id)).document["output"]
    body = (await fetch(api, output["video_url"])).body
    with av.open(io.BytesIO(body), "r") as container:
        stream = container.streams.video[0]
        seconds = round((container.duration or 0) / av.time_base)
        return stream.width, stream.height, seconds, bool(container.streams.audio)


@pytest.mark.parametrize(
    ("rule", "prompt", "made"),
    [
        (deliver(size="320x180"), "A train", (320, 180, 4, True)),
        (deliver(size="320x180", instead_of="1280x720"), "A train", (320, 180, 4, True)),
        (deliver(size="320x180", instead_of="1920x1080"), "A train", (1280, 720, 4, True)),
        (deliver(scale=0.25, seconds=2, audio=False), "A train", (320, 180, 2, False)),
        (None, "A train [[fault:smaller@media]]", (854, 480, 4, True)),
        (None, "A train [[fault:shorter]] [[fault:silent]]", (1280, 720, 2, False)),
    ],
)
async def test_another_file_is_made(
    rule: Fault | None, prompt: str, made: tuple[int, int, float, bool]
) -> None:
    """Playable, and as the rule says; files of another size than ``instead_of`` are as asked."""
    async with calling(Sandbox(conditions=AT_ONCE, faults=[rule] if rule else [])) as api:
        width, height, seconds, sound = await film(api, prompt)

    assert made == (width, height, seconds, sound)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": "720"}, "size must be a size of at most 8192"),
        ({"size": "72000x1"}, "size must be"),
        ({"instead_of": 7}, "instead_of must be"),
        ({"scale": 0}, "scale must be a number above 0"),
        ({"seconds": "2"}, "seconds must be a number"),
        ({"audio": "no"}, "audio must be true or false"),
        ({"sise": "1x1"}, "did you mean 'size'"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(fields: dict[str, object], message: str) -> None:
    """A misspelt word without effect would let a test pass for nothing."""
    with pytest.raises(ValueError, match=message):
        Fault.read({"effect": "deliver", "fields": fields})
    with pytest.raises(ValueError, match="an effect on media"):
        Fault.read({"effect": "deliver", "on": "submit"})
