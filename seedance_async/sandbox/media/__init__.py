"""Generated result files for the sandbox's tasks: playable clips and pictures that show the prompt.

The same arguments give the same bytes, and each file has its own size and length. The drawings need the extra
``seedance-async[sandbox]`` (Pillow, PyAV); without it the files are grey.

Generating a file occupies the processor, so call these functions from a thread. On one core: a clip of 5 s
takes 0.3 s in 720p and 0.5 s in 1080p, one of 15 s in 4k takes 4 s; a picture of 1K takes 0.05 s, one of 4K
0.5 s.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from seedance_async.sandbox.media.plain import plain_clip, plain_jpeg, plain_png

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@frozen(kw_only=True)
class Drawn:
    """The content of a drawn file: a landscape with the prompt on it, and its sources."""

    width: int
    height: int
    prompt: str
    seed: int
    sources: tuple[Drawn, ...] = ()


ImageFormat = Literal["png", "jpeg"]
SAVE_OPTIONS: Final[Mapping[ImageFormat, Mapping[str, int]]] = {
    "png": {"compress_level": 1},
    "jpeg": {"quality": 88},
}


def clip(
    width: int,
    height: int,
    seconds: float,
    prompt: str,
    *,
    audio: bool = True,
    seed: int = 0,
    sources: Sequence[Drawn] = (),
) -> bytes:
    """Return an MP4 (H.264, AAC) that players can start before it is completely downloaded.

    Args:
        width: pixels; an odd number is made even, as H.264 requires.
        height: pixels, likewise.
        seconds: length, rounded to twelfths.
        prompt: written on the picture, as far as it is legible, and to the file's comment.
        audio: whether there is an audio track.
        seed: selects one of many landscapes for the same prompt.
        sources: the files it was made from; shown small at the bottom.
    """
    if not (_installed("PIL") and _installed("av")):
        return plain_clip(width + width % 2, height + height % 2, seconds, audio=audio)
    from seedance_async.sandbox.media.clip_encoder import encode_clip  # noqa: PLC0415
    from seedance_async.sandbox.media.scene import draw  # noqa: PLC0415

    text = _encodable(prompt)
    scene = draw(width + width % 2, height + height % 2, text, seed=seed, sources=sources)
    return encode_clip(scene, seconds, text, audio=audio)


def picture(
    width: int,
    height: int,
    image_format: ImageFormat,
    prompt: str,
    *,
    seed: int = 0,
    sources: Sequence[Drawn] = (),
) -> bytes:
    """Return a PNG or JPEG of exactly this size. The other arguments are those of `clip`."""
    if not _installed("PIL"):
        return plain_png(width, height) if image_format == "png" else plain_jpeg(width, height)
    from seedance_async.sandbox.media.scene import draw  # noqa: PLC0415

    file = io.BytesIO()
    scene = draw(width, height, _encodable(prompt), seed=seed, sources=sources)
    scene.save(file, image_format, **SAVE_OPTIONS[image_format])
    return file.getvalue()


def _encodable(prompt: str) -> str:
    """Replace lone surrogates, which JSON can contain and UTF-8 cannot."""
    return prompt.encode(errors="replace").decode()


def _installed(package: str) -> bool:
    return find_spec(package) is not None
