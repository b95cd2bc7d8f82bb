"""A lock on an open file, which the kernel releases when the holder closes the file or ends."""

from __future__ import annotations

import sys

if sys.platform == "win32":

    def try_lock(file: int) -> bool:  # noqa: ARG001
        """Return True: on Windows there is no lock."""
        return True

else:
    import fcntl

    def try_lock(file: int) -> bool:
        """Lock the file of this descriptor without waiting; False if another process holds the lock.

        Raises:
            OSError: its file system has no locks.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
