"""The reference of requests: every field with its accepted values and default, made from the classes. Pure.

The rules about several fields are written as text here; a test compares each of them with the classes.
"""

from __future__ import annotations

from typing import Final

import attrs
from attrs import frozen

from seedance_async.convertible import Convertible
from seedance_async.models.requests import REQUEST_TYPES
from seedance_async.models.rules import accepted

ABOUT: Final = {
    "prompt": "What to make.",
    "mode": "Follows from the media given.",
    "quality_tier": "Picture quality, and price.",
    "channel": "The vendor's route to the model.",
    "aspect_ratio": "Width to height.",
    "duration": "Seconds; of an extension, those that are added.",
    "resolution": "Size of the picture.",
    "image_url": "Start frame: a public https URL, or a local file with --media-store.",
    "end_image_url": "End frame, in addition to a start frame.",
    "media_urls": "Reference picture or clip; repeat for more.",
    "generate_audio": "Also make sound.",
    "fixed_lens": "Keep the camera still.",
    "seed": "The same seed makes the same clip again.",
    "type": "Follows from the pictures given.",
    "image_size": "Width to height.",
    "output_format": "File format.",
    "image_urls": "Source picture; repeat for more.",
    "batch_count": "How many pictures of the prompt, each a separate task.",
}
"""A description of every field of every request."""

CONFLICTS: Final = {
    "seedance2": (
        "image_url and end_image_url make it image-to-video, media_urls media-to-video; not both",
        "end_image_url needs an image_url",
        "resolution 1080p-plus and 4k need quality_tier pro",
        "seed is not taken on channel real, nor with quality_tier mini",
    ),
    "gpt-image-2": ("image_urls make it image-to-image",),
    "nano-banana-pro": ("image_urls make it image-to-image",),
}
"""The rules about several fields, by model. Source: the vendor's parameter tables."""


@frozen(kw_only=True)
class FieldReference(Convertible):
    """One field of a request.

    Attributes:
        name: the API's name of the field.
        accepts: the accepted values, in a few words.
        default: the value that is sent if the field is left out, as text; None if nothing is sent, or if the
            value depends on other fields.
        required: whether the field must be given.
        about: a description in one line.
    """

    name: str
    accepts: str
    default: str | None
    required: bool
    about: str


def fields_of(model: str) -> list[FieldReference]:
    """Every field of a model's request, in the order of the class.

    Args:
        model: a key of ``REQUEST_TYPES``, such as ``seedance2``.
    """
    return [
        FieldReference(
            name=field.name,
            accepts=accepted(field),
            default=_default(field.default),
            required=field.default is attrs.NOTHING,
            about=ABOUT[field.name],
        )
        for field in attrs.fields(REQUEST_TYPES[model])
    ]


def _default(value: object) -> str | None:
    """A default as JSON text; None if it is not a constant."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else None
