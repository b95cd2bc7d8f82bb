"""MP4: entries in ``moov/udta/meta/ilst``, the list that taggers and players read.

``moov`` grows by them. Sample tables (``stco``, ``co64``) say where in the file the samples are, so where
samples lie behind ``moov``, as in files made for streaming, every such place moves by as much. A file with
other places that count from its beginning (fragments, items, encryption) is refused.

Says who: ISO/IEC 14496-12, sections 4.2, 8.7.5 and 8.10; the list itself is Apple's, as ffmpeg writes it and
everybody reads it; C2PA 2.1, A.5, for its ``uuid``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.embedding.splice import KEY, EmbeddingError, Origin, Splice, encoded, exactly, size_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

MAX_MOOV_BYTES: Final = 64 * 1024**2
"""It is held in memory. A clip of 15 s has some 20 kB."""

MAX_BOXES: Final = 1000
"""At the top of a file. A clip has four."""

LIST: Final = (b"udta", b"meta", b"ilst")
"""The way from ``moov`` to the list."""

TABLES: Final = (b"trak", b"mdia", b"minf", b"stbl")
"""The way from ``moov`` to the sample tables."""

PLACED: Final = (b"moof", b"mfra", b"sidx", b"saio", b"iloc", b"cmov")
"""Boxes that hold, or hide, places in the file outside of the sample tables."""

CREDENTIALS: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
COMMENT: Final = b"\xa9cmt"
FREE: Final = b"----"
MEAN: Final = b"ai.seedance2"
"""Whose the name of a free entry is."""


@frozen
class Section:
    """A box in the file: what it is, where it begins, where its content does, and where it ends."""

    kind: bytes
    start: int
    content: int
    stop: int


@frozen
class Box:
    """A box in memory, whole, and where in it the content begins."""

    kind: bytes
    whole: bytes
    head: int = 8

    @property
    def content(self) -> bytes:
        """Without kind and size."""
        return self.whole[self.head :]


def splice(file: BinaryIO, *, prompt: str, origin: Origin) -> Splice:
    """The new ``moov`` for the place of the old.

    Raises:
        EmbeddingError: not an MP4 that can be understood, or additions would break it.
    """
    section, moov = _moov(file)
    ours = _free_entry(encoded(origin.text())) + _entry(COMMENT, _data(encoded(prompt)))
    new = bytearray(_box(b"moov", _amended(moov, LIST, ours)))
    _move(new, section, by=len(new) - (section.stop - section.start))
    return Splice(section.start, section.stop, bytes(new))


def origin_of(file: BinaryIO) -> Origin | None:
    """The origin that the file tells.

    Raises:
        EmbeddingError: not an MP4 that can be understood.
    """
    _, content = _moov(file)
    for kind in LIST:
        box = _first(_boxes(content), kind)
        if box is None:
            return None
        content = box.content[_head_of_meta(box.content) :] if kind == b"meta" else box.content
    head = _free_entry(b"")[8:-16]
    texts = (box.content for box in _boxes(content) if box.kind == FREE and box.content.startswith(head))
    text = next(texts, None)
    return None if text is None else Origin.read(text[len(head) + 16 :])


def _moov(file: BinaryIO) -> tuple[Section, bytes]:
    """The one ``moov`` of a file, and its content."""
    found = [section for section in _sections(file) if section.kind == b"moov"]
    if len(found) != 1 or found[0].stop - found[0].start > MAX_MOOV_BYTES:
        raise EmbeddingError(f"{len(found)} moov, or a very large one")
    content = exactly(file, found[0].content, found[0].stop - found[0].content)
    if any(kind in box.whole for box in _boxes(content) for kind in PLACED if box.kind != b"udta"):
        raise EmbeddingError("places in the file are told outside of the sample tables")
    return found[0], content


def _sections(file: BinaryIO) -> Iterator[Section]:
    """The boxes of a file, none of which forbids a change."""
    place, size = 0, size_of(file)
    for _ in range(MAX_BOXES):
        if place == size:
            return
        length, kind = struct.unpack(">I4s", exactly(file, place, 8))
        head = 8
        if length == 1:
            head, (length,) = 16, struct.unpack(">Q", exactly(file, place + 8, 8))
        stop = place + length if length else size
        if stop < place + head or stop > size:
            raise EmbeddingError(f"no sound box at {place}")
        if kind in PLACED:
            raise EmbeddingError("places in the file are told outside of the sample tables")
        if kind == b"uuid" and exactly(file, place + head, min(16, stop - place - head)) == CREDENTIALS:
            raise EmbeddingError("it carries content credentials")
        yield Section(kind, place, place + head, stop)
        place = stop
    raise EmbeddingError(f"more than {MAX_BOXES} boxes")


def _boxes(content: bytes) -> list[Box]:
    """The boxes inside a box. QuickTime may end a list with zeros; they count as a box without a kind."""
    boxes, place = [], 0
    while place < len(content):
        if not any(content[place : place + 8]):
            boxes.append(Box(b"", content[place:]))
            break
        length, kind = struct.unpack(">I4s", content[place : place + 8].ljust(8, b"\0"))
        head = 8
        if length == 1:
            head, (length,) = 16, struct.unpack(">Q", content[place + 8 : place + 16].ljust(8, b"\0"))
        if length < head or place + length > len(content):
            raise EmbeddingError(f"no sound box in a box, {kind!r}")
        boxes.append(Box(kind, content[place : place + length], head))
        place += length
    return boxes


def _first(boxes: Iterable[Box], kind: bytes) -> Box | None:
    return next((box for box in boxes if box.kind == kind), None)


# --- the list


def _amended(content: bytes, path: tuple[bytes, ...], entries: bytes) -> bytes:
    """A box's content with entries at the end of the list that ``path`` leads to, made where missing."""
    boxes = _boxes(content)
    if not path:  # the list itself; a file has one comment
        return b"".join(box.whole for box in boxes if box.kind not in {COMMENT, b""}) + entries
    kind, *rest = path
    old = _first(boxes, kind)
    inner = old.content if old else _HANDLED if kind == b"meta" else b""
    head = _head_of_meta(inner) if kind == b"meta" else 0
    new = _box(kind, inner[:head] + _amended(inner[head:], tuple(rest), entries))
    if old is None:
        place = len(boxes) - (bool(boxes) and not boxes[-1].kind)
        boxes.insert(place, Box(kind, new))
    return b"".join(new if box is old else box.whole for box in boxes)


def _head_of_meta(content: bytes) -> int:
    """How many bytes come before the boxes in a ``meta``: QuickTime's has no version, the standard's has.

    Raises:
        EmbeddingError: its entries are of another kind than ours.
    """
    head = 0 if content[4:8] == b"hdlr" else 4
    boxes = _boxes(content[head:])
    handler = _first(boxes, b"hdlr")
    if handler is None or handler.content[8:12] != b"mdir" or _first(boxes, b"iloc"):
        raise EmbeddingError("its meta has another use")
    return head


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def _entry(kind: bytes, *contents: bytes) -> bytes:
    return _box(kind, b"".join(contents))


def _data(text: bytes) -> bytes:
    return _box(b"data", struct.pack(">II", 1, 0) + text)  # 1: UTF-8; 0: no locale


def _free_entry(text: bytes) -> bytes:
    named = _box(b"mean", bytes(4) + MEAN), _box(b"name", bytes(4) + KEY.encode())
    return _entry(FREE, *named, _data(text))


_HANDLED: Final = bytes(4) + _box(b"hdlr", struct.pack(">8s4s4s8sx", b"", b"mdir", b"appl", b""))
"""A ``meta`` without a list."""


# --- the sample tables


def _move(moov: bytearray, old: Section, *, by: int) -> None:
    """Let every sample that lies behind the old ``moov`` be found ``by`` bytes later."""
    for kind, start, stop in _tables(moov, 8, len(moov), TABLES):
        width = "I" if kind == b"stco" else "Q"
        (count,) = struct.unpack(">I", moov[start + 4 : start + 8].rjust(4, b"\xff"))
        if start + 8 + count * struct.calcsize(f">{width}") > stop:
            raise EmbeddingError("a sample table is longer than its box")
        layout = struct.Struct(f">{count}{width}")
        places = layout.unpack_from(moov, start + 8)
        if any(old.start <= place < old.stop for place in places):
            raise EmbeddingError("a sample lies where it cannot")
        try:
            layout.pack_into(moov, start + 8, *(place + by * (place >= old.stop) for place in places))
        except struct.error:
            raise EmbeddingError("a place in the file does not fit its table any more") from None


def _tables(
    moov: bytearray, start: int, stop: int, path: tuple[bytes, ...]
) -> Iterator[tuple[bytes, int, int]]:
    """Kind, beginning and end of the content of every sample table."""
    place = start
    for box in _boxes(bytes(moov[start:stop])):
        end = place + len(box.whole)
        if path and box.kind == path[0]:
            yield from _tables(moov, place + box.head, end, path[1:])
        elif not path and box.kind in {b"stco", b"co64"}:
            yield box.kind, place + box.head, end
        place = end
