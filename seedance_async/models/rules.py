"""The rules a single field can break, as values, and the one place where they are all checked.

attrs stops at the first failing validator; whoever wrote a request wants to hear everything at once. So a
rule is a function from a value to the reason it is refused (None: it is fine), hangs on its field as
metadata, and ``problems`` asks all of them. Types are exact: ``True`` is no integer and ``"false"`` no
boolean, because the wire would carry the mistake to a server that charges for it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import attrs

from seedance_async.errors import ValidationError
from seedance_async.network import public_url_fault

Rule: TypeAlias = Callable[[object], str | None]
"""A value in; the reason why it is refused out, or None."""

Problem: TypeAlias = tuple[str, str]
"""A field's name and what is wrong with it."""

_RULE: Final = "seedance_async.rule"
_SHOWN_CHARACTERS: Final = 60
_THIRTY_YEARS: Final = 1e9
_USER_INFO: Final = re.compile(r"//[^/#]*@")
_ASSET_URL: Final = re.compile(r"asset\s*://", re.IGNORECASE)
# The document refuses "in-app-only labels such as @图片1": `@`, a word for a kind of media, a number.
# Handles and mail addresses carry no such word and stay allowed.
IN_APP_LABEL: Final = re.compile(r"@\s*(?:图片|图像|视频|影片|音频|素材|圖片|圖像|視頻|音頻|音訊)\s*[0-9]+")


def ruled(rule: Rule) -> dict[str, Rule]:
    """The metadata that hangs ``rule`` on an attrs field."""
    return {_RULE: rule}


def problems(instance: attrs.AttrsInstance, conflicts: Iterable[Problem] = ()) -> list[Problem]:
    """Every rule that a field of ``instance`` breaks, and the ``conflicts``, in the order of the fields."""
    fields = attrs.fields(type(instance))
    broken = [
        (field.name, reason)
        for field in fields
        if _RULE in field.metadata and (reason := field.metadata[_RULE](getattr(instance, field.name)))
    ]
    place = {field.name: index for index, field in enumerate(fields)}
    return sorted([*broken, *conflicts], key=lambda problem: place[problem[0]])


def hold(instance: attrs.AttrsInstance, conflicts: Iterable[Problem] = ()) -> None:
    """Refuse ``instance`` if it breaks any rule.

    Raises:
        ValidationError: with every problem, in the order of the fields.
    """
    found = problems(instance, conflicts)
    if found:
        raise ValidationError(found, subject=type(instance).__name__)


def one_of(words: Sequence[str]) -> Rule:
    """One of the documented words, exactly as written."""

    def check(value: object) -> str | None:
        if isinstance(value, str) and value in words:
            return None
        return f"must be one of {', '.join(map(repr, words))}; got {shown(value)}"

    return check


def true_or_false(value: object) -> str | None:
    """A boolean, and nothing that merely looks like one."""
    return None if isinstance(value, bool) else f"must be true or false; got {shown(value)}"


def whole_number(low: int, high: int | None = None, *, of: str = "") -> Rule:
    """An integer from ``low`` to ``high``, both included; without ``high`` there is no upper end."""
    wanted = f"whole number of {of}" if of else "whole number"
    span = f"from {low} up" if high is None else f"from {low} to {high}"
    most = math.inf if high is None else high

    def check(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= most:
            return None
        return f"must be a {wanted} {span}; got {shown(value)}"

    return check


def seconds(value: object) -> str | None:
    """A length of time: a number above 0, small enough for a clock to count with."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _THIRTY_YEARS:
        return None
    return f"must be a number of seconds, above 0 and below 1e9; got {shown(value)}"


def optional(rule: Rule) -> Rule:
    """None, or what ``rule`` allows."""
    return lambda value: None if value is None else rule(value)


def prompt(most_characters: int) -> Rule:
    """A prompt of 3 to ``most_characters`` characters (code points) that the API can read as it stands."""

    def check(value: object) -> str | None:
        if value is None:
            return f"is required: 3 to {most_characters} characters"
        if not isinstance(value, str):
            return f"must be text; got {shown(value)}"
        if not 3 <= len(value) <= most_characters:
            return f"must have 3 to {most_characters} characters; got {len(value)}"
        return _unreadable_in_prompt(value)

    return check


def public_url(value: object) -> str | None:
    """One public https URL."""
    if not isinstance(value, str):
        return f"must be a URL as text; got {shown(value)}"
    fault = public_url_fault(value)
    return f"{shown_url(value)} {fault}" if fault else None


def public_urls(most: int) -> Rule:
    """A sequence of at most ``most`` public https URLs; how many it needs depends on the mode."""

    def check(value: object) -> str | None:
        if isinstance(value, str):
            return f"must be a list of URLs, not one text; write [{shown_url(value)}]"
        if not isinstance(value, tuple):
            return f"must be a list of URLs; got {shown(value)}"
        faults = [f"[{index}] {fault}" for index, url in enumerate(value) if (fault := public_url(url))]
        if len(value) > most:
            faults.insert(0, f"may hold at most {most} URLs; got {len(value)}")
        return "; ".join(faults) or None

    return check


def shown(value: object) -> str:
    """``value`` for an error message, shortened; never fails."""
    try:
        text = repr(value)
    except Exception:  # Python does not print an integer of 5,000 digits; a foreign repr may do worse
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}… ({len(text)} characters)"


def shown_url(url: str) -> str:
    """``url`` without password and query: a signature in a log opens the file to whoever reads it."""
    address, mark, _ = url.partition("?")
    return shown(_USER_INFO.sub("//…@", address) + (mark and "?…"))


def _unreadable_in_prompt(text: str) -> str | None:
    if "\x00" in text:
        return "contains a NUL character"
    if re.search(r"[\ud800-\udfff]", text):
        return "contains half a character (a lone surrogate), which UTF-8 cannot carry"
    if _ASSET_URL.search(text):
        return "contains an asset:// URL; describe the asset's role in words and pass a public https URL"
    if label := IN_APP_LABEL.search(unicodedata.normalize("NFKC", text)):
        return f"contains the in-app label {label[0]!r}; describe the asset's role in words instead"
    return None
