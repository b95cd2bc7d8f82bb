"""Inputs that another server of this machine has: fetched as the vendor would, and refused where it fails."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from seedance_async.sandbox import Conditions, Sandbox
from tests.sandbox.api import NANO_BANANA, VIDEO, calling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AT_ONCE = Conditions(duration=lambda _order, _rng: 0.0)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
CLIP = b"\0\0\0\x18ftypmp42" + bytes(100)


@asynccontextmanager
async def files() -> AsyncIterator[str]:
    """A server of some files; the one of clips knows no ranges."""

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        body = {"/a.png": PNG, "/a.mp4": CLIP, "/page": b"<html>"}.get(request.path)
        if request.path == "/moved":
            raise web.HTTPFound("/a.png")
        return web.Response(status=404) if body is None else web.Response(body=body)

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


@pytest.fixture
def anyio_backend() -> str:
    """In real time: a thread of the sandbox waits for this loop."""
    return "asyncio"


@pytest.mark.parametrize(
    ("path", "field", "told"),
    [
        ("a.png", "image_url", None),
        ("a.png", "media_urls", None),
        ("none.png", "image_url", "could not be fetched (HTTP 404)"),
        ("moved", "image_url", "could not be fetched (HTTP 302)"),
        ("page", "image_url", "must be an image or video"),
        ("a.mp4", "image_url", "must be an image; got a video"),
        ("a.mp4", "media_urls", "video URLs must support Range requests"),
    ],
)
async def test_a_file_at_loopback_is_looked_at(path: str, field: str, told: str | None) -> None:
    """By its first bytes, wherever it stands."""
    async with files() as origin, calling(Sandbox(conditions=AT_ONCE)) as api:
        url = f"{origin}/{path}"
        mode = "media-to-video" if field == "media_urls" else "image-to-video"
        media = [url] if field == "media_urls" else url
        answer = await api.post(VIDEO, {"prompt": "It sails", "mode": mode, field: media})

    if told is None:
        assert 202 == answer.status
    else:
        assert (400, "invalid_request") == (answer.status, answer.code)
        assert told in answer.message


async def test_what_was_accepted_once_is_remembered_without_its_files(tmp_path: Path) -> None:
    """The store may be gone when the sandbox starts again."""
    body = {"type": "image-to-image", "prompt": "A boat", "resolution": "1K"}
    async with files() as origin, calling(Sandbox(conditions=AT_ONCE, memory=tmp_path / "memory")) as api:
        made = await api.post(NANO_BANANA, {**body, "image_urls": [f"{origin}/a.png"]})
    async with calling(Sandbox(conditions=AT_ONCE, memory=tmp_path / "memory")) as api:
        assert 200 == (await api.task(made.id)).status
