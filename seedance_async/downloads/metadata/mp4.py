"""MP4 metadata: entries in ``moov/udta/meta/ilst``, the list that taggers and players read.

The entries enlarge ``moov``. The sample tables (``stco``, ``co64``) hold the file offsets of the samples; if
samples follow ``moov``, as in files made for streaming, their offsets are increased by the same amount. A
file with other file offsets (fragments, items, encryption) is refused.

Sources: ISO/IEC 14496-12, sections 4.2, 8.7.5 and 8.10; for the list, Apple's format as ffmpeg writes it;
C2PA 2.1, A.5, for its ``uuid``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.downloads.metadata import splice
from seedance_async.downloads.metadata.splice import KEY, MetadataError, Origin, Splice, read_exactly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

MAX_MOOV_BYTES: Final = 64 * 1024**2
"""Largest ``moov`` that is read into memory; that of a 15 s clip has about 20 kB."""

MAX_BOXES: Final = 100_000
"""Most boxes at the top level of a file; a clip has four, a fragmented one two per fragment."""

LIST: Final = (b"udta", b"meta", b"ilst")
"""The path from ``moov`` to the list."""

TABLES: Final = (b"trak", b"mdia", b"minf", b"stbl")
"""The path from ``moov`` to the sample tables."""

HOLDS_OFFSETS: Final = (b"moof", b"mfra", b"sidx", b"saio", b"iloc", b"cmov")
"""Boxes that hold file offsets outside of the sample tables, or compress them."""

CREDENTIALS: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
COMMENT: Final = b"\xa9cmt"
FREE: Final = b"----"
MEAN: Final = b"ai.seedance2"
"""Namespace of the name of a free-form entry."""


@frozen
class Section:
    """A box in the file: its kind, and the offsets of its start, its content and its end."""

    kind: bytes
    start: int
    content: int
    stop: int


@frozen
class Box:
    """A box in memory: its kind, all of its bytes, and the size of its header."""

    kind: bytes
    whole: bytes
    head: int = 8

    @property
    def content(self) -> bytes:
        """The bytes after the header."""
        return self.whole[self.head :]


def plan_insertion(file: BinaryIO, *, prompt: str, origin: Origin) -> Splice:
    """Return the replacement of ``moov`` by one with both texts.

    Raises:
        MetadataError: not an MP4 that can be parsed, or one that an insertion would break.
    """
    section, moov = _read_moov(file)
    ours = _free_entry(splice.to_utf8(origin.to_json())) + _box(COMMENT, _data(splice.to_utf8(prompt)))
    new = bytearray(_box(b"moov", _with_entries(moov, LIST, ours)))
    _shift_offsets(new, section, by=len(new) - (section.stop - section.start))
    return Splice(section.start, section.stop, bytes(new))


def read_origin(file: BinaryIO) -> Origin | None:
    """Return the origin stored in the file; None if there is none.

    Raises:
        MetadataError: not an MP4 that can be parsed.
    """
    _, content = _read_moov(file)
    for kind in LIST:
        box = _first(boxes(content), kind)
        if box is None:
            return None
        content = box.content[_head_of_meta(box.content) :] if kind == b"meta" else box.content
    head = _free_entry(b"")[8:-16]
    texts = (box.content for box in boxes(content) if box.kind == FREE and box.content.startswith(head))
    text = next(texts, None)
    return None if text is None else Origin.from_json(text[len(head) + 16 :])


def _read_moov(file: BinaryIO) -> tuple[Section, bytes]:
    """Return the only ``moov`` of a file, and its content."""
    found = [section for section in sections(file) if _is_moov(file, section)]
    if len(found) != 1 or found[0].stop - found[0].start > MAX_MOOV_BYTES:
        raise MetadataError(f"{len(found)} moov, or one that is too large")
    content = read_exactly(file, found[0].content, found[0].stop - found[0].content)
    if any(kind in box.whole for box in boxes(content) for kind in HOLDS_OFFSETS if box.kind != b"udta"):
        raise MetadataError("it holds file offsets outside of the sample tables")
    return found[0], content


def _is_moov(file: BinaryIO, section: Section) -> bool:
    """Whether a top-level box is ``moov``.

    Raises:
        MetadataError: it is one that forbids an insertion.
    """
    if section.kind in HOLDS_OFFSETS or (section.kind == b"meta" and _holds_items(file, section)):
        raise MetadataError("it holds file offsets outside of the sample tables")
    head = min(16, section.stop - section.content)
    if section.kind == b"uuid" and read_exactly(file, section.content, head) == CREDENTIALS:
        raise MetadataError("it carries content credentials")
    return section.kind == b"moov"


def _holds_items(file: BinaryIO, section: Section) -> bool:
    """Whether a ``meta`` has the locations of items, as in AVIF and HEIC; True also if it is too large."""
    length = section.stop - section.content
    return length > MAX_MOOV_BYTES or b"iloc" in read_exactly(file, section.content, length)


def sections(file: BinaryIO) -> Iterator[Section]:
    """Yield the top-level boxes of a file.

    Raises:
        MetadataError: one is invalid, or ends behind the end of the file.
    """
    offset, size = 0, splice.size_of(file)
    for _ in range(MAX_BOXES):
        if offset == size:
            return
        length, kind = struct.unpack(">I4s", read_exactly(file, offset, 8))
        head = 8
        if length == 1:
            head, (length,) = 16, struct.unpack(">Q", read_exactly(file, offset + 8, 8))
        stop = offset + length if length else size
        if stop < offset + head or stop > size:
            raise MetadataError(f"the box at {offset} does not end in the file")
        yield Section(kind, offset, offset + head, stop)
        offset = stop
    raise MetadataError(f"more than {MAX_BOXES} boxes")


def boxes(content: bytes) -> list[Box]:
    """Return the boxes inside a box. Zeros at the end, as in QuickTime, become a box with an empty kind."""
    found, offset = [], 0
    while offset < len(content):
        if not any(content[offset : offset + 8]):
            found.append(Box(b"", content[offset:]))
            break
        length, kind = struct.unpack(">I4s", content[offset : offset + 8].ljust(8, b"\0"))
        head = 8
        if length == 1:
            head, (length,) = 16, struct.unpack(">Q", content[offset + 8 : offset + 16].ljust(8, b"\0"))
        if length < head or offset + length > len(content):
            raise MetadataError(f"invalid box in a box, {kind!r}")
        found.append(Box(kind, content[offset : offset + length], head))
        offset += length
    return found


def _first(children: Iterable[Box], kind: bytes) -> Box | None:
    return next((box for box in children if box.kind == kind), None)


# --- the list


def _with_entries(content: bytes, path: tuple[bytes, ...], entries: bytes) -> bytes:
    """Return a box's content with ``entries`` appended to the list at ``path``; creates missing boxes."""
    children = boxes(content)
    if not path:  # the list itself; a file has one comment
        return b"".join(box.whole for box in children if box.kind not in {COMMENT, b""}) + entries
    old = _first(children, path[0])
    new = _child_with_entries(old, path, entries)
    if old is not None:
        return b"".join(new if box is old else box.whole for box in children)
    parts = [box.whole for box in children]
    parts.insert(len(children) - (bool(children) and not children[-1].kind), new)  # before terminating zeros
    return b"".join(parts)


def _child_with_entries(old: Box | None, path: tuple[bytes, ...], entries: bytes) -> bytes:
    """Return the first box of ``path``, with ``entries`` appended to the list at the end of the path."""
    kind, *rest = path
    content = old.content if old else _EMPTY_META if kind == b"meta" else b""
    head = _head_of_meta(content) if kind == b"meta" else 0
    return _box(kind, content[:head], _with_entries(content[head:], tuple(rest), entries))


def _head_of_meta(content: bytes) -> int:
    """Return the size of the header in a ``meta``: 4 in the standard's, 0 in QuickTime's.

    Raises:
        MetadataError: it has another handler than ``mdir``.
    """
    head = 0 if content[4:8] == b"hdlr" else 4
    children = boxes(content[head:])
    handler = _first(children, b"hdlr")
    if handler is None or handler.content[8:12] != b"mdir" or _first(children, b"iloc"):
        raise MetadataError("its meta box has another handler")
    return head


def _box(kind: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def _data(text: bytes) -> bytes:
    return _box(b"data", struct.pack(">II", 1, 0) + text)  # 1: UTF-8; 0: no locale


def _free_entry(text: bytes) -> bytes:
    named = _box(b"mean", bytes(4) + MEAN), _box(b"name", bytes(4) + KEY.encode())
    return _box(FREE, *named, _data(text))


_EMPTY_META: Final = bytes(4) + _box(b"hdlr", struct.pack(">8s4s4s8sx", b"", b"mdir", b"appl", b""))
"""The content of a ``meta`` box without a list."""


# --- the sample tables


def _shift_offsets(moov: bytearray, old: Section, *, by: int) -> None:
    """Add ``by`` to the offset of every sample behind the old ``moov``."""
    for kind, start, stop in _tables(moov, 8, len(moov), TABLES):
        width = "I" if kind == b"stco" else "Q"
        (count,) = struct.unpack(">I", moov[start + 4 : start + 8].rjust(4, b"\xff"))
        if start + 8 + count * struct.calcsize(f">{width}") > stop:
            raise MetadataError("a sample table is longer than its box")
        layout = struct.Struct(f">{count}{width}")
        offsets = layout.unpack_from(moov, start + 8)
        if any(old.start <= offset < old.stop for offset in offsets):
            raise MetadataError("a sample table points into moov")
        try:
            layout.pack_into(moov, start + 8, *(offset + by * (offset >= old.stop) for offset in offsets))
        except struct.error:
            raise MetadataError("an offset no longer fits its table") from None


def _tables(
    moov: bytearray, start: int, stop: int, path: tuple[bytes, ...]
) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of every sample table."""
    offset = start
    for box in boxes(bytes(moov[start:stop])):
        end = offset + len(box.whole)
        if path and box.kind == path[0]:
            yield from _tables(moov, offset + box.head, end, path[1:])
        elif not path and box.kind in {b"stco", b"co64"}:
            yield box.kind, offset + box.head, end
        offset = end
