"""Validation rules for single fields, and the function that checks all of them.

attrs stops at the first validator that fails, but a caller wants every problem at once. So a rule is a
function from a value to the reason why it is refused (None: it is valid), stored in its field's metadata,
and ``problems`` checks all of them. Types are exact: ``True`` is not an integer and ``"false"`` not a
boolean, because a mistake would reach a server that charges for it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from operator import is_
from types import NoneType
from typing import Final, TypeAlias

import attrs

from seedance_async.convertible import BOUNDS
from seedance_async.errors import ValidationError
from seedance_async.models.display import shown, shown_url
from seedance_async.models.links import SIGN, parse_link
from seedance_async.models.local_files import LocalFile, file_fault
from seedance_async.network import public_url_fault
from seedance_async.suggestions import suggestion

Rule: TypeAlias = Callable[[object], str | None]
"""Function from a value to the reason why it is refused, or None."""


@attrs.frozen
class StatedRule:
    """A rule that states what it accepts, in words and in JSON schema.

    Attributes:
        accepts: the accepted values, in a few words.
        check: the rule itself.
        bounds: JSON schema keywords, such as ``{"minimum": 4, "maximum": 15}``.
    """

    accepts: str
    check: Rule
    bounds: Mapping[str, int] = attrs.field(factory=dict)

    def __call__(self, value: object) -> str | None:
        """The reason why a value is refused, or None."""
        return self.check(value)


Problem: TypeAlias = tuple[str, str]
"""A field's name, and the reason why its value is refused."""

_RULE: Final = "seedance_async.rule"
LEAST_PERIOD: Final = 0.001  # s
_MAX_SECONDS: Final = 1e9  # about thirty years
_BETWEEN_URLS: Final = re.compile(r"\s+|[,;](?=https?://|\$)", re.IGNORECASE)
"""Separators of URLs: blanks, and a comma or semicolon before the next URL, as a URL may contain both."""

_ASSET_URL: Final = re.compile(r"asset\s*://", re.IGNORECASE)
# The documents refuse "in-app-only labels such as @图片1": `@`, a word for a type of media, a number.
# Handles and mail addresses have no such word and stay allowed.
IN_APP_LABEL: Final = re.compile(r"@\s*(?:图片|图像|视频|影片|音频|素材|圖片|圖像|視頻|音頻|音訊)\s*[0-9]+")


def ruled(rule: Rule) -> dict[str, object]:
    """The metadata of an attrs field with this rule."""
    return {_RULE: rule, BOUNDS: rule.bounds if isinstance(rule, StatedRule) else {}}


def accepted(field: attrs.Attribute[object]) -> str:
    """What a field accepts, in a few words; empty if its rule does not state it."""
    rule = field.metadata.get(_RULE)
    return rule.accepts if isinstance(rule, StatedRule) else ""


def problems(instance: attrs.AttrsInstance, conflicts: Iterable[Problem] = ()) -> list[Problem]:
    """All violated rules of the fields of ``instance``, and the ``conflicts``, in the order of the fields."""
    fields = attrs.fields(type(instance))
    broken = [
        (field.name, reason)
        for field in fields
        if _RULE in field.metadata and (reason := field.metadata[_RULE](getattr(instance, field.name)))
    ]
    order = {field.name: index for index, field in enumerate(fields)}
    return sorted([*broken, *conflicts], key=lambda problem: order[problem[0]])


def validate(instance: attrs.AttrsInstance, conflicts: Iterable[Problem] = ()) -> None:
    """Check ``instance`` against all rules; to be called after ``make_plain``.

    Raises:
        ValidationError: with all violated rules and ``conflicts``, in the order of the fields.
    """
    found = problems(instance, conflicts)
    if found:
        raise ValidationError(found, subject=type(instance).__name__)


def make_plain(instance: attrs.AttrsInstance) -> None:
    """Replace enum members and instances of subclasses by values of built-in types, in every field.

    Such classes may define hash, text, comparison and conversion themselves, while requests become bytes,
    keys of a price list and rows of a journal.
    """
    for field in attrs.fields(type(instance)):
        value = getattr(instance, field.name)
        if (plain := _plain(value)) is not value:
            object.__setattr__(instance, field.name, plain)


def _plain(value: object) -> object:
    value = value.value if isinstance(value, Enum) else value
    if type(value) in {str, LocalFile, int, float, bool, NoneType}:
        return value
    match value:
        case str():
            return str.__str__(value)
        case int():
            return int.__add__(value, 0)
        case float():
            return float.__add__(value, 0.0)
        case tuple():
            entries = tuple(map(_plain, value))
            return value if all(map(is_, entries, value)) and type(value) is tuple else entries
        case _:
            return value


def one_of(words: Sequence[str]) -> StatedRule:
    """Rule: one of the documented words, exactly as written."""

    def check(value: object) -> str | None:
        if isinstance(value, str) and value in words:
            return None
        hint = suggestion(value, words) if isinstance(value, str) else ""
        return f"must be one of {', '.join(map(repr, words))}; got {shown(value)}{hint}"

    return StatedRule(", ".join(words), check)


def _boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false; got {shown(value)}"


true_or_false: Final = StatedRule("true, false", _boolean)
"""Rule: a boolean; a number or a text is not accepted as one."""


def whole_number(low: int, high: int | None = None, *, of: str = "") -> StatedRule:
    """Rule: an integer from ``low`` to ``high``, both included; no upper limit without ``high``."""
    wanted = f"whole number of {of}" if of else "whole number"
    span = f"from {low} up" if high is None else f"from {low} to {high}"
    maximum = math.inf if high is None else high
    bounds = {"minimum": low} if high is None else {"minimum": low, "maximum": high}

    def check(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= maximum:
            return None
        return f"must be a {wanted} {span}; got {shown(value)}"

    return StatedRule(span.removeprefix("from "), check, bounds)


def seconds(value: object) -> str | None:
    """Rule: a duration in seconds, above 0 and at most 1e9."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _MAX_SECONDS:
        return None
    return f"must be a number of seconds, above 0 and below 1e9; got {shown(value)}"


def rate_period(value: object) -> str | None:
    """Rule: the period of a rate limit in seconds, at least 0.001: no request leaves within less."""
    fault = seconds(value)
    if fault is None and isinstance(value, int | float) and value < LEAST_PERIOD:
        return f"must be at least {LEAST_PERIOD:g} seconds; got {shown(value)}"
    return fault


def credit_amount(value: object) -> str | None:
    """Rule: a number of credits, 0 or more."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return None
    return f"must be a number of credits, 0 or more; got {shown(value)}"


def optional(rule: Rule) -> StatedRule:
    """Rule: None, or a value that ``rule`` allows."""
    accepts, bounds = (rule.accepts, rule.bounds) if isinstance(rule, StatedRule) else ("", {})
    return StatedRule(accepts, lambda value: None if value is None else rule(value), bounds)


def prompt(max_characters: int) -> StatedRule:
    """Rule: a prompt of 3 to ``max_characters`` characters (code points) that the API can use."""

    def check(value: object) -> str | None:
        if value is None:
            return f"is required: 3 to {max_characters} characters"
        if not isinstance(value, str):
            return f"must be text; got {shown(value)}"
        if not 3 <= len(value) <= max_characters:
            return f"must have 3 to {max_characters} characters; got {len(value)}"
        return _prompt_content_fault(value)

    return StatedRule(
        f"3 to {max_characters} characters", check, {"minLength": 3, "maxLength": max_characters}
    )


def media_url(*, only_pictures: bool = False) -> StatedRule:
    """Rule: a public https URL, a link to the output of another job, or a local file.

    Args:
        only_pictures: whether clips are refused. A link shows which it is; a file is inspected before it is
            sent; the content of a URL is not known.
    """

    def check(value: object) -> str | None:
        if not isinstance(value, str):
            return f"must be a URL as text, or a pathlib.Path; got {shown(value)}"
        if isinstance(value, LocalFile):
            return file_fault(value)
        if value.startswith(SIGN):
            return _link_fault(value, only_pictures=only_pictures)
        fault = public_url_fault(value)
        local = "; for a local file, pass a pathlib.Path" if fault and fault.endswith("no scheme") else ""
        return f"{shown_url(value)} {fault}{local}" if fault else None

    return StatedRule("a picture" if only_pictures else "a picture or clip", check)


def _link_fault(text: str, *, only_pictures: bool) -> str | None:
    link = parse_link(text)
    if link is None:
        return (
            f"{text!r:.80} is neither an asset nor a link: write $NAME.video, $NAME.last_frame, $NAME.image "
            "or, of several, $NAME.image[2]"
        )
    if only_pictures and not link.is_picture:
        return f"must be a picture; {text!r:.80} is a clip (its last picture is {SIGN}{link.job}.last_frame)"
    return None


def media_urls(maximum: int, *, only_pictures: bool = False) -> StatedRule:
    """Rule: at most ``maximum`` of what ``media_url`` allows; the minimum depends on the request's mode."""
    one = media_url(only_pictures=only_pictures)

    def check(value: object) -> str | None:
        if isinstance(value, str):
            urls = ", ".join(map(shown_url, split_urls(value)))
            return f"must be a list of URLs, not one text; write [{urls}]"
        if not isinstance(value, tuple):
            return f"must be a list of URLs; got {shown(value)}"
        faults = [f"[{index}] {fault}" for index, url in enumerate(value) if (fault := one(url))]
        if len(value) > maximum:
            faults.insert(0, f"may hold at most {maximum} URLs; got {len(value)}")
        return "; ".join(faults) or None

    accepts = f"1 to {maximum} {'pictures' if only_pictures else 'pictures and clips'}"
    return StatedRule(accepts, check, {"maxItems": maximum})


def split_urls(text: str) -> list[str]:
    """The URLs and links in one text, separated by blanks, commas or semicolons."""
    return [url for part in _BETWEEN_URLS.split(text) if (url := part.strip(",;"))]


def _prompt_content_fault(text: str) -> str | None:
    if "\x00" in text:
        return "contains a NUL character"
    if re.search(r"[\ud800-\udfff]", text):
        return "contains a lone surrogate (half a character), which UTF-8 cannot carry"
    if _ASSET_URL.search(text):
        return "contains an asset:// URL; describe the asset's role in words and pass a public https URL"
    if label := IN_APP_LABEL.search(unicodedata.normalize("NFKC", text)):
        return f"contains the in-app label {label[0]!r}; describe the asset's role in words instead"
    return None
