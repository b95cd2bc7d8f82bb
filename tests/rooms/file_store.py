"""A store of one file that serves ranges, breaks off where told to, and remembers what it was asked."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from zlib import crc32

import anyio
from attrs import define, field
from yarl import URL

from seedance_async import Timeouts
from seedance_async.answers import OutputImage
from seedance_async.downloads import Downloads
from seedance_async.models import ImageOutput, Task

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.route import Route
    from tests.rooms.raw_server import Exchange

PNG = b"\x89PNG\r\n\x1a\n"


def picture(size_bytes: int, *, mark: bytes = b"kite", signed: bool = True) -> bytes:
    """A PNG that is whole by its structure, each place of it different; a signed one is kept as it is."""
    head = PNG + chunk(b"IHDR", bytes.fromhex("00000001000000010800000000"))
    head += chunk(b"caBX", b"credentials") if signed else b""
    end = chunk(b"IEND", b"")
    pixels = size_bytes - len(head) - len(end) - 12
    numbers = b"".join(b"%s %010d " % (mark, number) for number in range(pixels // 16 + 1))
    return head + chunk(b"IDAT", numbers[:pixels]) + end


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc32(kind + content))


def finished(*urls: str, task_id: str = "gpt2_a1") -> Task:
    """A completed task with these files."""
    images = tuple(OutputImage(url=url) for url in urls)
    return Task(id=task_id, status="completed", output=ImageOutput(images=images))


async def save(
    task: Task,
    folder: Path,
    *,
    name: str | None = "kite",
    prompt: str | None = None,
    fresh: Task | None = None,
    api: str = "http://127.0.0.1:1/api/v1",
    max_bytes: int = 2**32,
    route: Route | None = None,
) -> list[Path]:
    """Save a task's files as a process would that does nothing else; ``fresh`` is what the API tells then."""

    async def renew(task_id: str) -> Task:
        assert task.id == task_id
        return fresh or task

    downloads = Downloads(Timeouts(), trusted=URL(api), route=route, max_bytes=max_bytes)
    try:
        return await downloads.save(task, folder, name=name, prompt=prompt, renew=renew)
    finally:
        await downloads.close()


@define
class Store:
    """Serves ``body``.

    Attributes:
        cuts: the n-th answer breaks off after so many bytes of its body; None for one that does not.
        headers: what it says of the file.
        ranges: whether it knows ranges.
        lies: headers of partial answers that replace the true ones; an empty one is left out.
        status: answers with this instead, until it is 200.
        pause: seconds before each answer.
        drip: sends so many bytes of the body every ten seconds; None for all at once.
        asked: the ``Range`` of every request, None for those without.
        busy: how many requests are being answered, and the most there were.
    """

    body: bytes
    cuts: Sequence[int | None] = ()
    headers: dict[str, str] = field(factory=lambda: {"ETag": '"kite-1"'})
    ranges: bool = True
    lies: dict[str, str] = field(factory=dict)
    status: int = 200
    pause: float = 0.0
    drip: int | None = None
    asked: list[str | None] = field(factory=list)
    conditions: list[str | None] = field(factory=list)
    busy: int = 0
    most_busy: int = 0

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        number = len(self.asked)
        self.asked.append(exchange.seen.headers.get("range"))
        self.conditions.append(exchange.seen.headers.get("if-range"))
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        await anyio.sleep(self.pause)
        self.busy -= 1
        cut = self.cuts[number] if number < len(self.cuts) else None
        status, headers, body = self.answer(self.asked[-1], self.conditions[-1])
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        await exchange.say("\r\n".join(lines).encode() + b"\r\n\r\n")
        await self._send(exchange, body[:cut])
        if cut is not None:
            await exchange.closing.wait()  # silence, until the client has had enough

    async def _send(self, exchange: Exchange, body: bytes) -> None:
        step = self.drip or len(body) or 1
        with suppress(ConnectionError):  # the client has had enough
            for start in range(0, len(body), step):
                await exchange.say(body[start : start + step])
                if self.drip:
                    await anyio.sleep(10.0)

    def answer(self, wanted: str | None, condition: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body after RFC 9110."""
        if self.status != 200:
            return self.status, {}, b""
        single = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        if not self.ranges or single is None or condition not in {None, *self.headers.values()}:
            return 200, self.headers, self.body
        start, size = int(single[1]), len(self.body)
        if start >= size:
            return 416, {**self.headers, "Content-Range": f"bytes */{size}"}, b""
        reported = {**self.headers, "Content-Range": f"bytes {start}-{size - 1}/{size}", **self.lies}
        return 206, reported, self.body[start:]


def starts(asked: Iterable[str | None]) -> list[int]:
    """At which byte each request began."""
    return [int(wanted[6:-1]) if wanted else 0 for wanted in asked]
