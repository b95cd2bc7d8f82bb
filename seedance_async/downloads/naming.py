"""Types of result files, by their first bytes, and their names; the server's are not used. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.errors import ValidationError
from seedance_async.filenames import safe
from seedance_async.models import VideoOutput

if TYPE_CHECKING:
    from seedance_async.models import Task

MAX_NAME_BYTES: Final = 200
"""Of 255 that file systems allow; the rest is for ``-last-frame`` and temporary extensions."""

HEAD_BYTES: Final = 64 * 1024
"""Bytes at the start of a file that show its type, and in a clip made for streaming also its origin."""

MAGIC_BYTES: Final = 12
"""Bytes that are needed to recognise every type; fewer are the beginning of a file that was cut."""

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
"""Extensions by the brand in ``ftyp``; every other is a clip's, and the container of all is that of MP4."""

GENERIC: Final = frozenset({b"mif1", b"mif2", b"msf1", b"miaf"})
"""Brands of pictures in general: the compatible ones say which."""


@frozen
class Source:
    """One output of a task.

    Attributes:
        url: its address.
        stem: the name of its file, without extension.
        number: number of the output in the task, from 1.
    """

    url: str
    stem: str
    number: int


def kind_of(head: bytes) -> str | None:
    """The file extension for a picture or clip with these first bytes; None for anything else."""
    suffix = next((suffix for pattern, suffix in MAGIC if pattern.match(head)), None)
    return _by_brand(head) if suffix == "mp4" else suffix


def _by_brand(head: bytes) -> str:
    """The extension of a file of boxes, by its first one."""
    start = 16 if head[:4] == b"\0\0\0\1" else 8  # a size of 64 bits
    size = int.from_bytes(head[8:16] if start == 16 else head[:4])
    brands = [head[place : place + 4] for place in range(start, min(size, len(head)), 4)]
    if not GENERIC.isdisjoint(brands[:1]):
        return next((BRANDS[brand] for brand in brands[2:] if brand in BRANDS), "heif")
    return BRANDS.get(b"".join(brands[:1]), "mp4")


def sources(task: Task, name: str | None) -> list[Source]:
    """Every output of a task, in the order of ``task.urls``.

    Raises:
        ValidationError: ``name`` is not a plain file name of at most ``MAX_NAME_BYTES``.
    """
    stem = safe(task.id) if name is None else _checked(name)
    if isinstance(task.output, VideoOutput):
        labels = ["", "-last-frame"]
    else:
        labels = [""] if len(task.urls) == 1 else [f"-{number}" for number in range(1, len(task.urls) + 1)]
    named = zip(task.urls, labels, strict=False)
    return [Source(url, stem + label, number) for number, (url, label) in enumerate(named, start=1)]


def _checked(name: str) -> str:
    if re.search(r'[/\\:\x00-\x1f*?"<>|]', name) or not name.strip(". "):
        raise ValidationError(
            [("name", "must be a plain file name, without directories")], subject="download"
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValidationError([("name", f"must be at most {MAX_NAME_BYTES} bytes")], subject="download")
    return name
