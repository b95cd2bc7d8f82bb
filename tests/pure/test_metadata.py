"""The prompt in a file: readers find it, and whatever is decoded from the file is what it was."""

from __future__ import annotations

import io
import struct
from functools import cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seedance_async.downloads.metadata import MetadataError, Origin, apply_splice, plan_insertion, read_origin
from seedance_async.sandbox.media import ImageFormat, clip, picture

if TYPE_CHECKING:
    from pathlib import Path

PROMPT = "A red kite über dem Meer, 日本 🪁\nShot 2: closer"
ORIGIN = Origin(task_id="sd2_a1", output=1, source_bytes=4711)
JUMBF = struct.pack(">BBH", 0xFF, 0xEB, 8) + b"JP\0\x01\0\0"
MANIFEST_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def embedded(data: bytes, kind: str, *, prompt: str = PROMPT, origin: Origin = ORIGIN) -> bytes:
    """The file with both texts in it."""
    file = io.BytesIO(data)
    return b"".join(apply_splice(file, plan_insertion(file, kind, prompt=prompt, origin=origin)))


@cache
def film() -> bytes:
    """A short clip with sound, its samples behind ``moov`` as for streaming."""
    return clip(160, 90, 1, "an earlier comment")


def sound(kind: str) -> bytes:
    """A small file of this kind."""
    pictures: dict[str, ImageFormat] = {"png": "png", "jpg": "jpeg"}
    return small_film() if kind == "mp4" else picture(8, 8, pictures[kind], "")


def packed_anew(path: Path, **options: str) -> bytes:
    """The film, its packets in another arrangement of the same format."""
    with (
        av.open(io.BytesIO(film()), "r") as source,
        av.open(path, "w", format="mp4", options=options) as target,
    ):
        tracks = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = tracks[packet.stream.index]
                target.mux(packet)
    return path.read_bytes()


def decoded(data: bytes) -> list[tuple[int | None, list[bytes]]]:
    """Every frame and every stretch of sound, with its instant."""
    with av.open(io.BytesIO(data), "r") as container:
        frames: Any = container.decode(*container.streams)
        return [(frame.pts, [bytes(plane) for plane in frame.planes]) for frame in frames]


def metadata(data: bytes) -> dict[str, str]:
    """What a player shows about a clip."""
    with av.open(io.BytesIO(data), "r") as container:
        return dict(container.metadata)


def box(kind: bytes, *contents: bytes) -> bytes:
    """An MP4 box."""
    content = b"".join(contents)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def small_film(
    *, table: bytes = b"stco", offset: int | None = None, user: bytes = b"", behind: bytes = b""
) -> bytes:
    """An MP4 of boxes only, with one sample whose bytes are ``sample``; ``moov`` comes first."""

    def with_offset(place: int) -> bytes:
        offsets = struct.pack(">III" if table == b"stco" else ">IIQ", 0, 1, place)
        tables = box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", box(table, offsets)))))
        return box(b"ftyp", b"isom") + box(b"moov", tables, user)

    place = len(with_offset(0)) + 8 if offset is None else offset
    return with_offset(place) + box(b"mdat", b"sample") + behind


def sample_in(data: bytes) -> bytes:
    """What the sample table of a small film leads to."""
    place = data.index(b"stco") if b"stco" in data else data.index(b"co64")
    layout = ">I" if b"stco" in data else ">Q"
    (offset,) = struct.unpack_from(layout, data, place + 12)
    return data[offset : offset + 6]


@pytest.mark.parametrize("arrangement", ["as made", "moov last", "moov first"])
def test_a_clip_plays_as_before_and_shows_the_prompt(arrangement: str, tmp_path: Path) -> None:
    """Every frame, every sound and every instant is what it was, wherever the samples lie."""
    options = {"moov first": {"movflags": "faststart"}}.get(arrangement, {})
    before = film() if arrangement == "as made" else packed_anew(tmp_path / "clip.mp4", **options)
    after = embedded(before, "mp4")

    assert decoded(before) == decoded(after)
    assert PROMPT == metadata(after)["comment"]
    assert ORIGIN.to_json() == metadata(after)["seedance"]
    assert metadata(before).keys() <= metadata(after).keys()


@pytest.mark.parametrize(("image_format", "kind"), [("png", "png"), ("jpeg", "jpg")])
def test_a_picture_looks_as_before_and_tells_the_prompt(image_format: ImageFormat, kind: str) -> None:
    """Pillow reads the same pixels and the new text, although the file had a comment before."""
    before = picture(40, 30, image_format, "an earlier comment")
    after = embedded(before, kind)
    with Image.open(io.BytesIO(before)) as old, Image.open(io.BytesIO(after)) as new:
        reported = new.info.get("Comment") or new.info["comment"].decode()

        assert old.tobytes() == new.tobytes()
        assert PROMPT == reported
        assert old.info.keys() <= new.info.keys()


@pytest.mark.parametrize("kind", ["mp4", "png", "jpg"])
def test_a_file_knows_where_it_came_from(kind: str) -> None:
    """By this a later download sees that the file is here already."""
    data = sound(kind)

    assert read_origin(io.BytesIO(data), kind) is None
    assert ORIGIN == read_origin(io.BytesIO(embedded(data, kind)), kind)


@pytest.mark.parametrize("table", [b"stco", b"co64"])
def test_samples_behind_moov_are_found_where_they_moved_to(table: bytes) -> None:
    """Tables of 32 and of 64 bits."""
    assert b"sample" == sample_in(embedded(small_film(table=table), "mp4"))


def test_samples_before_moov_stay_where_they_are() -> None:
    """The usual order of a file that was not made for streaming."""
    data = box(b"ftyp", b"isom") + box(b"mdat", b"sample") + small_film(offset=20)[12:]

    assert b"sample" == sample_in(data)
    assert b"sample" == sample_in(embedded(data, "mp4"))


@pytest.mark.parametrize(
    "user",
    [
        box(b"udta", bytes(4)),
        box(b"udta", box(b"name", b"kite"), bytes(4)),
        box(b"udta", box(b"meta", box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9)), box(b"ilst"))),
        box(b"free", b"spare") + bytes(8),
    ],
    ids=["terminator", "name and terminator", "meta of QuickTime", "zeros"],
)
def test_what_quicktime_writes_is_kept(user: bytes) -> None:
    """Lists that end in zeros, and a ``meta`` without a version."""
    after = embedded(small_film(user=user), "mp4")

    assert ORIGIN == read_origin(io.BytesIO(after), "mp4")
    assert b"sample" == sample_in(after)
    assert all(word in after for word in (b"kite", b"spare") if word in user)


def test_a_second_insertion_replaces_the_comment() -> None:
    """A file has one comment; which of two a player would show, nobody knows."""
    twice = embedded(embedded(small_film(), "mp4", prompt="first"), "mp4", prompt="second")

    assert b"first" not in twice
    assert b"second" in twice


def signed(kind: str) -> bytes:
    """A file of this kind with content credentials."""
    if kind == "mp4":
        return small_film(behind=box(b"uuid", MANIFEST_UUID, b"manifest"))
    if kind == "jpg":
        return b"\xff\xd8" + JUMBF + picture(8, 8, "jpeg", "")[2:]
    plain = picture(8, 8, "png", "")
    chunk = struct.pack(">I", 4) + b"caBXjumb" + struct.pack(">I", crc32(b"caBXjumb"))
    return plain[:33] + chunk + plain[33:]


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (signed("mp4"), "mp4", "credentials"),
        (signed("png"), "png", "credentials"),
        (signed("jpg"), "jpg", "credentials"),
        (small_film(behind=box(b"moof", b"")), "mp4", "file offsets"),
        (small_film(user=box(b"trak", box(b"saio", bytes(16)))), "mp4", "file offsets"),
        (small_film(user=box(b"udta", box(b"meta", bytes(4), box(b"ilst")))), "mp4", "another handler"),
        (small_film(offset=2**32 - 1), "mp4", "no longer fits"),
        (small_film(offset=20), "mp4", "points into moov"),
        (small_film(behind=b"tail"), "mp4", "ends at"),
        (small_film() + box(b"moov"), "mp4", "2 moov"),
        (b"\xff\xd8\xff\xe2\x00\x08MPF\0II" + picture(8, 8, "jpeg", "")[2:], "jpg", "more pictures"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp", "webp files are not supported"),
    ],
    ids=[
        "signed clip", "signed PNG", "signed JPEG", "fragments", "encryption", "other list", "4 GiB",
        "sample in moov", "tail", "two moov", "two pictures", "webp",
    ],
)  # fmt: skip
def test_a_file_that_an_addition_could_break_is_refused(data: bytes, kind: str, reason: str) -> None:
    """It is good as it is; content credentials above all are worth more than a comment."""
    with pytest.raises(MetadataError, match=reason):
        embedded(data, kind)


def test_a_prompt_too_long_for_a_jpeg_is_refused_and_fits_elsewhere() -> None:
    """A comment there has 65,533 bytes; 20,000 characters are up to 80,000."""
    long = "🪁" * 20_000
    with pytest.raises(MetadataError, match="80000 bytes"):
        embedded(picture(8, 8, "jpeg", ""), "jpg", prompt=long)

    assert long == metadata(embedded(film(), "mp4", prompt=long))["comment"]


@given(prompt=st.text(max_size=200), task_id=st.text(max_size=50), output=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_any_text_can_be_inserted(prompt: str, task_id: str, output: int) -> None:
    """Half characters, zeros and line ends included; the origin comes back as it was."""
    origin = Origin(task_id=task_id, output=output, source_bytes=1)
    for data, kind in ((small_film(), "mp4"), (picture(8, 8, "png", ""), "png")):
        after = embedded(data, kind, prompt=prompt, origin=origin)

        assert origin == read_origin(io.BytesIO(after), kind)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, str]:
    """A file of any kind, cut and with bytes changed; or bytes of no kind, maybe with the right beginning."""
    kind = draw(st.sampled_from(["mp4", "png", "jpg"]))
    if draw(st.booleans()):
        heads = {
            "mp4": b"\0\0\0\x0cftypisom",
            "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            "jpg": b"\xff\xd8\xff",
        }
        return draw(st.sampled_from([heads[kind], b""])) + draw(st.binary(max_size=80)), kind
    data = bytearray(sound(kind))
    place, end = draw(st.integers(0, len(data) - 1)), draw(st.integers(0, len(data)))
    change = draw(st.binary(max_size=8))
    data[place : place + len(change)] = change
    return bytes(data[: end or None]), kind


@given(damaged())
@settings(max_examples=500, deadline=None)
def test_whatever_the_bytes_are_nothing_but_a_refusal_is_raised(case: tuple[bytes, str]) -> None:
    """And what is not refused tells its origin, and has all of its old bytes."""
    data, kind = case
    assert read_origin(io.BytesIO(data), kind) is None
    try:
        change = plan_insertion(io.BytesIO(data), kind, prompt=PROMPT, origin=ORIGIN)
    except MetadataError:
        return
    after = b"".join(apply_splice(io.BytesIO(data), change))

    assert ORIGIN == read_origin(io.BytesIO(after), kind)
    assert data[: change.start] + change.inserted + data[change.stop :] == after
