"""Requests: one immutable class for each of the vendor's three POST endpoints.

Fields have the API's names and values. Every rule of the vendor's parameter tables (llms.txt), for single
fields and for combinations, is checked on construction, so every instance is valid. The media decide the
mode: none is text-to-…, ``image_url`` or ``image_urls`` is image-to-…, ``media_urls`` is media-to-video. So
``mode`` and ``type`` may be left out; if given, they must agree with the media.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence  # noqa: F401 - a converter's annotation names it
from typing import ClassVar, Final, Generic, Literal, Self, TypeAlias, get_args

import attrs
from attrs import Factory, field, frozen

from seedance_async.answers import ImageOutput, OutputT_co, VideoOutput
from seedance_async.convertible import Convertible
from seedance_async.errors import ValidationError
from seedance_async.models.converters import url_text, url_tuple, whole_seconds
from seedance_async.models.display import shown, shown_optional_url, shown_prompt, shown_urls
from seedance_async.models.kinds import Kind
from seedance_async.models.links import Link, parse_link
from seedance_async.models.local_files import FilePath, LocalFile  # noqa: F401 - as above
from seedance_async.models.rules import (
    Problem,
    make_plain,
    media_url,
    media_urls,
    one_of,
    optional,
    prompt,
    ruled,
    true_or_false,
    validate,
    whole_number,
)
from seedance_async.suggestions import suggestion

VideoMode: TypeAlias = Literal["text-to-video", "image-to-video", "media-to-video"]
QualityTier: TypeAlias = Literal["mini", "standard", "pro"]
VideoChannel: TypeAlias = Literal["standard", "real", "wild"]
VideoAspectRatio: TypeAlias = Literal["1:1", "21:9", "4:3", "3:4", "16:9", "9:16", "adaptive"]
VideoResolution: TypeAlias = Literal["720p", "1080p", "1080p-plus", "4k"]
ImageType: TypeAlias = Literal["text-to-image", "image-to-image"]
ImageResolution: TypeAlias = Literal["1K", "2K", "4K"]
ImageChannel: TypeAlias = Literal["standard", "economy"]
ImageAspectRatio: TypeAlias = Literal[
    "auto", "1:1", "5:4", "9:16", "21:9", "16:9", "4:3", "3:2", "4:5", "3:4", "2:3", "2:1", "1:2", "3:1",
    "1:3", "9:21",
]  # fmt: skip
ImageSize: TypeAlias = Literal[
    "1:1", "9:16", "16:9", "3:4", "4:3", "3:2", "2:3", "5:4", "4:5", "21:9", "auto"
]
OutputFormat: TypeAlias = Literal["png", "jpeg"]

PRO_ONLY: Final = ("1080p-plus", "4k")

_PICTURE: Final = media_url(only_pictures=True)
_MODEL: Final = "model"
_FORBIDDEN_FIELDS: Final = {
    "provider": "must not be sent: the server picks the provider",
    "teamSlug": "must not be sent: calls spend the key owner's personal credits",
}

_MODE_OF_MEDIA: Final = {
    "image_url": "image-to-video",
    "end_image_url": "image-to-video",
    "media_urls": "media-to-video",
}


def _is_given(media: object) -> bool:
    """Whether a media field has a value, valid or not."""
    return media is not None and not (isinstance(media, tuple) and not media)


def _mode_of_media(request: Seedance2Video) -> VideoMode:
    if _is_given(request.media_urls):
        return "media-to-video"
    has_frame = _is_given(request.image_url) or _is_given(request.end_image_url)
    return "image-to-video" if has_frame else "text-to-video"


def _type_of_media(request: GptImage2 | NanoBananaPro) -> ImageType:
    return "image-to-image" if _is_given(request.image_urls) else "text-to-image"


class BaseRequest(Convertible, Generic[OutputT_co]):
    """The base class of requests; ``OutputT_co`` is the output of each of their tasks."""

    __slots__ = ()
    readable = True

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Self:
        """The request with these fields, by the API's names; None counts as left out, ``model`` is optional.

        Example:
            >>> Seedance2Video.from_dict({"prompt": "A paper boat crosses a pond", "duration": "8"})

        Raises:
            ValidationError: with every problem, unknown fields included, field by field.
        """
        if not isinstance(fields, Mapping):
            raise ValidationError(
                [("fields", f"must be a mapping; got {shown(fields)}")], subject=cls.__name__
            )
        own = {name: value for name, value in fields.items() if name != _MODEL}
        known = [field.name for field in attrs.fields(cls)]  # type: ignore[arg-type]  # every subclass is attrs'
        problems = [(name, _unknown_field(name, known)) for name in own if name not in known]
        word: str = getattr(cls, _MODEL)
        if fields.get(_MODEL, word) != word:
            problems.append((_MODEL, f"must be {word!r} here; got {shown(fields[_MODEL])}"))
        given = {name: own[name] for name in known if own.get(name) is not None}
        try:
            request = cls(**{"prompt": None, **given})
        except ValidationError as error:
            problems.extend(error.problems)
        else:
            if not problems:
                return request
        raise ValidationError(problems, subject=cls.__name__)


def meant_or_known(word: str, known: Collection[str]) -> str:
    """The end of a message about an unknown word: the word that was probably meant, else all known ones."""
    return suggestion(word, known) or f"; known are {', '.join(known)}"


def _unknown_field(name: str, known: Collection[str]) -> str:
    return _FORBIDDEN_FIELDS.get(name) or f"is not a field of this model{meant_or_known(str(name), known)}"


@frozen(kw_only=True)
class Seedance2Video(BaseRequest[VideoOutput]):
    """One Seedance 2 video: ``POST /video/seedance2``.

    Attributes:
        prompt: 3 to 10,000 characters.
        image_url: the first frame; required for image-to-video, not allowed in other modes. A
            ``pathlib.Path`` in any media field is a local file, which a client with a ``media_store``
            uploads.
        end_image_url: the last frame; optional, in image-to-video only.
        media_urls: 1 to 12 images and videos, in media-to-video only. Video URLs must support Range requests.
        mode: derived from the media if left out.
        quality_tier: ``mini``, ``standard`` or ``pro``: picture quality and price.
        channel: the vendor's route to the model: ``standard``, ``real`` or ``wild``.
        aspect_ratio: width to height; ``adaptive`` uses that of the media.
        duration: 4 to 15 seconds, as an int or a text of one. When extending a clip, the length added.
        resolution: ``720p``, ``1080p``, or, with ``quality_tier="pro"`` only, ``1080p-plus`` and ``4k``.
        generate_audio: whether it has sound.
        fixed_lens: whether the camera stays still.
        seed: -1 to 4,294,967,295; not on the ``real`` channel and not on the ``mini`` tier.

    Raises:
        ValidationError: with every problem, field by field.

    Example:
        >>> Seedance2Video(prompt="A paper boat crosses a pond", duration=8, aspect_ratio="9:16")
    """

    model: ClassVar[Literal["seedance2"]] = "seedance2"
    path: ClassVar[str] = "/video/seedance2"

    prompt: str = field(metadata=ruled(prompt(10_000)), repr=shown_prompt)
    image_url: str | None = field(
        default=None, converter=url_text, metadata=ruled(optional(_PICTURE)), repr=shown_optional_url
    )
    end_image_url: str | None = field(
        default=None, converter=url_text, metadata=ruled(optional(_PICTURE)), repr=shown_optional_url
    )
    media_urls: tuple[str, ...] = field(
        default=(), converter=url_tuple, metadata=ruled(media_urls(12)), repr=shown_urls
    )
    mode: VideoMode = field(
        default=Factory(_mode_of_media, takes_self=True), metadata=ruled(one_of(get_args(VideoMode)))
    )
    quality_tier: QualityTier = field(default="standard", metadata=ruled(one_of(get_args(QualityTier))))
    channel: VideoChannel = field(default="standard", metadata=ruled(one_of(get_args(VideoChannel))))
    aspect_ratio: VideoAspectRatio = field(default="16:9", metadata=ruled(one_of(get_args(VideoAspectRatio))))
    duration: int = field(
        default=5, converter=whole_seconds, metadata=ruled(whole_number(4, 15, of="seconds"))
    )
    resolution: VideoResolution = field(default="720p", metadata=ruled(one_of(get_args(VideoResolution))))
    generate_audio: bool = field(default=True, metadata=ruled(true_or_false))
    fixed_lens: bool = field(default=False, metadata=ruled(true_or_false))
    seed: int | None = field(default=None, metadata=ruled(optional(whole_number(-1, 2**32 - 1))))

    def __attrs_post_init__(self) -> None:
        make_plain(self)
        validate(self, [*self._media_conflicts(), *self._tier_conflicts()])

    @property
    def kind(self) -> Kind:
        """The class of work it belongs to, which decides its duration and price."""
        return Kind(
            model=self.model,
            quality_tier=self.quality_tier,
            channel=self.channel,
            resolution=self.resolution,
            seconds=self.duration,
        )

    def _media_conflicts(self) -> Iterator[Problem]:
        if self.mode not in get_args(VideoMode):
            return
        for name, mode in _MODE_OF_MEDIA.items():
            given = _is_given(getattr(self, name))
            if given and self.mode != mode:
                yield name, f"belongs to {mode} only; this is {self.mode}"
            elif not given and self.mode == mode and name != "end_image_url":
                yield name, f"is required for {mode}"

    def _tier_conflicts(self) -> Iterator[Problem]:
        if self.resolution in PRO_ONLY and self.quality_tier != "pro":
            yield "resolution", f"{self.resolution!r} is available with quality_tier='pro' only"
        if self.seed is not None and self.channel == "real":
            yield "seed", "is not supported on the 'real' channel"
        if self.seed is not None and self.quality_tier == "mini":
            yield "seed", "is not supported on the 'mini' tier"


@frozen(kw_only=True)
class GptImage2(BaseRequest[ImageOutput]):
    """One to four pictures by GPT Image 2: ``POST /image/gpt-image-2``.

    Attributes:
        prompt: 3 to 20,000 characters.
        image_urls: 1 to 10 source pictures, URLs or paths, in image-to-image only.
        type: derived from ``image_urls`` if left out; always sent, as the table requires.
        resolution: ``1K``, ``2K`` or ``4K``; required by the table, so the default is sent explicitly.
        aspect_ratio: width to height, or ``auto``; required by the table, so the default is sent explicitly.
        channel: the vendor's route to the model: ``standard`` or ``economy``.
        batch_count: 1 to 4 pictures, each a separate task.

    Raises:
        ValidationError: with every problem, field by field.
    """

    model: ClassVar[Literal["gpt-image-2"]] = "gpt-image-2"
    path: ClassVar[str] = "/image/gpt-image-2"

    prompt: str = field(metadata=ruled(prompt(20_000)), repr=shown_prompt)
    image_urls: tuple[str, ...] = field(
        default=(), converter=url_tuple, metadata=ruled(media_urls(10, only_pictures=True)), repr=shown_urls
    )
    type: ImageType = field(
        default=Factory(_type_of_media, takes_self=True), metadata=ruled(one_of(get_args(ImageType)))
    )
    resolution: ImageResolution = field(default="1K", metadata=ruled(one_of(get_args(ImageResolution))))
    aspect_ratio: ImageAspectRatio = field(default="auto", metadata=ruled(one_of(get_args(ImageAspectRatio))))
    channel: ImageChannel = field(default="standard", metadata=ruled(one_of(get_args(ImageChannel))))
    batch_count: int = field(default=1, metadata=ruled(whole_number(1, 4)))

    def __attrs_post_init__(self) -> None:
        make_plain(self)
        validate(self, _image_conflicts(self))

    @property
    def kind(self) -> Kind:
        """The class of work each picture belongs to, which decides its duration and price."""
        return Kind(model=self.model, channel=self.channel, resolution=self.resolution)


@frozen(kw_only=True)
class NanoBananaPro(BaseRequest[ImageOutput]):
    """One picture by Nano Banana Pro: ``POST /image/nano-banana-pro``.

    Attributes:
        prompt: 3 to 10,000 characters.
        image_urls: 1 to 8 source pictures, URLs or paths, in image-to-image only.
        type: derived from ``image_urls`` if left out; always sent, as the table requires.
        image_size: the aspect ratio, under the API's name of it for this model.
        output_format: ``png`` or ``jpeg``.
        resolution: ``1K``, ``2K`` or ``4K``.

    Raises:
        ValidationError: with every problem, field by field.
    """

    model: ClassVar[Literal["nano-banana-pro"]] = "nano-banana-pro"
    path: ClassVar[str] = "/image/nano-banana-pro"

    prompt: str = field(metadata=ruled(prompt(10_000)), repr=shown_prompt)
    image_urls: tuple[str, ...] = field(
        default=(), converter=url_tuple, metadata=ruled(media_urls(8, only_pictures=True)), repr=shown_urls
    )
    type: ImageType = field(
        default=Factory(_type_of_media, takes_self=True), metadata=ruled(one_of(get_args(ImageType)))
    )
    image_size: ImageSize = field(default="auto", metadata=ruled(one_of(get_args(ImageSize))))
    output_format: OutputFormat = field(default="png", metadata=ruled(one_of(get_args(OutputFormat))))
    resolution: ImageResolution = field(default="1K", metadata=ruled(one_of(get_args(ImageResolution))))

    def __attrs_post_init__(self) -> None:
        make_plain(self)
        validate(self, _image_conflicts(self))

    @property
    def kind(self) -> Kind:
        """The class of work it belongs to, which decides its duration and price."""
        return Kind(model=self.model, resolution=self.resolution)


def _image_conflicts(request: GptImage2 | NanoBananaPro) -> Iterator[Problem]:
    given = _is_given(request.image_urls)
    if request.type == "image-to-image" and not given:
        yield "image_urls", "is required for image-to-image"
    if request.type == "text-to-image" and given:
        yield "image_urls", "belongs to image-to-image only; this is text-to-image"


Request: TypeAlias = Seedance2Video | GptImage2 | NanoBananaPro
"""Any request class; works with ``isinstance``."""

MEDIA_FIELDS: Final = ("image_url", "end_image_url", "media_urls", "image_urls")
"""Fields that hold URLs, links or local files."""


def links(request: Request) -> Iterator[tuple[str, Link]]:
    """The links of a request, each with its field."""
    for name, text in media(request):
        if not isinstance(text, LocalFile) and (link := parse_link(text)):
            yield name, link


def local_files(request: Request) -> Iterator[tuple[str, LocalFile]]:
    """The local files of a request, each with its field."""
    for name, text in media(request):
        if isinstance(text, LocalFile):
            yield name, text


def media(request: Request) -> Iterator[tuple[str, str]]:
    """The URLs, links and local files of a request, each with its field."""
    for name in MEDIA_FIELDS:
        value = getattr(request, name, None)
        for text in (value,) if isinstance(value, str) else value or ():
            yield name, text


REQUEST_TYPES: Final[dict[str, type[Request]]] = {
    request_type.model: request_type for request_type in (Seedance2Video, GptImage2, NanoBananaPro)
}
"""The request class for each model, by the API's name of the model."""
