"""The measuring of saved files: size, length, frame rate and sound, as stated in their headers.

MP4, MOV, PNG, JPEG, WebP, GIF, AVIF and HEIC are read here. For WebM, MKV and fragmented MP4, PyAV is used if
it is installed; it reads only headers, never frames. A property that cannot be read is None, and never an
error, so that no paid file is lost.

Reading untrusted bytes is bounded: an index or table far larger than that of a 15 s clip is not read.

Blocking: call it in worker threads.

Sources: ISO/IEC 14496-12, sections 8.3.2, 8.4.2, 8.4.3, 8.5.2, 8.6.1 and 12.1.3; ISO/IEC 23008-12, 6.5.3 for
``ispe``; PNG (third edition), 11.2.1; ITU-T T.81, B.2.2; RFC 9649; GIF89a, 18.
"""

from __future__ import annotations

import struct
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from attrs import evolve

from seedance_async.downloads.metadata import MetadataError, jpeg, mp4
from seedance_async.downloads.metadata.splice import read_exactly
from seedance_async.logs import Log
from seedance_async.models import Delivered
from seedance_async.models.delivered import TOO_MUCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

log: Log = Log(__name__)

MAX_INDEX_BYTES: Final = 4 * 1024**2
"""Largest index of an MP4 or AVIF that is read; that of a 15 s clip has about 20 kB."""

MAX_RUNS: Final = 100_000
"""Most entries of a table of durations; usually there is one."""

PATIENCE: Final = 5.0
"""Timeout of PyAV in seconds, for opening a file and for each read."""

FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG's frame header; the three excluded ones are two tables and a reserved one."""

QUARTER_TURN: Final = 0
"""The first number of a transformation matrix that rotates by 90 degrees."""


def measure(path: Path) -> Delivered | None:
    """Return the properties of a file; None if they cannot be read."""
    kind = path.suffix[1:].lower()
    try:
        with path.open("rb") as file:
            found = read(file, kind)
    except OSError as problem:
        log.debug("%s cannot be measured: %s", path.name, problem)
        return None
    is_partly_read = found is None or (found.is_clip and found.seconds is None)
    if kind in DEMUXERS and is_partly_read:
        found = _measured_by_pyav(path, DEMUXERS[kind]) or found
    return found


def read(file: BinaryIO, kind: str) -> Delivered | None:
    """Return the properties of a file without PyAV; None if they cannot be read."""
    try:
        found = READERS[kind](file) if kind in READERS else None
    except (MetadataError, ValueError, ArithmeticError, struct.error) as problem:
        log.debug("a file cannot be measured: %s", problem)
        return None
    return found if found is not None and _is_possible(found) else None


def _is_possible(found: Delivered) -> bool:
    return 0 < found.width < TOO_MUCH and 0 < found.height < TOO_MUCH


# --- pictures


def _png(file: BinaryIO) -> Delivered:
    if read_exactly(file, 12, 4) != b"IHDR":
        raise MetadataError("not a PNG")
    width, height = struct.unpack(">II", read_exactly(file, 16, 8))
    return Delivered(width=width, height=height)


def _jpeg(file: BinaryIO) -> Delivered:
    for segment in jpeg.segments(file):
        if segment.marker in FRAME_HEADERS:
            height, width = struct.unpack(">HH", read_exactly(file, segment.content + 1, 4))
            return Delivered(width=width, height=height)
    raise MetadataError("a JPEG without a frame header")


def _gif(file: BinaryIO) -> Delivered:
    width, height = struct.unpack("<HH", read_exactly(file, 6, 4))
    return Delivered(width=width, height=height)


def _webp(file: BinaryIO) -> Delivered:
    kind, head = read_exactly(file, 12, 4), read_exactly(file, 20, 10)
    if kind == b"VP8X":
        return Delivered(
            width=int.from_bytes(head[4:7], "little") + 1, height=int.from_bytes(head[7:10], "little") + 1
        )
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return Delivered(width=(bits & 0x3FFF) + 1, height=(bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[6:10])
        return Delivered(width=width & 0x3FFF, height=height & 0x3FFF)
    raise MetadataError("a WebP of an unknown kind")


def _avif(file: BinaryIO) -> Delivered:
    """Return the largest size of an item: tiles and thumbnails are smaller than the picture."""
    properties = _inside(_index(file, b"meta")[4:], b"iprp", b"ipco")
    sizes = [struct.unpack_from(">II", box.content, 4) for box in properties if box.kind == b"ispe"]
    if not sizes:
        raise MetadataError("no item states its size")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Delivered(width=width, height=height)


# --- clips


def _clip(file: BinaryIO) -> Delivered:
    tracks = [box.content for box in mp4.boxes(_index(file, b"moov")) if box.kind == b"trak"]
    by_handler = [(_handler(track), track) for track in tracks]
    sizes = [_video_track(track) for handler, track in by_handler if handler == b"vide"]
    if not sizes:
        raise MetadataError("no track of pictures")
    largest = max(sizes, key=lambda found: found.width * found.height)
    return evolve(largest, sound=any(handler == b"soun" for handler, _ in by_handler))


def _video_track(track: bytes) -> Delivered:
    sample = _content(track, b"mdia", b"minf", b"stbl", b"stsd")
    width, height = struct.unpack_from(">HH", sample, 40)
    head = _content(track, b"tkhd")
    if struct.unpack_from(">i", head, 52 if head[0] else 40) == (QUARTER_TURN,):
        width, height = height, width
    frames, seconds = _timing(track)
    if not frames or not seconds:
        return Delivered(width=width, height=height)
    return Delivered(
        width=width, height=height, seconds=_in_bounds(seconds), fps=_in_bounds(frames / seconds)
    )


def _timing(track: bytes) -> tuple[int, float]:
    """Return the number of frames and seconds of a track; 0 if its samples are in fragments."""
    head = _content(track, b"mdia", b"mdhd")
    (ticks_per_second,) = struct.unpack_from(">I", head, 20 if head[0] else 12)
    table = _content(track, b"mdia", b"minf", b"stbl", b"stts")
    (count,) = struct.unpack_from(">I", table, 4)
    if count > min(MAX_RUNS, (len(table) - 8) // 8):
        raise MetadataError(f"a table of {count} durations")
    runs = [struct.unpack_from(">II", table, 8 + 8 * run) for run in range(count)]
    frames, ticks = sum(run[0] for run in runs), sum(run[0] * run[1] for run in runs)
    return frames, ticks / ticks_per_second


def _in_bounds(number: float) -> float | None:
    """Round a number to three decimals; return None if it is out of range."""
    rounded = round(number, 3)
    return rounded if 0 < rounded < TOO_MUCH else None


def _handler(track: bytes) -> bytes:
    return _content(track, b"mdia", b"hdlr")[8:12]


def _index(file: BinaryIO, kind: bytes) -> bytes:
    """Return the content of the first top-level box of a kind."""
    found = next((section for section in mp4.sections(file) if section.kind == kind), None)
    if found is None or found.stop - found.content > MAX_INDEX_BYTES:
        raise MetadataError(f"no {kind!r}, or one that is too large")
    return read_exactly(file, found.content, found.stop - found.content)


def _inside(content: bytes, *path: bytes) -> list[mp4.Box]:
    """Return the boxes in the first box at a path."""
    for kind in path:
        content = _first(mp4.boxes(content), kind)
    return mp4.boxes(content)


def _content(content: bytes, *path: bytes) -> bytes:
    """Return the content of the first box at a path."""
    *parents, last = path
    found = _first(_inside(content, *parents), last)
    if not found:
        raise MetadataError(f"{last!r} is empty")
    return found


def _first(boxes: Iterable[mp4.Box], kind: bytes) -> bytes:
    for box in boxes:
        if box.kind == kind:
            return box.content
    raise MetadataError(f"no {kind!r}")


# --- formats that PyAV reads


def _measured_by_pyav(path: Path, demuxer: str) -> Delivered | None:
    if find_spec("av") is None:
        return None
    try:
        found = next(_opened_by_pyav(path, demuxer), None)
        return found if found is not None and _is_possible(found) else None
    except Exception as problem:  # any failure of the library only means that nothing was measured
        log.debug("%s cannot be measured: %r", path.name, problem)
        return None


def _opened_by_pyav(path: Path, demuxer: str) -> Iterator[Delivered]:
    """Open a file with the named demuxer only: others follow references to other files and hosts."""
    import av  # noqa: PLC0415 - an extra, and slow to load

    options = {"protocol_whitelist": "file"}
    with av.open(path, format=demuxer, options=options, timeout=PATIENCE) as container:
        for stream in container.streams.video[:1]:
            rate = stream.average_rate
            yield Delivered(
                width=stream.width,
                height=stream.height,
                seconds=_in_bounds((container.duration or 0) / av.time_base),
                fps=_in_bounds(float(rate or 0)),
                sound=bool(container.streams.audio),
            )


READERS: Final[Mapping[str, Callable[[BinaryIO], Delivered]]] = {
    "mp4": _clip, "mov": _clip, "png": _png, "jpg": _jpeg, "gif": _gif, "webp": _webp,
    "avif": _avif, "heic": _avif, "heif": _avif,
}  # fmt: skip
"""The readers by extension, which follows from a file's first bytes (``file_types.kind_of``)."""

DEMUXERS: Final[Mapping[str, str]] = {"mp4": "mov", "mov": "mov", "webm": "matroska", "mkv": "matroska"}
"""FFmpeg's demuxers by extension, for the formats that PyAV reads."""
