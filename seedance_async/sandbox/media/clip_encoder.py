"""The encoder of clips: it makes an MP4 with H.264 and AAC from a drawn scene.

Only a strip at the bottom moves: a progress bar and a timecode. The scene is converted to the encoder's pixel
format once; a frame costs the drawing of its strip and the encoding of a picture that hardly changed.
"""

from __future__ import annotations

import math
from array import array
from fractions import Fraction
from functools import cache
from heapq import merge
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from PIL import Image, ImageDraw

from seedance_async.sandbox.media.scene import WHITE, font_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

FRAMES_PER_SECOND: Final = 12
SAMPLES_PER_SECOND: Final = 48_000
BITS_PER_SECOND: Final = 32_000  # of sound
SAMPLES_PER_FRAME: Final = 1_024  # of AAC
CHORD: Final = (220, 277, 330)  # Hz; whole numbers, so that one second repeats without a break
LOUDNESS: Final = 0.012  # of full scale, for each tone: quiet

# With the index in front, a player can start at once; bitexact omits data that changes from run to run.
CONTAINER: Final = {"movflags": "+faststart", "fflags": "+bitexact"}
# One thread, so that the bytes do not depend on the number of cores. Players assume BT.709 for HD.
X264: Final = {
    "preset": "ultrafast",
    "crf": "26",
    "x264-params": "threads=1:keyint=60:colorprim=bt709:transfer=bt709:colormatrix=bt709",
}


def encode_clip(scene: Image.Image, seconds: float, prompt: str, *, audio: bool) -> bytes:
    """Return an MP4 of the scene, with its size and the given length.

    Args:
        scene: RGB; both sides even, because the encoder shares a colour between four pixels.
        seconds: length, rounded to a whole number of frames.
        prompt: written into the file's comment.
        audio: whether there is a sound track, a quiet chord.
    """
    with TemporaryDirectory() as directory:  # the muxer reads the file again to move its index to the front
        file = Path(directory, "clip.mp4")
        with av.open(file, "w", options=CONTAINER) as container:
            container.metadata["comment"] = prompt
            for packet in merge(*_tracks(container, scene, seconds, audio=audio), key=_timestamp):
                container.mux(packet)
        return file.read_bytes()


def _tracks(
    container: OutputContainer, scene: Image.Image, seconds: float, *, audio: bool
) -> Iterator[Iterator[Packet[Stream]]]:
    frames = max(1, round(seconds * FRAMES_PER_SECOND))
    yield _pictures(_video(container, scene.size), scene, frames)
    if audio:
        sound = container.add_stream("aac", rate=SAMPLES_PER_SECOND, layout="mono", bit_rate=BITS_PER_SECOND)
        yield _sounds(sound, frames * SAMPLES_PER_SECOND // FRAMES_PER_SECOND)


def _video(container: OutputContainer, size: tuple[int, int]) -> VideoStream:
    stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=X264)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    return stream


def _timestamp(packet: Packet[Stream]) -> Fraction:
    return (packet.dts or 0) * packet.time_base


def _pictures(stream: VideoStream, scene: Image.Image, frames: int) -> Iterator[Packet[Stream]]:
    strip = scene.crop(_strip(scene.size)).point([level // 2 for level in range(256)] * 3)
    canvas = _to_encode(scene, VideoReformatter())
    converter = VideoReformatter()  # one for all strips: setting it up costs more than a strip
    for number in range(frames):
        progress = _draw_progress(strip, (number + 1) / frames, number / FRAMES_PER_SECOND)
        _paste_rows(canvas, _to_encode(progress, converter))
        canvas.pts = number
        canvas.time_base = Fraction(1, FRAMES_PER_SECOND)
        yield from stream.encode(canvas)
    yield from stream.encode(None)


def _strip(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The moving part: the lowest rows, an even number of them."""
    width, height = size
    return 0, height - max(2, 2 * round(0.04 * min(size))), width, height


def _draw_progress(strip: Image.Image, share: float, instant: float) -> Image.Image:
    """Draw the progress bar, filled to ``share``, with the timecode at its right."""
    image = strip.copy()
    pen = ImageDraw.Draw(image)
    width, height = image.size
    left, right, middle, thin = height, width - 4 * height, height // 2, max(1, height // 12)
    pen.rectangle((left, middle - thin, right, middle + thin), fill=(120, 120, 120))
    knob = left + share * (right - left)
    pen.rectangle((left, middle - thin, knob, middle + thin), fill=WHITE)
    pen.circle((knob, middle), 2.5 * thin, fill=WHITE)
    code = f"{int(instant) // 60:02}:{instant % 60:04.1f}"
    pen.text((right + height, middle), code, fill=WHITE, font=font_for(code, size=0.5 * height), anchor="lm")
    return image


def _to_encode(image: Image.Image, converter: VideoReformatter) -> VideoFrame:
    frame = VideoFrame.from_bytes(image.convert("RGBA").tobytes(), image.width, image.height)
    return converter.reformat(frame, format="yuv420p", dst_colorspace=Colorspace.ITU709)


def _paste_rows(canvas: VideoFrame, strip: VideoFrame) -> None:
    """Overwrite the lowest rows of the canvas, in each of its three planes."""
    for target, source in zip(canvas.planes, strip.planes, strict=True):
        rows, pixels = memoryview(target), memoryview(source)
        below = target.height - source.height
        for row in range(source.height):
            to, of = (below + row) * target.line_size, row * source.line_size
            rows[to : to + target.width] = pixels[of : of + source.width]


def _sounds(stream: AudioStream, samples: int) -> Iterator[Packet[Stream]]:
    levels = _second_of_sound() * 2  # two seconds, as a frame may begin near the end of the first
    for start in range(0, samples, SAMPLES_PER_FRAME):
        length = min(SAMPLES_PER_FRAME, samples - start)
        offset = start % SAMPLES_PER_SECOND
        frame = AudioFrame("fltp", "mono", length)
        frame.planes[0].update(levels[offset : offset + length].tobytes())
        frame.sample_rate = SAMPLES_PER_SECOND
        frame.pts = start
        yield from stream.encode(frame)
    yield from stream.encode(None)


@cache
def _second_of_sound() -> array[float]:
    steps = [math.tau * hertz / SAMPLES_PER_SECOND for hertz in CHORD]
    return array(
        "f", (LOUDNESS * sum(math.sin(step * n) for step in steps) for n in range(SAMPLES_PER_SECOND))
    )
