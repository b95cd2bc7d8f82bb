"""What the rules look at: the text of a prompt, and the request that it is sent with, if that is known. Pure.

The helpers here answer what several rules ask: which language it is, what is a quotation, what is denied.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from attrs import frozen

from seedance_async.models import LocalFile, Request, Seedance2Video, media
from seedance_async.models.links import parse_link
from seedance_async.prompts import words

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIP_SUFFIXES: Final = (".mp4", ".mov", ".webm", ".mkv", ".m4v", ".avi")
PICTURE_SUFFIXES: Final = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".gif",
    ".bmp",
    ".avif",
    ".heic",
    ".heif",
    ".tiff",
)
FEWEST_WORDS: Final = 4
"""Below it a text is too short for its language to be recognised by its small words."""

MOST_LISTED: Final = 3
"""Words in a part of a list up to the last thing in it, as in "zooms or"."""

ENGLISH_SHARE: Final = 0.9
"""Of the letters of an English prompt, so many are of its alphabet; a name or a line of speech may not be."""

_QUOTED: Final = re.compile(
    r"\"[^\"\n]{1,200}\"|“[^”\n]{1,200}”|«[^»\n]{1,200}»|「[^」\n]{1,200}」|『[^』\n]{1,200}』|„[^“”\n]{1,200}[“”]"
    r"|(?<!\w)'[^'\n]{1,200}'(?!\w)|(?<!\w)‘[^’\n]{1,200}’(?!\w)|`[^`\n]{1,200}`"
)
_SENTENCE: Final = re.compile(r"[^.;!?\n。！？；]+")
_CLAUSE_ENDS: Final = ".;:!?\n。；：！？"
_WORD: Final = re.compile(r"[^\W\d_]+")


@frozen
class Subject:
    """A prompt, with all that its rules compare it with.

    Attributes:
        text: the prompt.
        request: what is sent with it; None if only the text is known.
        is_video: whether it is for a clip.
    """

    text: str
    request: Request | None = None
    is_video: bool = True

    @property
    def clip(self) -> Seedance2Video | None:
        """The request, if it is known and for a clip."""
        return self.request if isinstance(self.request, Seedance2Video) else None

    @cached_property
    def lower(self) -> str:
        """The text in lower case, in which a word is looked for before a pattern is tried."""
        return self.text.lower()

    @cached_property
    def is_english(self) -> bool:
        """Whether the words' rules can speak about it."""
        return is_english(self.text)

    @cached_property
    def quotations(self) -> tuple[tuple[int, int], ...]:
        """Where something is quoted: speech, or words that are to be read in the picture."""
        return tuple(found.span() for found in _QUOTED.finditer(self.text))

    @cached_property
    def media(self) -> tuple[str, ...]:
        """The request's URLs, links and files, in their order."""
        return tuple(text for _, text in media(self.request)) if self.request is not None else ()

    def has_any(self, *parts: str) -> bool:
        """Whether any of these is somewhere in the text, in any letter case.

        Asked before a pattern is tried: a manifest may have a hundred thousand prompts, and few have it.
        """
        return any(part in self.lower for part in parts)

    def is_quoted(self, place: int) -> bool:
        """Whether a place is inside a quotation."""
        return any(start <= place < end for start, end in self.quotations)

    def before(self, place: int) -> str:
        """What stands before a place in the same clause."""
        start = max(self.text.rfind(mark, 0, place) for mark in _CLAUSE_ENDS) + 1
        return self.text[start:place]

    def is_denied(self, place: int) -> bool:
        """Whether a place is denied: by a word before it in its part of the clause, or heads a list that is.

        In "no pans, zooms or tilts" all three are; in "no music, the camera pans left" the move is not.
        """
        *earlier, own = self.before(place).split(",")
        if words.NEGATION.search(own):
            return True
        last = own.split()[-1:]
        is_listed = not last or (last[0].lower() in {"or", "and", "nor"} and len(own.split()) <= MOST_LISTED)
        return (
            is_listed and bool(earlier) and bool(words.NEGATION.search(earlier[-1]) or self._goes_on(earlier))
        )

    def sentences(self) -> Iterator[tuple[int, str]]:
        """Each sentence, with its place."""
        for found in _SENTENCE.finditer(self.text):
            yield found.start(), found[0]

    @staticmethod
    def _goes_on(parts: list[str]) -> bool:
        """Whether the parts of a clause are a list of single words behind a denial."""
        short = [part for part in parts if len(part.split()) <= 2]
        denied = next((at for at, part in enumerate(parts) if words.NEGATION.search(part)), None)
        return denied is not None and len(short) >= len(parts) - denied - 1


def is_english(text: str) -> bool:
    """Whether a prompt is English, by its letters and its small words."""
    if not text.isascii():
        letters = [letter for letter in text if letter.isalpha()]
        if sum(letter.isascii() for letter in letters) < ENGLISH_SHARE * len(letters):
            return False
    found = [word.lower() for word in _WORD.findall(text)]
    english = sum(word in words.ENGLISH for word in found)
    foreign = sum(word in words.FOREIGN for word in found)
    return english >= foreign and (english > 0 or len(found) < FEWEST_WORDS or foreign == 0)


def is_clip(medium: str) -> bool | None:
    """Whether a URL, link or file is a clip, by what it is called; None if that does not show."""
    if not isinstance(medium, LocalFile) and (link := parse_link(medium)):
        return link.output == "video"
    path = medium if isinstance(medium, LocalFile) else urlsplit(medium).path
    lower = path.lower()
    if lower.endswith(CLIP_SUFFIXES):
        return True
    return False if lower.endswith(PICTURE_SUFFIXES) else None
