"""The directives in a prompt, such as ``[[fault:drop*2]]`` and ``[[sandbox:fail]]``, and their parser.

The search for directives is tolerant and their syntax strict: a text that only looks like a directive is
refused. A misspelt directive without effect would let a test pass for the wrong reason.

Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.sandbox.field_checks import suggestion

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

DIRECTIVE_TARGETS: Final = ("submit", "task", "media")
"""The endpoints that the fault of a directive can be limited to."""

FAIL_DIRECTIVE: Final = "[[sandbox:fail]]"
BATCH_FAILED_DIRECTIVE: Final = re.compile(r"\[\[sandbox:batch-failed=([0-9])\]\]")


@frozen
class FaultDirective:
    """A fault that is requested in a prompt.

    Attributes:
        text: the directive as it is written in the prompt.
        name: the name of the fault.
        on: the endpoint; None for the fault's default.
        count: the number of exchanges; None for the fault's default.
    """

    text: str
    name: str
    on: str | None = None
    count: int | None = None


def fault_directives(text: str, faults: Collection[str]) -> Iterator[FaultDirective]:
    """The faults requested in a text, in their order.

    Args:
        text: a prompt, or the body of a submit as it arrived.
        faults: the known names.

    Raises:
        ValueError: a part of the text looks like a directive and is not a valid one.
    """
    for found in _LOOSE.finditer(text):
        directive = found[0]
        if (exact := _FAULT.fullmatch(directive)) is not None:
            yield _parse(directive, *exact.groups(), faults=faults)
        elif directive != FAIL_DIRECTIVE and BATCH_FAILED_DIRECTIVE.fullmatch(directive) is None:
            raise ValueError(f"The sandbox does not understand {directive!r}, only {_FORMS}")


def _parse(
    text: str, name: str, on: str | None, count: str | None, *, faults: Collection[str]
) -> FaultDirective:
    if name not in faults:
        known = ", ".join(faults)
        raise ValueError(f"The sandbox knows no fault {name!r}, only {known}{suggestion(name, faults)}")
    if on is not None and on not in DIRECTIVE_TARGETS:
        known, meant = ", ".join(DIRECTIVE_TARGETS), suggestion(on, DIRECTIVE_TARGETS)
        raise ValueError(f"The sandbox knows no endpoint {on!r} for {text!r}, only {known}{meant}")
    if count is not None and _COUNT.fullmatch(count) is None:
        raise ValueError(
            f"{text!r} needs a whole number from 1 to 999999 after its '*', as in [[fault:drop*2]]"
        )
    return FaultDirective(text, name, on, None if count is None else int(count))


# It ends before a quote, because a body is searched as it arrived, and excludes braces, because
# `{authorization}` in the error message would be replaced.
_LOOSE: Final = re.compile(r"\[\[\s*(?:faults?|sandbox)\s*[:=][^\[\]\"{}]{0,80}(?:\]\])?", re.IGNORECASE)
_FAULT: Final = re.compile(r"\[\[fault:([^@*\]]*)(?:@([^*\]]*))?(?:\*([^\]]*))?\]\]")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,5}")
_FORMS: Final = "[[fault:NAME]], [[fault:NAME@PLACE*COUNT]], [[sandbox:fail]] and [[sandbox:batch-failed=N]]"
