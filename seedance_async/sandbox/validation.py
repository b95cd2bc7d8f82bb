"""The vendor's parameter tables, and whether a body keeps them.

Written from the vendor's documents alone and shared with nobody: the client has its own copy of these rules,
and a test holds both against the documents. The tables are read strictly. A duration is a *string* of whole
seconds, ``null`` is no value, a field that is not in the table is refused, and media are accepted only in the
mode they belong to ("text-to-video for no assets, image-to-video when using image_url, media-to-video when
using media_urls").
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from attrs import field, frozen

Check: TypeAlias = Callable[[object], str | None]
"""A value in; why it is refused out, or None."""
Combination: TypeAlias = Callable[[Mapping[str, object]], Iterator[str]]
"""All fields, defaults filled in; what is wrong about them together."""


@frozen(kw_only=True)
class Order:
    """A request body that keeps every rule, defaults filled in."""

    model: str
    fields: Mapping[str, object] = field(repr=False)

    def text(self, name: str) -> str:
        """The value of a field that the tables say is text."""
        return str(self.fields[name])

    @property
    def prompt(self) -> str:
        """What was asked for, in words."""
        return self.text("prompt")

    @property
    def seconds(self) -> int:
        """Length of the clip; 0 for a picture."""
        return int(self.text("duration")) if "duration" in self.fields else 0

    @property
    def batch_count(self) -> int:
        """How many tasks the order asks for."""
        return int(self.text("batch_count")) if "batch_count" in self.fields else 1


class RefusedError(Exception):
    """The body breaks the tables; the message names each field and its reason."""


@frozen
class _Field:
    check: Check
    required: bool = False
    default: object = None


@frozen(kw_only=True)
class _Table:
    model: str
    fields: Mapping[str, _Field]
    combination: Combination


def read_order(path: str, body: bytes) -> Order:
    """Read the body of a POST to ``path``, one of :data:`TABLES`.

    Raises:
        RefusedError: the body is not a JSON object, or breaks the endpoint's table.
    """
    table = TABLES[path]
    given = _read_object(body)
    if problems := list(_problems(table, given)):
        raise RefusedError("; ".join(problems))
    defaults = {name: rule.default for name, rule in table.fields.items() if rule.default is not None}
    return Order(model=table.model, fields=defaults | given)


def _read_object(body: bytes) -> dict[str, object]:
    try:
        document: object = json.loads(body, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise RefusedError("Invalid request body: not valid JSON") from error
    if not isinstance(document, dict):
        raise RefusedError("Invalid request body: must be a JSON object")
    return document


def _number(text: str) -> float:
    """JSON knows one sort of number: 3.0 is 3."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _problems(table: _Table, given: Mapping[str, object]) -> Iterator[str]:
    for name in given.keys() - table.fields.keys():
        yield _UNWELCOME.get(name, f"{name}: unsupported field")
    for name, rule in table.fields.items():
        if name in given and (reason := rule.check(given[name])):
            yield f"{name}: {reason}"
        elif name not in given and rule.required:
            yield f"{name}: is required"
    yield from table.combination(given)


# --- single values


def _one_of(*allowed: str) -> Check:
    return lambda value: None if value in allowed else f"must be one of {', '.join(allowed)}"


def _whole(low: int, high: int) -> Check:
    def check(value: object) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"must be an integer from {low} to {high}"

    return check


def _boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _clip_seconds(value: object) -> str | None:
    fits = isinstance(value, str) and _WHOLE_SECONDS.fullmatch(value) and 4 <= int(value) <= 15
    return None if fits else "must be a string of whole seconds from 4 to 15"


def _words(longest: int) -> Check:
    def check(value: object) -> str | None:
        if not isinstance(value, str) or not 3 <= len(value) <= longest:
            return f"must be a string of 3 to {longest} characters"
        if "asset://" in value:
            return "must not contain asset:// URLs"
        if label := _LABEL.search(value):
            return f"must not contain the in-app label {label[0]}"
        return None

    return check


def _public_url(value: object) -> str | None:
    if not isinstance(value, str):
        return "must be a string with a public https URL"
    if value.startswith("asset:"):
        return "asset:// URLs are not accepted"
    return None if _is_public(value) else "must be a public https URL"


def _urls(most: int) -> Check:
    def check(value: object) -> str | None:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            return f"must be a list of 1 to {most} public https URLs"
        reasons = (
            f"item {place}: {reason}" for place, url in enumerate(value) if (reason := _public_url(url))
        )
        return next(reasons, None)

    return check


def _is_public(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # a bad port raises here
    except ValueError:
        return False
    if parts.scheme != "https" or parts.username is not None or re.search(r"\s", url):
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host.strip(".") and not host.endswith(_PRIVATE_SUFFIXES)


# --- values together


def _video_together(given: Mapping[str, object]) -> Iterator[str]:
    mode = given.get("mode", "text-to-video")
    tier, channel = given.get("quality_tier", "standard"), given.get("channel", "standard")
    resolution = given.get("resolution", "720p")
    if resolution in ("1080p-plus", "4k") and tier != "pro":  # no set: what is asked for may have no hash
        yield f"resolution: {resolution} is available on quality_tier pro only"
    if "seed" in given and (tier == "mini" or channel == "real"):
        yield "seed: not supported on the real channel or mini tier"
    if mode == "image-to-video" and "image_url" not in given:
        yield "image_url: is required for mode image-to-video"
    if mode == "media-to-video" and "media_urls" not in given:
        yield "media_urls: is required for mode media-to-video"
    yield from _misplaced(given, mode, {"image_url": "image-to-video", "end_image_url": "image-to-video"})
    yield from _misplaced(given, mode, {"media_urls": "media-to-video"})


def _image_together(given: Mapping[str, object]) -> Iterator[str]:
    kind = given.get("type")
    if kind == "image-to-image" and "image_urls" not in given:
        yield "image_urls: is required for type image-to-image"
    yield from _misplaced(given, kind, {"image_urls": "image-to-image"})


def _misplaced(given: Mapping[str, object], mode: object, homes: Mapping[str, str]) -> Iterator[str]:
    for name, home in homes.items():
        if name in given and mode != home:
            yield f"{name}: is accepted with {home} only"


_LABEL: Final = re.compile(r"@(?:图片|图像|视频|音频)\d*")
_WHOLE_SECONDS: Final = re.compile(r"[1-9][0-9]?", re.ASCII)
_PRIVATE_SUFFIXES: Final = (".local", ".localhost", ".internal")
_UNWELCOME: Final = {
    "provider": "provider: unsupported field, the server picks the provider",
    "teamSlug": "teamSlug: unsupported field, calls spend the key owner's personal balance",
}
_RESOLUTIONS: Final = partial(_Field, _one_of("1K", "2K", "4K"))
_IMAGE_TYPE: Final = _Field(_one_of("text-to-image", "image-to-image"), required=True)

TABLES: Final[Mapping[str, _Table]] = {
    "/video/seedance2": _Table(
        model="seedance2",
        fields={
            "mode": _Field(
                _one_of("text-to-video", "image-to-video", "media-to-video"), default="text-to-video"
            ),
            "quality_tier": _Field(_one_of("mini", "standard", "pro"), default="standard"),
            "channel": _Field(_one_of("standard", "real", "wild"), default="standard"),
            "prompt": _Field(_words(10_000), required=True),
            "aspect_ratio": _Field(
                _one_of("1:1", "21:9", "4:3", "3:4", "16:9", "9:16", "adaptive"), default="16:9"
            ),
            "duration": _Field(_clip_seconds, default="5"),
            "resolution": _Field(_one_of("720p", "1080p", "1080p-plus", "4k"), default="720p"),
            "image_url": _Field(_public_url),
            "end_image_url": _Field(_public_url),
            "media_urls": _Field(_urls(12)),
            "generate_audio": _Field(_boolean, default=True),
            "fixed_lens": _Field(_boolean, default=False),
            "seed": _Field(_whole(-1, 4_294_967_295)),
        },
        combination=_video_together,
    ),
    "/image/gpt-image-2": _Table(
        model="gpt-image-2",
        fields={
            "type": _IMAGE_TYPE,
            "prompt": _Field(_words(20_000), required=True),
            "resolution": _RESOLUTIONS(required=True),
            "aspect_ratio": _Field(
                _one_of(
                    "auto", "1:1", "5:4", "9:16", "21:9", "16:9", "4:3", "3:2",
                    "4:5", "3:4", "2:3", "2:1", "1:2", "3:1", "1:3", "9:21",
                ),
                required=True,
            ),
            "channel": _Field(_one_of("standard", "economy"), default="standard"),
            "batch_count": _Field(_whole(1, 4), default=1),
            "image_urls": _Field(_urls(10)),
        },
        combination=_image_together,
    ),
    "/image/nano-banana-pro": _Table(
        model="nano-banana-pro",
        fields={
            "type": _IMAGE_TYPE,
            "prompt": _Field(_words(10_000), required=True),
            "image_size": _Field(
                _one_of("1:1", "9:16", "16:9", "3:4", "4:3", "3:2", "2:3", "5:4", "4:5", "21:9", "auto"),
                default="auto",
            ),
            "output_format": _Field(_one_of("png", "jpeg"), default="png"),
            "resolution": _RESOLUTIONS(default="1K"),
            "image_urls": _Field(_urls(8)),
        },
        combination=_image_together,
    ),
}  # fmt: skip
"""Endpoint to table, as the vendor prints them."""
