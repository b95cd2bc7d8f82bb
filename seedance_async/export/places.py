"""Files that are written for the user where the user says, complete or not at all.

What lies there already is replaced only if it was written here and not changed since: every file has a seal,
a checksum of all that is in it. A timeline that was edited and saved under its old name is somebody's work.

Blocking.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seedance_async.errors import ConfigurationError
from seedance_async.safe_files import leads_out, replacing

if TYPE_CHECKING:
    from collections.abc import Iterable

SEAL: Final = f"seedance export {'0' * 16}"
"""What every file has in it before it is written; the zeros become the checksum of all its bytes."""

_SEALED: Final = re.compile(rb"(seedance export )([0-9a-f]{16})")


def check_place(path: Path, flag: str) -> None:
    """See that a file may be written, before any work is done for it.

    Raises:
        ConfigurationError: its folder is missing, or something of somebody else's is there.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(f"{flag} {path}: there is no folder {path.parent}")
    if os.path.lexists(path) and not is_ours(path):
        reason = "is there already, and is not as seedance export has written it; name another, or delete it"
        raise ConfigurationError(f"{flag} {path} {reason}")


def is_ours(path: Path) -> bool:
    """Whether a file is as this command has written it."""
    if path.is_symlink() or not path.is_file():
        return False
    content = path.read_bytes()
    found = _SEALED.search(content)
    return found is not None and _sealed(content) == content


def write(path: Path, content: bytes) -> None:
    """Write a file that has ``SEAL`` in it.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    with replacing(path) as file:
        file.write(_sealed(content))


def _sealed(content: bytes) -> bytes:
    blank = _SEALED.sub(rb"\g<1>0000000000000000", content, count=1)
    checksum = hashlib.sha256(blank).hexdigest()[:16].encode()
    return _SEALED.sub(rb"\g<1>" + checksum, content, count=1)


def relative(file: Path, start: Path) -> str:
    """The path of a file as it is seen from a folder, with ``/``; absolute where no path leads there.

    Raises:
        ConfigurationError: there is a line break in it, which no timeline or list can hold.
    """
    try:
        seen = os.path.relpath(file.absolute(), start.absolute())
    except ValueError:  # another drive
        seen = str(file.absolute())
    if any(character in seen for character in "\r\n"):
        raise ConfigurationError(
            f"a folder on the way to {file.name} has a line break in its name; rename it"
        )
    return Path(seen).as_posix()


def missing_files(directory: Path, files: Iterable[str]) -> dict[str, str]:
    """The files of a batch that cannot be handed over, and why."""
    found = ((file, _fault(directory, file)) for file in files)
    return {file: fault for file, fault in found if fault is not None}


def _fault(directory: Path, file: str) -> str | None:
    path = directory / file
    try:
        if Path(file).is_absolute() or ".." in Path(file).parts or leads_out(path, directory):
            return "it leads out of the batch's directory"
        is_there = path.is_file()
    except (OSError, ValueError):  # a NUL, or more characters than a name may have
        return "no file can have that name"
    return None if is_there else "it is not there any more; the batch's next run fetches it again"
