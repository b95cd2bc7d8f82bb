"""Times in a prompt: when its beats begin and end, in seconds. Pure.

A time counts where a beat begins: at the start of the text, a line or a sentence, or in brackets. Times of
day, ages and speeds stand elsewhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST: Final = 600
"""Seconds beyond which nobody means a time within a clip."""

LOOKED_BACK: Final = 24
"""Characters before a time that decide whether a beat begins there."""

_OPENING: Final = re.compile(
    r"(?:\A|[\n.;:!?\[(|*•【（。；：，、])[ \t]*(?:[-*•#]+[ \t]*)?(?:(?:from|at|between)[ \t]+)?[\[(【（]?\Z",
    re.IGNORECASE,
)
_UNIT: Final = r"[ \t]?(?:seconds?|secs?|s|秒|сек|segundos?|secondes?|sekunden)"
_DASH: Final = r"[ \t]?(?:-|–|—|~|～|to|and|至|到)[ \t]?"
_NUMBER: Final = r"\d{1,3}(?:\.\d{1,3})?"
_CLOCK: Final = r"0?0:\d\d"
_CLOSING: Final = r"[ \t]*(?:[\])】）]|[:：,，|–—-]|\*\*|\n|\Z)"

_RANGE: Final = re.compile(
    rf"(?P<start>{_NUMBER})(?:{_UNIT})?{_DASH}(?P<end>{_NUMBER}){_UNIT}{_CLOSING}", re.IGNORECASE
)
_CLOCKS: Final = re.compile(rf"(?P<start>{_CLOCK}){_DASH}(?P<end>{_CLOCK})(?!:)", re.IGNORECASE)
_POINT: Final = re.compile(rf"(?P<start>{_NUMBER}){_UNIT}[ \t]*[\])】）]?[ \t]*[:：]", re.IGNORECASE)
_TIME: Final = re.compile(r"\d(?<![\d.:]\d)")
"""Where a number begins; the patterns are tried there only."""


@frozen
class Beat:
    """A beat of a prompt.

    Attributes:
        place: where its time stands in the prompt.
        start: in seconds.
        end: in seconds; None if only its start is given.
    """

    place: tuple[int, int]
    start: float
    end: float | None


def beats(text: str) -> list[Beat]:
    """The timed beats of a prompt, in its order."""
    return list(_found(text))


def _found(text: str) -> Iterator[Beat]:
    end = 0
    for digit in _TIME.finditer(text):
        place = digit.start()
        if place < end:
            continue  # inside the one before
        found = _RANGE.match(text, place) or _CLOCKS.match(text, place) or _POINT.match(text, place)
        if found is not None and (beat := _beat(found)) and _opens(text, place):
            end = found.end()
            yield beat


def _beat(found: re.Match[str]) -> Beat | None:
    """The beat of a time; None if nobody means one within a clip."""
    until = found.groupdict().get("end")
    start, end = _seconds(found["start"]), None if until is None else _seconds(until)
    if start > LONGEST or (end is not None and not start < end <= LONGEST):
        return None
    return Beat((found.start("start"), found.end("start" if until is None else "end")), start, end)


def _opens(text: str, place: int) -> bool:
    """Whether a beat may begin at a place."""
    start = max(0, place - LOOKED_BACK)
    return bool(_OPENING.search(("…" if start else "") + text[start:place]))


def _seconds(text: str) -> float:
    minutes, mark, rest = text.partition(":")
    return int(minutes) * 60 + int(rest) if mark else float(text)
