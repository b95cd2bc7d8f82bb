"""The prompt rules over a whole batch: a count and an example for each rule with findings. Pure.

In addition to the rules about one prompt, jobs are compared with each other: characters of the same name with
different descriptions (P20) and equal requests (B01); B02 warns of prompts near the limit of characters. The
memory for this is bounded, however many jobs there are.
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
"""Most requests, and most names of characters, that later jobs are compared with."""

NEAR_THE_LIMIT: Final = 0.95
"""Share of the largest allowed length of a prompt above which B02 warns."""

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
        level: the highest level of its findings.
        about: what the rule is about.
        jobs: number of jobs with findings.
        fixable: number of findings with a fix.
        first: name of the first of these jobs.
        example: the first finding.
    """

    code: str
    level: Level
    about: str
    jobs: int
    fixable: int
    first: str
    example: Finding

    def words(self, total: int) -> str:
        """Return it as one line.

        Args:
            total: number of all jobs.
        """
        where = f"in {self.jobs:,} of {total:,}, first {self.first}"
        return f"{self.code} {self.level} {where}: {self.example.words}"


@frozen(kw_only=True)
class LintSummary:
    """Findings of all rules in a batch.

    Attributes:
        jobs: number of jobs checked.
        counts: one for each rule with findings, errors first.
    """

    jobs: int = 0
    counts: tuple[RuleCount, ...] = ()

    def at_least(self, level: Level) -> tuple[RuleCount, ...]:
        """Return the counts of this level or a higher one."""
        levels = list(Level)
        return tuple(each for each in self.counts if levels.index(each.level) <= levels.index(level))


@define
class BatchLint:
    """Check of the jobs of a batch, one after the other."""

    ignored: frozenset[str] = frozenset()
    _jobs: int = field(default=0, init=False)
    _counts: dict[str, RuleCount] = field(factory=dict, init=False)
    _requests: dict[int, str] = field(factory=dict, init=False)
    _figures: dict[str, tuple[str, frozenset[str], str]] = field(factory=dict, init=False)

    def add(self, name: str, request: Request, ignored: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
        """Check one more job.

        Args:
            name: of the job, for the findings.
            request: of the job.
            ignored: codes of the rules that its line switches off.

        Returns:
            All its findings.
        """
        left_out = self.ignored | ignored
        found = list(lint_prompt(request, ignore=left_out))
        found += [each for each in self._compared(name, request) if each.code not in left_out]
        self._jobs += 1
        for code in dict.fromkeys(finding.code for finding in found):
            self._count(name, [finding for finding in found if finding.code == code])
        return tuple(found)

    def summary(self) -> LintSummary:
        """Return what was found so far."""
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
        """Yield the findings from comparing a job with those before it, and about its length."""
        yield from _long(request)
        other = self._requests.get(hash(request))
        if other is not None:
            reason = f"is exactly the same request as {other}; set `repeat` if this is intended"
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
                reason = f"is {known[0]!r} in {known[2]}: describe a character in the same words everywhere"
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
        reason = (
            f"the prompt has {length:,} of {most:,} characters: it may be cut on the way, without an error"
        )
        yield Finding(code="B02", level=Level.WARNING, place=(0, 0), excerpt="", reason=reason)
