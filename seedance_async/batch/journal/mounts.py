"""Whether other machines see the same files: a lock that is held here may not hold for them.

Two runners of one batch would pay for its jobs twice, and it is SQLite's lock that keeps the second one out.
Its authors warn that many network file systems only pretend to lock. Linux tells what a directory is on;
where nothing tells, nothing is said.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mounts")

SHARED: Final = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3"}
    | {f"fuse.{name}" for name in ("ceph", "gcsfuse", "glusterfs", "juicefs", "rclone", "s3fs", "sshfs")}
)
"""File systems that several machines use at a time."""


def shared_file_system(directory: Path, mounts: Path = MOUNTS) -> str | None:
    """The kind of file system, if it is one that several machines use; None if it is not, or nobody says."""
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
    """The kernel writes spaces, tabs, line ends and backslashes in octal."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
