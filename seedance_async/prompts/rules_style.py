"""Rules about people, looks and words: praise, places, duplicates, looks, text, other jobs (P15-P20)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from seedance_async.prompts import words
from seedance_async.prompts.findings import Hit
from seedance_async.prompts.rules_media import EDIT_OR_EXTENSION
from seedance_async.prompts.rules_order import headings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.prompts.subject import Subject

MOST_PRAISE: Final = 2
PRAISE_WITHIN: Final = 12
"""Span in words within which more than ``MOST_PRAISE`` words of praise are reported."""

_TOKEN: Final = re.compile(r"[\w'’-]+")
_NO_TEXT: Final = re.compile(
    r"\b(?:no|without|zero)\s+(?:any\s+)?(?:on-?screen\s+|readable\s+|visible\s+|written\s+)?"
    r"(?P<what>text|words|letters|lettering|writing|typography)\b"
    r"(?!\s+(?:messages?|other than|except|but|beside))",
    re.IGNORECASE,
)
_NO_LOGOS: Final = re.compile(r"\b(?:no|without)\s+(?:visible\s+)?(?P<what>logos?)\b", re.IGNORECASE)
_LOGO_WANTED: Final = re.compile(
    r"\b(?:the|its|their|a|an)\s+(?:[\w'’-]+\s+){0,2}?logo\b(?!s?\s+(?:free|less))", re.IGNORECASE
)
_TEXT_WANTED: Final = re.compile(
    r"\b(?:reads?|reading|says?|saying|labell?ed|titled|spell(?:s|ing)|written|lettered|text|captions?|titles?"
    r"|words?)\b"
    r"[^.;!?\n\"“]{0,20}[\"“'‘]|\breads?\s+(?:[A-Z]{2,})",
)
_OTHER_JOB: Final = re.compile(
    r"\b(?:as|like|from|in|of)\s+(?:the\s+)?"
    r"(?:(?:previous|earlier|prior)\s+(?:prompt|generation|request|video|clip|image|picture)"
    r"|last\s+(?:prompt|generation|clip))\b",
    re.IGNORECASE,
)
_AS_BEFORE: Final = re.compile(
    r"\b(?:the\s+)?same\s+(?:[\w-]+\s+){0,3}?(?:as\s+(?:before|previously|earlier|last time))\b",
    re.IGNORECASE,
)
_FULL_STOPS: Final = re.compile(r"[.!?;\n]\s*\S")


def praise(subject: Subject) -> Iterator[Hit]:
    """P15: three words of praise close together."""
    if not subject.is_english:
        return
    own = [found.span() for found in words.GUIDES_OWN.finditer(subject.text)]
    found = [
        each.span()
        for each in words.PRAISE.finditer(subject.text)
        if not any(start <= each.start() < end for start, end in own)
    ]
    starts = [token.start() for token in _TOKEN.finditer(subject.text)]
    places = [sum(start <= at for start in starts) for at, _ in found]
    for first, last in zip(range(len(found)), range(MOST_PRAISE, len(found)), strict=False):
        if places[last] - places[first] < PRAISE_WITHIN:
            reason = "is praise and describes nothing visible: name light, lens, material or weather instead"
            yield Hit(found[first][0], found[last][1], reason)
            return


def people_without_places(subject: Subject) -> Iterator[Hit]:
    """P16: several people without places."""
    found = _people(subject)
    if found is not None and not words.PLACED.search(subject.text):
        yield Hit(*found.span(), "have no places: say who is left, right, in front or behind")


def possible_duplicates(subject: Subject) -> Iterator[Hit]:
    """P17: several people alike, without a word that prevents duplicates."""
    found = _people(subject)
    if found is not None and not words.AGAINST_DOUBLES.search(subject.text):
        reason = 'may be duplicated: write "exactly two, no extra figure", or describe each one differently'
        yield Hit(*found.span(), reason)


def _people(subject: Subject) -> re.Match[str] | None:
    """Return the match of several people; None if there are none, or if there is a crowd."""
    if not subject.is_english or words.CROWD.search(subject.text):
        return None
    return words.PEOPLE.search(subject.text)


def look_named_once(subject: Subject) -> Iterator[Hit]:
    """P18: a drawn look that is named only once."""
    if not subject.is_english:
        return
    found = [
        each
        for each in words.DRAWN.finditer(subject.text)
        if not words.DRAWN_THINGS.match(subject.text, each.end()) and not subject.is_negated(each.start())
    ]
    if len(found) == 1 and not words.HELD.search(subject.text):
        reason = (
            'is named only once: write "2D cel animation throughout, flat colours, ink outlines", for example'
        )
        yield Hit(*found[0].span(), reason)


def text_forbidden_and_wanted(subject: Subject) -> Iterator[Hit]:
    """P19: text or a logo that is forbidden, and wanted elsewhere in the prompt."""
    if not subject.is_english:
        return
    if is_text_wanted(subject):
        for found in _NO_TEXT.finditer(subject.text):
            reason = "forbids words that the prompt wants elsewhere"
            yield Hit(*found.span("what"), reason, fix=f"other {found['what']}")
    if is_logo_wanted(subject):
        for found in _NO_LOGOS.finditer(subject.text):
            reason = "are forbidden, but the prompt wants one elsewhere"
            yield Hit(*found.span("what"), reason, fix=f"other {found['what']}")


def is_text_wanted(subject: Subject) -> bool:
    """Whether the prompt wants written words to be read, as opposed to speech."""
    return any(
        words.WRITING.search(subject.before(found.end()))
        for found in _TEXT_WANTED.finditer(subject.text)
        if not subject.is_negated(found.start())
    )


def is_logo_wanted(subject: Subject) -> bool:
    """Whether the prompt wants a logo to be seen."""
    return any(not subject.is_negated(found.start()) for found in _LOGO_WANTED.finditer(subject.text))


def another_job(subject: Subject) -> Iterator[Hit]:
    """P20: words about another job, which the model does not know.

    A reference to an earlier shot or sentence of the same prompt is correct. If media are sent, they may be
    what is meant, so then nothing is reported.
    """
    if not subject.is_english or subject.media:
        return
    reason = "refers to another job, which the model does not know: describe it in full, or link to it"
    extends = [found.span() for found in EDIT_OR_EXTENSION.finditer(subject.text)]
    for found in _OTHER_JOB.finditer(subject.text):
        is_extension = any(start <= found.start() < end for start, end in extends)  # P05 reports those
        if not subject.is_quoted(found.start()) and not is_extension:
            yield Hit(*found.span(), reason)
    if len(headings(subject.text)) < 2:
        for found in _AS_BEFORE.finditer(subject.text):
            if not _FULL_STOPS.search(subject.text[: found.start()]):
                yield Hit(*found.span(), reason)
