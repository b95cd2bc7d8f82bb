"""Rules that compare a prompt with the fields of its request (P06-P09).

Length, aspect ratio and sound are set by fields only. Words in the prompt that contradict them have no effect
or a bad one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from seedance_async.models import NanoBananaPro
from seedance_async.prompts import words
from seedance_async.prompts.beats import beats
from seedance_async.prompts.findings import Hit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.models import Request, Seedance2Video
    from seedance_async.prompts.subject import Subject

_RATIO: Final = re.compile(
    r"(?<![\d:.])(?:1:1|21:9|4:3|3:4|16:9|9:16|5:4|4:5|3:2|2:3|2:1|1:2|3:1|1:3|9:21)(?![\d:])"
)
_CLOCK_AROUND: Final = re.compile(
    r"\b(?:at|until|since|by|score|won|wins|led|reads?|shows?)\s+(?:is\s+)?$", re.IGNORECASE
)
_CLOCK_AFTER: Final = re.compile(r"\s?(?:[ap]\.?m\b|o['’]clock)", re.IGNORECASE)
_SHAPE: Final = re.compile(
    r"\b(?P<shape>vertical|portrait|horizontal|landscape|widescreen|square)[ -]"
    r"(?:video|clip|format|frame|framing|orientation|aspect|screen|composition|mode)\b",
    re.IGNORECASE,
)
_HEIGHT: Final = re.compile(r"(?<![\w.])(?:480|540|720|1080|1440|2160|4320)p\b", re.IGNORECASE)
_LENGTH: Final = re.compile(
    r"(?<![\d.–-])(?P<seconds>\d{1,3})[ -]?(?:seconds?|secs?|s)[ -](?:long\s+)?"
    r"(?P<what>video|clip|film|short|ad|advert|commercial|spot|reel|trailer)\b"
    r"|\b(?:duration|total length|length|total duration)\s*(?:[:=]|of|is)\s*"
    r"(?P<seconds2>\d{1,3})[ -]?(?:seconds?|secs?|s)\b",
    re.IGNORECASE,
)
_BRACED_SPEECH: Final = re.compile(r"\{(?![A-Za-z_][A-Za-z0-9_]*\})[^{}\n]*[^\W\d_][^{}\n]*\}")


def beats_too_late(subject: Subject) -> Iterator[Hit]:
    """P06: a beat that ends after the clip."""
    clip = subject.clip
    if clip is None:
        return
    late = [
        beat
        for beat in beats(subject.text)
        if (beat.end is not None and beat.end > clip.duration) or beat.start >= clip.duration
    ]
    for beat in late:
        until = f"ends at {beat.end:g} s" if beat.end is not None else f"begins at {beat.start:g} s"
        yield Hit(*beat.place, f"{until}, but the clip at {clip.duration} s: set duration, or move the beat")


def shape_in_words(subject: Subject) -> Iterator[Hit]:
    """P07: an aspect ratio, size or length in words that contradicts the field."""
    if subject.request is None:
        return
    yield from _ratios(subject, _ratio_of(subject.request))
    for found in _HEIGHT.finditer(subject.text):
        resolution = subject.request.resolution
        if subject.clip is not None and not resolution.startswith(found[0].lower()):
            yield Hit(found.start(), found.end(), f"contradicts the field: resolution is {resolution!r}")
    if subject.clip is not None:
        yield from _lengths(subject, subject.clip)


def _ratio_of(request: Request) -> str:
    return request.image_size if isinstance(request, NanoBananaPro) else request.aspect_ratio


def _ratios(subject: Subject, ratio: str) -> Iterator[Hit]:
    if ratio in {"adaptive", "auto"}:
        return
    name = "image_size" if isinstance(subject.request, NanoBananaPro) else "aspect_ratio"
    said = [found for found in _RATIO.finditer(subject.text) if _is_shape(subject, found)]
    if ratio not in {found[0] for found in said}:  # otherwise it is named among others, such as a safe area
        for found in said:
            yield Hit(found.start(), found.end(), f"contradicts the field: {name} is {ratio!r}")
    width, height = map(int, ratio.split(":"))
    for found in _SHAPE.finditer(subject.text) if subject.is_english else ():
        wanted = {"vertical": -1, "portrait": -1, "square": 0}.get(found["shape"].lower(), 1)
        if wanted != (width > height) - (width < height) and not subject.is_negated(found.start()):
            yield Hit(found.start(), found.end(), f"contradicts the field: {name} is {ratio!r}")


def _is_shape(subject: Subject, found: re.Match[str]) -> bool:
    """Whether a ratio is an aspect ratio, not a time of day, a score or a part of a quotation."""
    text = subject.text
    is_time = _CLOCK_AROUND.search(text[: found.start()]) or _CLOCK_AFTER.match(text, found.end())
    return not is_time and not subject.is_quoted(found.start())


def _lengths(subject: Subject, clip: Seedance2Video) -> Iterator[Hit]:
    if not subject.is_english:
        return
    for found in _LENGTH.finditer(subject.text):
        seconds = int(found["seconds"] or found["seconds2"])
        if seconds != clip.duration:
            yield Hit(found.start(), found.end(), f"contradicts the field: duration is {clip.duration} s")


def moves_of_a_fixed_lens(subject: Subject) -> Iterator[Hit]:
    """P08: a move of the camera, with a fixed lens."""
    if subject.clip is None or not subject.clip.fixed_lens or not subject.is_english:
        return
    for start, end, _ in moves(subject):
        yield Hit(start, end, "moves the camera, but fixed_lens is true: set it to false, or remove the move")


def moves(subject: Subject) -> list[tuple[int, int, str]]:
    """Return the camera's moves in a prompt, with places and kinds, without those negated or quoted."""
    found = [
        (hit.start(), hit.end(), kind)
        for kind, pattern in words.CAMERA_MOVES.items()
        for hit in pattern.finditer(subject.text)
        if not subject.is_negated(hit.start()) and not subject.is_quoted(hit.start())
    ]
    return sorted(found)


def sound_without_audio(subject: Subject) -> Iterator[Hit]:
    """P09: speech or music, without audio."""
    if subject.clip is None or subject.clip.generate_audio:
        return
    reason = "needs sound, but generate_audio is false: set it to true, or remove the words"
    for found in _BRACED_SPEECH.finditer(subject.text):
        yield Hit(found.start(), found.end(), reason)
    if not subject.is_english:
        return
    for pattern in (words.SPEECH, words.SOUND):
        for found in pattern.finditer(subject.text):
            is_written = pattern is words.SPEECH and words.WRITING.search(_nearest(subject, found.start()))
            if (
                not is_written
                and not subject.is_negated(found.start())
                and not subject.is_quoted(found.start())
            ):
                yield Hit(found.start(), found.end(), reason)


def _nearest(subject: Subject, place: int) -> str:
    """Return the last few words before a place, in its part of the clause: the speaker."""
    return " ".join(subject.before(place).split(",")[-1].split()[-5:])
