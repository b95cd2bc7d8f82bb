"""JPEG metadata: the prompt as a comment, the origin in an application segment of our own.

If there are several comments, some readers show the first (exiftool, exiv2), others the last (Pillow). So the
prompt becomes the first comment, and the last one, too, if there are others. JFIF and Exif segments must come
first, so the prompt is placed after the leading application segments (a comment that precedes them is kept,
and the prompt placed before it).

Sources: ITU-T T.81, annex B; CIPA DC-007 for ``MPF``, whose offsets count from itself to pictures behind the
first one; C2PA 2.1, A.3.1, for ``APP11``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.downloads.metadata.splice import KEY, MetadataError, Origin, Splice, read_exactly, to_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

COM: Final = 0xFE
APPLICATION: Final = range(0xE0, 0xF0)
CREDENTIALS: Final = 0xEB
"""Marker of APP11, whose JUMBF boxes hold content credentials."""

OURS: Final = 0xE9
"""Marker of the segment with the origin; a name distinguishes it from others with this marker."""

SCAN: Final = 0xDA
END: Final = 0xD9
MAX_SEGMENTS: Final = 10_000

MAX_TEXT_BYTES: Final = 65_533
"""Maximum of a segment, whose length field has two bytes and includes itself."""

HEAD: Final = f"{KEY}\0".encode()


@frozen
class Segment:
    """A segment before the picture: its marker, and the offsets of its start, its content and its end."""

    marker: int
    start: int
    content: int
    stop: int


def plan_insertion(file: BinaryIO, *, prompt: str, origin: Origin) -> Splice:
    """Return the insertion of both texts.

    Raises:
        MetadataError: not a JPEG, one that an insertion would break, or a prompt of over 65,533 bytes.
    """
    start, last = 2, 0
    is_leading = True
    for segment in segments(file):
        if segment.marker == CREDENTIALS:
            raise MetadataError("it carries content credentials")
        if read_exactly(file, segment.content, min(segment.stop - segment.content, 4)) == b"MPF\0":
            raise MetadataError("it holds more pictures, which are found by their offset")
        is_leading = is_leading and segment.marker in APPLICATION
        if is_leading:
            start = segment.stop
        if segment.marker == COM:
            last = segment.stop
    comment = _segment(COM, to_utf8(prompt))
    inserted = _segment(OURS, HEAD + to_utf8(origin.to_json())) + comment
    if last > start:
        return Splice(start, last, inserted + read_exactly(file, start, last - start) + comment)
    return Splice(start, start, inserted)


def read_origin(file: BinaryIO) -> Origin | None:
    """Return the origin stored in the file; None if there is none.

    Raises:
        MetadataError: not a JPEG.
    """
    for segment in segments(file):
        if segment.marker == OURS:
            content = read_exactly(file, segment.content, segment.stop - segment.content)
            if content.startswith(HEAD):
                return Origin.from_json(content.removeprefix(HEAD))
    return None


def segments(file: BinaryIO) -> Iterator[Segment]:
    """Yield the segments before the picture's first scan."""
    if read_exactly(file, 0, 3) != b"\xff\xd8\xff":
        raise MetadataError("not a JPEG")
    offset = 2
    for _ in range(MAX_SEGMENTS):
        prefix, marker, size = struct.unpack(">BBH", read_exactly(file, offset, 4))
        if prefix != 0xFF or (size < 2 and marker != 0xFF):
            raise MetadataError(f"invalid segment at {offset}")
        if marker == 0xFF:  # a marker may be preceded by any number of fill bytes
            offset += 1
            continue
        if marker in {SCAN, END}:
            return
        read_exactly(file, offset + 2, size)
        yield Segment(marker, offset, offset + 4, offset + 2 + size)
        offset += 2 + size
    raise MetadataError(f"more than {MAX_SEGMENTS} segments")


def _segment(marker: int, content: bytes) -> bytes:
    if len(content) > MAX_TEXT_BYTES:
        raise MetadataError(f"{len(content)} bytes of text exceed the maximum of a JPEG comment")
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
