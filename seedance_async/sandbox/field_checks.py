"""The validators of the fields that users write in a fault or a behaviour.

Each error is one line that names the field and the values it accepts. A misspelt word without effect would
let a test pass for the wrong reason, so nothing is guessed or ignored. The validators have the signature
that attrs expects: the instance, the attribute and the value.

Pure.
"""

from __future__ import annotations

import reprlib
from difflib import get_close_matches
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from attrs import Attribute, AttrsInstance

Validator: TypeAlias = "Callable[[object, Attribute[Any], Any], None]"

FOR_EVER: Final = 1e9
"""Seconds; about thirty years. JSON has no infinity."""


def one_of(allowed: Collection[str]) -> Validator:
    """A validator: one of these words."""

    def validate(_instance: object, attribute: Attribute[Any], value: object) -> None:
        if value not in allowed:
            message = f"{attribute.name} must be one of {', '.join(allowed)}"
            raise ValueError(f"{message}; got {short_repr(value)}{_suggestion(value, allowed)}")

    return validate


def some_of(allowed: Collection[str]) -> Validator:
    """A validator: a set of these words, which may be empty."""

    def validate(_instance: object, attribute: Attribute[Any], value: object) -> None:
        wrong = sorted(value - set(allowed), key=str) if isinstance(value, frozenset) else [value]
        if wrong:
            message = f"{attribute.name} must be a list of some of {', '.join(allowed)}"
            raise ValueError(f"{message}; got {short_repr(wrong[0])}{_suggestion(wrong[0], allowed)}")

    return validate


def whole(low: int, high: float = inf, *, or_none: bool = False) -> Validator:
    """A validator: a whole number from ``low`` to ``high``."""

    def validate(_instance: object, attribute: Attribute[Any], value: object) -> None:
        # Not isinstance: True would pass for 1.
        if value is None and or_none:
            return
        if type(value) is not int or not low <= value <= high:
            bounds = f"from {low}" + (f" to {high}" if high < inf else "") + (" or null" if or_none else "")
            raise ValueError(f"{attribute.name} must be a whole number {bounds}; got {short_repr(value)}")

    return validate


def number(low: float, high: float = inf, *, above: bool = False) -> Validator:
    """A validator: a number from ``low`` to ``high``; with ``above``, not ``low`` itself."""

    def validate(_instance: object, attribute: Attribute[Any], value: object) -> None:
        if not _is_number(value) or not low <= value <= high or (above and value == low):
            bounds = f"{'above' if above else 'from'} {low:g}" + (f" to {high:g}" if high < inf else "")
            raise ValueError(f"{attribute.name} must be a number {bounds}; got {short_repr(value)}")

    return validate


def flag(_instance: object, attribute: Attribute[Any], value: object) -> None:
    """Check that a value is true or false, and not 0 or 1."""
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be true or false; got {short_repr(value)}")  # noqa: TRY004 - wrong input


def text(_instance: object, attribute: Attribute[Any], value: object) -> None:
    """Check that a value is text."""
    if not isinstance(value, str):
        raise ValueError(f"{attribute.name} must be text; got {short_repr(value)}")  # noqa: TRY004 - wrong input


def refuse_unknown(document: Mapping[str, object], kind: type[AttrsInstance], *, what: str) -> None:
    """Check that a document has only fields of the class.

    Raises:
        ValueError: it has another one.
    """
    known = field_names(kind)
    for name in document:
        if name not in known:
            message = f"{what} has no field {short_repr(name)}, only {', '.join(known)}"
            raise ValueError(f"{message}{suggestion(name, known)}")


def field_names(kind: type[AttrsInstance]) -> list[str]:
    """The fields of an attrs class, those of its base classes last."""
    return [attribute.name for attribute in sorted(attrs.fields(kind), key=lambda each: each.inherited)]


def suggestion(word: str, known: Collection[str]) -> str:
    """The known word that was probably meant, as the end of a message; empty if none is similar."""
    close = get_close_matches(word.strip().lower(), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def short_repr(value: object) -> str:
    """A value for a message: one line, and short however long the value is."""
    return repr(value) if isinstance(value, str) and len(value) <= 80 else reprlib.repr(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _suggestion(value: object, allowed: Collection[str]) -> str:
    return suggestion(value, allowed) if isinstance(value, str) else ""
