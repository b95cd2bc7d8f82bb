"""The sandbox's own output files as inputs: taken where they work, refused where they do not, and shown."""

from __future__ import annotations

import io

import anyio
import pytest
from PIL import Image

from seedance_async.sandbox import Behaviour, Conditions, Sandbox
from tests.sandbox.api import NANO_BANANA, VIDEO, Api, calling

AT_ONCE = Conditions(duration=lambda _order, _rng: 0.0)
IMAGE: dict[str, object] = {"type": "text-to-image", "prompt": "A red boat", "output_format": "png"}


async def picture_of(api: Api, **fields: object) -> str:
    """Make a picture and return its URL."""
    output = (await api.task((await api.post(NANO_BANANA, {**IMAGE, **fields})).id)).document["output"]
    assert isinstance(output, dict)
    return str(output["images"][0]["url"])


async def clip_of(api: Api, **fields: object) -> dict[str, str]:
    """Make a clip and return its output."""
    submitted = await api.post(
        VIDEO, {"prompt": "It sails", "duration": "4", "quality_tier": "mini", **fields}
    )
    output = (await api.task(submitted.id)).document["output"]
    assert isinstance(output, dict)
    return output


async def pixels(api: Api, url: str) -> Image.Image:
    """The picture at a URL."""
    async with api.session.get(url) as response:
        return Image.open(io.BytesIO(await response.read())).convert("RGB")


async def test_a_picture_and_a_clip_of_its_own_are_inputs_of_further_jobs() -> None:
    """As start frame, as reference, and as the clip that another one extends."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        clip = await clip_of(api, mode="image-to-video", image_url=await picture_of(api))
        longer = {"prompt": "On it goes", "mode": "media-to-video", "media_urls": [clip["video_url"]]}

        assert 202 == (await api.post(VIDEO, longer)).status


async def test_what_was_made_from_a_picture_shows_it() -> None:
    """Only there: the rest is as it would be without."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        source = await picture_of(api)
        made = await pixels(api, await picture_of(api, type="image-to-image", image_urls=[source]))

    side = min(made.size)
    left, bottom = round(0.07 * side), round(0.86 * made.height)
    frame = made.getpixel((left - 2, bottom - 20))
    assert (255, 255, 255) == frame
    assert (255, 255, 255) != made.getpixel((left + round(0.4 * side), bottom - 20))


@pytest.mark.parametrize(
    ("change", "reason"),
    [(("signature=", "signature=0"), "signature"), (("image.png", "other.png"), "signature")],
)
async def test_a_url_that_it_never_gave_is_refused(change: tuple[str, str], reason: str) -> None:
    """As when it is fetched."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        url = (await picture_of(api)).replace(*change)
        refused = await api.post(NANO_BANANA, {**IMAGE, "type": "image-to-image", "image_urls": [url]})

    assert (400, "invalid_request") == (refused.status, refused.code)
    assert reason in refused.message


async def test_an_expired_url_is_refused_but_not_under_a_key_that_it_was_accepted_under() -> None:
    """What a key stands for is decided once; the work is not judged again."""
    body = {**IMAGE, "type": "image-to-image"}
    async with calling(Sandbox(conditions=AT_ONCE, behaviour=Behaviour(url_life=60.0))) as api:
        body["image_urls"] = [await picture_of(api)]
        accepted = await api.post(NANO_BANANA, body, key="one")
        await anyio.sleep(120.0)
        again = await api.post(NANO_BANANA, body, key="one")
        refused = await api.post(NANO_BANANA, body, key="two")

    assert (202, 202, 400) == (accepted.status, again.status, refused.status)
    assert accepted.id == again.id
    assert "expired" in refused.message


async def test_a_clip_is_no_picture() -> None:
    """The type goes by what the file is."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        clip = await clip_of(api)
        refused = await api.post(
            VIDEO, {"prompt": "It sails", "mode": "image-to-video", "image_url": clip["video_url"]}
        )

    assert (400, "image_url: must be an image; got video/mp4") == (refused.status, refused.message)
