"""Measures of files: real ones of every kind, and ones that lie."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import av
import pytest
from PIL import Image

from seedance_async import Delivered
from seedance_async.downloads import measuring
from seedance_async.downloads.measuring import measure
from seedance_async.sandbox.media import clip, picture

if TYPE_CHECKING:
    from pathlib import Path

FILM = clip(320, 180, 2, "A boat")


def box(kind: bytes, *contents: bytes) -> bytes:
    """An MP4 box."""
    content = b"".join(contents)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def film_in(path: Path, **options: str) -> Path:
    """The film, packed in another way."""
    source_path = path.with_name("source.mp4")
    source_path.write_bytes(FILM)
    with av.open(str(source_path)) as source, av.open(str(path), "w", options=options) as target:
        tracks = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = tracks[packet.stream.index]
                target.mux(packet)
    return path


@pytest.mark.parametrize("audio", [True, False])
def test_a_clip_of_the_sandbox_is_what_was_asked_for(tmp_path: Path, audio: bool) -> None:
    """Size, length, frames a second and sound."""
    path = tmp_path / "a.mp4"
    path.write_bytes(clip(180, 320, 4, "A boat", audio=audio))

    assert Delivered(width=180, height=320, seconds=4.0, fps=12.0, sound=audio) == measure(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mov", {}), ("a.mkv", {}), ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}), ("a.mp4", {})],
)
def test_a_clip_in_another_container_is_measured(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    """Those that are not read here, by PyAV."""
    found = measure(film_in(tmp_path / name, **options))

    assert found is not None
    assert (320, 180, True) == (found.width, found.height, found.sound)
    assert found.seconds == pytest.approx(2.0, abs=0.1)
    assert found.fps == pytest.approx(12.0, abs=0.2)


def test_without_pyav_what_can_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a clip in fragments the size, of an MKV nothing."""
    fragments = film_in(tmp_path / "a.mp4", movflags="frag_keyframe+empty_moov")
    other = film_in(tmp_path / "a.mkv")
    monkeypatch.setattr(measuring, "find_spec", lambda _: None)

    assert Delivered(width=320, height=180, sound=True) == measure(fragments)
    assert measure(other) is None


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "p.jpg", "a.gif", "a.webp", "l.webp", "x.webp", "a.avif"])
def test_a_picture_is_measured(tmp_path: Path, name: str) -> None:
    """Of every kind that downloads know."""
    path = tmp_path / name
    more: dict[str, Any] = {"p": {"progressive": True}, "l": {"lossless": True}}.get(name[0], {})
    image = Image.new("RGBA" if name == "x.webp" else "RGB", (321, 123))
    image.save(path, exif=Image.Exif(), **more)

    assert Delivered(width=321, height=123) == measure(path)


def test_a_turned_clip_has_the_size_that_is_seen(tmp_path: Path) -> None:
    """A phone's way: lying pixels, and a matrix that turns them."""
    at = FILM.index(b"tkhd") + 4 + 40
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path = tmp_path / "a.mp4"
    path.write_bytes(FILM[:at] + turned + FILM[at + 36 :])
    found = measure(path)

    assert found is not None
    assert found.size == "180x320"


TABLE_TOO_LONG = box(b"stts", bytes(4), struct.pack(">I", 2**32 - 1))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mp4", b""),
        ("a.mp4", box(b"ftyp", b"isom")),
        ("a.mp4", box(b"moov")),
        ("a.mp4", box(b"moov", box(b"trak", box(b"mdia", box(b"hdlr", bytes(8), b"vide"))))),
        ("a.mp4", box(b"moov", box(b"free") * 1_000_000)),
        ("a.mp4", box(b"moov", bytes(16 * 1024**2))),
        ("a.mp4", FILM.replace(FILM[FILM.index(b"stts") - 4 :][:24], TABLE_TOO_LONG + bytes(8))),
        ("a.png", b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIB", 13, b"IHDR", 0, 9, 8) + bytes(8)),
        ("a.png", b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIB", 13, b"IHDR", 2**32 - 1, 9, 8) + bytes(8)),
        ("a.jpg", b"\xff\xd8\xff\xe0\0\2" * 3),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP9 " + bytes(20)),
        ("a.avif", box(b"ftyp", b"avif") + box(b"meta", bytes(4), box(b"iprp", box(b"ipco")))),
        ("a.mkv", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"),
        ("a.webm", b"\x1aE\xdf\xa3" + bytes(300)),
        ("a.exe", b"MZ"),
    ],
)
def test_what_cannot_be_read_is_none(tmp_path: Path, name: str, content: bytes) -> None:
    """Nothing is raised, whatever a file says."""
    path = tmp_path / name
    path.write_bytes(content)
    found = measure(path)

    assert found is None or found.seconds is None or found.seconds == pytest.approx(2.0, abs=0.1)


def test_damage_anywhere_raises_nothing(tmp_path: Path) -> None:
    """A measure is lost, never a file."""
    rng = random.Random(7)
    for name, content in (("a.mp4", FILM), ("a.jpg", picture(64, 64, "jpeg", "x"))):
        path = tmp_path / name
        for _ in range(60):
            damaged = bytearray(content)
            for _ in range(8):
                damaged[rng.randrange(min(3000, len(damaged)))] = rng.randrange(256)
            path.write_bytes(damaged[: rng.randrange(len(damaged))])
            measure(path)


def test_a_measure_is_read_as_it_was_written() -> None:
    """And nothing else is taken for one."""
    whole = Delivered(width=720, height=1280, seconds=5.04, fps=24.0, sound=True)
    assert whole == Delivered.read(whole.to_dict())
    assert "720x1280, 5.04 s, 24 fps, sound" == whole.words
    foreign: tuple[object, ...] = (
        None,
        [],
        {"width": 1},
        {"width": True, "height": 1},
        {"width": 1, "height": 1, "sound": 3},
    )
    for document in foreign:
        with pytest.raises(ValueError, match="measure"):
            Delivered.read(document)
