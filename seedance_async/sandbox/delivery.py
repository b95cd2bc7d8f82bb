"""How an answer reaches the socket: whole, or by the script of a fault.

A framework writes only correct HTTP, so a broken answer goes round it: its bytes are written to the transport
here, and the framework is handed a response that writes nothing.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import anyio
from aiohttp import web

from seedance_async.sandbox.effects import ANSWERS, WIRES

if TYPE_CHECKING:
    from asyncio import Transport
    from collections.abc import Iterable, Mapping

    from aiohttp.abc import AbstractStreamWriter

    from seedance_async.sandbox.effects import Script
    from seedance_async.sandbox.exchange import Answer
    from seedance_async.sandbox.faults import Fault


def changed(answer: Answer, faults: Iterable[Fault], asked: Mapping[str, str]) -> Answer:
    """The answer as the faults let it be said; ``asked`` are the request's headers."""
    for fault in faults:
        if fault.effect in ANSWERS:
            answer = ANSWERS[fault.effect](answer, fault, asked)
    return answer


async def deliver(
    request: web.BaseRequest, answer: Answer, *, date: str, faults: Iterable[Fault] = ()
) -> web.StreamResponse:
    """Write the answer, the way of the first fault that strikes the wire if one does.

    Args:
        request: what is answered.
        answer: what was decided.
        date: the ``Date`` header; it must agree with the timestamps of tasks, also in virtual time.
        faults: those that strike.
    """
    broken = next((fault for fault in faults if fault.effect in WIRES), None)
    if broken is None:
        headers = {"Date": date, "Content-Type": answer.content_type, **answer.headers}
        return web.Response(status=answer.status, body=answer.body, headers=headers)
    script = WIRES[broken.effect](answer, broken)
    if request.transport is not None:
        await _play(script, request.transport)
    return _Silence(keep=script.end == "keep")


async def _play(script: Script, transport: Transport) -> None:
    for part in script.parts:
        if transport.is_closing():
            return
        transport.write(part)
        # A caller who does not read, or has left, must be noticed between two parts of an endless answer.
        await anyio.sleep(script.pause)
    while script.end == "hold" and not transport.is_closing():  # noqa: ASYNC110 - the framework tells nobody when a caller leaves
        await anyio.sleep(1.0)
    if script.end == "reset":
        _reset(transport)
    elif script.end == "close":
        transport.close()


def _reset(transport: Transport) -> None:
    # Lingering for zero seconds makes close() send RST in place of FIN.
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    transport.abort()


class _Silence(web.StreamResponse):
    """A response of which not one byte is written."""

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
