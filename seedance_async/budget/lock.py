"""A file that one process at a time opens, for the few microseconds that it needs it."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from io import FileIO
from typing import TYPE_CHECKING, Final

from seedance_async.file_lock import try_lock

if TYPE_CHECKING:
    from pathlib import Path

# Two milliseconds at most: a process that was stopped while it held the lock must not stop our event loop.
TRIES: Final = 20
WAIT: Final = 0.0001  # s; about as long as the lock is held

_FLAGS: Final[int] = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)  # the last one is Windows'


def locked(path: Path) -> FileIO | None:
    """Open a file, made if need be, that is ours alone until it is closed; None if somebody keeps it.

    Raises:
        OSError: the file cannot be made, or its file system knows no locks.
    """
    with ExitStack() as unless_locked:
        file = unless_locked.enter_context(FileIO(_opened(path), "r+"))
        if not _acquired(file.fileno()):
            return None
        unless_locked.pop_all()
        return file


def _opened(path: Path) -> int:
    try:
        return os.open(path, _FLAGS, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, _FLAGS, 0o600)


def _acquired(file: int) -> bool:
    for _ in range(TRIES):
        if try_lock(file):
            return True
        time.sleep(WAIT)
    return False
