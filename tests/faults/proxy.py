"""A proxy before a sandbox that changes the answers to POSTs: a raw socket server, without a framework.

Every request is passed on over a connection of its own, and the bytes that come back are passed on as they
come, but for an accepted POST: its JSON goes through a function first.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator, Callable, Coroutine

    Answer = dict[str, Any]
    Change = Callable[[Answer, Answer], Answer]
    """From the body of a POST and its true answer to the answer that is given."""

PIECE_BYTES: Final = 65_536
HEAD_END: Final = b"\r\n\r\n"


@asynccontextmanager
async def proxy(base_url: str, change: Change) -> AsyncIterator[str]:
    """The base URL of a proxy before this one."""
    parts = urlsplit(base_url)
    assert parts.hostname is not None
    assert parts.port is not None
    to = parts.hostname, parts.port
    handlers: set[asyncio.Task[None]] = set()

    def serve(reader: StreamReader, writer: StreamWriter) -> None:
        handlers.add(asyncio.ensure_future(_serve(reader, writer, to, change)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield parts._replace(netloc=f"127.0.0.1:{port}").geturl()
    finally:
        server.close()
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def _serve(reader: StreamReader, writer: StreamWriter, to: tuple[str, int], change: Change) -> None:
    try:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(HEAD_END)
            body = await reader.readexactly(int(_header(head, b"content-length") or 0))
            upstream, back = await asyncio.open_connection(*to)
            try:
                back.write(head[: -len(b"\r\n")] + b"Connection: close\r\n\r\n" + body)
                if head.startswith(b"POST"):
                    answer = await _unless_left(_answer(upstream), reader)
                    writer.write(_changed(answer, body, change))
                while piece := await upstream.read(PIECE_BYTES):
                    writer.write(piece)
                    await writer.drain()
            finally:
                back.transport.abort()
    finally:
        writer.close()


async def _unless_left(answer: Coroutine[Any, Any, bytes], client: StreamReader) -> bytes:
    """The answer; nothing if the client leaves before, so that the server behind notices it, too."""
    answering, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(client.read(1))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else b""
    finally:
        answering.cancel()
        leaving.cancel()


async def _answer(upstream: StreamReader) -> bytes:
    """A whole answer, or as much of it as comes."""
    try:
        head = await upstream.readuntil(HEAD_END)
        return head + await upstream.readexactly(int(_header(head, b"content-length") or 0))
    except asyncio.IncompleteReadError as cut:
        return cut.partial


def _changed(answer: bytes, asked: bytes, change: Change) -> bytes:
    head, _, body = answer.partition(HEAD_END)
    try:
        document = change(json.loads(asked), json.loads(body, object_pairs_hook=_once_each))
    except ValueError:
        return answer
    content = json.dumps(document).encode()
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(content), b"", content])


def _once_each(members: list[tuple[str, Any]]) -> Answer:
    """An object; one that has a name twice is passed on as it is, as no change could say which is meant."""
    document = dict(members)
    if len(document) < len(members):
        raise ValueError("a name stands twice")
    return document


def _header(head: bytes, name: bytes) -> bytes | None:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return next((value.strip() for found, _, value in lines if found.strip().lower() == name), None)
