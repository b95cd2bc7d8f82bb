"""Findings of the prompt rules on the command line: the flag that switches rules off, and counts as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from seedance_async.errors import ConfigurationError
from seedance_async.prompts.lint import read_codes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
