"""Decoding of a body's content codings, which some servers use although none was requested. Pure.

Object stores may send values that are not codings: ``aws-chunked`` (left over from an upload), ``UTF-8``,
``binary``, ``none``, or an empty value. Only registered codings are decoded, and a body that begins like a
picture or clip is not coded, whatever the header says. A body that begins like gzip is gzip, also without a
header: no picture or clip begins so, and some stores lose the header of an upload.

Sources: RFC 9110, section 8.4.1; the IANA registry of content codings.
"""

from __future__ import annotations

import zlib
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from seedance_async.file_types import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ZLIB: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""The codings that can be decoded, with zlib's ``wbits`` for their format."""

RAW_DEFLATE: Final = -15
"""zlib's ``wbits`` for deflate without a zlib header, which some servers also call ``deflate``."""

OTHERS: Final = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip"})
GZIP_MAGIC: Final = b"\x1f\x8b\x08"
PIECE_BYTES: Final = 1024 * 1024


class CodingError(ValueError):
    """The bytes cannot be decoded. Never raised out of ``downloads``."""


Decode: TypeAlias = "Callable[[bytes], Iterator[bytes]]"


def decoder(header: str, head: bytes) -> Decode | None:
    """Return a function that decodes the next bytes of a body, in pieces of at most ``PIECE_BYTES``.

    Args:
        header: ``Content-Encoding``, a list in the order in which codings were applied.
        head: the first bytes of the body.

    Returns:
        The function, which raises ``CodingError`` for invalid bytes; None for a body that is not coded.

    Raises:
        CodingError: a coding is not supported.
    """
    words = [word.strip().lower() for word in header.split(",")]
    named = [word for word in words if word in ZLIB or word in OTHERS]
    if not named and head.startswith(GZIP_MAGIC):
        named = ["gzip"]
    if not named or kind_of(head) is not None:
        return None
    if unknown := OTHERS.intersection(named):
        raise CodingError(f"the server compressed it unasked, with {', '.join(sorted(unknown))}")
    stages = [_Inflater(word) for word in reversed(named)]

    def decode(data: bytes) -> Iterator[bytes]:
        pieces: Iterable[bytes] = (data,)
        for stage in stages:
            pieces = chain.from_iterable(map(stage.decode, pieces))
        return iter(pieces)

    return decode


class _Inflater:
    """The decoder of one of zlib's codings."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream = zlib.decompressobj(ZLIB[coding])
        self._begun = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        if data and not self._begun:
            self._begun = True
            if self._coding == "deflate" and data[0] & 15 != zlib.DEFLATED:
                self._stream = zlib.decompressobj(RAW_DEFLATE)
        piece = bytes(PIECE_BYTES)
        while data or len(piece) == PIECE_BYTES:  # after a full piece, zlib may hold more output
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except zlib.error as problem:
                raise CodingError(f"it is not {self._coding}, as the server says") from problem
            data = self._stream.unconsumed_tail or self._next_member()
            yield piece

    def _next_member(self) -> bytes:
        """The bytes behind the end of a gzip member, if another one begins there; else nothing (padding)."""
        behind = self._stream.unused_data  # grows with every call after the end
        if self._coding == "deflate" or not behind.startswith(GZIP_MAGIC):
            return b""
        self._stream = zlib.decompressobj(ZLIB[self._coding])
        return behind
