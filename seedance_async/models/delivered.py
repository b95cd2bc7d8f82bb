"""What a file turned out to be, measured after it was saved. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from attrs import frozen

from seedance_async.convertible import Convertible

TOO_MUCH: Final = 2**31
"""Pixels of a side, seconds, or frames a second, that only a hostile file states."""


@frozen(kw_only=True)
class Delivered(Convertible):
    """The measure of one saved file; what cannot be read, or a picture does not have, is None.

    Attributes:
        width: in pixels, as it is shown.
        height: in pixels, as it is shown.
        seconds: length of a clip.
        fps: frames a second of a clip, on average.
        sound: whether a clip has a sound track, silent or not.
    """

    width: int
    height: int
    seconds: float | None = None
    fps: float | None = None
    sound: bool | None = None

    @property
    def is_clip(self) -> bool:
        """Whether it is a clip, and no picture."""
        return self.sound is not None

    @property
    def size(self) -> str:
        """Width and height, such as ``720x1280``."""
        return f"{self.width}x{self.height}"

    @property
    def words(self) -> str:
        """All that was measured, such as ``720x1280, 5.04 s, 24 fps, sound``."""
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
        """One that ``to_dict`` has made a document of.

        Raises:
            ValueError: it is something else.
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
