"""The delivery of a reply to the socket: complete, or by the script of a fault.

A framework writes only correct HTTP, so a broken reply bypasses it: its bytes are written to the transport
here, and the framework is given a response that writes nothing.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import anyio
from aiohttp import web

from seedance_async.sandbox.effects import REPLY_EFFECTS, WIRE_EFFECTS

if TYPE_CHECKING:
    from asyncio import Transport
    from collections.abc import Iterable, Mapping

    from aiohttp.abc import AbstractStreamWriter

    from seedance_async.sandbox.calls import Reply
    from seedance_async.sandbox.effects import Script
    from seedance_async.sandbox.faults import Fault


def apply_reply_effects(reply: Reply, faults: Iterable[Fault], request_headers: Mapping[str, str]) -> Reply:
    """The reply with the content effects of the faults applied."""
    for fault in faults:
        if fault.effect in REPLY_EFFECTS:
            reply = REPLY_EFFECTS[fault.effect](reply, fault, request_headers)
    return reply


async def deliver(
    request: web.BaseRequest, reply: Reply, *, date: str, faults: Iterable[Fault] = ()
) -> web.StreamResponse:
    """Write the reply, by the script of the first fault with a wire effect if there is one.

    Args:
        request: the request to answer.
        reply: the reply.
        date: the ``Date`` header; it must agree with the timestamps of tasks, also in virtual time.
        faults: the faults to apply.
    """
    broken = next((fault for fault in faults if fault.effect in WIRE_EFFECTS), None)
    if broken is None:
        headers = {"Date": date, "Content-Type": reply.content_type, **reply.headers}
        return web.Response(status=reply.status, body=reply.body, headers=headers)
    script = WIRE_EFFECTS[broken.effect](reply, broken)
    if request.transport is not None:
        await _write_script(script, request.transport)
    return _EmptyResponse(keep=script.end == "keep")


async def _write_script(script: Script, transport: Transport) -> None:
    for part in script.parts:
        if transport.is_closing():
            return
        transport.write(part)
        # Between two parts of an endless reply: notice a caller who does not read, or has disconnected.
        await anyio.sleep(script.pause)
    while script.end == "hold" and not transport.is_closing():  # noqa: ASYNC110 - the framework signals no disconnect
        await anyio.sleep(1.0)
    if script.end == "reset":
        _reset(transport)
    elif script.end == "close":
        transport.close()


def _reset(transport: Transport) -> None:
    # Lingering for zero seconds makes close() send RST instead of FIN.
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    transport.abort()


class _EmptyResponse(web.StreamResponse):
    """A response that writes nothing."""

    def __init__(self, *, keep: bool) -> None:
        super().__init__()
        self._keep = keep

    @property
    def keep_alive(self) -> bool:
        """Whether the connection waits for the next request."""
        return self._keep

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002 - the base class names it
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - the base class names it
        return
