"""PNG: ``iTXt`` chunks before the picture's first ``IDAT``.

A viewer may stop reading texts where the picture begins, so they come before it; where a keyword is there
twice, readers keep the later, so ours comes last. Says who: PNG (ISO/IEC 15948), sections 5.3 and 11.3.4;
C2PA 2.1, A.3.3, for ``caBX``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final
from zlib import crc32

from seedance_async.embedding.splice import KEY, EmbeddingError, Origin, Splice, encoded, exactly, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
CREDENTIALS: Final = b"caBX"
MAX_TEXT_BYTES: Final = 1024 * 1024
"""Of the texts that are read: ours have some hundred bytes."""


def splice(file: BinaryIO, *, prompt: str, origin: Origin) -> Splice:
    """Where the texts go.

    Raises:
        EmbeddingError: not a PNG that can be read to its picture, or it signs itself.
    """
    for kind, start, _ in _chunks(file):
        if kind == CREDENTIALS:
            raise EmbeddingError("it carries content credentials")
        if kind == b"IDAT":
            return Splice(start, start, _text(KEY, origin.text()) + _text("Comment", prompt))
    raise EmbeddingError("no picture before the end")


def origin_of(file: BinaryIO) -> Origin | None:
    """The origin that the file tells.

    Raises:
        EmbeddingError: not a PNG that can be read to its picture.
    """
    head = _head(KEY)
    for kind, start, length in _chunks(file):
        if kind == b"IDAT":
            break
        if kind == b"iTXt" and len(head) <= length <= MAX_TEXT_BYTES:
            content = exactly(file, start + 8, length)
            if content.startswith(head):
                return Origin.read(content.removeprefix(head))
    return None


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and length of the content of every chunk."""
    if exactly(file, 0, len(SIGNATURE)) != SIGNATURE:
        raise EmbeddingError("not a PNG")
    start, size = len(SIGNATURE), size_of(file)
    while start < size:
        length, kind = struct.unpack(">I4s", exactly(file, start, 8))
        end = start + 12 + length
        if end > size or (start == len(SIGNATURE) and kind != b"IHDR"):
            raise EmbeddingError(f"no sound chunk at {start}")
        yield kind, start, length
        start = end


def _text(keyword: str, text: str) -> bytes:
    content = b"iTXt" + _head(keyword) + encoded(text)
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", crc32(content))


def _head(keyword: str) -> bytes:
    """Keyword; not compressed; language and translated keyword left open."""
    return keyword.encode() + b"\0" + b"\0\0" + b"\0" + b"\0"
