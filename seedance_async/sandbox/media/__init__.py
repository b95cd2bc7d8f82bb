"""Result files for the sandbox's tasks: clips that play and pictures that open, with the prompt on them.

The same arguments give the same bytes. With the extra ``seedance-async[sandbox]`` (Pillow, PyAV) files are
made to measure; without it, small ones baked beforehand stand in, of the right kind but of one size and
length.

Making a file occupies the processor, so call these from a thread. On one core: a clip of 5 s takes 0.3 s in
720p and 0.5 s in 1080p, one of 15 s in 4k takes 4 s; a picture of 1K takes 0.05 s, one of 4K 0.5 s.
"""

from __future__ import annotations

import io
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

LABEL: Final = "seedance sandbox"
ImageFormat = Literal["png", "jpeg"]
HOW_TO_SAVE: Final[Mapping[ImageFormat, Mapping[str, int]]] = {
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
    label: str = LABEL,
    seed: int = 0,
) -> bytes:
    """Return an MP4 (H.264, AAC) that starts to play before it has been read to the end.

    Args:
        width: pixels; an odd number is made even, as H.264 asks.
        height: likewise.
        seconds: length, kept to twelfths.
        prompt: written on the picture, as much of it as can be read there, and into the file's comment.
        audio: whether there is a sound track.
        label: written above the prompt.
        seed: another landscape for the same prompt.
    """
    if not (_installed("PIL") and _installed("av")):
        return _baked("clip.mp4")
    from seedance_async.sandbox.media.film import film  # noqa: PLC0415
    from seedance_async.sandbox.media.scene import draw  # noqa: PLC0415

    text = _writable(prompt)
    scene = draw(width + width % 2, height + height % 2, text, label=label, seed=seed)
    return film(scene, seconds, text, audio=audio)


def picture(
    width: int, height: int, image_format: ImageFormat, prompt: str, *, label: str = LABEL, seed: int = 0
) -> bytes:
    """Return a PNG or JPEG of exactly this size. The other arguments are those of `clip`."""
    if not _installed("PIL"):
        return _baked(f"picture.{image_format}")
    from seedance_async.sandbox.media.scene import draw  # noqa: PLC0415

    file = io.BytesIO()
    scene = draw(width, height, _writable(prompt), label=label, seed=seed)
    scene.save(file, image_format, **HOW_TO_SAVE[image_format])
    return file.getvalue()


def _writable(prompt: str) -> str:
    """Replace halves of surrogate pairs, which JSON can carry and no file can."""
    return prompt.encode(errors="replace").decode()


def _installed(package: str) -> bool:
    return find_spec(package) is not None


def _baked(name: str) -> bytes:
    return resources.files(__name__).joinpath("baked", name).read_bytes()
