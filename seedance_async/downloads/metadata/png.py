"""PNG metadata: ``iTXt`` chunks before the picture's first ``IDAT``.

A viewer may stop reading texts where the picture begins, so they come before it. If a keyword occurs twice,
readers keep the later one, so ours is last. In an animation, the texts are inserted before the first frame's
``fcTL``, so that it stays next to its ``IDAT``.

Sources: PNG (third edition), sections 5.3, 11.3.2 and 11.3.4; C2PA 2.1, A.3.3, for ``caBX``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final
from zlib import crc32

from seedance_async.downloads.metadata import splice
from seedance_async.downloads.metadata.splice import KEY, MetadataError, Origin, Splice, read_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
CREDENTIALS: Final = b"caBX"
MAX_TEXT_BYTES: Final = 1024 * 1024
"""Longest text chunk that is read; ours have about a hundred bytes."""


def plan_insertion(file: BinaryIO, *, prompt: str, origin: Origin) -> Splice:
    """Return the insertion of both texts.

    Raises:
        MetadataError: not a PNG that can be read up to its picture, or it is signed.
    """
    frame = None
    for kind, start, _ in chunks(file):
        if kind == CREDENTIALS:
            raise MetadataError("it carries content credentials")
        if frame is None and kind in {b"fcTL", b"IDAT"}:
            frame = start
        if kind == b"IDAT" and frame is not None:
            return Splice(frame, frame, _text(KEY, origin.to_json()) + _text("Comment", prompt))
    raise MetadataError("the file ends before a picture")


def read_origin(file: BinaryIO) -> Origin | None:
    """Return the origin stored in the file; None if there is none.

    Raises:
        MetadataError: not a PNG that can be read up to its picture.
    """
    head = _head(KEY)
    for kind, start, length in chunks(file):
        if kind == b"IDAT":
            break
        if kind == b"iTXt" and len(head) <= length <= MAX_TEXT_BYTES:
            content = read_exactly(file, start + 8, length)
            if content.startswith(head):
                return Origin.from_json(content.removeprefix(head))
    return None


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, offset and content length of every chunk up to ``IEND``.

    Raises:
        MetadataError: not a PNG, or it ends before or in a chunk.
    """
    if read_exactly(file, 0, len(SIGNATURE)) != SIGNATURE:
        raise MetadataError("not a PNG")
    start, size, kind = len(SIGNATURE), splice.size_of(file), b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", read_exactly(file, start, 8))
        end = start + 12 + length
        if end > size or (start == len(SIGNATURE) and kind != b"IHDR"):
            raise MetadataError(f"the chunk at {start} is invalid, or does not end in the file")
        yield kind, start, length
        start = end


def _text(keyword: str, text: str) -> bytes:
    content = b"iTXt" + _head(keyword) + splice.to_utf8(text)
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", crc32(content))


def _head(keyword: str) -> bytes:
    """Return the head of an ``iTXt`` content: keyword, no compression, no language, no translated keyword."""
    return keyword.encode() + b"\0" + b"\0\0" + b"\0" + b"\0"
