"""What a rule of the prompt guide has to say about one prompt, as values. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import frozen

from seedance_async.convertible import Convertible

LONGEST_EXCERPT: Final = 60


class Level(StrEnum):
    """How sure a rule is, and what follows from it.

    An error is certain, and its line of a manifest is refused. A warning is shown by a dry run, too; a note
    by ``seedance prompt lint`` only.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@frozen(kw_only=True)
class Finding(Convertible):
    """One place of a prompt that a rule has something to say about.

    Attributes:
        code: of the rule, such as ``P06``.
        level: ``error``, ``warning`` or ``note``.
        place: where it begins and ends in the prompt, in characters; both 0 where it is about all of it.
        excerpt: what stands there, shortened.
        reason: what is wrong, and what to write instead.
        fix: what to put in that place, where that is mechanical; an empty text takes it out. Else None.
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
        """The reason, behind what it is about."""
        return f"{self.excerpt!r} {self.reason}" if self.excerpt else self.reason


@frozen
class Hit:
    """What a rule has found, before its code and level are put to it.

    Attributes:
        start: where it begins in the prompt.
        end: where it ends.
        reason: as in a finding.
        fix: as in a finding.
        level: where this one is less certain than the rule says.
    """

    start: int
    end: int
    reason: str
    fix: str | None = None
    level: Level | None = None


def excerpt(text: str, start: int, end: int) -> str:
    """What stands at a place of a prompt, in one line, shortened."""
    found = " ".join(text[start:end].split())
    return found if len(found) <= LONGEST_EXCERPT else f"{found[: LONGEST_EXCERPT - 1].rstrip()}…"
