"""An exclusively locked file, which one process at a time holds open for a few microseconds."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import ExitStack, suppress
from io import FileIO
from typing import TYPE_CHECKING, Final

from seedance_async.file_lock import try_lock

if TYPE_CHECKING:
    from pathlib import Path

# Two milliseconds at most: a process that was stopped while it held the lock must not block our event loop.
TRIES: Final = 20
REPLACED: Final = 5  # times that the file or its directory may be deleted while it is opened
WAIT: Final = 0.0001  # s; about as long as the lock is held

_FLAGS: Final[int] = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)  # O_BINARY exists on Windows only


def locked(path: Path) -> FileIO | None:
    """Open a file, created if missing, and lock it until it is closed; None if another process has the lock.

    The file returned is the one at ``path``, even if that was deleted or replaced during the wait for the
    lock.

    Raises:
        OSError: the file cannot be created, is not a regular file, or its file system has no locks.
    """
    for _ in range(REPLACED):
        with ExitStack() as unless_locked:
            file = unless_locked.enter_context(FileIO(_opened(path), "r+"))
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            if not _acquired(file.fileno()):
                return None
            if os.fstat(file.fileno()).st_ino == inode_of(path):
                unless_locked.pop_all()
                return file
    return None


def inode_of(path: Path) -> int | None:
    """The inode number of the file at ``path``; None if there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _opened(path: Path) -> int:
    for _ in range(REPLACED):
        with suppress(FileNotFoundError):
            return os.open(path, _FLAGS, 0o600)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, _FLAGS, 0o600)


def _acquired(file: int) -> bool:
    for _ in range(TRIES):
        if try_lock(file):
            return True
        time.sleep(WAIT)
    return False
