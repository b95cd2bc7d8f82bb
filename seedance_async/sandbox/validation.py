"""The vendor's parameter tables, and the parser of request bodies that enforces them.

They are written from the vendor's documentation alone and shared with no other code: the client has its own
copy of these rules, and a test compares both with the documentation. The tables are applied strictly. A
duration is a *string* of whole seconds, ``null`` is not a value, a field that is not in the table is refused,
and media are accepted only in their mode ("text-to-video for no assets, image-to-video when using image_url,
media-to-video when using media_urls").
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

ValueCheck: TypeAlias = Callable[[object], str | None]
"""A function from a value to the reason why it is refused, or None."""
CombinationCheck: TypeAlias = Callable[[Mapping[str, object]], Iterator[str]]
"""A function from the fields of a body to the problems of their combination."""


@frozen(kw_only=True)
class GenerationRequest:
    """A valid request body, including defaults."""

    model: str
    fields: Mapping[str, object] = field(repr=False)

    def text(self, name: str) -> str:
        """The value of a text field."""
        return str(self.fields[name])

    @property
    def prompt(self) -> str:
        """The prompt."""
        return self.text("prompt")

    @property
    def seconds(self) -> int:
        """Length of the clip; 0 for a picture."""
        return int(self.text("duration")) if "duration" in self.fields else 0

    @property
    def batch_count(self) -> int:
        """How many tasks the request starts."""
        return int(self.text("batch_count")) if "batch_count" in self.fields else 1


class InvalidBodyError(Exception):
    """The body violates its table; the message states each field and the reason."""


@frozen
class _Field:
    check: ValueCheck
    required: bool = False
    default: object = None


@frozen(kw_only=True)
class _Table:
    model: str
    fields: Mapping[str, _Field]
    combination: CombinationCheck


NOTHING_LOCAL: Final[Mapping[str, str]] = {}


def parse_request(
    path: str, body: bytes, *, media_url: str = "", local_media: Mapping[str, str] = NOTHING_LOCAL
) -> GenerationRequest:
    """Parse the body of a POST to ``path``, one of :data:`TABLES`.

    Args:
        path: the endpoint.
        body: the body of the call.
        media_url: the origin of the server's own files, which count as public.
        local_media: by checked URL at loopback, why it cannot be used; an empty text if it can.

    Raises:
        InvalidBodyError: the body is not a JSON object, or violates the endpoint's table.
    """
    table = TABLES[path]
    given = _read_object(body)
    if problems := list(_problems(table, _with_own_media_public(given, media_url, local_media))):
        raise InvalidBodyError("; ".join(problems))
    defaults = {name: rule.default for name, rule in table.fields.items() if rule.default is not None}
    return GenerationRequest(model=table.model, fields=defaults | given)


def _with_own_media_public(
    given: dict[str, object], media_url: str, local_media: Mapping[str, str]
) -> dict[str, object]:
    if not media_url:
        return given

    def public(value: object) -> object:
        if isinstance(value, list):
            return [public(each) for each in value]
        is_own = isinstance(value, str) and value.startswith(f"{media_url}/")
        is_usable = isinstance(value, str) and local_media.get(value) == ""
        return "https://own.example.com/" if is_own or is_usable else value

    return {name: public(value) for name, value in given.items()}


def _read_object(body: bytes) -> dict[str, object]:
    try:
        document: object = json.loads(body, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError("Invalid request body: not valid JSON") from error
    if not isinstance(document, dict):
        raise InvalidBodyError("Invalid request body: must be a JSON object")
    return document


def _number(text: str) -> float:
    """A number; an integral float such as 3.0 becomes an int, as JSON has only one type of number."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _problems(table: _Table, given: Mapping[str, object]) -> Iterator[str]:
    for name in given.keys() - table.fields.keys():
        yield _UNSUPPORTED.get(name, f"{name}: unsupported field")
    for name, rule in table.fields.items():
        if name in given and (reason := rule.check(given[name])):
            yield f"{name}: {reason}"
        elif name not in given and rule.required:
            yield f"{name}: is required"
    yield from table.combination(given)


# --- single values


def _one_of(*allowed: str) -> ValueCheck:
    return lambda value: None if value in allowed else f"must be one of {', '.join(allowed)}"


def _whole(low: int, high: int) -> ValueCheck:
    def check(value: object) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"must be an integer from {low} to {high}"

    return check


def _boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _clip_seconds(value: object) -> str | None:
    fits = isinstance(value, str) and _WHOLE_SECONDS.fullmatch(value) and 4 <= int(value) <= 15
    return None if fits else "must be a string of whole seconds from 4 to 15"


def _prompt(longest: int) -> ValueCheck:
    def check(value: object) -> str | None:
        if not isinstance(value, str) or not 3 <= len(value) <= longest:
            return f"must be a string of 3 to {longest} characters"
        if "asset://" in value:
            return "must not contain asset:// URLs"
        if label := _IN_APP_LABEL.search(value):
            return f"must not contain the in-app label {label[0]}"
        return None

    return check


def _public_url(value: object) -> str | None:
    if not isinstance(value, str):
        return "must be a string with a public https URL"
    if value.startswith("asset:"):
        return "asset:// URLs are not accepted"
    return None if _is_public(value) else "must be a public https URL"


def _urls(most: int) -> ValueCheck:
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


# --- combinations of values


def _video_problems(given: Mapping[str, object]) -> Iterator[str]:
    mode = given.get("mode", "text-to-video")
    tier, channel = given.get("quality_tier", "standard"), given.get("channel", "standard")
    resolution = given.get("resolution", "720p")
    if resolution in ("1080p-plus", "4k") and tier != "pro":  # not in a set: the value may be unhashable
        yield f"resolution: {resolution} is available on quality_tier pro only"
    if "seed" in given and (tier == "mini" or channel == "real"):
        yield "seed: not supported on the real channel or mini tier"
    if mode == "image-to-video" and "image_url" not in given:
        yield "image_url: is required for mode image-to-video"
    if mode == "media-to-video" and "media_urls" not in given:
        yield "media_urls: is required for mode media-to-video"
    yield from _misplaced(given, mode, {"image_url": "image-to-video", "end_image_url": "image-to-video"})
    yield from _misplaced(given, mode, {"media_urls": "media-to-video"})


def _image_problems(given: Mapping[str, object]) -> Iterator[str]:
    kind = given.get("type")
    if kind == "image-to-image" and "image_urls" not in given:
        yield "image_urls: is required for type image-to-image"
    yield from _misplaced(given, kind, {"image_urls": "image-to-image"})


def _misplaced(given: Mapping[str, object], mode: object, required_modes: Mapping[str, str]) -> Iterator[str]:
    for name, required in required_modes.items():
        if name in given and mode != required:
            yield f"{name}: is accepted with {required} only"


_IN_APP_LABEL: Final = re.compile(r"@(?:图片|图像|视频|音频)\d*")
_WHOLE_SECONDS: Final = re.compile(r"[1-9][0-9]?", re.ASCII)
_PRIVATE_SUFFIXES: Final = (".local", ".localhost", ".internal")
_UNSUPPORTED: Final = {
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
            "prompt": _Field(_prompt(10_000), required=True),
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
        combination=_video_problems,
    ),
    "/image/gpt-image-2": _Table(
        model="gpt-image-2",
        fields={
            "type": _IMAGE_TYPE,
            "prompt": _Field(_prompt(20_000), required=True),
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
        combination=_image_problems,
    ),
    "/image/nano-banana-pro": _Table(
        model="nano-banana-pro",
        fields={
            "type": _IMAGE_TYPE,
            "prompt": _Field(_prompt(10_000), required=True),
            "image_size": _Field(
                _one_of("1:1", "9:16", "16:9", "3:4", "4:3", "3:2", "2:3", "5:4", "4:5", "21:9", "auto"),
                default="auto",
            ),
            "output_format": _Field(_one_of("png", "jpeg"), default="png"),
            "resolution": _RESOLUTIONS(default="1K"),
            "image_urls": _Field(_urls(8)),
        },
        combination=_image_problems,
    ),
}  # fmt: skip
"""The table of each endpoint, in the vendor's order."""
