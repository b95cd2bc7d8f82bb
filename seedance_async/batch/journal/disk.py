"""The disk of a journal: its free space, and whether it is a network file system.

A full disk refuses every write, also to an existing file. A job must not be paid if its task id cannot be
stored, so the free space is checked before each POST. In addition a reserve file is kept; it is deleted if
the disk is full when a paid result has to be stored.

Two runners of one batch would pay for its jobs twice; SQLite's lock prevents that. But its authors warn that
locks do not work on many network file systems. On Linux the file system of a directory can be found out; on
other systems it is not checked.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

from seedance_async.errors import JournalError
from seedance_async.logs import Log
from seedance_async.safe_files import create

log: Log = Log(__name__)

RESERVE: Final = "journal.reserve"
RESERVE_BYTES: Final = 1024 * 1024
"""About two hundred results, more than can be on the wire at once."""

LEAST_FREE_BYTES: Final = 16 * 1024 * 1024

MOUNTS: Final = Path("/proc/self/mounts")

SHARED: Final = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3"}
    | {f"fuse.{name}" for name in ("ceph", "gcsfuse", "glusterfs", "juicefs", "rclone", "s3fs", "sshfs")}
)
"""File systems that several machines may have mounted at the same time."""


class Space:
    """The disk of a batch directory.

    Args:
        directory: its path with symbolic links resolved.
        given: the path that the caller gave, if it contains symbolic links.
    """

    def __init__(self, directory: Path, *, given: Path | None = None) -> None:
        self._directory = directory
        self._given = given or directory
        self._reserve = directory / RESERVE
        self._found: os.stat_result | None = None
        self._journal: dict[Path, os.stat_result] = {}

    def load(self, *journal: Path) -> None:
        """Remember which directory and files these are; write the reserve file if there is space.

        SQLite would go on writing into a file of the journal that was removed or replaced.
        """
        self._found = self._directory.stat()
        self._journal = {path: path.stat() for path in journal}
        if self._is_there() or self._free() < LEAST_FREE_BYTES:
            return
        if self._reserve.is_dir() and not self._reserve.is_symlink():
            log.warning("%s is a directory: there is no reserve to give up if the disk fills", self._reserve)
            return
        with create(self._reserve) as file:
            file.write(bytes(RESERVE_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def drop(self) -> bool:
        """Delete the reserve file; return False if there was none."""
        there = self._is_there()
        if there:
            self._reserve.unlink()
        return there

    def check(self) -> None:
        """Check that there is space to store the answer to the next POST.

        Raises:
            JournalError: there is too little space, or the directory was moved.
        """
        self.check_place()
        free = self._free()
        if free < LEAST_FREE_BYTES:
            raise JournalError(
                f"only {free // 1024} KiB are free in {self._directory}: nothing more is sent, because the "
                "task id might not be recorded; make room and run again"
            )

    def check_place(self) -> None:
        """Check that the paths of directory and journal still lead to those that were opened.

        Raises:
            JournalError: the directory was moved, replaced or removed, so files written now would not belong
            to the batch; or the journal was, so nothing more would be on record.
        """
        gone = next((path for path, found in self._journal.items() if not _leads_to(path, found)), None)
        if not self.is_in_place():  # looked at last: then files that went with the directory are told as that
            raise JournalError(
                f"{self._given} was moved, replaced or removed while the batch ran: nothing more is sent "
                "or saved. Run again with the directory where it is now; what is paid is on record there"
            )
        if gone is not None:
            raise JournalError(
                f"{gone} was removed or replaced while the batch ran: nothing more is sent or saved. If it "
                "is the journal itself, put it back before the next run; `seedance tasks` lists what is paid"
            )

    def is_in_place(self) -> bool:
        """Whether the directory's paths still lead to the directory that was opened."""
        return self._found is None or all(
            _leads_to(path, self._found) for path in {self._directory, self._given}
        )

    def _is_there(self) -> bool:
        return self._reserve.is_file() and not self._reserve.is_symlink()

    def _free(self) -> int:
        return shutil.disk_usage(self._directory).free


def _leads_to(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), found)
    except OSError:
        return False


def shared_file_system(directory: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the type of the file system if it is in ``SHARED``; None if it is not, or is unknown."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    here, kinds = directory.resolve(), {}
    for line in lines:
        _, place, kind, *_ = line.split(" ")
        kinds[Path(_unescaped(place))] = kind  # a later mount hides an earlier one at the same place
    nearest = max((place for place in kinds if here.is_relative_to(place)), key=_depth, default=None)
    return kinds[nearest] if nearest is not None and kinds[nearest] in SHARED else None


def _depth(place: Path) -> int:
    return len(place.parts)


def _unescaped(text: str) -> str:
    """Decode the octal escapes with which the kernel writes spaces, tabs, line ends and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
