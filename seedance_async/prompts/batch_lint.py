"""The rules over a whole batch: each is reported once, with how many jobs it finds, and the first one. Pure.

Besides the check of each prompt, jobs are compared with each other: figures of one name that are
described differently (P20), requests that are equal (B01), and prompts near the limit of characters (B02).
So much is remembered for that, and no more, however many jobs there are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs
from attrs import define, evolve, field, frozen

from seedance_async.convertible import BOUNDS
from seedance_async.prompts import words
from seedance_async.prompts.findings import Finding, Level, excerpt
from seedance_async.prompts.lint import lint_prompt
from seedance_async.prompts.subject import is_english
from seedance_async.prompts.table import BATCH_RULES, RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.models import Request

MOST_REMEMBERED: Final = 100_000
"""Requests, and names of figures, that are compared with those that come after them."""

NEAR_THE_LIMIT: Final = 0.95
"""Share of the characters that a prompt may have, above which B02 warns."""

ABOUT: Final = {**{rule.code: rule.about for rule in RULES}, **BATCH_RULES}
LEVELS: Final = {
    **{rule.code: rule.level.value for rule in RULES},
    "B01": Level.NOTE.value,
    "B02": Level.WARNING.value,
}
ORDER: Final = tuple(ABOUT)

_NOT_A_NAME: Final = frozenset(
    [
        "The", "Then", "Now", "Here", "There", "Shot", "Scene", "Camera", "Inside", "Outside", "Suddenly",
        "Finally", "Behind", "Slowly", "Meanwhile", "Outdoors", "Indoors", "Night", "Day", "Morning",
        "Evening", "Later", "First", "Second", "Third", "Left", "Right", "Style", "And", "But",
    ]
)  # fmt: skip
_FIGURE: Final = re.compile(
    r"\b(?P<name>[A-Z][a-z]{2,20}), (?P<description>(?:an?|the) [^,.;:()\n]{4,80})(?=[,.;:)\n]|\Z)"
)
_DETAIL: Final = re.compile(r"[^\W\d_]+")


@frozen(kw_only=True)
class RuleCount:
    """What one rule has found in a batch.

    Attributes:
        code: of the rule.
        level: the most certain one of its findings.
        about: what the rule is about.
        jobs: how many jobs it concerns.
        fixable: how many of its findings have a fix.
        first: the name of the first of the jobs.
        example: what it found there.
    """

    code: str
    level: Level
    about: str
    jobs: int
    fixable: int
    first: str
    example: Finding

    def words(self, total: int) -> str:
        """What to say about it, in one line.

        Args:
            total: how many jobs there are.
        """
        where = f"in {self.jobs:,} of {total:,}, first {self.first}"
        return f"{self.code} {self.level} {where}: {self.example.words}"


@frozen(kw_only=True)
class LintSummary:
    """What the rules have found in a batch.

    Attributes:
        jobs: how many were looked at.
        counts: a row for each rule that has found something, the most certain first.
    """

    jobs: int = 0
    counts: tuple[RuleCount, ...] = ()

    def at_least(self, level: Level) -> tuple[RuleCount, ...]:
        """The rows that are as certain as this, or more."""
        levels = list(Level)
        return tuple(each for each in self.counts if levels.index(each.level) <= levels.index(level))


@define
class BatchLint:
    """Looks at the jobs of a batch, one after the other."""

    ignored: frozenset[str] = frozenset()
    _jobs: int = field(default=0, init=False)
    _counts: dict[str, RuleCount] = field(factory=dict, init=False)
    _requests: dict[int, str] = field(factory=dict, init=False)
    _figures: dict[str, tuple[str, frozenset[str], str]] = field(factory=dict, init=False)

    def add(self, name: str, request: Request, ignored: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
        """Look at one more job.

        Args:
            name: by which it is reported.
            request: what is asked for.
            ignored: codes of the rules that its line leaves out.

        Returns:
            All that was found in it.
        """
        left_out = self.ignored | ignored
        found = list(lint_prompt(request, ignore=left_out))
        found += [each for each in self._compared(name, request) if each.code not in left_out]
        self._jobs += 1
        for code in dict.fromkeys(finding.code for finding in found):
            self._count(name, [finding for finding in found if finding.code == code])
        return tuple(found)

    def summary(self) -> LintSummary:
        """What was found so far."""
        levels = list(Level)
        counts = sorted(
            self._counts.values(), key=lambda each: (levels.index(each.level), ORDER.index(each.code))
        )
        return LintSummary(jobs=self._jobs, counts=tuple(counts))

    def _count(self, name: str, found: list[Finding]) -> None:
        first = found[0]
        fixable = sum(finding.fix is not None for finding in found)
        before = self._counts.get(first.code)
        if before is None:
            self._counts[first.code] = RuleCount(
                code=first.code,
                level=first.level,
                about=ABOUT[first.code],
                jobs=1,
                fixable=fixable,
                first=name,
                example=first,
            )
            return
        level = min(before.level, first.level, key=list(Level).index)
        self._counts[first.code] = evolve(
            before, level=level, jobs=before.jobs + 1, fixable=before.fixable + fixable
        )

    def _compared(self, name: str, request: Request) -> Iterator[Finding]:
        """What is found in a job by comparison with those before it."""
        yield from _long(request)
        other = self._requests.get(hash(request))
        if other is not None:
            reason = f"asks for exactly the same as {other}; `repeat` says that this is meant"
            yield Finding(code="B01", level=Level.NOTE, place=(0, 0), excerpt="", reason=reason)
        elif len(self._requests) < MOST_REMEMBERED:
            self._requests[hash(request)] = name
        if "," in request.prompt and is_english(request.prompt):
            yield from self._described(name, request.prompt)

    def _described(self, name: str, prompt: str) -> Iterator[Finding]:
        for found in _FIGURE.finditer(prompt):
            figure, description = found["name"], found["description"]
            if figure in _NOT_A_NAME:
                continue
            details = frozenset(_DETAIL.findall(description.lower())) - words.ENGLISH - {"a"}
            known = self._figures.get(figure)
            if known is None:
                if len(self._figures) < MOST_REMEMBERED:
                    self._figures[figure] = (description, details, name)
            elif not (details <= known[1] or details >= known[1]):
                reason = f"is {known[0]!r} in {known[2]}: describe a figure in the same words in every prompt"
                place = found.span()
                yield Finding(
                    code="P20",
                    level=Level.WARNING,
                    place=place,
                    excerpt=excerpt(prompt, *place),
                    reason=reason,
                )


def _long(request: Request) -> Iterator[Finding]:
    most = attrs.fields(type(request)).prompt.metadata[BOUNDS]["maxLength"]
    length = len(request.prompt)
    if length > NEAR_THE_LIMIT * most:
        reason = f"the prompt has {length:,} of {most:,} characters: what is on the way may cut it, silently"
        yield Finding(code="B02", level=Level.WARNING, place=(0, 0), excerpt="", reason=reason)
