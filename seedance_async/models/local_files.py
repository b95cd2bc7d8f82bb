"""A local file: the path of a picture or clip on this machine, in place of a URL.

Before the request is sent, the file is uploaded to where the API can fetch it, and the path is replaced by
the URL. Only a value of type ``LocalFile`` is a file, never a plain text: requests are also read from JSON of
untrusted senders, which must not be able to name a file of this machine. Pure.
"""

from __future__ import annotations

from typing import Final, Protocol

from seedance_async.models.display import shown

CLIPS_TOO: Final = frozenset({"media_urls"})
"""Fields that may hold clips; the others hold pictures only."""


class FilePath(Protocol):
    """A path-like object, such as a ``pathlib.Path``."""

    def __fspath__(self) -> str:
        """The path as text."""
        ...


class LocalFile(str):
    """The path of a local file in a field of a request, to which a ``pathlib.Path`` is converted.

    A relative path refers to the working directory of the process when the request is sent.
    """

    __slots__ = ()


def file_fault(file: LocalFile) -> str | None:
    """Why the form of a path is not valid; None if it is."""
    if not file.strip():
        return "is an empty path"
    if "\0" in file or any("\ud800" <= character <= "\udfff" for character in file):
        return f"{shown(str(file))} has a NUL in it, or is not UTF-8; rename the file"
    return None
