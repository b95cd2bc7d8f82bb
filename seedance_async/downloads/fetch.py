"""Download of one file, from its URL to its final name, in several attempts.

An attempt resumes the previous one, also that of an earlier process. The length, the type (by the first
bytes) and the completeness (by the file format) are verified. A full or broken disk ends the download at
once; network failures and incomplete files are retried.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import aiohttp
import anyio
from anyio import to_thread

from seedance_async.downloads import resume
from seedance_async.downloads.metadata import Origin
from seedance_async.downloads.part import Part
from seedance_async.downloads.placement import find_saved, put_in_place, with_metadata
from seedance_async.downloads.resume import Mismatch, Remainder, Version
from seedance_async.downloads.session import CHUNK_BYTES, AttemptError, Body, stale
from seedance_async.downloads.wholeness import lacks_index, missing
from seedance_async.errors import DownloadError
from seedance_async.fault_points import fault_point
from seedance_async.file_types import HEAD_BYTES, MAGIC_BYTES, kind_of
from seedance_async.logs import Log
from seedance_async.models.display import shown_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from seedance_async.downloads.naming import Source
    from seedance_async.downloads.session import DownloadSession

log: Log = Log(__name__)

ATTEMPTS: Final = 4
"""Attempts in a row without progress (less than one chunk) before giving up."""

MIN_PROGRESS_BYTES: Final = HEAD_BYTES
"""Least bytes per ``download_idle`` seconds: a slower transfer could take days."""

FIRST_PAUSE: Final = 1.0  # s; doubles with every attempt without progress
P = ParamSpec("P")
T = TypeVar("T")


class Fetch:
    """Saves files of one task into a folder.

    Args:
        session: sends the requests.
        folder: an existing directory.
        task_id: id of the task.
        seed: the seed that the server reports, if any.
        prompt: written into the files' metadata; None keeps the server's bytes unchanged.
        max_bytes: a larger file is refused.
    """

    def __init__(
        self,
        session: DownloadSession,
        folder: Path,
        *,
        task_id: str,
        seed: int | None = None,
        prompt: str | None,
        max_bytes: int,
    ) -> None:
        self._session = session
        self._folder = folder
        self._task_id = task_id
        self._seed = seed
        self._prompt = prompt
        self._max_bytes = max_bytes
        self._without_index: dict[Source, int] = {}  # outputs that came so, and with how many bytes

    async def save(self, source: Source) -> Path:
        """Download one file.

        Returns:
            Its path, also if it was saved before.

        Raises:
            DownloadError: it could not be saved. A later call resumes it, unless the disk is full.
        """
        part = await self._on_disk(Part.open, self._folder, source.stem)
        try:
            return await self._attempts(source, part)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(part.close)

    async def _attempts(self, source: Source, part: Part) -> Path:
        failures, best_size = 0, part.size
        while True:
            try:
                return await self._attempt(source, part)
            except (AttemptError, aiohttp.ClientError, TimeoutError) as problem:
                reason = self._session.reason(problem)
            failures = 1 if part.size >= best_size + CHUNK_BYTES else failures + 1
            best_size = max(best_size, part.size)
            url = shown_url(source.url)
            if failures == ATTEMPTS:
                # Not chained to aiohttp's error, which contains the whole signed URL.
                raise stale(f"could not download {url}: {reason}") from AttemptError(reason)
            log.info("download of %s broke at byte %d (%s), retrying", url, part.size, reason)
            await anyio.sleep(FIRST_PAUSE * 2.0 ** (failures - 1))

    async def _attempt(self, source: Source, part: Part) -> Path:
        range_headers = part.version.range_headers(part.size) if part.version and part.size else {}
        async with self._session.get(source.url, headers=range_headers) as response:
            body = Body(response)
            content = resume.interpret(
                part.version, part.size, status=response.status, headers=response.headers
            )
            if isinstance(content, Mismatch):
                await self._on_disk(part.reset)
                raise AttemptError(content.reason)
            if isinstance(content, Remainder):
                length: int | None = content.length
                await self._on_disk(part.resume, content.start)
            else:
                with anyio.fail_after(self._session.idle_timeout):
                    head = await body.head()
                length = self._accepted(body.length)
                version = Version.from_headers(response.headers, length=length)
                if saved := await self._start(source, part, head, version, length):
                    return saved
            await self._receive(body, part, length)
        return await self._on_disk(self._finish, source, part, length)

    async def _start(
        self, source: Source, part: Part, head: bytes, version: Version | None, length: int | None
    ) -> Path | None:
        """Write the first bytes of a file; return its path if it was saved before, otherwise None."""
        suffix = kind_of(head)
        if suffix is None:
            reason = f"{shown_url(source.url)} is not a picture or clip: it begins with {head[:16]!r}"
            raise stale(reason) if len(head) >= MAGIC_BYTES else AttemptError(reason)
        target = self._folder / f"{source.stem}.{suffix}"
        if length is not None and (
            saved := await self._on_disk(find_saved, target, head, self._origin(source, length))
        ):
            return saved
        await self._on_disk(part.start, version, length)
        await self._write(part, head)
        return None

    def _accepted(self, length: int | None) -> int | None:
        """Return the stated length of the whole file, after checking it against ``max_bytes``."""
        if length is not None and length > self._max_bytes:
            raise DownloadError(f"the file claims {length} bytes, more than {self._max_bytes}")
        return length

    async def _receive(self, body: Body, part: Part, length: int | None) -> None:
        while await self._receive_some(body, part):
            pass
        if length is not None and part.size != length:
            if part.size > length:
                await self._on_disk(part.reset)
            raise AttemptError(f"{part.size} bytes of {length} arrived")

    async def _receive_some(self, body: Body, part: Part) -> bool:
        """Receive at least ``MIN_PROGRESS_BYTES`` in time; False if the answer has ended."""
        enough = part.size + MIN_PROGRESS_BYTES
        with anyio.fail_after(self._session.idle_timeout):
            while part.size < enough:
                chunk = await body.read()
                if not chunk:
                    return False
                if part.size + len(chunk) > self._max_bytes:
                    raise DownloadError(f"the file is longer than {self._max_bytes} bytes")
                await self._write(part, chunk)
        return True

    async def _write(self, part: Part, data: bytes) -> None:
        await self._on_disk(part.write, data)
        fault_point("mid_download")

    def _finish(self, source: Source, part: Part, length: int | None) -> Path:
        """Check that a part is complete, give it metadata and its final name, and return the path. Blocking.

        Args:
            source: the output.
            part: the received bytes.
            length: the length that the server stated; None if it stated none.
        """
        part.sync()
        with part.reader() as file:
            suffix = kind_of(file.read(HEAD_BYTES))
            lacks = missing(file, suffix, length_stated=length is not None) if suffix else None
            is_unsure = suffix is not None and lacks is None and lacks_index(file, suffix)
        if suffix is None:
            part.reset()
            raise DownloadError(f"{part.path.name} was changed by somebody else")
        if lacks is not None:
            part.reset()  # a proxy may have cached an incomplete copy under the validators of the whole file
            raise AttemptError(f"the file is not whole: {lacks}")
        if is_unsure:
            self._look_twice(source, part)
        origin = self._origin(source, part.size)
        complete = (
            part.path
            if self._prompt is None
            else with_metadata(part, suffix, prompt=self._prompt, origin=origin)
        )
        fault_point("before_rename")
        saved = put_in_place(complete, self._folder / f"{source.stem}.{suffix}")
        fault_point("after_rename")
        part.remove()
        return saved

    def _look_twice(self, source: Source, part: Part) -> None:
        """Refuse a clip without an index the first time: it may be truncated. Then warn, and save it.

        Raises:
            AttemptError: it has come so for the first time, or with another length.
        """
        if self._without_index.get(source) == part.size:
            log.warning(
                "%s has no index (moov), so players may refuse it; it is saved as the server states it, "
                "%d bytes, twice",
                source.stem,
                part.size,
            )
            return
        self._without_index[source] = part.size
        part.reset()
        raise AttemptError("the clip has no index (moov): fetched once more, in case it was cut there")

    def _origin(self, source: Source, length: int) -> Origin:
        return Origin(task_id=self._task_id, output=source.number, source_bytes=length, seed=self._seed)

    async def _on_disk(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a blocking function in a worker thread; an ``OSError`` ends the download."""
        try:
            return await to_thread.run_sync(partial(function, *args, **kwargs))
        except OSError as problem:
            raise DownloadError(f"cannot save into {self._folder}: {problem.strerror}") from problem
