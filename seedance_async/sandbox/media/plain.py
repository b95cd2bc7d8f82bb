"""Plain files, used if Pillow or PyAV is missing: grey, but playable, and with the right size and length.

They are written directly, as small as the formats allow: a grey JPEG block is two bits, a grey macroblock of
H.264 one byte, and every later frame states that nothing has changed.

Sources: PNG (third edition), 5; ITU-T T.81, annex B; ITU-T H.264, 7.3; ISO/IEC 14496-12 and 14496-15.

Pure.
"""

from __future__ import annotations

import re
import struct
from math import ceil
from typing import Final
from zlib import compress, crc32

FRAMES_PER_SECOND: Final = 12
SAMPLES_PER_SECOND: Final = 48_000
SAMPLES_PER_FRAME: Final = 1_024
GREY: Final = b"\x80"
SILENCE: Final = bytes.fromhex("00c800802380")
"""A silent frame of AAC."""

AAC_IN_MONO: Final = bytes.fromhex("1188")
MATRIX: Final = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
GREY_BLOCK: Final = "00100111"
"""A macroblock without prediction source and residual: Intra 16x16, DC, all grey."""


def plain_png(width: int, height: int) -> bytes:
    """A grey PNG."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = compress((b"\0" + GREY * width) * height, 1)
    chunks = ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc32(kind + content))
        for kind, content in chunks
    )


def plain_jpeg(width: int, height: int) -> bytes:
    """A grey JPEG, in which no block differs from grey."""
    one_code = bytes([1, *bytes(15), 0])  # the code 0 for the symbol 0: no difference, or the end of a block
    segments = (
        (0xDB, bytes([0, *[1] * 64])),
        (0xC0, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)),
        (0xC4, b"\x00" + one_code + b"\x10" + one_code),
        (0xDA, bytes([1, 1, 0, 0, 63, 0])),
    )
    bits = 2 * ceil(width / 8) * ceil(height / 8)
    scan = bytes(bits // 8) + (bytes([0xFF >> bits % 8]) if bits % 8 else b"")
    head = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments
    )
    return b"\xff\xd8" + head + scan + b"\xff\xd9"


def plain_clip(width: int, height: int, seconds: float, *, audio: bool) -> bytes:
    """A grey MP4, with a silent audio track if ``audio``; its sides must be even."""
    frames = max(1, round(seconds * FRAMES_PER_SECOND))
    blocks = ceil(width / 16) * ceil(height / 16)
    pictures = [_first_frame(blocks), *(_same_frame(blocks, number) for number in range(1, frames))]
    sounds = [SILENCE] * (frames * SAMPLES_PER_SECOND // FRAMES_PER_SECOND // SAMPLES_PER_FRAME)
    head = _box(b"ftyp", b"isom", bytes(4), b"isomavc1")
    length = sum(map(len, pictures))

    def index(start: int) -> bytes:
        """The index of a file whose samples start at an offset."""
        tracks = _video_track(width, height, pictures, start)
        if audio and sounds:
            tracks += _sound_track(sounds, start + length, frames)
        movie = struct.pack(">IIIIIIH", 0, 0, 0, FRAMES_PER_SECOND, frames, 1 << 16, 1 << 8) + bytes(10)
        return _box(b"moov", _box(b"mvhd", movie, MATRIX, bytes(24), struct.pack(">I", 3)), tracks)

    start = len(head) + len(index(0)) + 8
    samples = b"".join(pictures) + b"".join(sounds if audio else [])
    return head + index(start) + _box(b"mdat", samples)


# --- H.264


def _first_frame(blocks: int) -> bytes:
    head = f"{_ue(0)}{_ue(7)}{_ue(0)}0000{_ue(0)}00{_ue(0)}{_ue(1)}"
    return _unit(0x65, head + GREY_BLOCK * blocks)


def _same_frame(blocks: int, number: int) -> bytes:
    head = f"{_ue(0)}{_ue(5)}{_ue(0)}{number % 16:04b}000{_ue(0)}{_ue(1)}"
    return _unit(0x61, head + _ue(blocks))


def _sequence(width: int, height: int) -> bytes:
    columns, rows = ceil(width / 16), ceil(height / 16)
    crop = f"1{_ue(0)}{_ue((columns * 16 - width) // 2)}{_ue(0)}{_ue((rows * 16 - height) // 2)}"
    head = f"{66:08b}{0xC0:08b}{51:08b}{_ue(0)}{_ue(0)}{_ue(2)}{_ue(1)}0"
    return _escaped(0x67, f"{head}{_ue(columns - 1)}{_ue(rows - 1)}11{crop}0")


def _pictures() -> bytes:
    return _escaped(0x68, f"{_ue(0)}{_ue(0)}00{_ue(0)}{_ue(0)}{_ue(0)}000{_ue(0)}{_ue(0)}{_ue(0)}100")


def _ue(number: int) -> str:
    """A number as an unsigned Exp-Golomb code; for zero, the signed code is the same."""
    code = f"{number + 1:b}"
    return "0" * (len(code) - 1) + code


def _unit(kind: int, bits: str) -> bytes:
    unit = _escaped(kind, bits)
    return struct.pack(">I", len(unit)) + unit


def _escaped(kind: int, bits: str) -> bytes:
    """A NAL unit: its bits with a stop bit, escaped so that it contains no start code."""
    whole = bits + "1"
    whole += "0" * (-len(whole) % 8)
    content = int(whole, 2).to_bytes(len(whole) // 8)
    return bytes([kind]) + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", content)


# --- MP4


def _box(kind: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def _video_track(width: int, height: int, samples: list[bytes], start: int) -> bytes:
    sequence, pictures = _sequence(width, height), _pictures()
    configuration = _box(
        b"avcC",
        bytes([1, 66, 0xC0, 51, 0xFF, 0xE1]),
        struct.pack(">H", len(sequence)) + sequence,
        b"\1" + struct.pack(">H", len(pictures)) + pictures,
    )
    entry = _box(
        b"avc1",
        bytes(6) + b"\0\1" + bytes(16) + struct.pack(">HHIIIH", width, height, 72 << 16, 72 << 16, 0, 1),
        bytes(32) + b"\0\x18\xff\xff",
        configuration,
    )
    synced = _box(b"stss", bytes(4), struct.pack(">II", 1, 1))
    tables = _tables(entry, samples, start, each=1) + synced
    head = struct.pack(">II", width << 16, height << 16)
    media = _box(b"vmhd", b"\0\0\0\1", bytes(8))
    return _track(1, b"vide", head, media, tables, FRAMES_PER_SECOND, len(samples), len(samples))


def _sound_track(samples: list[bytes], start: int, frames: int) -> bytes:
    decoder = b"\x04\x11\x40\x15" + bytes(11) + b"\x05\x02" + AAC_IN_MONO
    descriptor = b"\x03\x19\0\2\0" + decoder + b"\x06\x01\x02"
    entry = _box(
        b"mp4a",
        bytes(6) + b"\0\1" + bytes(8) + struct.pack(">HHII", 1, 16, 0, SAMPLES_PER_SECOND << 16),
        _box(b"esds", bytes(4), descriptor),
    )
    tables = _tables(entry, samples, start, each=SAMPLES_PER_FRAME)
    length = len(samples) * SAMPLES_PER_FRAME
    return _track(2, b"soun", bytes(8), _box(b"smhd", bytes(8)), tables, SAMPLES_PER_SECOND, length, frames)


def _track(
    number: int, handler: bytes, size: bytes, media: bytes, tables: bytes, rate: int, length: int, frames: int
) -> bytes:
    volume = struct.pack(">H", 256 if handler == b"soun" else 0)
    head = struct.pack(">IIIIII", 7, 0, 0, number, 0, frames) + bytes(12) + volume + bytes(2) + MATRIX + size
    reference = _box(b"dinf", _box(b"dref", bytes(4), b"\0\0\0\1", _box(b"url ", b"\0\0\0\1")))
    inner = _box(
        b"mdia",
        _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, rate, length, 0x55C4, 0)),
        _box(b"hdlr", bytes(8), handler, bytes(13)),
        _box(b"minf", media, reference, _box(b"stbl", tables)),
    )
    return _box(b"trak", _box(b"tkhd", head), inner)


def _tables(entry: bytes, samples: list[bytes], start: int, *, each: int) -> bytes:
    sizes = b"".join(struct.pack(">I", len(sample)) for sample in samples)
    return b"".join(
        (
            _box(b"stsd", bytes(4), b"\0\0\0\1", entry),
            _box(b"stts", bytes(4), struct.pack(">III", 1, len(samples), each)),
            _box(b"stsc", bytes(4), struct.pack(">IIII", 1, 1, len(samples), 1)),
            _box(b"stsz", bytes(8), struct.pack(">I", len(samples)), sizes),
            _box(b"stco", bytes(4), struct.pack(">II", 1, start)),
        )
    )
