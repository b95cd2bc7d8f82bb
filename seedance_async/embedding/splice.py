"""One change to a file: bytes taken out at a place, and others put in; and how the new file reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from attrs import asdict, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

KEY: Final = "seedance"
"""The name under which the origin stands in every format."""

PIECE_BYTES: Final = 1024 * 1024


class EmbeddingError(ValueError):
    """The file cannot carry the texts; it is good as it is. Never leaves this package."""


@frozen(kw_only=True)
class Origin:
    """What a file was downloaded from.

    Attributes:
        task_id: the server's id of the task.
        output: which output of the task it is, from 1.
        source_bytes: how long the file is at the server.
    """

    task_id: str
    output: int
    source_bytes: int

    def text(self) -> str:
        """As it stands in the file."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, text: bytes) -> Origin | None:
        """What stands in a file; None if it is not ours after all."""
        try:
            match json.loads(text):
                case {"task_id": str(task_id), "output": int(output), "source_bytes": int(source_bytes)}:
                    return cls(task_id=task_id, output=output, source_bytes=source_bytes)
                case _:
                    return None
        except (ValueError, RecursionError):
            return None


@frozen
class Splice:
    """``inserted`` stands where the bytes from ``start`` up to and without ``stop`` stood."""

    start: int
    stop: int
    inserted: bytes


def spliced(file: BinaryIO, change: Splice) -> Iterator[bytes]:
    """The changed file, piece by piece."""
    file.seek(0)
    left = change.start
    while left and (piece := file.read(min(left, PIECE_BYTES))):
        yield piece
        left -= len(piece)
    yield change.inserted
    file.seek(change.stop)
    while piece := file.read(PIECE_BYTES):
        yield piece


def size_of(file: BinaryIO) -> int:
    """How many bytes a file has."""
    return file.seek(0, 2)


def exactly(file: BinaryIO, start: int, count: int) -> bytes:
    """So many bytes from a place.

    Raises:
        EmbeddingError: the file ends before.
    """
    file.seek(start)
    data = file.read(count)
    if len(data) != count:
        raise EmbeddingError(f"the file ends at {start + len(data)}, in the middle of something")
    return data


def encoded(text: str) -> bytes:
    """UTF-8 in any case: half a character in a prompt must not cost the rest of it."""
    return text.encode("utf-8", "replace")
