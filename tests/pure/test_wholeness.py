"""Whether a file is whole: encoders' files are, and no cut of one is taken for it."""

from __future__ import annotations

import io
import re
import struct
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seedance_async.downloads.wholeness import lacks_index, missing
from seedance_async.file_types import kind_of
from seedance_async.sandbox.media import clip
from seedance_async.sandbox.media.plain import plain_clip, plain_jpeg, plain_png

if TYPE_CHECKING:
    from collections.abc import Callable


def lacks(data: bytes, kind: str | None = None, *, length_stated: bool = True) -> str | None:
    """What a file lacks, by its own first bytes unless told."""
    return missing(io.BytesIO(data), kind or str(kind_of(data)), length_stated=length_stated)


def image(image_format: str, **options: object) -> bytes:
    """A picture of an encoder, of colours that compress badly."""
    file = io.BytesIO()
    noise = Image.effect_noise((48, 32), 80.0).convert("RGB")
    noise.save(file, image_format, **options)
    return file.getvalue()


def moving(image_format: str) -> bytes:
    """A picture of three frames."""
    frames = [Image.effect_noise((48, 32), 80.0).convert("P") for _ in range(3)]
    return image(image_format, save_all=True, append_images=frames)


def with_thumbnail() -> bytes:
    """A JPEG with another one, end marker included, in its first segment."""
    inner, outer = image("jpeg"), image("jpeg")
    segment = b"Exif\0\0" + inner
    return outer[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + outer[2:]


def film(**options: str) -> bytes:
    """A clip of an encoder, its packets arranged as these options of ffmpeg say."""
    with TemporaryDirectory() as folder:  # to put moov first, ffmpeg opens the file again
        path = Path(folder, "clip.mp4")
        with (
            av.open(io.BytesIO(clip(64, 64, 1, "kite")), "r") as source,
            av.open(path, "w", format="mp4", options=options) as target,
        ):
            tracks: Any = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = tracks[packet.stream.index]
                    target.mux(packet)
        return path.read_bytes()


def web_film(**options: str) -> bytes:
    """A WebM of an encoder."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm", options=options) as target:
        stream: Any = target.add_stream("libvpx", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(6):
            target.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        target.mux(stream.encode())
    return file.getvalue()


def box(kind: bytes, *contents: bytes) -> bytes:
    """A box of an MP4."""
    content = b"".join(contents)
    return struct.pack(">I4s", len(content) + 8, kind) + content


def avif(data: bytes = b"pixels") -> bytes:
    """An AVIF by its boxes: the index is ``meta``."""
    return box(b"ftyp", b"avif\0\0\0\0avifmif1") + box(b"meta", bytes(4), box(b"iloc", b"places")) + data


def open_ended(whole: bytes) -> bytes:
    """The same, its data in a box that ends where the file does."""
    place = whole.rindex(b"mdat") - 4
    return whole[:place] + bytes(4) + whole[place + 4 :]


def iloc(version: int, start: int, length: int) -> bytes:
    """A box that says where an item of a picture lies, in the layout of this version."""
    head = struct.pack(">B3sH", version, b"", 0x4440 if version else 0x4400)
    wide = ">I" if version == 2 else ">H"
    entry = struct.pack(wide, 1) + struct.pack(wide, 7) + (bytes(2) if version else b"") + bytes(2)
    base = bytes(4) if version else b""
    return box(b"iloc", head, entry, base, struct.pack(">HII", 1, start, length))


MAKERS: Final[dict[str, Callable[[], bytes]]] = {
    "png": lambda: image("png"),
    "png of many chunks": lambda: image("png", dpi=(72, 72), compress_level=0),
    "jpeg": lambda: image("jpeg"),
    "progressive jpeg": lambda: image("jpeg", progressive=True, quality=95),
    "jpeg with restarts": lambda: image("jpeg", restart_marker_blocks=1),
    "jpeg with a thumbnail": with_thumbnail,
    "gif": lambda: image("gif"),
    "animated gif": lambda: moving("gif"),
    "webp": lambda: image("webp"),
    "avif": lambda: image("avif"),
    "animated lossless webp": lambda: image("webp", lossless=True),
    "webm": web_film,
    "mp4 as the sandbox makes it": lambda: clip(64, 64, 1, "kite"),
    "mp4 with moov last": film,
    "mp4 with moov first": lambda: film(movflags="faststart"),
    "sandbox's clip without Pillow": lambda: plain_clip(64, 36, 1, audio=True),
    "sandbox's jpeg without Pillow": lambda: plain_jpeg(64, 36),
    "sandbox's png without Pillow": lambda: plain_png(64, 36),
}
LIVE: Final[dict[str, Callable[[], bytes]]] = {
    "fragmented mp4": lambda: film(movflags="frag_keyframe+empty_moov+default_base_moof"),
    "live webm": lambda: web_film(live="1"),
    "avif by its boxes": lambda: avif(box(b"mdat", b"pixels")),
    "fragmented mp4 with an index of segments": lambda: film(
        movflags="frag_keyframe+empty_moov+default_base_moof+global_sidx"
    ),
}


@cache
def made(what: str) -> bytes:
    """A whole file."""
    return {**MAKERS, **LIVE}[what]()


@pytest.mark.parametrize("what", [*MAKERS, *LIVE])
@pytest.mark.parametrize("length_stated", [True, False])
def test_what_an_encoder_made_is_whole(what: str, length_stated: bool) -> None:
    """With a length or without: a whole file must never be refused, for it is paid."""
    assert lacks(made(what), length_stated=length_stated) is None


@pytest.mark.case(160, 161)
@pytest.mark.parametrize("what", MAKERS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_cut_is_whole(what: str, data: st.DataObject) -> None:
    """Wherever it is, and also where the transfer stated the length of the cut."""
    whole = made(what)
    cut = data.draw(st.integers(min_value=12, max_value=len(whole) - 1))
    stated = data.draw(st.booleans())
    boundary = "moov" in what and cut == whole.rindex(b"moov") - 4
    assert lacks(whole[:cut], length_stated=stated and not boundary)


@pytest.mark.case(160, 161)
@pytest.mark.parametrize("what", MAKERS)
@pytest.mark.parametrize("lost", [1, 2, 8, 11, 12])
def test_the_last_bytes_are_missed(what: str, lost: int) -> None:
    """A check for a mark near the end would not do."""
    assert lacks(made(what)[:-lost])


def test_a_thumbnails_end_is_not_the_pictures() -> None:
    """Cut exactly there, the file ends as a JPEG does."""
    whole = made("jpeg with a thumbnail")
    end = whole.index(b"\xff\xd9") + 2
    assert whole[:end].endswith(b"\xff\xd9")
    assert lacks(whole[:end])


@pytest.mark.parametrize("what", ["png", "jpeg", "progressive jpeg", "gif", "webp"])
def test_bytes_after_a_picture_are_allowed(what: str) -> None:
    """Phones put clips and depths there, servers a line end."""
    assert lacks(made(what) + b"\r\nmore \xff\xd9\xff\xe0") is None


def test_fill_bytes_before_a_marker_cost_no_time() -> None:
    """As many as anybody likes may stand there, over the border of two pieces, too."""
    fill = b"\xff" * 3_000_000
    assert lacks(b"\xff\xd8" + fill + b"\xd9") is None
    assert lacks(b"\xff\xd8" + fill)


class TestMp4:
    """An MP4 in which the boxes add up and which is not whole, and the other way round."""

    def test_an_index_without_data_is_not_whole(self) -> None:
        """Cut exactly behind ``moov``, as made for streaming."""
        whole = made("mp4 with moov first")
        assert lacks(whole[: whole.index(b"mdat") - 4])

    def test_data_that_end_with_the_file_are_counted(self) -> None:
        """A box of size 0 fills any file; the samples that ``moov`` lists do not."""
        whole = made("mp4 with moov first")
        assert lacks(open_ended(whole)) is None
        assert lacks(open_ended(whole)[:-1])

    def test_a_second_box_of_data_is_missed(self) -> None:
        """The boxes add up, and half of the samples are not there."""
        tables = box(b"stco", bytes(4), struct.pack(">III", 2, 300, 400))
        tables += box(b"stsc", bytes(4), struct.pack(">IIII", 1, 1, 2, 1))
        tables += box(b"stsz", bytes(8), struct.pack(">IIIII", 4, 5, 5, 5, 6))
        moov = box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", tables)))))
        ftyp = box(b"ftyp", b"isom")
        short = ftyp + box(b"mdat", bytes(410 - len(ftyp) - len(moov) - 16)) + moov
        assert lacks(short + box(b"free"))
        assert lacks(short + box(b"free", b"1")) is None

    @pytest.mark.parametrize("length_stated", [True, False])
    def test_boxes_without_an_index_are_whole_only_by_a_length(self, length_stated: bool) -> None:
        """Some servers serve such files; cut there, they would look the same."""
        data = box(b"ftyp", b"mp42") + box(b"mdat", b"samples")
        assert length_stated == (lacks(data, length_stated=length_stated) is None)
        assert lacks(data[:-1], length_stated=length_stated)

    @pytest.mark.parametrize(
        "data",
        [
            box(b"ftyp", b"mp42"),
            box(b"ftyp", b"mp42") + b"\0\0\0\0mdatsamples",
            box(b"ftyp", b"avif") + box(b"meta", bytes(4), box(b"iloc", b"places")),
            box(b"ftyp", b"isom") + box(b"moov", b"\0\0\0\x7ftrak") + box(b"mdat", b"samples"),
            box(b"ftyp", b"isom") + box(b"moov") + box(b"mdat", b"1") + box(b"moof"),
        ],
        ids=["brand only", "open-ended, no index", "avif without data", "broken moov", "fragment"],
    )
    def test_boxes_that_add_up_may_be_less_than_a_file(self, data: bytes) -> None:
        """Also with a length that fits."""
        assert lacks(data)

    def test_a_picture_in_its_index_needs_no_data(self) -> None:
        """Small AVIF and HEIC pictures have their pixels in ``meta``."""
        assert lacks(box(b"ftyp", b"heic") + box(b"meta", bytes(4), box(b"idat", b"pixels"))) is None

    def test_more_data_than_the_index_lists_are_allowed(self) -> None:
        """Encoders leave room; every sample is there, so nothing was cut."""
        whole = made("mp4 with moov last")
        place, end = whole.rindex(b"mdat") - 4, whole.rindex(b"moov") - 4
        assert lacks(whole[:place] + box(b"mdat", whole[place + 8 : end], bytes(999)) + whole[end:]) is None

    def test_a_file_without_an_index_is_known_as_such(self) -> None:
        """One that was cut before it looks the same, so it is fetched twice."""
        whole = made("mp4 with moov last")
        cut = whole[: whole.rindex(b"moov") - 4]
        assert [True, False] == [lacks_index(io.BytesIO(data), "mp4") for data in (cut, whole)]
        assert not lacks_index(io.BytesIO(made("avif")), "avif")
        assert not lacks_index(io.BytesIO(made("png")), "png")

    def test_segments_that_an_index_lists_are_missed(self) -> None:
        """Cut exactly between two fragments, too, where the boxes add up."""
        whole = made("fragmented mp4 with an index of segments")
        places = [found.start() - 4 for found in re.finditer(b"moof", whole)]
        assert whole.index(b"sidx") < places[0]
        assert all(lacks(whole[:place]) for place in places)

    @pytest.mark.parametrize("what", LIVE)
    def test_a_live_file_cut_inside_of_a_piece_is_not_whole(self, what: str) -> None:
        """Between two pieces nothing shows it."""
        whole = made(what)
        assert all(lacks(whole[:-lost]) for lost in range(1, 6))


class TestPictures:
    """AVIF, HEIC and WebP in which sizes are missing or lie."""

    @pytest.mark.parametrize("lost", [1, 2, 8, 100, 400])
    def test_items_that_end_with_the_file_are_counted(self, lost: int) -> None:
        """A box of size 0 fills any file; the items that ``meta`` lists do not."""
        whole = open_ended(made("avif"))
        assert lacks(whole) is None
        assert lacks(whole[:-lost])

    @pytest.mark.parametrize("version", [0, 1, 2])
    def test_items_are_found_in_every_layout(self, version: int) -> None:
        """Of ISO/IEC 14496-12, 8.11.3."""

        def picture(end: int) -> bytes:
            meta = box(b"meta", bytes(4), iloc(version, max(0, end - 6), 6))
            return box(b"ftyp", b"heic") + meta + bytes(4) + b"mdatpixels"

        size = len(picture(0))
        assert lacks(picture(size)) is None
        assert lacks(picture(size + 1))

    @pytest.mark.parametrize(
        "chunks",
        [b"", b"VP8X\x0a\0\0\0" + bytes(10), b"EXIF\3\0\0\0abc\0", b"VP8 \xff\xff\0\0pixels"],
        ids=["nothing", "header only", "texts only", "a picture that is longer"],
    )
    def test_a_webp_without_a_picture_is_not_whole(self, chunks: bytes) -> None:
        """Its header states a size that fits, as one does that was written before the picture."""
        assert lacks(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks)

    @pytest.mark.parametrize("what", ["webm", "live webm"])
    def test_a_webm_cut_behind_its_head_is_not_whole(self, what: str) -> None:
        """The elements add up there."""
        whole = made(what)
        head = whole.index(struct.pack(">I", 0x18538067))
        assert lacks(whole[:head])
        assert lacks(whole[: head + 12])


@settings(deadline=None)
@given(st.sampled_from(["png", "jpg", "gif", "webp", "webm", "mp4"]), st.binary(max_size=400))
def test_no_bytes_raise(kind: str, data: bytes) -> None:
    """Files are foreign data."""
    heads = {
        "png": b"\x89PNG\r\n\x1a\n",
        "gif": b"GIF89a",
        "webm": b"\x1aE\xdf\xa3",
        "mp4": b"\0\0\0\x08ftyp",
    }
    for content in (data, heads.get(kind, b"\xff\xd8\xff") + data):
        assert isinstance(lacks(content, kind), str | None)
