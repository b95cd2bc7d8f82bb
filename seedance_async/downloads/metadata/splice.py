"""A change to one range of a file's bytes, and the origin that is stored in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from attrs import asdict, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

KEY: Final = "seedance"
"""The name under which every format stores the origin."""

PIECE_BYTES: Final = 1024 * 1024


class MetadataError(ValueError):
    """The texts cannot be inserted, and the file is used unchanged. Never raised out of ``downloads``."""


@frozen(kw_only=True)
class Origin:
    """The output that a file was downloaded from.

    Attributes:
        task_id: the server's id of the task.
        output: number of the output in the task, from 1.
        source_bytes: size of the file at the server.
        seed: the seed that the server reports; None if it reports none. Not part of comparisons.
    """

    task_id: str
    output: int
    source_bytes: int
    seed: int | None = field(default=None, eq=False)

    def to_json(self) -> str:
        """Return the text that is stored in the file."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: bytes) -> Origin | None:
        """Return the origin that ``to_json`` wrote; None for any other text."""
        try:
            match json.loads(text):
                case {"task_id": str(), "output": int(), "source_bytes": int()} as found:
                    seed = found.get("seed")
                    return cls(
                        task_id=found["task_id"],
                        output=found["output"],
                        source_bytes=found["source_bytes"],
                        seed=seed if type(seed) is int else None,
                    )
                case _:
                    return None
        except (ValueError, RecursionError):
            return None


@frozen
class Splice:
    """The replacement of the bytes from ``start`` up to, not including, ``stop`` by ``inserted``."""

    start: int
    stop: int
    inserted: bytes


def apply_splice(file: BinaryIO, change: Splice) -> Iterator[bytes]:
    """Yield the bytes of the changed file: the inserted ones, and the others in pieces of ``PIECE_BYTES``."""
    file.seek(0)
    remaining = change.start
    while remaining and (piece := file.read(min(remaining, PIECE_BYTES))):
        yield piece
        remaining -= len(piece)
    yield change.inserted
    file.seek(change.stop)
    while piece := file.read(PIECE_BYTES):
        yield piece


def size_of(file: BinaryIO) -> int:
    """Return the size of a file in bytes; its position changes."""
    return file.seek(0, 2)


def read_exactly(file: BinaryIO, start: int, count: int) -> bytes:
    """Read ``count`` bytes from ``start``.

    Raises:
        MetadataError: the file ends before that.
    """
    file.seek(start)
    data = file.read(count)
    if len(data) != count:
        raise MetadataError(f"the file ends at {start + len(data)}, before {start + count}")
    return data


def to_utf8(text: str) -> bytes:
    """Encode text in UTF-8; lone surrogates, which cannot be encoded, become ``?``."""
    return text.encode("utf-8", "replace")
