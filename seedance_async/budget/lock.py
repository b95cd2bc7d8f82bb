"""One process at a time: a locked file, which the kernel gives back when its holder closes it or dies."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# Two milliseconds at most: a process that was stopped while it held the lock must not stop our event loop.
TRIES: Final = 20
WAIT: Final = 0.0001  # s; about as long as the lock is held


def lock_file(path: Path) -> int | None:
    """Lock a file, made if need be, and return its descriptor; closing that ends it. None if it stays taken.

    On Windows, nobody waits for anybody.

    Raises:
        OSError: the file cannot be made, or its file system knows no locks.
    """
    with ExitStack() as unless_locked:
        file = _opened(path)
        unless_locked.callback(os.close, file)
        if not _acquired(file):
            return None
        unless_locked.pop_all()
        return file


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


if sys.platform == "win32":

    def _acquired(file: int) -> bool:  # noqa: ARG001
        return True

else:
    import fcntl

    def _acquired(file: int) -> bool:
        for _ in range(TRIES):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(WAIT)
            else:
                return True
        return False
