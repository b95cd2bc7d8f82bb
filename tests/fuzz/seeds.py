"""The seeds of each target: one input of every form that it reads, and all that once made it fail."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _box(kind: bytes, *contents: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, contents)), kind) + b"".join(contents)


PNG: Final = b"\x89PNG\r\n\x1a\n" + b"".join(
    (
        _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        _chunk(b"IDAT", b"x"),
        _chunk(b"IEND", b""),
    )
)
JPEG: Final = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xda\x00\x02x\xff\xd9"
PLACES: Final = bytes(4) + b"\0\0\0\1" + b"\0\0\0\x7f"
MP4: Final = b"".join(
    (
        _box(b"ftyp", b"isom\0\0\0\1"),
        _box(
            b"moov",
            _box(
                b"trak",
                _box(
                    b"mdia", _box(b"minf", _box(b"stbl", _box(b"stco", bytes(4), b"\0\0\0\1", b"\0\0\0\x7f")))
                ),
            ),
        ),
        _box(b"mdat", b"samples"),
    )
)
SUBMISSION: Final = (
    b'{"id":"gpt2_a1","status":"processing","model":"gpt-image-2","credits_used":8,"remaining_credits":120,'
    b'"batch_task_ids":["gpt2_a1","gpt2_a2"],"batch_success":2,"batch_failed":0}'
)
TASK: Final = (
    b'{"id":"sd2_a1","status":"completed","model":"seedance2","quality_tier":"standard","channel":"standard",'
    b'"credits_used":30,"credits_refunded":0,"output":{"video_url":"https://a.example/v","last_frame_url":null,'
    b'"seed":123},"error":null,"created_at":"2026-06-03T10:00:00.000Z","updated_at":"2026-06-03T10:03:12.000Z"}'
)
REFUSAL: Final = b'{"error":{"code":"insufficient_credits","message":"no"},"required_credits":30}'
DATE: Final = b"Wed, 03 Jun 2026 10:00:00 GMT"
LATER: Final = b"Wed, 03 Jun 2026 10:00:36 GMT"

SEEDS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "answers": (
        SUBMISSION,
        TASK,
        REFUSAL,
        b'{"id":"nbp_a1","output":{"images":[{"url":"https://a.example/p"}]}}',
    ),
    "replies": (
        b"\x00\x02\n\n\n" + SUBMISSION,
        b"\x00\x00\n\n" + DATE + b"\n" + TASK,
        b"\x00\xca\n36\n\n" + REFUSAL,
        b"\x01\x36\n" + LATER + b"\n" + DATE + b"\n<html><title>502</title>",
    ),
    "hints": (b"36", b"1.5", LATER + b"\n" + DATE, b"3 Jun 99999999999999999999 10:00:36 GMT\n" + DATE),
    "requests": (
        b'\n{"type":"text-to-image","prompt":"A cat","resolution":"1K","aspect_ratio":"1:1","batch_count":2}',
        b'1\n{"type":"image-to-image","prompt":"A cat","image_urls":["https://cdn.example.com/a.png"]}',
        b'12\n{"prompt":"A cat","duration":"4","mode":"image-to-video","image_url":"https://cdn.example.com/a.png"}',
        b'12\n{"prompt":"A cat","seed":7,"quality_tier":"pro","resolution":"4k","channel":"wild"}',
    ),
    "manifests": (
        b'{"name":"boat","model":"seedance2","prompt":"A boat","duration":4}\n{"model":"x"}\n',
        b'[{"model":"nano-banana-pro","prompt":"A fox","repeat":3},\n {"name":5}]',
        b'name;model;prompt;generate_audio\nboat;seedance2;"A; boat";true\n',
        b"model,prompt,media_urls\nseedance2,A boat,https://a.example.com/ https://b.example.com/\n",
    ),
    "file_names": (
        b"boat",
        b"con.txt",
        b"../../a",
        "fu\u0308r \u202e.".encode(),
        b"{name}/{index}-{take}.{ext}",
    ),
    "media": (b"\n" + MP4, b"1\n" + PNG, b"12\n" + JPEG),
    "parts": (
        b'{"length": 700, "ETag": "\\"a\\""}\nbytes 3-699/700\nabc',
        b'{"length": 9, "Last-Modified": "Wed, 03 Jun 2026 10:00:00 GMT"}\nbytes 1-8/*\na',
    ),
    "journals": (
        b"\ntext\nboat",
        b"1234567890\ntext\naccepted",
        b"12345678\nblob\n" + b'{"prompt":"A cat","batch_count":2}',
        b"12345678901234567890123\ntext\n0b9f6a52-7c1d-4e3f-8a90-1b2c3d4e5f6",
        b"12345678901234\nreal\n" + struct.pack(">d", 1e300),
        b"123456789012345\nnull\n",
        b"1234567890123456\ntext\n" + b'["gpt2_a1","\\ud83d"]',
        b"12345678901234567\ntext\n[" + TASK + b"]",
        b"123456789012345678\nwhole\n" + bytes(7) + b"\x0c",
        b"12345678901234567890\ntext\n" + b'["a.png",NaN]',
        b"1234567890123\nwhole\n" + bytes(7) + b"\x04",
    ),
    "forecasts": (
        b'{"durations":[{"kind":{"model":"seedance2","quality_tier":null},"seconds":[180.0,90]}]}',
    ),
}
