"""The check whether a file is complete, according to its format. Pure.

The end of a transfer proves little: without a stated length it looks like a broken connection, and a proxy
that has cached an incomplete copy states the length of the copy. The file formats show where they end:

    png    the chunks, up to IEND
    jpg    the segments, up to EOI; that of a thumbnail is inside a segment and does not count
    gif    the blocks, up to the trailer
    webp   the size in the RIFF header; a chunk of it is a picture
    mp4    the boxes fill the file; the samples that moov lists, and the segments that sidx lists, are in it;
           a fragment's data follow it (and mov)
    avif   the boxes fill the file; the items that meta lists are in it (and heic, heif)
    webm   the elements fill the file, a segment among them, and one that was written live has a cluster
           (and mkv)

Bytes after the end of a picture are allowed; also after an MP4 with all of its samples, if the transfer
stated the same length. An MP4 without index (``moov``, or ``meta`` in AVIF and HEIC) is complete only if its
boxes state their sizes and the transfer stated the same length. It looks the same if it was cut there, so the
caller should download it twice, see ``lacks_index``.

Only the structure is read (of a JPEG, the whole picture), so a large clip is not read again.

Sources: PNG (ISO/IEC 15948), section 5; ITU-T T.81, annex B; GIF89a, appendix A; RFC 9649 for WebP; ISO/IEC
14496-12, sections 4.2, 8.1 to 8.8, 8.11.3 and 8.16.3; RFC 8794 and RFC 9559 for WebM.
"""

from __future__ import annotations

import re
import struct
from itertools import islice, pairwise, repeat
from typing import TYPE_CHECKING, Final

from seedance_async.downloads.metadata import mp4, png
from seedance_async.downloads.metadata.splice import MetadataError, read_exactly, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

MAX_STEPS: Final = 1_000_000
"""Most blocks or elements that are read; only a malicious file has more."""

MAX_SEGMENTS: Final = 10_000
PIECE_BYTES: Final = 64 * 1024
MARKER: Final = re.compile(rb"\xff([^\xff\x00\x01\xd0-\xd8])")
"""A marker that begins a segment or ends the picture; not a stuffed byte, a restart or the start marker."""

EOI: Final = b"\xd9"
TO_THE_END: Final = bytes(4)
"""The size of an MP4 box that ends where the file ends."""

BOXES: Final = frozenset({"mp4", "mov", "avif", "heic", "heif"})
"""Extensions of files that have the structure of an MP4."""

PICTURES: Final = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
"""Chunks of a WebP that hold a picture, or a frame of one."""

SEGMENT: Final = 0x18538067
CLUSTER: Final = 0x1F43B675


def missing(file: BinaryIO, kind: str, *, length_stated: bool) -> str | None:
    """Return why a file is not complete; None if it is.

    Args:
        file: the file to read; its position changes.
        kind: its extension, from ``kind_of``.
        length_stated: whether the server stated the length, and as many bytes arrived.
    """
    try:
        if kind in BOXES:
            _check_mp4(file, length_stated=length_stated)
        else:
            CHECKS[kind](file)
    except MetadataError as problem:
        return str(problem)
    except struct.error:
        return "a sample table of the MP4 is damaged"
    return None


def lacks_index(file: BinaryIO, kind: str) -> bool:
    """Whether a whole file has no index of its clip or picture; one that was cut before it looks the same."""
    return kind in BOXES and not {b"moov", b"meta"} & _last_sections(file)[0].keys()


def _check_png(file: BinaryIO) -> None:
    for _ in png.chunks(file):
        pass


def _check_jpeg(file: BinaryIO) -> None:
    offset = 2
    for _ in range(MAX_SEGMENTS):
        marker, offset = _next_marker(file, offset)
        if marker == EOI:
            return
        offset += int.from_bytes(read_exactly(file, offset, 2))
    raise MetadataError(f"more than {MAX_SEGMENTS} segments")


def _next_marker(file: BinaryIO, offset: int) -> tuple[bytes, int]:
    """Return the next marker at or after ``offset``, and the offset behind it."""
    while True:
        file.seek(offset)
        piece = file.read(PIECE_BYTES)
        if found := MARKER.search(piece):
            return found[1], offset + found.end()
        if len(piece) < PIECE_BYTES:
            raise MetadataError("the JPEG ends without its end marker")
        offset += len(piece) - 1  # a marker has two bytes, and the first may be the last one here


def _check_gif(file: BinaryIO) -> None:
    offset = 13 + _color_table_bytes(read_exactly(file, 10, 1)[0])
    for _ in range(MAX_STEPS):
        match read_exactly(file, offset, 1):
            case b";":
                return
            case b",":
                flags = read_exactly(file, offset + 9, 1)[0]
                offset = _after_sub_blocks(file, offset + 11 + _color_table_bytes(flags))
            case b"!":
                offset = _after_sub_blocks(file, offset + 2)
            case _:
                raise MetadataError(f"the GIF has no block at {offset}")
    raise MetadataError(f"more than {MAX_STEPS} blocks")


def _color_table_bytes(flags: int) -> int:
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0


def _after_sub_blocks(file: BinaryIO, offset: int) -> int:
    for _ in range(MAX_STEPS):
        length = read_exactly(file, offset, 1)[0]
        offset += 1 + length
        if not length:
            return offset
    raise MetadataError(f"more than {MAX_STEPS} blocks")


def _check_webp(file: BinaryIO) -> None:
    (length,) = struct.unpack("<I", read_exactly(file, 4, 4))
    end = 8 + length
    if end > size_of(file):
        raise MetadataError(f"it has {size_of(file)} bytes, and its header says {end}")
    offset = 12
    for _ in range(MAX_STEPS):
        if offset + 8 > end:
            break
        chunk, length = struct.unpack("<4sI", read_exactly(file, offset, 8))
        offset += 8 + length
        if chunk in PICTURES and offset <= end:
            return
        offset += length % 2  # of padding
    raise MetadataError("the WebP has no picture")


def _check_webm(file: BinaryIO) -> None:
    offset, size = 0, size_of(file)
    missed = {SEGMENT}
    for _ in range(MAX_STEPS):
        if offset == size:
            break
        identifier, offset = _variable_integer(file, offset, with_marker=True)
        length, offset = _variable_integer(file, offset)
        missed.discard(identifier or 0)
        # An element of unknown size (from live recording) ends with its last child, so its children are read.
        if length is not None:
            offset += length
        elif identifier not in {SEGMENT, CLUSTER}:
            raise MetadataError(f"the element before {offset} has no size")
        elif identifier == SEGMENT:
            missed.add(CLUSTER)
        if offset > size:
            raise MetadataError(f"it has {size} bytes, and an element ends at {offset}")
    else:
        raise MetadataError(f"more than {MAX_STEPS} elements")
    if missed:
        raise MetadataError("the WebM ends before its data (segment, cluster)")


def _variable_integer(file: BinaryIO, offset: int, *, with_marker: bool = False) -> tuple[int | None, int]:
    """Return an EBML integer (None for the value that means unknown) and the offset behind it."""
    first = read_exactly(file, offset, 1)[0]
    width = 9 - first.bit_length()
    if width > 8:
        raise MetadataError(f"no element at {offset}")
    number = int.from_bytes(read_exactly(file, offset, width))
    if not with_marker:
        number &= (1 << 7 * width) - 1
    unknown = not with_marker and number == (1 << 7 * width) - 1
    return None if unknown else number, offset + width


def _check_mp4(file: BinaryIO, *, length_stated: bool) -> None:
    last, rest = _last_sections(file)
    content = _checked_index(file, last, length_stated=length_stated)
    data, fragment = last.get(b"mdat"), last.get(b"moof")
    if data is None and b"idat" not in content:
        raise MetadataError("the MP4 has no data (mdat)")
    if data and fragment and data.start < fragment.start:
        raise MetadataError("the MP4 has no data (mdat) of its last fragment")
    placed = _sample_ends(content) if b"moov" in last else _item_ends(content)
    end = max(islice(placed, MAX_STEPS), default=0)
    for listed in (end, *_segment_ends(file, last)):
        if listed > size_of(file):
            raise MetadataError(f"it has {size_of(file)} bytes, and what its index lists ends at {listed}")
    if rest and not (length_stated and end and not fragment and b"mvex" not in content):
        raise rest


def _checked_index(file: BinaryIO, last: Mapping[bytes, mp4.Section], *, length_stated: bool) -> bytes:
    """The content of ``moov``, or of ``meta`` where there is none; of a clip without either, nothing."""
    index, data = last.get(b"moov") or last.get(b"meta"), last.get(b"mdat")
    if index is None:
        if not (length_stated and data and read_exactly(file, data.start, 4) != TO_THE_END):
            raise MetadataError("the MP4 has no index (moov)")
        return b""
    return _content(file, index)


def _last_sections(file: BinaryIO) -> tuple[dict[bytes, mp4.Section], MetadataError | None]:
    """Return the last box of each kind, and the error at the first invalid box, if there is one."""
    last: dict[bytes, mp4.Section] = {}
    try:
        for section in mp4.sections(file):
            last[section.kind] = section
    except MetadataError as problem:
        return last, problem
    return last, None


def _content(file: BinaryIO, section: mp4.Section) -> bytes:
    """Return the content of an index; empty if it is too large to be read at once."""
    length = section.stop - section.content
    return read_exactly(file, section.content, length) if length <= mp4.MAX_MOOV_BYTES else b""


def _sample_ends(moov: bytes) -> Iterator[int]:
    """Yield, for each chunk of samples that ``moov`` lists, the least offset at which it can end."""
    for tables in _sample_tables(moov):
        offsets = _numbers(tables, b"stco", "I") + _numbers(tables, b"co64", "Q")
        (uniform,) = struct.unpack_from(">I", tables.get(b"stsz", bytes(8)), 4)
        sizes = () if uniform else _numbers(tables, b"stsz", "I", at=8)
        sample = 0
        for offset, count in zip(offsets, _samples_per_chunk(tables), strict=False):
            yield offset + (uniform or sum(sizes[sample : sample + count]))
            sample += count


def _item_ends(meta: bytes) -> Iterator[int]:
    """For each extent of an item that ``meta`` places in the file, the offset at which it ends."""
    for table in (box.content for box in mp4.boxes(meta[4:]) if box.kind == b"iloc"):
        fields = _Fields(table)
        version, _, sizes = fields.take(1), fields.take(3), fields.take(2)
        if version > 2:  # not known
            return
        of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        of_id = 4 if version == 2 else 2
        for _ in range(fields.take(of_id)):
            fields.take(of_id)
            method = fields.take(2) & 15 if version else 0
            is_elsewhere = fields.take(2) or method  # in another file, or in a box of meta
            base = fields.take(of_base)
            for _ in range(fields.take(2)):
                fields.take(of_index if version else 0)
                start, length = fields.take(of_offset), fields.take(of_length)
                yield 0 if is_elsewhere else base + start + length


class _Fields:
    """Whole numbers of a box, one after the other."""

    def __init__(self, content: bytes, offset: int = 0) -> None:
        self._content = content
        self._offset = offset

    def take(self, width: int) -> int:
        """The next one, of so many bytes."""
        piece = self._content[self._offset : self._offset + width]
        if len(piece) < width:
            raise MetadataError("a table of its index ends within an entry")
        self._offset += width
        return int.from_bytes(piece)


def _segment_ends(file: BinaryIO, last: Mapping[bytes, mp4.Section]) -> Iterator[int]:
    """The offset at which the segments end that the last index of segments lists, if there is one."""
    if (sidx := last.get(b"sidx")) is not None:
        content = _content(file, sidx)
        wide = content[:1] != b"\0"
        fields = _Fields(content, 20 if wide else 16)
        first = fields.take(8 if wide else 4)
        count = fields.take(4) & 0xFFFF
        entries = [(fields.take(4) & 0x7FFFFFFF, fields.take(8)) for _ in range(count)]
        yield sidx.stop + first + sum(size for size, _ in entries)


def _sample_tables(moov: bytes) -> Iterator[dict[bytes, bytes]]:
    """Yield the sample tables of each track: content by kind."""
    for track in mp4.boxes(moov):
        found = [track] if track.kind == mp4.TABLES[0] else []
        for kind in mp4.TABLES[1:]:
            found = [box for parent in found for box in mp4.boxes(parent.content) if box.kind == kind]
        yield {box.kind: box.content for parent in found for box in mp4.boxes(parent.content)}


def _samples_per_chunk(tables: Mapping[bytes, bytes]) -> Iterator[int]:
    """Yield the number of samples in each chunk, endlessly: the last entry of ``stsc`` has no end."""
    numbers = _numbers(tables, b"stsc", "I", each=3)
    runs = list(zip(numbers[::3], numbers[1::3], strict=True))
    for (chunk, count), (next_chunk, _) in pairwise(runs):
        yield from repeat(count, next_chunk - chunk)
    yield from repeat(runs[-1][1] if runs else 0)


def _numbers(
    tables: Mapping[bytes, bytes], kind: bytes, width: str, *, at: int = 4, each: int = 1
) -> tuple[int, ...]:
    """Return all numbers of a table, ``each`` per entry; ``at`` is the offset of its count of entries."""
    table = tables.get(kind)
    if table is None:
        return ()
    (count,) = struct.unpack_from(">I", table, at)
    return struct.unpack_from(f">{count * each}{width}", table, at + 4)


CHECKS: Final[Mapping[str, Callable[[BinaryIO], None]]] = {
    "png": _check_png, "jpg": _check_jpeg, "gif": _check_gif, "webp": _check_webp,
    "webm": _check_webm, "mkv": _check_webm,
}  # fmt: skip
