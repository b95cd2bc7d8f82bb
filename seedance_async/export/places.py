"""Output files at paths that the user names, written completely or not at all.

An existing file is replaced only if this command wrote it and it has not changed since: every file has a
seal, a checksum of its content. So a timeline that a user has edited and saved under its old name is kept.

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
"""Text in every file before it is written; the zeros are replaced by the checksum of all its bytes."""

_SEALED: Final = re.compile(rb"(seedance export )([0-9a-f]{16})")


def check_place(path: Path, flag: str) -> None:
    """Check that a file may be written, before any work is done for it.

    Raises:
        ConfigurationError: its folder is missing, or there is a file that this command has not written.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(f"{flag} {path}: there is no folder {path.parent}")
    if os.path.lexists(path) and not is_ours(path):
        reason = "exists and is not as seedance export has written it; name another file, or delete it"
        raise ConfigurationError(f"{flag} {path} {reason}")


def is_ours(path: Path) -> bool:
    """Whether a file is exactly as this command has written it."""
    if path.is_symlink() or not path.is_file():
        return False
    content = path.read_bytes()
    found = _SEALED.search(content)
    return found is not None and _sealed(content) == content


def write(path: Path, content: bytes) -> None:
    """Write a file whose content has ``SEAL`` in it.

    Raises:
        OSError: it cannot be written; an existing file stays.
    """
    with replacing(path) as file:
        file.write(_sealed(content))


def _sealed(content: bytes) -> bytes:
    blank = _SEALED.sub(rb"\g<1>0000000000000000", content, count=1)
    checksum = hashlib.sha256(blank).hexdigest()[:16].encode()
    return _SEALED.sub(rb"\g<1>" + checksum, content, count=1)


def relative(file: Path, start: Path) -> str:
    """Return the path of a file relative to a folder, with ``/``; absolute if it is on another drive.

    Raises:
        ConfigurationError: it has a line break, which no timeline or list can hold.
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
    """Return the files of a batch that cannot be exported, with the reasons."""
    found = ((file, _fault(directory, file)) for file in files)
    return {file: fault for file, fault in found if fault is not None}


def _fault(directory: Path, file: str) -> str | None:
    path = directory / file
    try:
        if Path(file).is_absolute() or ".." in Path(file).parts or leads_out(path, directory):
            return "it leads out of the batch's directory"
        exists = path.is_file()
    except (OSError, ValueError):  # a NUL, or more characters than a name may have
        return "no file can have that name"
    return None if exists else "it no longer exists; the next run of the batch downloads it again"
