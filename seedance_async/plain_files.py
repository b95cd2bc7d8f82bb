"""Files of ours in a directory where names may be planted: nothing is written through a link of any kind.

A symbolic link is not followed, of a hard one the other name keeps its bytes. What cannot be written without
following one is refused with an ``OSError``, and whoever asked says what that means.

Blocking.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from typing import BinaryIO

NOT_THROUGH_LINKS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
BINARY: Final = getattr(os, "O_BINARY", 0)

OWNER: Final = 0o600
"""Mode of what is for the owner's eyes: prompts and signed URLs stand in it."""

ALL: Final = 0o644
"""Mode of what is made to be given away."""


def create(path: Path, mode: int = ALL) -> BinaryIO:
    """A new file; what stood there under its name is taken away.

    Raises:
        OSError: a directory stands there, or no file can be made.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, mode), "wb")


def append(path: Path, mode: int = ALL) -> BinaryIO:
    """A file to be written at its end, made if missing.

    Raises:
        OSError: something else stands there, or a file with another name.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | NOT_THROUGH_LINKS | BINARY
    file = os.fdopen(os.open(path, flags, mode), "ab")
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        file.close()
        raise OSError(errno.EEXIST, "something else is in the way", str(path))
    return file


@contextmanager
def replacing(path: Path, mode: int = ALL) -> Generator[BinaryIO]:
    """A file that gets its name when it is whole and on the disk; until then it is ``….part``.

    Raises:
        OSError: it cannot be made; then what stood there before stays.
    """
    part = path.with_name(f"{path.name}.part")
    with create(part, mode) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def leads_out(folder: Path, directory: Path) -> bool:
    """Whether a folder below a directory is, by a link on the way, somewhere else; either may be missing."""
    return not folder.resolve().is_relative_to(directory.resolve())
