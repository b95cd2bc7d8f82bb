"""Safe writing of files in a directory where someone else may have placed links: no link is written through.

A symbolic link is not followed, and the file behind the other name of a hard link is not changed. A file that
cannot be written without following a link is refused with an ``OSError``, which the caller explains.

Blocking.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from seedance_async.logs import Log

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path
    from typing import BinaryIO

log: Log = Log(__name__)

NOT_WAITING: Final = getattr(os, "O_NONBLOCK", 0)
NOT_THROUGH_LINKS: Final = getattr(os, "O_NOFOLLOW", 0) | NOT_WAITING
BINARY: Final = getattr(os, "O_BINARY", 0)

OWNER: Final = 0o600
"""Mode of files that only the owner may read, because they hold prompts and signed URLs."""

ALL: Final = 0o644
"""Mode of files that everybody may read, such as clips and pictures."""


def create(path: Path, mode: int = ALL) -> BinaryIO:
    """Open a new file, after removing any file with its name.

    Raises:
        OSError: the name belongs to a directory, or the file cannot be created.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, mode), "wb")


def append(path: Path, mode: int = ALL) -> BinaryIO:
    """Open a file to append to, created if missing.

    Raises:
        OSError: it is not a regular file, or the file has a second name.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | NOT_THROUGH_LINKS | BINARY
    return regular(os.fdopen(os.open(path, flags, mode), "ab"), path)


def regular(file: BinaryIO, path: Path) -> BinaryIO:
    """Return an open file if it is a regular one without a second name; else close it.

    Raises:
        OSError: it is something else.
    """
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        file.close()
        raise OSError(errno.EEXIST, "not a regular file of its own", str(path))
    return file


@contextmanager
def replacing(path: Path, mode: int = ALL) -> Generator[BinaryIO]:
    """Write a file that gets its name once it is complete and synced; until then it is ``….part``.

    Raises:
        OSError: it cannot be written; an existing file of that name is unchanged.
    """
    part = path.with_name(f"{path.name}.part")
    with create(part, mode) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def sync_folder(folder: Path) -> None:
    """Flush a directory to the disk, if the system supports that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        log.debug("the directory %s cannot be synced", folder)
    finally:
        os.close(handle)


def leads_out(folder: Path, directory: Path) -> bool:
    """Whether a link takes ``folder``, a path below ``directory``, outside of it; either may be missing."""
    return not folder.resolve().is_relative_to(directory.resolve())


def missing(directory: Path) -> list[Path]:
    """The directory and those above it that do not exist, innermost first."""
    return [folder for folder in (directory, *directory.parents) if not os.path.lexists(folder)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove directories, innermost first, until one is not empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
