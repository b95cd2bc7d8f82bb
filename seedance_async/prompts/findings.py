"""Findings of the prompt rules as values. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import frozen

from seedance_async.convertible import Convertible

LONGEST_EXCERPT: Final = 60


class Level(StrEnum):
    """How certain a finding is, and what follows from it.

    An error is certain, and a batch refuses its line of the manifest. A warning is shown by a dry run as
    well, a note only by ``seedance prompt lint``.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@frozen(kw_only=True)
class Finding(Convertible):
    """One finding of a rule in a prompt.

    Attributes:
        code: of the rule, such as ``P06``.
        level: ``error``, ``warning`` or ``note``.
        place: start and end in the prompt, in characters; both 0 if it is about the whole prompt.
        excerpt: the text at that place, shortened.
        reason: what is wrong, and what to write instead.
        fix: replacement of the text at that place, empty to delete it; None if no mechanical fix exists.
    """

    code: str
    level: Level
    place: tuple[int, int]
    excerpt: str
    reason: str
    fix: str | None = None

    def __str__(self) -> str:
        """The finding as a line of text."""
        return f"{self.code} {self.level}: {self.words}"

    @property
    def words(self) -> str:
        """The excerpt, if there is one, and the reason."""
        return f"{self.excerpt!r} {self.reason}" if self.excerpt else self.reason


@frozen
class Hit:
    """What a rule has found, before the rule's code and level are added.

    Attributes:
        start: of the place in the prompt.
        end: of the place.
        reason: as in a finding.
        fix: as in a finding.
        level: if it differs from the rule's.
    """

    start: int
    end: int
    reason: str
    fix: str | None = None
    level: Level | None = None


def excerpt(text: str, start: int, end: int) -> str:
    """Return the text at a place of a prompt, in one line, shortened."""
    found = " ".join(text[start:end].split())
    return found if len(found) <= LONGEST_EXCERPT else f"{found[: LONGEST_EXCERPT - 1].rstrip()}…"
