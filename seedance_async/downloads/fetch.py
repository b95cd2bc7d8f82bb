"""One file, from its URL to its name, over as many attempts as bring something new.

An attempt goes on where the last one broke off, in this process or an earlier one. What arrives is checked:
its length, and what it is by its first bytes. A disk that is full or broken ends the download at once; the
network gets further chances.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import aiohttp
import anyio
from anyio import to_thread

from seedance_async.downloads import resume
from seedance_async.downloads.metadata import Origin
from seedance_async.downloads.naming import HEAD_BYTES, kind_of
from seedance_async.downloads.part import Part
from seedance_async.downloads.place import find_saved, put_in_place, with_texts
from seedance_async.downloads.resume import Misfit, Rest, Version
from seedance_async.downloads.web import BrokenError
from seedance_async.errors import DownloadError
from seedance_async.fault_points import fault_point
from seedance_async.models.rules import shown_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp import ClientResponse

    from seedance_async.downloads.naming import Source
    from seedance_async.downloads.web import Web

log: logging.Logger = logging.getLogger(__name__)

ATTEMPTS: Final = 4
"""So many in a row that bring less than one chunk."""

LEAST_BYTES: Final = HEAD_BYTES
"""So much has to come while the patience with a silent server lasts: a trickle could go on for days."""

FIRST_PAUSE: Final = 1.0
CHUNK_BYTES: Final = 1024 * 1024
P = ParamSpec("P")
T = TypeVar("T")


class Fetch:
    """Saves files of one task into a folder.

    Args:
        web: what the files are asked of.
        folder: where they go.
        task_id: whose output they are.
        prompt: goes into their metadata; None for files that are byte for byte the server's.
        max_bytes: a longer file is refused.
    """

    def __init__(self, web: Web, folder: Path, *, task_id: str, prompt: str | None, max_bytes: int) -> None:
        self._web = web
        self._folder = folder
        self._task_id = task_id
        self._prompt = prompt
        self._max_bytes = max_bytes

    async def save(self, source: Source) -> Path:
        """Fetch one file.

        Returns:
            Its path. If it was saved before, that is where it is.

        Raises:
            DownloadError: it could not be saved. What arrived is kept for the next try, if there is room.
        """
        part = await self._on_disk(Part.open, self._folder, source.stem)
        try:
            return await self._attempts(source, part)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(part.close)

    async def _attempts(self, source: Source, part: Part) -> Path:
        vain, most = 0, part.size
        while True:
            try:
                return await self._attempt(source, part)
            except (BrokenError, aiohttp.ClientError, TimeoutError) as problem:
                vain = 1 if part.size >= most + CHUNK_BYTES else vain + 1
                most = max(most, part.size)
                told = str(problem) or type(problem).__name__
                if vain == ATTEMPTS:
                    raise DownloadError(f"could not download {shown_url(source.url)}: {told}") from problem
                log.info("download of %s broke at %d (%s), again", shown_url(source.url), part.size, told)
            await anyio.sleep(FIRST_PAUSE * 2.0 ** (vain - 1))

    async def _attempt(self, source: Source, part: Part) -> Path:
        wanted = part.version.ask(part.size) if part.version and part.size else {}
        async with self._web.get(source.url, headers=wanted) as response:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise BrokenError("it came compressed, unasked, and a cut would not be seen")
            fit = resume.fit(part.version, part.size, status=response.status, headers=response.headers)
            if isinstance(fit, Misfit):
                await self._on_disk(part.forget)
                raise BrokenError(fit.reason)
            if isinstance(fit, Rest):
                await self._on_disk(part.go_on, fit.start)
                await self._receive(response, part, fit.length)
            else:
                length = self._length(response)
                if saved := await self._begin(source, part, response, length):
                    return saved
                await self._receive(response, part, length)
        return await self._on_disk(self._finish, source, part)

    async def _begin(
        self, source: Source, part: Part, response: ClientResponse, length: int | None
    ) -> Path | None:
        """Start a file from its first byte; unless it was saved before, then that is where it is."""
        with anyio.fail_after(self._web.patience):
            head = await _head(response)
        suffix = kind_of(head)
        if suffix is None:
            raise DownloadError(f"{shown_url(source.url)} is not a picture or clip: it begins {head[:16]!r}")
        target = self._folder / f"{source.stem}.{suffix}"
        if length is not None and (
            saved := await self._on_disk(find_saved, target, head, self._origin(source, length))
        ):
            return saved
        await self._on_disk(part.begin, Version.told(response.headers, length=length), length)
        await self._write(part, head)
        return None

    def _length(self, response: ClientResponse) -> int | None:
        """How long the whole file is, if it is told."""
        length = response.content_length
        if length is not None and length > self._max_bytes:
            raise DownloadError(f"the file claims {length} bytes, more than {self._max_bytes}")
        return length

    async def _receive(self, response: ClientResponse, part: Part, length: int | None) -> None:
        while await self._receive_some(response, part):
            pass
        if length is not None and part.size != length:
            if part.size > length:
                await self._on_disk(part.forget)
            raise BrokenError(f"{part.size} bytes of {length} arrived")

    async def _receive_some(self, response: ClientResponse, part: Part) -> bool:
        """Receive at least ``LEAST_BYTES`` while patience lasts; False if the answer has ended."""
        enough = part.size + LEAST_BYTES
        with anyio.fail_after(self._web.patience):
            while part.size < enough:
                chunk = await response.content.read(CHUNK_BYTES)
                if not chunk:
                    return False
                if part.size + len(chunk) > self._max_bytes:
                    raise DownloadError(f"the file is longer than {self._max_bytes} bytes")
                await self._write(part, chunk)
        return True

    async def _write(self, part: Part, data: bytes) -> None:
        await self._on_disk(part.write, data)
        fault_point("mid_download")

    def _finish(self, source: Source, part: Part) -> Path:
        """Give a whole part its texts and its name. Blocking."""
        part.sync()
        with part.reading() as file:
            suffix = kind_of(file.read(HEAD_BYTES))
        if suffix is None:
            part.forget()
            raise DownloadError(f"{part.path.name} was changed while it was a part")
        origin = self._origin(source, part.size)
        whole = (
            part.path
            if self._prompt is None
            else with_texts(part, suffix, prompt=self._prompt, origin=origin)
        )
        fault_point("before_rename")
        saved = put_in_place(whole, self._folder / f"{source.stem}.{suffix}")
        fault_point("after_rename")
        part.remove()
        return saved

    def _origin(self, source: Source, length: int) -> Origin:
        return Origin(task_id=self._task_id, output=source.place, source_bytes=length)

    async def _on_disk(self, deed: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something in a worker thread; what the disk refuses is refused for good."""
        try:
            return await to_thread.run_sync(partial(deed, *args, **kwargs))
        except OSError as problem:
            raise DownloadError(f"cannot save into {self._folder}: {problem.strerror}") from problem


async def _head(response: ClientResponse) -> bytes:
    """The first bytes, fewer only if there are no more."""
    head = b""
    while len(head) < HEAD_BYTES and (chunk := await response.content.read(CHUNK_BYTES)):
        head += chunk
    return head
