"""The media server: output files on a separate port, as a content delivery network serves them.

Its origin deliberately differs from that of the API: a client that sends it an API key has leaked that key.
Such a request is refused and recorded. Files are made at their first request, in a worker thread, and the
latest are kept in memory: equal content has equal bytes, whichever server asks for it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from seedance_async.sandbox.calls import Call, Reply
from seedance_async.sandbox.delivery import apply_reply_effects, deliver
from seedance_async.sandbox.inputs import sources_of
from seedance_async.sandbox.other_files import delivered
from seedance_async.sandbox.outputs import Clip, Picture, content_of
from seedance_async.sandbox.ranges import Slice, UnsatisfiableError, requested_slice
from seedance_async.sandbox.runtime import MediaRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from seedance_async.sandbox.faults import Fault
    from seedance_async.sandbox.runtime import Emulator, Runtime
    from seedance_async.sandbox.tasks import Task


class MediaServer:
    """The request handler of the media origin."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._encoders = anyio.Semaphore(2)  # encoding uses a whole core; callers need some too

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one file, or the requested part of it."""
        runtime = self._emulator.runtime
        await runtime.wait_latency()
        call, at = _call(request), anyio.current_time()
        faults = runtime.faults.triggered_by(call, now=at, prompt=runtime.prompt_of(call))
        reply = await self._reply(request, runtime, faults)
        runtime.media.append(_record(request, reply, at=at, faults=faults))
        await runtime.wait_latency()
        date = runtime.state.calendar.http_date(anyio.current_time())
        return await deliver(request, reply, date=date, faults=faults)

    async def _reply(self, request: web.BaseRequest, runtime: Runtime, faults: tuple[Fault, ...]) -> Reply:
        if leaked := _credentials(request.headers):
            return _plain(400, f"{', '.join(leaked)} must not be sent to this origin")
        for fault in faults:
            if fault.effect == "delay":
                await anyio.sleep(fault.seconds)
        if request.method not in {"GET", "HEAD"}:
            return _plain(405, f"Method {request.method} is not allowed here")
        whole = any(fault.effect == "ignore-range" for fault in faults)
        reply = await self._serve(request, runtime, faults, request_headers={} if whole else request.headers)
        return apply_reply_effects(reply, faults, request.headers)

    async def _serve(
        self,
        request: web.BaseRequest,
        runtime: Runtime,
        faults: tuple[Fault, ...],
        request_headers: Mapping[str, str],
    ) -> Reply:
        state, now = runtime.state, anyio.current_time()
        task_id, _, name = request.path.strip("/").partition("/")
        expires, signature = (request.query.get(word, "") for word in ("expires", "signature"))
        if reason := state.signer.refusal_reason(task_id, name, expires, signature, now):
            return _plain(403, reason)
        # A URL with our signature belongs to a completed task, which a reset may have removed.
        task = state.tasks.get(task_id)
        if task is None:
            return _plain(404, "No such file")
        sources = partial(sources_of, signer=state.signer, tasks=state.tasks)
        content = delivered(content_of(task, name, sources), faults)
        async with self._encoders:
            body = await to_thread.run_sync(_make, content)
        return _part(request_headers, body, content.content_type, _headers(task, runtime))


@lru_cache(maxsize=64)  # files; enough for a client that resumes or fetches twice
def _make(content: Clip | Picture) -> bytes:
    # Imported when first needed: its encoders take longer to load than the whole sandbox.
    from seedance_async.sandbox import media  # noqa: PLC0415

    width, height, prompt = content.width, content.height, content.prompt
    seed, sources = content.seed, content.sources
    if isinstance(content, Clip):
        seconds, audio = content.seconds, content.audio
        return media.clip(width, height, seconds, prompt, audio=audio, seed=seed, sources=sources)
    return media.picture(width, height, content.image_format, prompt, seed=seed, sources=sources)


def _part(headers: Mapping[str, str], body: bytes, content_type: str, more: Mapping[str, str]) -> Reply:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    always = {"Accept-Ranges": "bytes", "ETag": etag, **more}
    size = len(body)
    try:
        part = requested_slice(headers.get("Range"), size=size, if_range=headers.get("If-Range"), etag=etag)
    except UnsatisfiableError:
        past = {**always, "Content-Range": f"bytes */{size}"}
        return Reply(status=416, content_type=content_type, headers=past)
    if part is None:
        return Reply(status=200, body=body, content_type=content_type, headers=always)
    return Reply(
        status=206,
        body=body[part.start : part.stop],
        content_type=content_type,
        headers={**always, "Content-Range": _content_range(part, size)},
    )


def _content_range(part: Slice, size: int) -> str:
    return f"bytes {part.start}-{part.stop - 1}/{size}"


def _headers(task: Task, runtime: Runtime) -> dict[str, str]:
    return {"Last-Modified": runtime.state.calendar.http_date(task.ends_at)}


def _credentials(headers: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in _PRIVATE if name in headers)


def _plain(status: int, text: str) -> Reply:
    return Reply(status=status, body=text.encode(), content_type="text/plain")


def _call(request: web.BaseRequest) -> Call:
    return Call(number=0, endpoint="media", method=request.method, path=request.path)


def _record(request: web.BaseRequest, reply: Reply, *, at: float, faults: tuple[Fault, ...]) -> MediaRecord:
    return MediaRecord(
        at=at,
        method=request.method,
        path=request.path,
        status=reply.status,
        range=request.headers.get("Range", ""),
        credentials=_credentials(request.headers),
        fault=",".join(fault.effect for fault in faults),
    )


_PRIVATE: Final = ("Authorization", "Proxy-Authorization", "Cookie", "Idempotency-Key")
