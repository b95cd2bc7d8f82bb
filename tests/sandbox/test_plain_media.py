"""Files of a sandbox without Pillow and PyAV: they play, and are what was asked for."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import pytest
from PIL import Image

from seedance_async.sandbox import media

if TYPE_CHECKING:
    from seedance_async.sandbox.media import ImageFormat


@pytest.fixture(autouse=True)
def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an environment where neither is installed."""
    monkeypatch.setattr(media, "_installed", lambda _: False)


@pytest.mark.parametrize(
    ("size", "seconds", "audio"),
    [((320, 180), 4, True), ((834, 1112), 5, False), ((63, 35), 0.01, True), ((16, 16), 15, True)],
)
def test_a_clip_plays_in_its_size_and_length(size: tuple[int, int], seconds: float, audio: bool) -> None:
    """Every frame can be decoded and is grey; the sound is silence of the same length."""
    content = media.clip(*size, seconds, "A boat", audio=audio)
    with av.open(io.BytesIO(content), "r") as container:
        frames = [(frame.width, frame.height, bytes(frame.planes[0])) for frame in container.decode(video=0)]
        sounds = [stream.codec_context.name for stream in container.streams.audio]
    with av.open(io.BytesIO(content), "r") as container:
        samples = sum(frame.samples for frame in container.decode(audio=0)) if sounds else 0

    assert {(size[0] + size[0] % 2, size[1] + size[1] % 2)} == {frame[:2] for frame in frames}
    assert max(1, round(12 * seconds)) == len(frames)
    assert all(set(brightness[: size[0]]) == {128} for *_, brightness in frames)
    assert (["aac"] if audio else []) == sounds
    assert samples / 48_000 == pytest.approx(len(frames) / 12 if audio else 0, abs=0.1)


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
@pytest.mark.parametrize("size", [(1024, 1024), (33, 17), (1, 1), (1376, 768)])
def test_a_picture_has_its_size(size: tuple[int, int], image_format: ImageFormat) -> None:
    """And can be decoded."""
    image = Image.open(io.BytesIO(media.picture(*size, image_format, "A fox")))
    image.load()

    assert (size, image_format.upper(), (128, 128)) == (image.size, image.format, image.getextrema())
