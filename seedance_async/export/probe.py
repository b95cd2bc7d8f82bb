"""Properties of a clip, read from its file with PyAV: size, frame rate, number of frames, sound.

The request does not tell them: a clip of 4 seconds may have 97 frames at 24 per second, or no sound.

Blocking.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.export.packages import needs

if TYPE_CHECKING:
    from pathlib import Path

COMMON_RATES: Final = tuple(
    Fraction(rate, divisor) for rate in (12, 15, 24, 25, 30, 48, 50, 60) for divisor in (1,)
) + tuple(Fraction(rate * 1000, 1001) for rate in (24, 30, 60))
NEAR: Final = Fraction(1, 5000)
"""Relative difference up to which a rate is taken for a common one, a fifth of that of 24 and 23.976."""


class UnreadableError(Exception):
    """A file cannot be read; the message says why."""


@frozen(kw_only=True)
class Footage:
    """Properties of a clip.

    Attributes:
        width: pixels.
        height: pixels.
        rate: frames per second.
        frames: number of frames, at least 1.
        codec: of the video, such as ``h264``.
        sound: codec of the sound; None if there is none.
    """

    width: int
    height: int
    rate: Fraction
    frames: int
    codec: str
    sound: str | None

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return float(self.frames / self.rate)


def probe(path: Path) -> Footage:
    """Return the properties of a clip.

    Raises:
        ConfigurationError: PyAV is not installed.
        UnreadableError: the file is not a readable clip.
    """
    with needs("reading clips"):
        import av  # noqa: PLC0415 - the extra may be missing
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UnreadableError("it has no picture")
            stream = container.streams.video[0]
            rate = nearest_rate(Fraction(stream.average_rate or stream.guessed_rate or 0))
            frames = stream.frames or _frames(container.duration, rate)
            sound = container.streams.audio[0].codec_context.name if container.streams.audio else None
            if not rate or not frames:
                raise UnreadableError("it does not say how long it is")
            return Footage(
                width=stream.width,
                height=stream.height,
                rate=rate,
                frames=frames,
                codec=stream.codec_context.name,
                sound=sound,
            )
    except (OSError, ValueError) as problem:  # PyAV's own errors are one of both
        raise UnreadableError(str(getattr(problem, "strerror", None) or problem)) from problem


def nearest_rate(rate: Fraction) -> Fraction:
    """Return the common rate next to a file's average rate, which may be inexact because of rounding."""
    near = (common for common in COMMON_RATES if abs(common - rate) <= common * NEAR)
    return next(near, rate.limit_denominator(100_000))


def _frames(duration: int | None, rate: Fraction) -> int:
    """Return the number of frames from the length in microseconds, for a container without a count."""
    return round(Fraction(duration or 0, 1_000_000) * rate)
