"""JPEG: ``COM`` segments after the leading application segments.

JFIF and Exif want to be first, so comments come after them; readers that keep one comment keep the last, so
the prompt is it. Says who: ITU-T T.81, annex B; CIPA DC-007 for ``MPF``, whose offsets count from the file's
beginning; C2PA 2.1, A.3.1, for ``APP11``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from seedance_async.embedding.splice import KEY, EmbeddingError, Origin, Splice, encoded, exactly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

COM: Final = 0xFE
APPLICATION: Final = range(0xE0, 0xF0)
CREDENTIALS: Final = 0xEB
"""APP11, in which JUMBF boxes and with them content credentials travel."""

MAX_TEXT_BYTES: Final = 65_533
"""A segment's length has two bytes and counts them."""

HEAD: Final = f"{KEY}: ".encode()


def splice(file: BinaryIO, *, prompt: str, origin: Origin) -> Splice:
    """Where the comments go.

    Raises:
        EmbeddingError: not a JPEG, a prompt of more than 65,533 bytes, or additions would break the file.
    """
    end = 2
    for marker, start, length in _leading(file):
        if marker == CREDENTIALS:
            raise EmbeddingError("it carries content credentials")
        if exactly(file, start, min(length, 4)) == b"MPF\0":
            raise EmbeddingError("there are more pictures behind the first, found by their place")
        end = start + length
    return Splice(end, end, _comment(HEAD + encoded(origin.text())) + _comment(encoded(prompt)))


def origin_of(file: BinaryIO) -> Origin | None:
    """The origin that the file tells.

    Raises:
        EmbeddingError: not a JPEG.
    """
    for marker, start, length in _leading(file):
        if marker == COM:
            content = exactly(file, start, length)
            if content.startswith(HEAD):
                return Origin.read(content.removeprefix(HEAD))
    return None


def _leading(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Marker, place and length of the content of the application and comment segments in front."""
    if exactly(file, 0, 3) != b"\xff\xd8\xff":
        raise EmbeddingError("not a JPEG")
    place = 2
    while True:
        mark, marker, size = struct.unpack(">BBH", exactly(file, place, 4))
        if mark != 0xFF or size < 2:
            raise EmbeddingError(f"no sound segment at {place}")
        if marker not in APPLICATION and marker != COM:
            return
        exactly(file, place + 2, size)
        yield marker, place + 4, size - 2
        place += 2 + size


def _comment(text: bytes) -> bytes:
    if len(text) > MAX_TEXT_BYTES:
        raise EmbeddingError(f"{len(text)} bytes of text are more than a JPEG's comment takes")
    return struct.pack(">BBH", 0xFF, COM, len(text) + 2) + text
