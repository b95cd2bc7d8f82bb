"""JPEG metadata: ``COM`` segments after the leading application segments.

JFIF and Exif must come first, so comments come after them. Readers that keep one comment keep the last, so
the prompt is last. Sources: ITU-T T.81, annex B; CIPA DC-007 for ``MPF``, whose offsets count from the start
of the file; C2PA 2.1, A.3.1, for ``APP11``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from seedance_async.downloads.metadata.splice import KEY, MetadataError, Origin, Splice, read_exactly, to_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

COM: Final = 0xFE
APPLICATION: Final = range(0xE0, 0xF0)
CREDENTIALS: Final = 0xEB
"""Marker of APP11, whose JUMBF boxes hold content credentials."""

MAX_TEXT_BYTES: Final = 65_533
"""Maximum of a segment, whose length field has two bytes and includes itself."""

HEAD: Final = f"{KEY}: ".encode()


def plan_insertion(file: BinaryIO, *, prompt: str, origin: Origin) -> Splice:
    """The insertion of both comments.

    Raises:
        MetadataError: not a JPEG, one that an insertion would break, or a prompt of over 65,533 bytes.
    """
    end = 2
    for marker, start, length in _leading_segments(file):
        if marker == CREDENTIALS:
            raise MetadataError("it carries content credentials")
        if read_exactly(file, start, min(length, 4)) == b"MPF\0":
            raise MetadataError("it holds more pictures, which are found by their offset")
        end = start + length
    return Splice(end, end, _comment(HEAD + to_utf8(origin.to_json())) + _comment(to_utf8(prompt)))


def read_origin(file: BinaryIO) -> Origin | None:
    """The origin stored in the file; None if there is none.

    Raises:
        MetadataError: not a JPEG.
    """
    for marker, start, length in _leading_segments(file):
        if marker == COM:
            content = read_exactly(file, start, length)
            if content.startswith(HEAD):
                return Origin.from_json(content.removeprefix(HEAD))
    return None


def _leading_segments(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Marker, content offset and content length of each leading application or comment segment."""
    if read_exactly(file, 0, 3) != b"\xff\xd8\xff":
        raise MetadataError("not a JPEG")
    offset = 2
    while True:
        prefix, marker, size = struct.unpack(">BBH", read_exactly(file, offset, 4))
        if prefix != 0xFF or size < 2:
            raise MetadataError(f"invalid segment at {offset}")
        if marker not in APPLICATION and marker != COM:
            return
        read_exactly(file, offset + 2, size)
        yield marker, offset + 4, size - 2
        offset += 2 + size


def _comment(text: bytes) -> bytes:
    if len(text) > MAX_TEXT_BYTES:
        raise MetadataError(f"{len(text)} bytes of text exceed the maximum of a JPEG comment")
    return struct.pack(">BBH", 0xFF, COM, len(text) + 2) + text
