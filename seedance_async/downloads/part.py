"""Incomplete files: ``kite.part``, with the version of its content next to it in ``kite.part.json``.

A part is locked while it is written (if the file system has locks), and another process may resume it after
this one was killed. So the order of writes matters: the version is deleted before the part is emptied, and
written before the part's first byte. An attacker may have placed links in a shared directory, so neither file
is written through a symbolic or hard link.

After a power cut a file may have its full length, but pages of zeros instead of its last bytes. Media are
compressed and contain no such pages, so a part with one is not used.

Blocking: call it in worker threads.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from seedance_async.downloads.resume import Version
from seedance_async.file_lock import try_lock
from seedance_async.logs import Log
from seedance_async.safe_files import ALL, BINARY, NOT_THROUGH_LINKS, create

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from typing import BinaryIO

log: Log = Log(__name__)

MAX_PARTS: Final = 100
"""Most simultaneous downloads of one file; each has a separate part."""

PAGE: Final = 4096
PIECE_BYTES: Final = 1024 * 1024
MAX_VERSION_BYTES: Final = 4096


class Part:
    """A part, open and locked.

    Attributes:
        path: its path.
        copy_path: path for a changed copy of it, which is removed together with it.
        size: its size in bytes.
        version: the version of the file to which its bytes belong; None if it cannot be resumed.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self.copy_path: Path = path.with_name(f"{path.name}.new")
        self.size: int = os.fstat(handle).st_size
        self._version_path = path.with_name(f"{path.name}.json")
        self._handle = handle
        self._closed = False
        self.version = self._read_version()
        if self.version is None or self.size > self.version.length or self._has_zero_page():
            self.reset()

    @classmethod
    def open(cls, folder: Path, stem: str) -> Self:
        """Open the first part for ``stem`` that is not locked, created if missing.

        Raises:
            OSError: it cannot be created, its name is not a regular file's, or all parts are in use.
        """
        for number in range(1, MAX_PARTS + 1):
            path = folder / (f"{stem}.part" if number == 1 else f"{stem}.{number}.part")
            handle = _open_locked(path)
            if handle is not None:
                with ExitStack() as on_failure:
                    on_failure.callback(os.close, handle)
                    part = cls(path, handle)
                    on_failure.pop_all()
                    return part
        raise OSError(errno.EBUSY, f"{stem} is being downloaded {MAX_PARTS} times already")

    def start(self, version: Version | None, length: int | None) -> None:
        """Empty it, to receive a file of ``length`` bytes (None if unknown).

        Raises:
            OSError: the disk has too little space, or is broken.
        """
        self.reset()
        self._check_free_space(length or 0)
        if version is not None:
            with create(self._version_path) as file:
                file.write(version.to_json())
        self.version = version

    def resume(self, start: int) -> None:
        """Keep the first ``start`` bytes, and write after them.

        Raises:
            OSError: the disk has too little space for the rest, or is broken.
        """
        self._truncate(start)
        self._check_free_space(self.version.length - start if self.version else 0)

    def reset(self) -> None:
        """Empty it, and delete its version."""
        self._version_path.unlink(missing_ok=True)
        self.version = None
        self._truncate(0)

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            OSError: the disk is full or broken. Then the part is emptied, to free its space.
        """
        with self._reset_on_error():
            remaining = memoryview(data)
            while remaining:
                written = os.write(self._handle, remaining)
                self.size += written
                remaining = remaining[written:]

    def sync(self) -> None:
        """Call fsync on it.

        Raises:
            OSError: as ``write``.
        """
        with self._reset_on_error():
            os.fsync(self._handle)

    @contextmanager
    def reader(self) -> Generator[BinaryIO]:
        """Yield a reader of its bytes, positioned at the first."""
        with os.fdopen(os.dup(self._handle), "rb") as file:
            file.seek(0)
            yield file

    def close(self) -> None:
        """Close and unlock it, and delete it unless it can be resumed."""
        if not self._closed and (not self.size or self.version is None):
            with suppress(OSError):
                self.remove()
        self._close()

    def remove(self) -> None:
        """Close and delete it, with its version and its copy."""
        if sys.platform == "win32":  # an open file cannot be deleted there
            self._close()
        for path in (self.copy_path, self.path, self._version_path):
            path.unlink(missing_ok=True)
        self._close()  # unlocked last, so that no other process uses the name before

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._handle)

    def _truncate(self, size: int) -> None:
        os.ftruncate(self._handle, size)
        os.lseek(self._handle, size, os.SEEK_SET)
        self.size = size

    def _check_free_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            with self._reset_on_error():
                raise OSError(errno.ENOSPC, f"{needed} bytes are needed and {free} are free")

    @contextmanager
    def _reset_on_error(self) -> Generator[None]:
        try:
            yield
        except OSError:
            with suppress(OSError):
                self.reset()
            raise

    def _read_version(self) -> Version | None:
        try:
            handle = os.open(self._version_path, os.O_RDONLY | NOT_THROUGH_LINKS)
        except OSError:
            return None
        with os.fdopen(handle, "rb") as file:
            return Version.from_json(file.read(MAX_VERSION_BYTES))

    def _has_zero_page(self) -> bool:
        with self.reader() as file:
            return any(bytes(PAGE) in piece for piece in iter(lambda: file.read(PIECE_BYTES), b""))


def _open_locked(path: Path) -> int | None:
    """Open and lock the file, created if missing, and return its handle; None if it is locked already."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | NOT_THROUGH_LINKS | BINARY, ALL)
        with ExitStack() as on_failure:
            on_failure.callback(os.close, handle)
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EEXIST, f"{path.name} is not a regular file", str(path))
            if not _lock(handle):
                return None
            if found.st_nlink > 1:
                # Saved by a process that died before unlinking it, or a planted link; the other name stays.
                path.unlink(missing_ok=True)
            elif _is_at(path, found):
                on_failure.pop_all()
                return handle


def _is_at(path: Path, found: os.stat_result) -> bool:
    """Whether ``path`` is still this file; the previous holder of the lock may have saved and unlinked it."""
    try:
        return os.path.samestat(path.lstat(), found)
    except FileNotFoundError:
        return False


def _lock(handle: int) -> bool:
    """Lock the file; return False if another process has locked it, True also if there are no locks."""
    try:
        return try_lock(handle)
    except OSError:
        log.debug("the file system has no locks")
        return True
