"""The media's origin: output files on a port of their own, as a content network serves them.

It is another origin than the API's on purpose: whoever sends it an API key has leaked that key. Such a
request is refused and recorded. Files are made when they are first asked for, in a worker thread, and kept.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from seedance_async.sandbox.delivery import changed, deliver
from seedance_async.sandbox.exchange import Answer, Call
from seedance_async.sandbox.outputs import Clip, Picture, content_of
from seedance_async.sandbox.ranges import Slice, UnsatisfiableError, wanted_slice
from seedance_async.sandbox.world import MediaRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from seedance_async.sandbox.faults import Fault
    from seedance_async.sandbox.tasks import Task
    from seedance_async.sandbox.world import World


class MediaServer:
    """Answers what arrives at the media's port."""

    def __init__(self, world: Callable[[], World]) -> None:
        self._world = world
        self._studio = Studio()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one file, or the part of it that was asked for."""
        world = self._world()
        await world.latency()
        call, at = _call(request), anyio.current_time()
        faults = world.faults.strike(call, now=at, prompt=world.prompt_behind(call))
        answer = await self._answer(request, world, faults)
        world.media.append(_record(request, answer, at=at, faults=faults))
        await world.latency()
        date = world.state.calendar.http_date(anyio.current_time())
        return await deliver(request, answer, date=date, faults=faults)

    async def _answer(self, request: web.BaseRequest, world: World, faults: tuple[Fault, ...]) -> Answer:
        if leaked := _credentials(request.headers):
            return _plain(400, f"{', '.join(leaked)} must not be sent to this origin")
        for fault in faults:
            if fault.effect == "delay":
                await anyio.sleep(fault.seconds)
        if request.method not in {"GET", "HEAD"}:
            return _plain(405, f"Method {request.method} is not allowed here")
        whole = any(fault.effect == "ignore-range" for fault in faults)
        answer = await self._serve(request, world, asked={} if whole else request.headers)
        return changed(answer, faults, request.headers)

    async def _serve(self, request: web.BaseRequest, world: World, asked: Mapping[str, str]) -> Answer:
        task_id, _, name = request.path.strip("/").partition("/")
        ends, signature = (request.query.get(word, "") for word in ("expires", "signature"))
        if reason := world.state.links.refuses(task_id, name, ends, signature, anyio.current_time()):
            return _plain(403, reason)
        # A URL with our signature was made for a completed task, in this world or before a reset.
        task = world.state.tasks.get(task_id)
        if task is None:
            return _plain(404, "No such file")
        content = content_of(task, name)
        body = await self._studio.make(content)
        return _part(asked, body, content.content_type, _headers(task, world))


class Studio:
    """Makes contents in worker threads, and keeps the latest of them."""

    def __init__(self) -> None:
        self._made: dict[Clip | Picture, bytes] = {}
        self._hands = anyio.Semaphore(2)  # encoding keeps a core busy; callers' own work needs some too

    async def make(self, content: Clip | Picture) -> bytes:
        """The bytes of the content."""
        if content not in self._made:
            async with self._hands:
                self._made[content] = await to_thread.run_sync(_make, content)
            while len(self._made) > _KEPT:
                del self._made[next(iter(self._made))]
        return self._made[content]


def _make(content: Clip | Picture) -> bytes:
    # Imported when first needed: the encoders behind it take longer to load than the whole sandbox.
    from seedance_async.sandbox import media  # noqa: PLC0415

    width, height, prompt, seed = content.width, content.height, content.prompt, content.seed
    if isinstance(content, Clip):
        return media.clip(width, height, content.seconds, prompt, audio=content.audio, seed=seed)
    return media.picture(width, height, content.image_format, prompt, seed=seed)


def _part(headers: Mapping[str, str], body: bytes, content_type: str, more: Mapping[str, str]) -> Answer:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    always = {"Accept-Ranges": "bytes", "ETag": etag, **more}
    size = len(body)
    try:
        part = wanted_slice(headers.get("Range"), size=size, if_range=headers.get("If-Range"), etag=etag)
    except UnsatisfiableError:
        past = {**always, "Content-Range": f"bytes */{size}"}
        return Answer(status=416, content_type=content_type, headers=past)
    if part is None:
        return Answer(status=200, body=body, content_type=content_type, headers=always)
    return Answer(
        status=206,
        body=body[part.start : part.stop],
        content_type=content_type,
        headers={**always, "Content-Range": _content_range(part, size)},
    )


def _content_range(part: Slice, size: int) -> str:
    return f"bytes {part.start}-{part.stop - 1}/{size}"


def _headers(task: Task, world: World) -> dict[str, str]:
    return {"Last-Modified": world.state.calendar.http_date(task.ends_at)}


def _credentials(headers: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in _PRIVATE if name in headers)


def _plain(status: int, text: str) -> Answer:
    return Answer(status=status, body=text.encode(), content_type="text/plain")


def _call(request: web.BaseRequest) -> Call:
    return Call(number=0, endpoint="media", method=request.method, path=request.path)


def _record(request: web.BaseRequest, answer: Answer, *, at: float, faults: tuple[Fault, ...]) -> MediaRecord:
    return MediaRecord(
        at=at,
        method=request.method,
        path=request.path,
        status=answer.status,
        range=request.headers.get("Range", ""),
        credentials=_credentials(request.headers),
        fault=",".join(fault.effect for fault in faults),
    )


_PRIVATE: Final = ("Authorization", "Proxy-Authorization", "Cookie", "Idempotency-Key")
_KEPT: Final = 64  # files; enough for a client that resumes or fetches twice
