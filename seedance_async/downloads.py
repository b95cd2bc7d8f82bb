"""Result files: fetched without credentials, verified, and put in place whole or not at all.

A file is written as ``name.ext.part`` beside its target, checked (length, and what it is by its first
bytes), synced, and then linked into place, which fails rather than overwrite what somebody else made. Output
URLs come from the server, so they are foreign input: only https to public addresses is followed, hop by hop,
and the address is judged at the moment of connecting, when a second look-up can no longer change it. Where
the API itself is at loopback (the sandbox), so may its files be.

Downloads go to other hosts and spend nothing of the request budget.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import anyio
from aiohttp import ClientTimeout
from aiohttp.abc import AbstractResolver
from anyio import to_thread
from attrs import frozen
from yarl import URL

from seedance_async.errors import DownloadError, ValidationError
from seedance_async.fault_points import fault_point
from seedance_async.models import VideoOutput
from seedance_async.network import is_loopback

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator
    from typing import BinaryIO

    from aiohttp import ClientResponse, ClientSession
    from aiohttp.abc import ResolveResult

    from seedance_async.models import Task, Timeouts

log: logging.Logger = logging.getLogger(__name__)

ATTEMPTS: Final = 4
FIRST_PAUSE: Final = 1.0
MAX_HOPS: Final = 5
MAX_FILE_BYTES: Final = 4 * 1024**3
"""A 4k clip of 15 s is some 100 MB; forty times that is not a clip."""
CHUNK_BYTES: Final = 1024 * 1024
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
PERMANENT: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
)

MAGIC: Final = (
    (re.compile(rb"....ftyp", re.DOTALL), "mp4"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    (re.compile(rb"\xff\xd8\xff"), "jpg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
    (re.compile(rb"\x1aE\xdf\xa3"), "webm"),
    (re.compile(rb"GIF8[79]a"), "gif"),
)
"""What a file is, by its first bytes. The server's own extension is not believed."""


class _Broken(Exception):  # noqa: N818 - not an error of the public tree: it only says "try again"
    """This attempt failed; another may work."""


@frozen
class Source:
    """One output URL and the name its file will have, without extension."""

    url: str
    stem: str


class Downloads:
    """Saves output files through a session that knows no credentials.

    Args:
        timeouts: ``connect`` and ``download_idle`` are used.
        trusted: the API's base URL; at loopback it permits plain http and loopback hosts.
    """

    def __init__(self, timeouts: Timeouts, *, trusted: URL) -> None:
        self._timeouts = timeouts
        self._local = is_loopback(trusted.host or "")
        self._session: ClientSession | None = None

    async def save(self, task: Task, directory: str | os.PathLike[str], *, name: str | None) -> list[Path]:
        """Save every output file of a task, in the order of ``task.urls``.

        Raises:
            DownloadError: the task has no files, or one of them could not be saved.
            ValidationError: ``name`` is not a plain file name.
        """
        if not task.is_completed or not task.urls:
            raise DownloadError(
                f"the task has no output files; its status is {task.status!r}", task_id=task.id
            )
        sources = _sources(task, _checked(name) if name is not None else _plain(task.id))
        try:
            folder = Path(directory)
            await to_thread.run_sync(lambda: folder.mkdir(parents=True, exist_ok=True))
            return [await self._fetch(source, folder) for source in sources]
        except DownloadError as error:
            error.task_id = task.id
            raise
        except OSError as error:
            raise DownloadError(f"cannot save into {directory}: {error.strerror}", task_id=task.id) from error

    async def close(self) -> None:
        """Close the session, if one was opened."""
        if self._session is not None:
            await self._session.close()

    async def _fetch(self, source: Source, folder: Path) -> Path:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._fetch_once(source, folder)
            except (_Broken, aiohttp.ClientError, TimeoutError, OSError) as problem:
                if attempt == ATTEMPTS or (isinstance(problem, OSError) and problem.errno in PERMANENT):
                    told = str(problem) or type(problem).__name__
                    raise DownloadError(f"could not download {_shown(source.url)}: {told}") from problem
                log.info("download of %s broke (%s), again", _shown(source.url), type(problem).__name__)
                await anyio.sleep(FIRST_PAUSE * 2.0 ** (attempt - 1))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _fetch_once(self, source: Source, folder: Path) -> Path:
        async with self._response(source.url) as response:
            expected = response.content_length
            if expected is not None and expected > MAX_FILE_BYTES:
                raise DownloadError(f"the file claims {expected} bytes, more than {MAX_FILE_BYTES}")
            head = await response.content.read(CHUNK_BYTES)
            suffix = kind_of(head)
            if suffix is None:
                raise DownloadError(f"{_shown(source.url)} is not a picture or clip: it begins {head[:16]!r}")
            target = folder / f"{source.stem}.{suffix}"
            if expected is not None and await to_thread.run_sync(_same, target, expected, head):
                return target
            part = target.with_name(f"{target.name}.part")
            await self._write(response, part, head, expected)
            fault_point("before_rename")
            saved = await to_thread.run_sync(_put_in_place, part, target)
            fault_point("after_rename")
            return saved

    async def _write(self, response: ClientResponse, part: Path, head: bytes, expected: int | None) -> None:
        file = await to_thread.run_sync(_open_part, part)
        try:
            total = 0
            chunk = head
            while chunk:
                total += len(chunk)
                if total > MAX_FILE_BYTES:
                    raise DownloadError(f"the file is longer than {MAX_FILE_BYTES} bytes")
                await to_thread.run_sync(file.write, chunk)
                fault_point("mid_download")
                chunk = await response.content.read(CHUNK_BYTES)
            if total == 0 or (expected is not None and total != expected):
                raise _Broken(f"{total} bytes of {expected} arrived")
            await to_thread.run_sync(_sync, file)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(file.close)

    @asynccontextmanager
    async def _response(self, address: str) -> AsyncGenerator[ClientResponse]:
        """The 200 answer at the end of at most five hops, every hop judged by itself."""
        url = URL(address, encoded=address.isascii())  # a signed query must not be quoted anew
        timeout = ClientTimeout(
            total=None, sock_connect=self._timeouts.connect, sock_read=self._timeouts.download_idle
        )
        for _ in range(MAX_HOPS + 1):
            self._judge(url)
            async with self._open_session().get(
                url, allow_redirects=False, timeout=timeout, headers={"Accept-Encoding": "identity"}
            ) as response:
                if response.status in REDIRECTS and "Location" in response.headers:
                    url = url.join(URL(response.headers["Location"]))
                    continue
                if response.status in {403, 404, 410}:
                    gone = DownloadError(
                        f"{_shown(address)} is gone (HTTP {response.status}); ask for the task again"
                    )
                    gone.gone = True
                    raise gone
                if response.status != 200:
                    raise _Broken(f"HTTP {response.status}")
                yield response
                return
        raise DownloadError(f"{_shown(address)} redirects more than {MAX_HOPS} times")

    def _judge(self, url: URL) -> None:
        """Refuse what a download has no business with, before anything is asked of it."""
        host = url.host or ""
        if self._local and url.scheme == "http" and is_loopback(host):
            return
        if url.scheme != "https" or url.user or not host:
            raise DownloadError(
                f"refused {_shown(str(url))}: output files come over https without credentials"
            )
        if not _public(host, unresolved=not self._local):
            raise DownloadError(f"refused {_shown(str(url))}: the host is not a public one")

    def _open_session(self) -> ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=PublicResolver(local=self._local))
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only, and hands the judged addresses to the connector itself."""

    def __init__(self, *, local: bool) -> None:
        self._local = local
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily | int = 0
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            OSError: none of them is public.
        """
        found = await self._inner.resolve(host, port, family)  # type: ignore[arg-type]  # its stub names the enum only
        good = [entry for entry in found if self._local or _public(entry["host"])]
        if not good:
            raise OSError(errno.EACCES, f"{host} has no public address")
        return good

    async def close(self) -> None:
        """Nothing is held open."""


def kind_of(head: bytes) -> str | None:
    """The extension of a picture or clip by its first bytes; None for anything else."""
    return next((suffix for pattern, suffix in MAGIC if pattern.match(head)), None)


def _public(host: str, *, unresolved: bool = True) -> bool:
    """False for addresses that are not of the public internet; names pass where the resolver judges them."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return unresolved or not is_loopback(host)
    return address.is_global and not address.is_multicast


def _sources(task: Task, stem: str) -> list[Source]:
    if isinstance(task.output, VideoOutput):
        labels = ["", "-last-frame"]
    else:
        labels = [""] if len(task.urls) == 1 else [f"-{number}" for number in range(1, len(task.urls) + 1)]
    return [Source(url, stem + label) for url, label in zip(task.urls, labels, strict=False)]


def _checked(name: str) -> str:
    if (
        not name
        or (name != _plain(name) and re.search(r'[/\\:\x00-\x1f*?"<>|]', name))
        or name.strip(". ") == ""
    ):
        raise ValidationError(
            [("name", "must be a plain file name, without directories")], subject="download"
        )
    if len(name.encode()) > 200:
        raise ValidationError([("name", "must be at most 200 bytes")], subject="download")
    return name


def _plain(text: str) -> str:
    """Foreign text as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).strip("._")[:120] or "task"


def _shown(url: str) -> str:
    """A URL without its query, which may be a signature."""
    return url.partition("?")[0][:200]


def _same(target: Path, length: int, head: bytes) -> bool:
    """True when the target is this very file, saved before."""
    if target.is_symlink() or not target.is_file() or target.stat().st_size != length:
        return False
    with target.open("rb") as file:
        return file.read(len(head)) == head


def _open_part(part: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(part, flags, 0o644), "wb")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put_in_place(part: Path, target: Path) -> Path:
    """Move a whole file to its name, or to the next free one when the name is somebody else's."""
    for number in range(1, 10_000):
        chosen = target if number == 1 else target.with_stem(f"{target.stem}-{number}")
        try:
            os.link(part, chosen)
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links
            if chosen.exists():
                continue
            part.rename(chosen)
        else:
            part.unlink()
        _sync_folder(chosen.parent)
        return chosen
    raise DownloadError(f"no free name for {target.name}")


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        log.debug("the directory %s cannot be synced", folder)
    finally:
        os.close(handle)
