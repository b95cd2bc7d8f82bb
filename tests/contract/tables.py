"""The vendor's parameter tables as data: every row once, for tests of the client and of the server.

Written from the English reference (llms.txt) and the German page, at the level of the wire: an example
is what it changes in an endpoint's base body, ``ABSENT`` takes a field out. The models and the sandbox
are both compared with these tables; neither is written from the other.

Most refusals are the server's and ours alike. Two sorts are not: what only a ``server`` sees, since the
models fill it in (``type`` missing), and what only the ``client`` refuses, since the documents advise against
it and do not say what the server answers (in-app labels in a prompt).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

Body: TypeAlias = Mapping[str, object]
RefusedBy: TypeAlias = Literal["both", "server", "client"]

ABSENT: Final = object()
URL: Final = "https://cdn.example.com/a.png"
PROMPT: Final = "A glass train crosses a snowy mountain bridge"
HALF_A_CHARACTER: Final = "\ud83d"


@frozen
class Refused:
    """A change that makes the base body invalid, and a part of the reason the models give for it.

    Attributes:
        at: the field that is to blame, where it is not the row's own.
    """

    change: Body
    reason: str
    by: RefusedBy = field(default="both", kw_only=True)
    at: str | None = field(default=None, kw_only=True)


@frozen
class Row:
    """One line of a parameter table, or one rule between fields, with examples.

    Attributes:
        type: the vendor's word for it.
        required: the vendor's word for it.
        default: the value the server takes when the field is missing; ``ABSENT`` where the table has a dash.
    """

    field: str
    type: str
    required: str
    default: object
    accepted: tuple[Body, ...]
    refused: tuple[Refused, ...]


@frozen
class Endpoint:
    """A POST endpoint: its table, and the smallest body it accepts."""

    model: str
    path: str
    id_prefix: str
    base: Body
    rows: tuple[Row, ...]

    def body(self, change: Body) -> dict[str, object]:
        """The base body, changed."""
        return {name: value for name, value in {**self.base, **change}.items() if value is not ABSENT}


@frozen
class Case:
    """One example, ready to be sent: the whole body and what is to come of it.

    Attributes:
        field: what the example is about; for a refusal, the field to blame.
        reason: a part of the models' reason; None where the body is accepted.
    """

    id: str
    endpoint: Endpoint
    field: str
    body: Body
    reason: str | None = None


def accepted_cases() -> Iterator[Case]:
    """Every example a server must accept, the bare base bodies included."""
    for endpoint in ENDPOINTS:
        yield Case(f"{endpoint.model}-base", endpoint, "", endpoint.body({}))
        for row in endpoint.rows:
            for number, change in enumerate(row.accepted):
                yield Case(_id(endpoint, row, number, change), endpoint, row.field, endpoint.body(change))


def refused_cases(*by: RefusedBy) -> Iterator[Case]:
    """Every example that ``by`` refuse; ``refused_cases("both", "server")`` is what a server must refuse."""
    for endpoint in ENDPOINTS:
        for row in endpoint.rows:
            for number, refused in enumerate(row.refused):
                if refused.by in by:
                    yield Case(
                        _id(endpoint, row, number, refused.change),
                        endpoint,
                        refused.at or row.field,
                        endpoint.body(refused.change),
                        refused.reason,
                    )


def _id(endpoint: Endpoint, row: Row, number: int, change: Body) -> str:
    label = json.dumps(change, default=lambda _: "absent").replace(URL, "URL").replace('"', "")[1:-1]
    return f"{endpoint.model}-{row.field}-{number}-{label[:64]}"


def _words(name: str, *words: str, required: str = "No", default: object = ABSENT) -> Row:
    """A row that allows a handful of words."""
    missing = (Refused({name: ABSENT}, "", by="server"),) if required == "Yes" else ()
    wrong: tuple[object, ...] = ("", words[0].swapcase() + " ", "unheard-of", 5, True, [words[0]], {})
    accepted = tuple({name: word} for word in words)
    return Row(
        name, "string", required, default, accepted, missing + _refused(name, "must be one of", *wrong)
    )


def _flag(name: str, *, default: bool) -> Row:
    wrong = _refused(name, "must be true or false", "false", "true", "", 0, 1, [])
    return Row(name, "boolean", "No", default, ({name: True}, {name: False}), wrong)


def _never(name: str, value: object, reason: str) -> Row:
    """A field that is in no table, or that the documents forbid by name."""
    return Row(name, "", "never", ABSENT, (), (Refused({name: value}, reason),))


def _refused(name: str, reason: str, *values: object) -> tuple[Refused, ...]:
    return tuple(Refused({name: value}, reason) for value in values)


def _prompt(most: int) -> Row:
    length = f"must have 3 to {most} characters"
    return Row(
        "prompt",
        "string",
        "Yes",
        ABSENT,
        (
            {"prompt": "cat"},
            {"prompt": "猫猫猫"},
            {"prompt": "x" * most},
            {"prompt": "🐈" * 3},
            {"prompt": "Write to mia@example.com, or to @mia2024 and @小明2024"},
            {"prompt": 'Quotes ", a \\ backslash,\nlines and\ttabs'},
        ),
        (
            Refused({"prompt": ABSENT}, "is required"),
            *_refused("prompt", length, "", "ab", "x" * (most + 1)),
            *_refused("prompt", "must be text", 123, True, ["A cat"], {"text": "A cat"}),
            Refused({"prompt": "Use @图片1 as the lead"}, "in-app label '@图片1'", by="client"),
            Refused({"prompt": "Cut to @视频 12 at the end"}, "in-app label", by="client"),
            Refused({"prompt": "With the sound of \uff20音频\uff11"}, "in-app label", by="client"),
            Refused({"prompt": "Match asset://clip-9 in style"}, "asset://", by="client"),
            Refused({"prompt": "Match ASSET://clip-9 in style"}, "asset://", by="client"),
            Refused({"prompt": "A cat\x00"}, "NUL", by="client"),
            Refused({"prompt": f"A cat {HALF_A_CHARACTER}"}, "half a character", by="client"),
        ),
    )


BAD_URLS: Final[tuple[tuple[object, str], ...]] = (
    ("http://cdn.example.com/a.png", "must be a public https URL"),
    ("ftp://cdn.example.com/a.png", "must be a public https URL"),
    ("data:image/png;base64,AAAA", "must be a public https URL"),
    ("//cdn.example.com/a.png", "must be a public https URL"),
    ("cdn.example.com/a.png", "must be a public https URL"),
    ("", "must be a public https URL"),
    ("asset://picture-1", "is an asset:// URL"),
    ("https://", "has no usable host name"),
    ("https://localhost/a.png", "private network"),
    ("https://127.0.0.1/a.png", "not a public address"),
    ("https://10.0.0.8/a.png", "not a public address"),
    ("https://192.168.1.4:8443/a.png", "not a public address"),
    ("https://169.254.169.254/latest/meta-data/", "not a public address"),
    ("https://[::1]/a.png", "not a public address"),
    (5, "must be a URL as text"),
    (True, "must be a URL as text"),
)
"""Values that no URL field takes, and a part of the reason."""


def _url_list(name: str, mode: Body, *, most: int, required: str, mode_name: str, other: Body) -> Row:
    """A row that takes 1 to ``most`` URLs, in ``mode`` only; ``other`` is a mode without them."""
    return Row(
        name,
        "string[] (URL)",
        required,
        ABSENT,
        (
            {**mode, name: [URL]},
            {**mode, name: [URL, URL]},
            {**mode, name: [f"{URL}?n={number}" for number in range(most)]},
        ),
        (
            Refused({**mode, name: ABSENT}, f"is required for {mode_name}"),
            Refused({**mode, name: []}, f"is required for {mode_name}"),
            Refused({**mode, name: [URL] * (most + 1)}, f"at most {most} URLs; got {most + 1}"),
            Refused({**mode, name: URL}, "must be a list of URLs, not one text"),
            Refused({**mode, name: {"0": URL}}, "must be a list of URLs"),
            Refused({**mode, name: [None]}, "must be a URL as text"),
            Refused({**other, name: [URL]}, f"belongs to {mode_name} only"),
            *(Refused({**mode, name: [URL, value]}, reason) for value, reason in BAD_URLS),
        ),
    )


_TEXT_VIDEO: Final[Body] = {"mode": "text-to-video"}
_IMAGE_VIDEO: Final[Body] = {"mode": "image-to-video"}
_MEDIA_VIDEO: Final[Body] = {"mode": "media-to-video"}
_TEXT_IMAGE: Final[Body] = {"type": "text-to-image"}
_IMAGE_IMAGE: Final[Body] = {"type": "image-to-image"}

_TYPE: Final = Row(
    "type",
    "string",
    "Yes",
    ABSENT,
    (_TEXT_IMAGE, {**_IMAGE_IMAGE, "image_urls": [URL]}),
    (
        *_refused("type", "must be one of", "", "text-to-video", 5, True, {}),
        Refused({"type": ABSENT}, "", by="server"),
    ),
)

VIDEO: Final = Endpoint(
    model="seedance2",
    path="/video/seedance2",
    id_prefix="sd2_",
    base={"prompt": PROMPT},
    rows=(
        Row(
            "mode",
            "string",
            "No",
            "text-to-video",
            (
                _TEXT_VIDEO,
                {**_IMAGE_VIDEO, "image_url": URL},
                {**_MEDIA_VIDEO, "media_urls": [URL]},
            ),
            (
                *_refused("mode", "must be one of", "", "txt2vid", "Text-To-Video", 5, True, {}),
                # Left out, the mode is text-to-video to the server; the models let it follow from the media.
                Refused({"image_url": URL}, "", by="server", at="image_url"),
                Refused({"media_urls": [URL]}, "", by="server", at="media_urls"),
            ),
        ),
        _words("quality_tier", "mini", "standard", "pro", default="standard"),
        _words("channel", "standard", "real", "wild", default="standard"),
        _prompt(10_000),
        _words("aspect_ratio", "1:1", "21:9", "4:3", "3:4", "16:9", "9:16", "adaptive", default="16:9"),
        Row(
            "duration",
            "string",
            "No",
            "5",
            tuple({"duration": str(seconds)} for seconds in range(4, 16)),
            _refused(
                "duration", "of seconds from 4 to 15", "", "3", "16", "-5", "5.5", "5s", "five", "\u0665"
            )
            + _refused("duration", "of seconds from 4 to 15", 5.5, True, False, ["5"], "9" * 5000),
        ),
        Row(
            "resolution",
            "string",
            "No",
            "720p",
            (
                *({"resolution": "720p", "quality_tier": tier} for tier in ("mini", "standard", "pro")),
                *({"resolution": "1080p", "quality_tier": tier} for tier in ("mini", "standard", "pro")),
                {"resolution": "1080p-plus", "quality_tier": "pro"},
                {"resolution": "4k", "quality_tier": "pro"},
            ),
            (
                *_refused("resolution", "must be one of", "", "480p", "4K", 720, True, {}),
                *_refused("resolution", "quality_tier='pro' only", "1080p-plus", "4k"),
                Refused({"resolution": "4k", "quality_tier": "mini"}, "quality_tier='pro' only"),
                Refused({"resolution": "1080p-plus", "quality_tier": "standard"}, "quality_tier='pro' only"),
            ),
        ),
        Row(
            "image_url",
            "string (URL)",
            "image-to-video only",
            ABSENT,
            ({**_IMAGE_VIDEO, "image_url": URL}, {**_IMAGE_VIDEO, "image_url": "https://8.8.8.8:8443/a?b=c"}),
            (
                Refused({**_IMAGE_VIDEO, "image_url": ABSENT}, "is required for image-to-video"),
                Refused({**_TEXT_VIDEO, "image_url": URL}, "belongs to image-to-video only"),
                Refused(
                    {**_MEDIA_VIDEO, "media_urls": [URL], "image_url": URL}, "belongs to image-to-video only"
                ),
                *(Refused({**_IMAGE_VIDEO, "image_url": value}, reason) for value, reason in BAD_URLS),
            ),
        ),
        Row(
            "end_image_url",
            "string (URL)",
            "No",
            ABSENT,
            ({**_IMAGE_VIDEO, "image_url": URL, "end_image_url": URL},),
            (
                Refused({**_IMAGE_VIDEO, "end_image_url": URL}, "is required", at="image_url"),
                Refused({**_TEXT_VIDEO, "end_image_url": URL}, "belongs to image-to-video only"),
                Refused(
                    {**_MEDIA_VIDEO, "media_urls": [URL], "end_image_url": URL},
                    "belongs to image-to-video only",
                ),
                *(
                    Refused({**_IMAGE_VIDEO, "image_url": URL, "end_image_url": value}, reason)
                    for value, reason in BAD_URLS
                ),
            ),
        ),
        _url_list(
            "media_urls",
            _MEDIA_VIDEO,
            most=12,
            required="media-to-video only",
            mode_name="media-to-video",
            other=_TEXT_VIDEO,
        ),
        _flag("generate_audio", default=True),
        _flag("fixed_lens", default=False),
        Row(
            "seed",
            "integer",
            "No",
            ABSENT,
            (
                {"seed": -1},
                {"seed": 0},
                {"seed": 4_294_967_295},
                {"seed": 7, "channel": "wild"},
                {"seed": 7, "quality_tier": "pro"},
            ),
            (
                *_refused("seed", "from -1 to 4294967295", -2, 4_294_967_296, 10**30, "7", 7.5, True, [7]),
                Refused({"seed": 7, "channel": "real"}, "not supported on the 'real' channel"),
                Refused({"seed": 7, "quality_tier": "mini"}, "not supported on the 'mini' tier"),
                Refused({"seed": -1, "quality_tier": "mini"}, "not supported on the 'mini' tier"),
            ),
        ),
        _never("provider", "kie", "the server picks the provider"),
        _never("teamSlug", "blue", "personal credits"),
        _never("promt", "A cat", "did you mean 'prompt'?"),
        _never("image_urls", [URL], "did you mean"),
    ),
)

GPT_IMAGE: Final = Endpoint(
    model="gpt-image-2",
    path="/image/gpt-image-2",
    id_prefix="gpt2_",
    base={**_TEXT_IMAGE, "prompt": PROMPT, "resolution": "1K", "aspect_ratio": "1:1"},
    rows=(
        _TYPE,
        _prompt(20_000),
        _words("resolution", "1K", "2K", "4K", required="Yes"),
        _words(
            "aspect_ratio",
            *("auto", "1:1", "5:4", "9:16", "21:9", "16:9", "4:3", "3:2", "4:5", "3:4", "2:3"),
            *("2:1", "1:2", "3:1", "1:3", "9:21"),
            required="Yes",
        ),
        _words("channel", "standard", "economy", default="standard"),
        Row(
            "batch_count",
            "integer",
            "No",
            1,
            tuple({"batch_count": count} for count in range(1, 5)),
            _refused("batch_count", "from 1 to 4", 0, 5, -1, "2", 2.5, True, [2]),
        ),
        _url_list(
            "image_urls",
            _IMAGE_IMAGE,
            most=10,
            required="image-to-image only",
            mode_name="image-to-image",
            other=_TEXT_IMAGE,
        ),
        _never("duration", "5", "is not a field"),
        _never("provider", "kie", "the server picks"),
    ),
)

NANO_BANANA: Final = Endpoint(
    model="nano-banana-pro",
    path="/image/nano-banana-pro",
    id_prefix="nbp_",
    base={**_TEXT_IMAGE, "prompt": PROMPT},
    rows=(
        _TYPE,
        _prompt(10_000),
        _words(
            "image_size",
            *("1:1", "9:16", "16:9", "3:4", "4:3", "3:2", "2:3", "5:4", "4:5", "21:9", "auto"),
            default="auto",
        ),
        _words("output_format", "png", "jpeg", default="png"),
        _words("resolution", "1K", "2K", "4K", default="1K"),
        _url_list(
            "image_urls",
            _IMAGE_IMAGE,
            most=8,
            required="image-to-image only",
            mode_name="image-to-image",
            other=_TEXT_IMAGE,
        ),
        _never("aspect_ratio", "1:1", "is not a field"),
        _never("batch_count", 2, "is not a field"),
        _never("teamSlug", "blue", "personal credits"),
    ),
)

ENDPOINTS: Final = (VIDEO, GPT_IMAGE, NANO_BANANA)
