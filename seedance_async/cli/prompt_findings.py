"""Prompt findings on the command line: the flag that ignores rules, the check of one prompt, and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from seedance_async.errors import ConfigurationError, ValidationError
from seedance_async.prompts import Level, lint_prompt
from seedance_async.prompts.lint import read_codes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from seedance_async.models import Request
    from seedance_async.prompts import Finding
    from seedance_async.prompts.batch_lint import RuleCount

Ignore: TypeAlias = Annotated[
    tuple[str, ...],
    Parameter(
        name="--ignore",
        negative=(),
        show_default=False,
        help="Switch a prompt rule off, such as P15; may be repeated.",
    ),
]


def codes(ignore: Iterable[str]) -> frozenset[str]:
    """Return the codes of the rules that are switched off.

    Raises:
        ConfigurationError: one of them is not a rule.
    """
    found, problems = read_codes(" ".join(ignore), "--ignore")
    if problems:
        raise ConfigurationError("; ".join(f"{name} {reason}" for name, reason in problems))
    return found


def warnings_of(request: Request, ignored: frozenset[str]) -> list[Finding]:
    """The warnings about the prompt of a request that is about to be sent; notes are left out.

    Args:
        request: as it would be sent.
        ignored: codes of rules that are left out.

    Raises:
        ValidationError: a rule is certain that the prompt is wrong.
    """
    found = lint_prompt(request, ignore=ignored)
    errors = [each for each in found if each.level is Level.ERROR]
    if errors:
        problems = [("prompt", f"{each.code}: {each.words} (or --ignore {each.code})") for each in errors]
        raise ValidationError(problems)
    return [each for each in found if each.level is Level.WARNING]


def rule_count(count: RuleCount, total: int) -> Mapping[str, object]:
    """Return what a rule has found in a batch, as JSON.

    Args:
        count: of the rule.
        total: number of all jobs.
    """
    return {
        "code": count.code,
        "level": count.level.value,
        "about": count.about,
        "jobs": count.jobs,
        "share": round(count.jobs / max(1, total), 4),
        "fixable": count.fixable,
        "first": count.first,
        "example": count.example.to_dict(),
    }
