"""Exclusive lock on an open file, which the kernel releases when the file is closed or its process ends."""

from __future__ import annotations

import sys

if sys.platform == "win32":

    def try_lock(handle: int) -> bool:  # noqa: ARG001
        """Always True: files are not locked on Windows."""
        return True

else:
    import fcntl

    def try_lock(handle: int) -> bool:
        """Whether the file is locked now; False if another open file has the lock.

        Raises:
            OSError: the file system has no locks.
        """
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
