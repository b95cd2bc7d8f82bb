"""Rules about the order of events: shot numbers, exact times, many moves at once (P12-P14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from seedance_async.prompts import words
from seedance_async.prompts.beats import beats
from seedance_async.prompts.findings import Hit
from seedance_async.prompts.rules_fields import moves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seedance_async.prompts.subject import Subject

FEWEST_UNNUMBERED: Final = 3
FEWEST_KINDS: Final = 3

_HEADING: Final = re.compile(
    r"(?:\A|(?<=[\n.;!?。；！？\]】)]))[ \t]{0,8}[-*•#\[【(（]{0,6}[ \t]{0,4}"
    r"(?P<word>shot|scene|镜头|分镜|镜|scène|plan|szene|einstellung|escena|plano|toma|cena|кадр|сцена|장면|カット|ショット)"
    r"[ \t]{0,4}[#№]?[ \t]{0,4}(?P<number>\d{1,2})(?P<until>[ \t]?[-–—][ \t]?\d{1,2}(?=[ \t]?[:：]))?"
    r"(?=[ \t]{0,4}(?:[:：.,，、|\])】）–—(（*-]|$))",
    re.IGNORECASE | re.MULTILINE,
)
_UNNUMBERED: Final = re.compile(
    r"^[ \t]{0,8}[-*•#\[]{0,6}[ \t]{0,4}(?:shot|scene)[ \t]*[:：]", re.IGNORECASE | re.MULTILINE
)
_SAID: Final = re.compile(r"\b(?:in|of|from|as in|to|like)\s+(?:shot|scene)\s+\d", re.IGNORECASE)


def headings(text: str) -> list[re.Match[str]]:
    """Return the numbered headings of shots; of several kinds of headings, those of the first kind."""
    found = list(_HEADING.finditer(text))
    return [each for each in found if each["word"].lower() == found[0]["word"].lower()]


def misnumbered(subject: Subject) -> Iterator[Hit]:
    """P12: shot numbers that skip or repeat, and several scenes without numbers."""
    found = headings(subject.text)
    if not found and subject.is_english:
        blank = list(_UNNUMBERED.finditer(subject.text))
        if len(blank) >= FEWEST_UNNUMBERED:
            reason = f"occurs {len(blank)} times without a number: number the shots, Shot 1, Shot 2, …"
            yield Hit(blank[0].start(), blank[0].end(), reason)
    numbers = [int(each["number"]) for each in found]
    wrong = next((at for at in range(1, len(numbers)) if not _follows(numbers[at - 1], numbers[at])), None)
    if wrong is None or any(each["until"] for each in found):
        return
    reason = (
        f"is shot {numbers[wrong]} after shot {numbers[wrong - 1]}: number the shots in order, without gaps"
    )
    start, end = found[wrong].start("number"), found[-1].end("number")
    fix = None if _SAID.search(subject.text) else _renumbered(subject.text, found[wrong:], numbers[wrong - 1])
    yield Hit(start, end, reason, fix=fix)


def _follows(before: int, number: int) -> bool:
    """Whether a number may follow another: as the next one, or as the first of a new list."""
    return number == before + 1 or (number == 1 and before > 1)


def _renumbered(text: str, found: Sequence[re.Match[str]], before: int) -> str:
    """Return the text from the first of these numbers to the last, renumbered from the one before."""
    parts = list[str]()
    at = found[0].start("number")
    for number, each in enumerate(found, start=before + 1):
        parts += [text[at : each.start("number")], str(number)]
        at = each.end("number")
    return "".join(parts)


def needless_times(subject: Subject) -> Iterator[Hit]:
    """P13: exact times where the order is enough."""
    found = beats(subject.text)
    if len(found) < 2 or (subject.is_english and words.TIMED.search(subject.text)):
        return
    reason = (
        "gives a time: the guide prefers the order, Shot 1, Shot 2, unless something is timed to the second"
    )
    yield Hit(*found[0].place, reason)


def many_moves(subject: Subject) -> Iterator[Hit]:
    """P14: three or more kinds of moves in one sentence, without an order."""
    if not subject.is_english:
        return
    found = moves(subject)
    for start, sentence in subject.sentences():
        inside = [each for each in found if start <= each[0] < start + len(sentence)]
        kinds = _kinds(inside)
        if len(kinds) >= FEWEST_KINDS and not words.IN_ORDER.search(sentence):
            reason = (
                f"has {len(kinds)} kinds of camera moves in one sentence: one move for each shot works better"
            )
            yield Hit(inside[0][0], inside[-1][1], reason)


def _kinds(found: Sequence[tuple[int, int, str]]) -> set[str]:
    """Return the kinds of moves; of overlapping ones, such as a whip pan and a pan, the first counts."""
    kinds = set[str]()
    end = -1
    for start, stop, kind in sorted(found, key=lambda each: (each[0], -each[1])):
        if start >= end:
            kinds.add(kind)
        end = max(end, stop)
    return kinds
