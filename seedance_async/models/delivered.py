"""The measured properties of a saved file. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from attrs import frozen

from seedance_async.convertible import Convertible

TOO_MUCH: Final = 2**31
"""A number of pixels, seconds or frames per second that only a hostile file states."""


@frozen(kw_only=True)
class Delivered(Convertible):
    """The measured properties of one saved file; None for what cannot be read or does not apply.

    Attributes:
        width: width in pixels, as displayed.
        height: height in pixels, as displayed.
        seconds: length of a clip.
        fps: frames per second of a clip, on average.
        sound: whether a clip has an audio track, also a silent one; None for a picture.
    """

    width: int
    height: int
    seconds: float | None = None
    fps: float | None = None
    sound: bool | None = None

    @property
    def is_clip(self) -> bool:
        """Whether it is a clip, not a picture."""
        return self.sound is not None

    @property
    def size(self) -> str:
        """Width and height as text, such as ``720x1280``."""
        return f"{self.width}x{self.height}"

    @property
    def words(self) -> str:
        """All properties as text, such as ``720x1280, 5.04 s, 24 fps, sound``."""
        words = [self.size]
        if self.seconds is not None:
            words.append(f"{self.seconds:.4g} s")
        if self.fps is not None:
            words.append(f"{self.fps:.4g} fps")
        if self.is_clip:
            words.append("sound" if self.sound else "no sound")
        return ", ".join(words)

    @classmethod
    def read(cls, document: object) -> Self:
        """The properties in a document made by ``to_dict``.

        Raises:
            ValueError: the document is something else.
        """
        if not isinstance(document, Mapping):
            raise ValueError("a measure must be an object")  # noqa: TRY004 - foreign data
        width, height = (_whole(document.get(name)) for name in ("width", "height"))
        sound = document.get("sound")
        if width is None or height is None or not isinstance(sound, bool | None):
            raise ValueError("a measure must have a size")
        seconds, fps = (_number(document.get(name)) for name in ("seconds", "fps"))
        return cls(width=width, height=height, seconds=seconds, fps=fps, sound=sound)


def _whole(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < TOO_MUCH:
        return value
    return None


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < TOO_MUCH:
        return value
    return None
