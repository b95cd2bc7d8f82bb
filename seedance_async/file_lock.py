"""The lock on an open file, which the kernel gives back when its holder closes the file or dies."""

from __future__ import annotations

import sys

if sys.platform == "win32":

    def try_lock(file: int) -> bool:  # noqa: ARG001
        """Always True: on Windows nobody waits for anybody."""
        return True

else:
    import fcntl

    def try_lock(file: int) -> bool:
        """Lock the file of this descriptor without waiting; False if somebody else keeps it.

        Raises:
            OSError: its file system knows no locks.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
