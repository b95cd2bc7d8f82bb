"""How an answer reaches the socket: whole, or broken in the way a fault asks for.

A framework writes only correct HTTP, so a broken answer goes round it: its bytes are written to the transport
here, and the framework is handed a response that writes nothing.
"""

from __future__ import annotations

import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web

from seedance_async.sandbox.exchange import STATUS, Answer, json_bytes

if TYPE_CHECKING:
    from asyncio import WriteTransport

    from aiohttp.abc import AbstractStreamWriter

    from seedance_async.sandbox.faults import Fault

BREAKS: Final = frozenset({"drop", "reset", "garbage", "truncate"})
"""The effects that act on the socket, not on the answer."""


async def deliver(
    request: web.BaseRequest, answer: Answer, *, date: str, fault: Fault | None = None
) -> web.StreamResponse:
    """Write the answer, or what ``fault``, one of :data:`BREAKS`, leaves of it.

    Args:
        request: what is answered.
        answer: what was decided.
        date: the ``Date`` header; it must agree with the timestamps of tasks, also in virtual time.
        fault: the break that strikes, if one does.
    """
    if fault is None:
        headers = {"Date": date, "Content-Type": answer.content_type, **answer.headers}
        return web.Response(status=answer.status, body=answer.body, headers=headers)
    transport = request.transport
    if transport is not None:
        _break(transport, answer, fault)
    return _Silence()


def stand_in(fault: Fault) -> Answer:
    """The answer that a ``status`` fault gives in place of the server's own."""
    code = fault.code or _CODE.get(fault.status, "")
    content_type = "application/json" if code else "text/html"
    if fault.body:
        body = fault.body.encode()
    elif code:
        body = json_bytes({"error": {"code": code, "message": _phrase(fault.status)}})
    else:
        # What a proxy in front of a service says when the service is away.
        body = f"<html><title>{fault.status} {_phrase(fault.status)}</title></html>".encode()
    return Answer(status=fault.status, body=body, content_type=content_type, headers=fault.headers, code=code)


def _break(transport: WriteTransport, answer: Answer, fault: Fault) -> None:
    if fault.effect == "reset":
        _reset(transport)
        return
    if fault.effect == "garbage":
        transport.write(fault.body.encode() or b"SSH-2.0-OpenSSH_9.6\r\n")
    elif fault.effect == "truncate":
        transport.write(_head(answer) + answer.body[: len(answer.body) // 2])
    transport.close()


def _reset(transport: WriteTransport) -> None:
    # Lingering for zero seconds makes close() send RST in place of FIN.
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    transport.abort()


def _head(answer: Answer) -> bytes:
    fields = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "Unknown")


class _Silence(web.StreamResponse):
    """A response of which not one byte is written."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002 - the base class names it
        self.force_close()
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - the base class names it
        return


_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus}
_CODE: Final = {status: code for code, status in STATUS.items()}
