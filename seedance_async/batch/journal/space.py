"""Room on the disk: enough to record what is paid, even when there is none left.

A full disk refuses every write, also to a file that is there already. A job must not be paid when its id
could not be written down, so room is asked for before each POST; and a ballast file is held, which is given
up when a record of something paid finds the disk full after all.
"""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING, Final

from seedance_async.errors import JournalError
from seedance_async.safe_files import create

if TYPE_CHECKING:
    from pathlib import Path

log: logging.Logger = logging.getLogger(__name__)

BALLAST: Final = "journal.ballast"
BALLAST_BYTES: Final = 1024 * 1024
"""Some two hundred records, more than can be on the wire at once."""

LEAST_FREE_BYTES: Final = 16 * 1024 * 1024


class Space:
    """The disk under a batch directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ballast = directory / BALLAST

    def load(self) -> None:
        """Lay down the ballast, if there is room for it and its name is free."""
        if self._lies_there() or self._free() < LEAST_FREE_BYTES:
            return
        if self._ballast.is_dir() and not self._ballast.is_symlink():
            log.warning("%s is a directory: there is no ballast to give up if the disk fills", self._ballast)
            return
        with create(self._ballast) as file:
            file.write(bytes(BALLAST_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def drop(self) -> bool:
        """Give the ballast up; False if it is gone already."""
        there = self._lies_there()
        if there:
            self._ballast.unlink()
        return there

    def check(self) -> None:
        """See that what is about to be paid can be recorded.

        Raises:
            JournalError: it may not be.
        """
        free = self._free()
        if free < LEAST_FREE_BYTES:
            raise JournalError(
                f"only {free // 1024} KiB are free in {self._directory}: nothing more is sent, because the "
                "task id might not be recorded; make room and run again"
            )

    def _lies_there(self) -> bool:
        return self._ballast.is_file() and not self._ballast.is_symlink()

    def _free(self) -> int:
        return shutil.disk_usage(self._directory).free
