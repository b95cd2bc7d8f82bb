"""Unusual files: named by their content, whole, and decoded to the same frames with the prompt in them."""

from __future__ import annotations

import io
import struct
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zlib import crc32

import av
import pytest
from PIL import Image

from seedance_async.downloads.metadata import MetadataError, Origin, apply_splice, plan_insertion, read_origin
from seedance_async.downloads.wholeness import missing
from seedance_async.file_types import kind_of
from seedance_async.sandbox.media import clip

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPT = "A red kite über dem Meer, 日本"
ORIGIN = Origin(task_id="sd2_a1", output=1, source_bytes=4711)
SIZE = (48, 32)


def box(kind: bytes, *contents: bytes, long: bool = False) -> bytes:
    """An MP4 box, with a size of 64 bits if ``long``."""
    content = b"".join(contents)
    if long:
        return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">I4s", len(content) + 8, kind) + content


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc32(kind + content))


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def image(image_format: str, **options: object) -> bytes:
    """A picture of an encoder, animated with ``frames``."""
    file = io.BytesIO()
    frames = [Image.effect_noise(SIZE, 80.0).convert("RGB") for _ in range(3)]
    more = {"save_all": True, "append_images": frames[1:]} if options.pop("frames", False) else {}
    frames[0].save(file, image_format, **more, **options)
    return file.getvalue()


@cache
def film(container: str = "mp4", **options: str) -> bytes:
    """A clip, packed as these options of ffmpeg say."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "clip")
        with (
            av.open(io.BytesIO(clip(64, 64, 1, "an earlier comment")), "r") as source,
            av.open(path, "w", format=container, options=options) as target,
        ):
            tracks: Any = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = tracks[packet.stream.index]
                    target.mux(packet)
        return path.read_bytes()


def web_film(container: str) -> bytes:
    """A clip of VP8."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as target:
        stream: Any = target.add_stream("libvpx", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(6):
            target.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        target.mux(stream.encode())
    return file.getvalue()


def with_long_boxes() -> bytes:
    """``moov`` first and ``mdat`` last, both with sizes of 64 bits: everything lies sixteen bytes later."""
    whole = film(movflags="faststart")
    moov, mdat = whole.index(b"moov") - 4, whole.rindex(b"mdat") - 4
    index = bytearray(whole[moov + 8 : struct.unpack(">I", whole[moov : moov + 4])[0] + moov])
    place = 0
    while (place := index.find(b"stco", place + 1)) > 0:
        (count,) = struct.unpack_from(">I", index, place + 8)
        offsets = struct.unpack_from(f">{count}I", index, place + 12)
        struct.pack_into(f">{count}I", index, place + 12, *(offset + 16 for offset in offsets))
    between = whole[moov + 8 + len(index) : mdat]
    return (
        whole[:moov]
        + box(b"moov", bytes(index), long=True)
        + between
        + box(b"mdat", whole[mdat + 8 :], long=True)
    )


def with_open_end() -> bytes:
    """The last box has no size: it ends with the file."""
    whole = film(movflags="faststart")
    place = whole.rindex(b"mdat") - 4
    return whole[:place] + bytes(4) + whole[place + 4 :]


def with_boxes_of_others(whole: bytes) -> bytes:
    """``uuid``, ``free`` and unknown boxes at the top level, behind the samples."""
    return whole + box(b"uuid", b"0123456789abcdef", b"XMP") + box(b"free", bytes(99)) + box(b"abcd", b"?")


MP4S: dict[str, Callable[[], bytes]] = {
    "moov last": film,
    "moov first": lambda: film(movflags="faststart"),
    "64 bits": with_long_boxes,
    "open end": with_open_end,
    "foreign boxes": lambda: with_boxes_of_others(film()),
    "foreign boxes, moov first": lambda: with_boxes_of_others(film(movflags="faststart")),
    "tail": lambda: film(movflags="faststart") + b"\r\n",
    "tail of zeros": lambda: film() + bytes(100),
    "fragments": lambda: film(movflags="frag_keyframe+empty_moov+default_base_moof"),
    "every frame a fragment": lambda: film(movflags="frag_every_frame+empty_moov"),
    "with an index of fragments": lambda: film(movflags="dash+global_sidx"),
    "hybrid": lambda: film(movflags="frag_keyframe"),
    "tags of QuickTime": lambda: film(movflags="use_metadata_tags"),
    "mov": lambda: film("mov"),
    "mov, moov first": lambda: film("mov", movflags="faststart"),
    "mov before ftyp": lambda: film("mov").replace(b"ftyp", b"free", 1),
}


def decoded(data: bytes) -> list[tuple[int | None, list[bytes]]]:
    """Every frame and every stretch of sound, with its instant."""
    with av.open(io.BytesIO(data), "r") as container:
        frames: Any = container.decode(*container.streams)
        return [(frame.pts, [bytes(plane) for plane in frame.planes]) for frame in frames]


def pixels(data: bytes) -> list[tuple[object, bytes]]:
    """Every frame, with how long it is shown."""
    with Image.open(io.BytesIO(data)) as picture:
        frames = []
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            frames.append((picture.info.get("duration"), picture.convert("RGBA").tobytes()))
        return frames


def saved(data: bytes) -> bytes:
    """The file as it is saved: with both texts, or as it came where it cannot carry them."""
    kind, file = kind_of(data), io.BytesIO(data)
    assert kind is not None
    assert missing(file, kind, length_stated=True) is None
    try:
        after = b"".join(apply_splice(file, plan_insertion(file, kind, prompt=PROMPT, origin=ORIGIN)))
    except MetadataError:
        return data
    assert ORIGIN == read_origin(io.BytesIO(after), kind)
    assert missing(io.BytesIO(after), kind, length_stated=True) is None
    return after


@pytest.mark.parametrize("what", MP4S)
def test_a_clip_plays_as_before(what: str) -> None:
    """Whatever its boxes look like; fragments, which an insertion would break, are left as they are."""
    before = MP4S[what]()
    after = saved(before)

    assert decoded(before) == decoded(after)
    assert ("mov" if "mov" in what.split() or "mov," in what.split() else "mp4") == kind_of(before)
    changed = {"moov last", "moov first", "64 bits", "open end", "foreign boxes", "mov", "mov, moov first"}
    assert (what in changed) <= (before != after)
    if before != after:
        with av.open(io.BytesIO(after), "r") as container:
            assert PROMPT == container.metadata["comment"]


def test_an_animation_keeps_its_frames_together() -> None:
    """The texts come before the first frame's control chunk, which stays beside its picture."""
    before = image("png", frames=True)
    after = saved(before)

    assert pixels(before) == pixels(after)
    assert 3 == len(pixels(after))
    assert after.index(b"acTL") < after.index(b"iTXt") < after.index(b"fcTL") < after.index(b"IDAT")
    assert after[after.index(b"fcTL") + 34 :][4:8] == b"IDAT"


def test_an_animation_without_the_still_picture() -> None:
    """Its first picture is no frame: the texts come before it."""
    before = image("png", frames=True, default_image=True)

    assert pixels(before) == pixels(saved(before))


@pytest.mark.parametrize("tail", [b"\r\n", bytes(1000), b"PK\x03\x04 archive", image("png")])
def test_what_stands_behind_a_picture_stays(tail: bytes) -> None:
    """Behind ``IEND`` and behind ``EOI``."""
    for kind in ("png", "jpeg"):
        before = image(kind) + tail
        after = saved(before)

        assert pixels(before) == pixels(after)
        assert after.endswith(tail)
        assert before != after


def comments(data: bytes) -> list[bytes]:
    """The comments of a JPEG before its first scan, in order, as exiftool and exiv2 read them."""
    place, found = 2, []
    while data[place + 1] != 0xDA:
        if data[place + 1] == 0xFF:
            place += 1
            continue
        (size,) = struct.unpack(">H", data[place + 2 : place + 4])
        if data[place + 1] == 0xFE:
            found.append(data[place + 4 : place + 2 + size])
        place += 2 + size
    return found


def put_in(plain: bytes, place: int, *segments: bytes) -> bytes:
    """A JPEG with more segments."""
    return plain[:place] + b"".join(segments) + plain[place:]


def jpegs() -> dict[str, bytes]:
    """JPEGs with comments wherever they may stand."""
    plain = image("jpeg", quality=90)
    tables, picture = plain.index(b"\xff\xdb"), plain.index(b"\xff\xda")
    exif, comment = segment(0xE1, b"Exif\0\0" + bytes(20)), segment(0xFE, b"Lavc60.31.102")
    return {
        "none": plain,
        "after the application's": put_in(plain, tables, comment),
        "two": put_in(plain, tables, comment, segment(0xFE, b"CREATOR: gd-jpeg")),
        "first of all": put_in(plain, 2, comment),
        "between the application's": put_in(plain, tables, comment, exif),
        "before the scan": put_in(plain, picture, comment),
        "both ends": put_in(put_in(plain, picture, comment), 2, comment),
        "empty": put_in(plain, tables, segment(0xFE, b"")),
        "after fill bytes": put_in(plain, tables, b"\xff\xff\xff", comment),
        "large application's": put_in(plain, tables, *[segment(0xE2, bytes(65_000))] * 5, comment),
        "name of ours": put_in(plain, tables, segment(0xE9, b"Media Jukebox\0"), comment),
        "ours": saved(plain),
    }


@pytest.mark.parametrize("what", jpegs())
def test_the_prompt_is_the_first_comment_of_a_jpeg_and_the_last(what: str) -> None:
    """Whatever was there: some readers show the one, some the other; nothing that was there is lost."""
    before = jpegs()[what]
    after = saved(before)
    kept = comments(after)
    with Image.open(io.BytesIO(after)) as picture:
        assert PROMPT.encode() == picture.info["comment"]

    assert PROMPT.encode() == kept[0] == kept[-1]
    assert [each for each in kept if each in comments(before)] == comments(before) or what == "ours"
    assert not any(b"seedance" in each for each in kept)
    assert pixels(before) == pixels(after)


FOREIGN: dict[str, tuple[str, Callable[[], bytes]]] = {
    "webp": ("webp", lambda: image("webp")),
    "animated webp": ("webp", lambda: image("webp", frames=True, exif=b"Exif\0\0MM", xmp=b"<x/>")),
    "avif": ("avif", lambda: image("avif")),
    "animated avif": ("avif", lambda: image("avif", frames=True)),
    "gif": ("gif", lambda: image("gif", frames=True)),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_picture_of_another_kind_is_named_by_its_content_and_left_alone(what: str) -> None:
    """Whole, and byte for byte what it was."""
    kind, make = FOREIGN[what]
    before = make()

    assert kind == kind_of(before)
    assert before == saved(before)


def test_unknown_chunks_of_a_webp_are_no_fault() -> None:
    """An unknown chunk is to be skipped by every reader."""
    plain = image("webp", exif=b"Exif\0\0MM")
    more = plain + b"abcd" + struct.pack("<I", 4) + b"what"
    before = more[:4] + struct.pack("<I", len(more) - 8) + more[8:]

    assert pixels(before) == pixels(saved(before))


@pytest.mark.parametrize("container", ["webm", "matroska"])
def test_a_clip_of_the_web_is_named_by_its_document_type(container: str) -> None:
    """Matroska and WebM begin alike."""
    before = web_film(container)

    assert {"webm": "webm", "matroska": "mkv"}[container] == kind_of(before)
    assert before == saved(before)


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        ([b"avif", b"mif1"], "avif"), ([b"avis", b"msf1"], "avif"), ([b"mif1", b"avif"], "avif"),
        ([b"heic", b"mif1"], "heic"), ([b"heix"], "heic"), ([b"hevc", b"heic"], "heic"),
        ([b"mif1", b"heic"], "heic"), ([b"msf1", b"hevc"], "heic"), ([b"mif1"], "heif"),
        ([b"qt  "], "mov"), ([b"qt  ", b"isom"], "mov"), ([b"isom", b"avc1"], "mp4"),
        ([b"mp42", b"qt  "], "mp4"), ([b"M4V "], "mp4"), ([b"dash", b"iso6"], "mp4"), ([], "mp4"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("long", [False, True])
def test_the_brand_names_the_file(brands: list[bytes], kind: str, long: bool) -> None:
    """Of one container, which is also that of pictures."""
    content = b"".join([brands[0], bytes(4), *brands[1:]]) if brands else b""

    assert kind == kind_of(box(b"ftyp", content, long=long) + box(b"meta", bytes(4)))


def test_items_outside_of_moov_forbid_an_insertion() -> None:
    """Their places are counted from the start of the file: a cover or a still picture would be lost."""
    with_items = film(movflags="faststart") + box(b"meta", bytes(4), box(b"iloc", bytes(12)))

    assert with_items == saved(with_items)
