"""A server that says exactly the bytes a test gives it, for answers that no HTTP framework would send."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    Behaviour = Callable[["Exchange"], Awaitable[None]]


@frozen
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@define
class Exchange:
    """A request that waits for whatever the test wants to say."""

    seen: Seen
    writer: asyncio.StreamWriter
    closing: asyncio.Event

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    def hang_up(self) -> None:
        """Close the connection in an orderly way."""
        self.writer.close()

    def reset(self) -> None:
        """Close it with a TCP reset."""
        connection: socket.socket = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@define
class RawServer:
    """Answers the n-th request with the n-th behaviour; the last one repeats."""

    behaviours: list[Behaviour]
    url: str = ""
    seen: list[Seen] = field(factory=list)
    closing: asyncio.Event = field(factory=asyncio.Event)
    workers: set[asyncio.Task[None]] = field(factory=set)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in a task that ``raw_server`` waits for."""
        worker = asyncio.create_task(self.serve(reader, writer))
        self.workers.add(worker)
        worker.add_done_callback(self.workers.discard)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side has had enough."""
        try:
            while (request := await _read(reader)) is not None:
                behaviour = self.behaviours[min(len(self.seen), len(self.behaviours) - 1)]
                self.seen.append(request)
                await behaviour(Exchange(request, writer, self.closing))
                if writer.is_closing():
                    break
        except ConnectionError:
            pass  # the other side has had enough
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)


@asynccontextmanager
async def raw_server(*behaviours: Behaviour) -> AsyncGenerator[RawServer]:
    """A raw server on a free loopback port."""
    raw = RawServer(list(behaviours))
    server = await asyncio.start_server(raw.accept, "127.0.0.1", 0)
    raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
    try:
        yield raw
    finally:
        server.close()
        raw.closing.set()
        for worker in list(raw.workers):
            worker.cancel()
        await asyncio.gather(*raw.workers, return_exceptions=True)


def answer(status: int, body: object = b"", *heads: str) -> Behaviour:
    """Say a whole, well-formed answer; anything but bytes is sent as JSON."""

    async def behave(exchange: Exchange) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(raw)}", *heads]
        await exchange.say("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)

    return behave


def accepted(task_id: str = "sd2_a1") -> Behaviour:
    """The documented answer to a video submit."""
    return answer(202, {"id": task_id, "status": "processing", "model": "seedance2", "credits_used": 30})


def says(data: bytes, *, then: str = "hang_up") -> Behaviour:
    """Say raw bytes, then hang up, reset, or hold the line."""

    async def behave(exchange: Exchange) -> None:
        if data:
            await exchange.say(data)
        if then != "hold":
            getattr(exchange, then)()
        else:
            await exchange.closing.wait()

    return behave
