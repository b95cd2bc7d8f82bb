"""A file on its way: ``kite.part``, and beside it ``kite.part.json``, which says what it is a part of.

Nobody else writes to it meanwhile (it is locked, where the file system can), and it may go on in another
process after this one was killed. So what is written is in order: what the part was is forgotten before it is
emptied, and what it will be is known before the first byte. Names may be planted in a shared directory:
neither file is written through a link, symbolic or hard.

After a power cut a file can have its length and not its bytes. Those are zeros, a page at a time, and media
are compressed, so a page of zeros in a part tells that it is not to be trusted.

Blocking: call it in worker threads.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from seedance_async.downloads.resume import Version
from seedance_async.file_lock import try_lock
from seedance_async.plain_files import ALL, BINARY, NOT_THROUGH_LINKS, create

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from typing import BinaryIO

log: logging.Logger = logging.getLogger(__name__)

MAX_PARTS: Final = 100
"""Downloads of one file at the same time, each into a part of its own."""

PAGE: Final = 4096
PIECE_BYTES: Final = 1024 * 1024
MAX_VERSION_BYTES: Final = 4096


class Part:
    """A part, open and locked.

    Attributes:
        path: its name.
        fresh: the name for what is made of it, which goes away with it.
        size: bytes of the file that are here.
        version: the version of the file that they belong to; None if nothing is here to go on with.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self.fresh: Path = path.with_name(f"{path.name}.new")
        self.size: int = os.fstat(handle).st_size
        self._beside = path.with_name(f"{path.name}.json")
        self._handle = handle
        self._closed = False
        self.version = self._read_version()
        if self.version is None or self.size > self.version.length or self._has_hole():
            self.forget()

    @classmethod
    def open(cls, folder: Path, stem: str) -> Self:
        """The first part of that name which nobody else is writing to, made if missing.

        Raises:
            OSError: it cannot be made, or something else stands in its place.
        """
        for number in range(1, MAX_PARTS + 1):
            path = folder / (f"{stem}.part" if number == 1 else f"{stem}.{number}.part")
            handle = _open_locked(path)
            if handle is not None:
                with ExitStack() as unless_made:
                    unless_made.callback(os.close, handle)
                    part = cls(path, handle)
                    unless_made.pop_all()
                    return part
        raise OSError(errno.EBUSY, f"{stem} is being downloaded {MAX_PARTS} times already")

    def begin(self, version: Version | None, length: int | None) -> None:
        """Empty it, for a file of ``length`` bytes from its first one."""
        self.forget()
        self._make_sure_of_room(length or 0)
        if version is not None:
            with create(self._beside) as beside:
                beside.write(version.text())
        self.version = version

    def go_on(self, start: int) -> None:
        """Keep the first ``start`` bytes, and write behind them."""
        self._cut(start)
        self._make_sure_of_room(self.version.length - start if self.version else 0)

    def forget(self) -> None:
        """Empty it, and no longer know what it was a part of."""
        self._beside.unlink(missing_ok=True)
        self.version = None
        self._cut(0)

    def write(self, data: bytes) -> None:
        """Put bytes behind those that are here.

        Raises:
            OSError: the disk is full or broken. Nothing is kept then: the room may be needed.
        """
        with self._empty_if_it_fails():
            rest = memoryview(data)
            while rest:
                written = os.write(self._handle, rest)
                self.size += written
                rest = rest[written:]

    def sync(self) -> None:
        """Make it survive a power cut.

        Raises:
            OSError: as ``write``.
        """
        with self._empty_if_it_fails():
            os.fsync(self._handle)

    @contextmanager
    def reading(self) -> Generator[BinaryIO]:
        """Its bytes, from the first."""
        with os.fdopen(os.dup(self._handle), "rb") as file:
            file.seek(0)
            yield file

    def close(self) -> None:
        """Let go of it. What can be gone on with is kept."""
        if not self._closed and (not self.size or self.version is None):
            with suppress(OSError):
                self.remove()
        self._close()

    def remove(self) -> None:
        """Let go of it, and leave nothing behind."""
        if sys.platform == "win32":  # an open file keeps its name there
            self._close()
        for path in (self.fresh, self.path, self._beside):
            path.unlink(missing_ok=True)
        self._close()  # the lock goes last: until then nobody else has the name

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._handle)

    def _cut(self, size: int) -> None:
        os.ftruncate(self._handle, size)
        os.lseek(self._handle, size, os.SEEK_SET)
        self.size = size

    def _make_sure_of_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            with self._empty_if_it_fails():
                raise OSError(errno.ENOSPC, f"{needed} bytes are needed and {free} are free")

    @contextmanager
    def _empty_if_it_fails(self) -> Generator[None]:
        try:
            yield
        except OSError:
            with suppress(OSError):
                self.forget()
            raise

    def _read_version(self) -> Version | None:
        try:
            handle = os.open(self._beside, os.O_RDONLY | NOT_THROUGH_LINKS)
        except OSError:
            return None
        with os.fdopen(handle, "rb") as beside:
            return Version.read(beside.read(MAX_VERSION_BYTES))

    def _has_hole(self) -> bool:
        with self.reading() as file:
            return any(bytes(PAGE) in piece for piece in iter(lambda: file.read(PIECE_BYTES), b""))


def _open_locked(path: Path) -> int | None:
    """The file's handle; None if somebody else has it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | NOT_THROUGH_LINKS | BINARY, ALL)
        with ExitStack() as unless_good:
            unless_good.callback(os.close, handle)
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EEXIST, f"{path.name} is in the way", str(path))
            if not _lock(handle):
                return None
            if found.st_nlink > 1:
                # Put in place by a process that died then, or planted. The other name keeps the bytes.
                path.unlink(missing_ok=True)
            elif _is_at(path, found):
                unless_good.pop_all()
                return handle


def _is_at(path: Path, found: os.stat_result) -> bool:
    """False if the file was put in place, and the name let go, before we had the lock."""
    try:
        return os.path.samestat(path.lstat(), found)
    except FileNotFoundError:
        return False


def _lock(handle: int) -> bool:
    try:
        return try_lock(handle)
    except OSError:
        log.debug("the file system knows no locks")
        return True
