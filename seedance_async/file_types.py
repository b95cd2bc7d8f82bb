"""The types of media files, by their first bytes. Pure."""

from __future__ import annotations

import re
from typing import Final

HEAD_BYTES: Final = 64 * 1024
"""Bytes at the start of a file that show its type, and for a clip prepared for streaming also its origin."""

MAGIC_BYTES: Final = 12
"""Bytes that are needed to recognise every type; a shorter file is truncated."""

MAGIC: Final = (
    (re.compile(rb"....(?:ftyp|styp)", re.DOTALL), "mp4"),
    (re.compile(rb"....(?:moov|mdat|wide|free|skip|pnot)", re.DOTALL), "mov"),  # QuickTime before ftyp
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    (re.compile(rb"\xff\xd8\xff"), "jpg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
    (re.compile(rb"\x1aE\xdf\xa3.{1,80}?\x42\x82[\x80-\x90]matroska", re.DOTALL), "mkv"),
    (re.compile(rb"\x1aE\xdf\xa3"), "webm"),
    (re.compile(rb"GIF8[79]a"), "gif"),
)

BRANDS: Final = {
    b"avif": "avif", b"avis": "avif",
    b"heic": "heic", b"heix": "heic", b"heim": "heic", b"heis": "heic",
    b"hevc": "heic", b"hevx": "heic", b"hevm": "heic", b"hevs": "heic",
    b"qt  ": "mov",
}  # fmt: skip
"""Extensions by the brand in ``ftyp``. Any other brand is a clip; all of them have the container of MP4."""

GENERIC: Final = frozenset({b"mif1", b"mif2", b"msf1", b"miaf"})
"""Brands of pictures in general; the compatible brands after them state the format."""


def kind_of(head: bytes) -> str | None:
    """The file extension for a picture or clip with these first bytes; None for anything else."""
    suffix = next((suffix for pattern, suffix in MAGIC if pattern.match(head)), None)
    return _by_brand(head) if suffix == "mp4" else suffix


def _by_brand(head: bytes) -> str:
    """The extension of a file with MP4 boxes, by the brand in its first box."""
    start = 16 if head[:4] == b"\0\0\0\1" else 8  # a size of 64 bits
    size = int.from_bytes(head[8:16] if start == 16 else head[:4])
    brands = [head[place : place + 4] for place in range(start, min(size, len(head)), 4)]
    if not GENERIC.isdisjoint(brands[:1]):
        return next((BRANDS[brand] for brand in brands[2:] if brand in BRANDS), "heif")
    return BRANDS.get(b"".join(brands[:1]), "mp4")
