"""What somebody may write into a rule or a switch: each refusal is a line with the field and what it takes.

A misspelt word that did nothing would let a test pass for the wrong reason, so nothing is guessed or passed
over. The checks are validators as attrs calls them, with the instance, the attribute and the value.

Pure.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

import attrs

from seedance_async.sandbox.magic import shown, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from attrs import Attribute, AttrsInstance

Check: TypeAlias = "Callable[[object, Attribute[Any], Any], None]"

FOR_EVER: Final = 1e9
"""Seconds; some thirty years. JSON knows no infinity."""


def one_of(allowed: Collection[str]) -> Check:
    """One of these words."""

    def validate(_instance: object, attribute: Attribute[Any], value: object) -> None:
        if value not in allowed:
            told = f"{attribute.name} must be one of {', '.join(allowed)}"
            raise ValueError(f"{told}; got {shown(value)}{_meant(value, allowed)}")

    return validate


def some_of(allowed: Collection[str]) -> Check:
    """A set of these words, which may be empty."""

    def validate(_instance: object, attribute: Attribute[Any], value: object) -> None:
        wrong = sorted(value - set(allowed), key=str) if isinstance(value, frozenset) else [value]
        if wrong:
            told = f"{attribute.name} must be a list of some of {', '.join(allowed)}"
            raise ValueError(f"{told}; got {shown(wrong[0])}{_meant(wrong[0], allowed)}")

    return validate


def whole(low: int, high: float = inf, *, or_none: bool = False) -> Check:
    """A whole number from ``low`` to ``high``."""

    def validate(_instance: object, attribute: Attribute[Any], value: object) -> None:
        # Exactly an int: True would pass for 1.
        if value is None and or_none:
            return
        if type(value) is not int or not low <= value <= high:
            bounds = f"from {low}" + (f" to {high}" if high < inf else "") + (" or null" if or_none else "")
            raise ValueError(f"{attribute.name} must be a whole number {bounds}; got {shown(value)}")

    return validate


def number(low: float, high: float = inf, *, above: bool = False) -> Check:
    """A number from ``low`` to ``high``; with ``above``, not ``low`` itself."""

    def validate(_instance: object, attribute: Attribute[Any], value: object) -> None:
        if not _is_number(value) or not low <= value <= high or (above and value == low):
            bounds = f"{'above' if above else 'from'} {low:g}" + (f" to {high:g}" if high < inf else "")
            raise ValueError(f"{attribute.name} must be a number {bounds}; got {shown(value)}")

    return validate


def flag(_instance: object, attribute: Attribute[Any], value: object) -> None:
    """True or false, and no 0 or 1."""
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be true or false; got {shown(value)}")  # noqa: TRY004 - wrong input


def text(_instance: object, attribute: Attribute[Any], value: object) -> None:
    """Text."""
    if not isinstance(value, str):
        raise ValueError(f"{attribute.name} must be text; got {shown(value)}")  # noqa: TRY004 - wrong input


def refuse_unknown(document: Mapping[str, object], kind: type[AttrsInstance], *, what: str) -> None:
    """See to it that a document has no fields but those of the class.

    Raises:
        ValueError: it has one.
    """
    known = [attribute.name for attribute in attrs.fields(kind)]
    for name in document:
        if name not in known:
            told = f"{what} has no field {shown(name)}, only {', '.join(known)}"
            raise ValueError(f"{told}{suggestion(name, known)}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _meant(value: object, allowed: Collection[str]) -> str:
    return suggestion(value, allowed) if isinstance(value, str) else ""
