"""A local file, a picture or clip of this machine where a URL is asked for.

Whoever sends the request puts the file where the API can fetch it, and the URL in its place. Only what is
marked as a file counts as one: a plain text never does, because requests are also read from JSON that
strangers send, and none of it may name a file of this machine. Pure.
"""

from __future__ import annotations

from typing import Final, Protocol

from seedance_async.models.display import shown

CLIPS_TOO: Final = frozenset({"media_urls"})
"""Fields that may hold clips; the others hold pictures only."""


class FilePath(Protocol):
    """What stands for a path, such as a ``pathlib.Path``."""

    def __fspath__(self) -> str:
        """The path as text."""
        ...


class LocalFile(str):
    """The path of a local file in a field of a request; a ``pathlib.Path`` given there becomes one.

    A relative path is one of the process's directory at the instant of sending.
    """

    __slots__ = ()


def file_fault(file: LocalFile) -> str | None:
    """Why a path cannot be that of a file, by its form; None if it can be."""
    if not file.strip():
        return "is an empty path"
    if "\0" in file or any("\ud800" <= character <= "\udfff" for character in file):
        return f"{shown(str(file))} has a NUL in it, or is not UTF-8; rename the file"
    return None
