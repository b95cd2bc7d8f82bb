"""Tests of output files over HTTP: ranges, expired URLs, and credentials that must never arrive there."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
import anyio
import pytest
from attrs import frozen

from seedance_async.sandbox import Behaviour, Conditions, Fault, Sandbox
from seedance_async.sandbox.ranges import Slice, UnsatisfiableError, requested_slice
from tests.sandbox.api import GPT_IMAGE, NANO_BANANA, PICTURE, VIDEO, Api, calling

AT_ONCE = Conditions(duration=lambda _order, _rng: 0.0)


@frozen
class File:
    """What came back for an output URL."""

    status: int
    body: bytes
    headers: Mapping[str, str]


async def fetch(api: Api, url: str, *, method: str = "GET", **headers: str) -> File:
    """Ask for a file with these headers, underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.session.request(method, url, headers=named) as response:
        return File(response.status, await response.read(), response.headers)


async def picture_url(api: Api, **fields: str) -> str:
    """Make a picture and return the URL of it."""
    submitted = await api.post(GPT_IMAGE, {**PICTURE, **fields})
    output = (await api.task(submitted.id)).document["output"]
    assert isinstance(output, list)
    return str(output[0])


async def test_a_clip_and_its_last_frame_are_served_as_what_they_are() -> None:
    """The magic bytes agree with the media type."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        submitted = await api.post(
            VIDEO, {"prompt": "A glass train", "duration": "4", "quality_tier": "mini"}
        )
        output = (await api.task(submitted.id)).document["output"]
        assert isinstance(output, dict)
        film, frame = await fetch(api, output["video_url"]), await fetch(api, output["last_frame_url"])

    assert (200, "video/mp4", b"ftyp") == (film.status, film.headers["Content-Type"], film.body[4:8])
    assert (200, "image/png", b"\x89PNG") == (frame.status, frame.headers["Content-Type"], frame.body[:4])
    assert str(len(film.body)) == film.headers["Content-Length"]


async def test_a_jpeg_that_was_asked_for_is_a_jpeg() -> None:
    """Nano Banana Pro's ``output_format``; both its URLs give the same file."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        body = {"type": "text-to-image", "prompt": "A shoe", "output_format": "jpeg"}
        output = (await api.task((await api.post(NANO_BANANA, body)).id)).document["output"]
        assert isinstance(output, dict)
        (image,) = output["images"]
        ours, providers = await fetch(api, image["url"]), await fetch(api, image["provider_url"])

    assert ("image/jpeg", b"\xff\xd8") == (ours.headers["Content-Type"], ours.body[:2])
    assert ours.body == providers.body


async def test_a_part_can_be_fetched_and_fits_the_whole() -> None:
    """206 with Content-Range; the ETag names the same file in both."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        url = await picture_url(api)
        whole = await fetch(api, url)
        part = await fetch(api, url, Range="bytes=100-", If_Range=whole.headers["ETag"])

    assert (200, "bytes") == (whole.status, whole.headers["Accept-Ranges"])
    assert (206, whole.headers["ETag"]) == (part.status, part.headers["ETag"])
    assert f"bytes 100-{len(whole.body) - 1}/{len(whole.body)}" == part.headers["Content-Range"]
    assert whole.body[100:] == part.body


async def test_a_changed_file_is_served_whole() -> None:
    """If-Range with another ETag: the parts at hand are of no use."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        reply = await fetch(api, await picture_url(api), Range="bytes=100-", If_Range='"another"')

    assert 200 == reply.status


async def test_a_range_past_the_end_is_answered_416_with_the_size() -> None:
    """How a resuming caller learns that it has the file already."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        url = await picture_url(api)
        size = len((await fetch(api, url)).body)
        reply = await fetch(api, url, Range=f"bytes={size}-")

    assert (416, f"bytes */{size}") == (reply.status, reply.headers["Content-Range"])


async def test_a_head_request_tells_size_and_type() -> None:
    """Without the body."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        url = await picture_url(api)
        whole, head = await fetch(api, url), await fetch(api, url, method="HEAD")

    assert (200, b"") == (head.status, head.body)
    assert whole.headers["Content-Length"] == head.headers["Content-Length"]


async def test_a_url_ends_and_the_next_poll_gives_a_fresh_one() -> None:
    """U9: 403 after ``url_life``, here ten times as fast; the task itself stays readable."""
    async with calling(Sandbox(speed=10, conditions=AT_ONCE, behaviour=Behaviour(url_life=36_000))) as api:
        old = await picture_url(api)
        await anyio.sleep(3600)
        expired = await fetch(api, old)
        (task_id,) = api.sandbox.tasks
        output = (await api.task(task_id)).document["output"]
        assert isinstance(output, list)
        fresh = await fetch(api, output[0])

    assert (403, b"The URL has expired") == (expired.status, expired.body)
    assert 200 == fresh.status


@pytest.mark.parametrize(
    "change", [("expires=", "expires=9"), ("image.png", "video.mp4"), ("signature=", "x=")]
)
async def test_a_url_that_was_tampered_with_is_refused(change: tuple[str, str]) -> None:
    """Its end cannot be moved."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        reply = await fetch(api, (await picture_url(api)).replace(*change))

    assert 403 == reply.status


@pytest.mark.parametrize("header", ["Authorization", "Cookie", "Idempotency_Key"])
async def test_credentials_at_the_media_origin_are_refused_and_recorded(header: str) -> None:
    """The witness for "the API key goes to the API's origin only"."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        reply = await fetch(api, await picture_url(api), **{header: "secret=1"})

    assert 400 == reply.status
    assert [(header.replace("_", "-"),)] == [record.credentials for record in api.sandbox.leaks]


async def test_downloads_spend_nothing_of_the_accounts_window() -> None:
    """They are another origin's business."""
    async with calling(Sandbox(conditions=AT_ONCE)) as api:
        url = await picture_url(api)
        statuses = {(await fetch(api, url)).status for _ in range(40)}

    assert {200} == statuses
    assert 2 == api.sandbox.worst_window().arrivals
    assert 40 == len(api.sandbox.media_requests)


async def test_a_download_can_be_cut_and_taken_up_again() -> None:
    """Faults reach the media's origin too: half the bytes, then the end."""
    cut = Fault(effect="truncate", on="media")
    async with calling(Sandbox(conditions=AT_ONCE, faults=[cut])) as api:
        url = await picture_url(api)
        async with api.session.get(url) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        rest = await fetch(api, url, Range="bytes=5-")

    assert ["truncate", ""] == [record.fault for record in api.sandbox.media_requests]
    assert 206 == rest.status


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-9", Slice(0, 10)),
        ("bytes=10-", Slice(10, 100)),
        ("bytes=-10", Slice(90, 100)),
        ("bytes=-1000", Slice(0, 100)),
        ("bytes=0-1000", Slice(0, 100)),
        ("bytes=99-99", Slice(99, 100)),
        ("bytes=9-5", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=٣-", None),
    ],
)
def test_a_range_header_is_read_as_the_rfc_says(header: str | None, wanted: Slice | None) -> None:
    """What cannot be read is ignored, and the whole is served."""
    assert wanted == requested_slice(header, size=100)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_a_range_without_a_byte_cannot_be_satisfied(header: str) -> None:
    """416, rather than an empty 206."""
    with pytest.raises(UnsatisfiableError):
        requested_slice(header, size=100)
