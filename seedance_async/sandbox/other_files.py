"""Output files that differ from the request for the fault ``deliver``: smaller, shorter or silent ones.

    {"effect": "deliver", "on": "media", "count": null,
     "fields": {"size": "720x1280", "instead_of": "1080x1920"}}

Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen, validators

from seedance_async.sandbox.field_checks import flag, number, refuse_unknown, short_repr
from seedance_async.sandbox.outputs import Clip, Picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from attrs import Attribute

    from seedance_async.sandbox.faults import Fault

MAX_SIDE: Final = 8192
"""Pixels; drawing a larger file would take minutes."""

_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


def _size(_instance: object, attribute: Attribute[Any], value: object) -> None:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None or max(map(int, found.groups())) > MAX_SIDE:
        raise ValueError(
            f"{attribute.name} must be a size of at most {MAX_SIDE} pixels a side, such as 720x1280; "
            f"got {short_repr(value)}"
        )


@frozen(kw_only=True)
class OtherFile:
    """The properties of a file that differ from the request; all others are as requested.

    Attributes:
        size: width and height, such as ``720x1280``.
        instead_of: apply only to files that would have this size.
        scale: factor for both sides, if no size is given.
        seconds: length of a clip.
        audio: whether a clip has an audio track.
    """

    size: str | None = field(default=None, validator=validators.optional(_size))
    instead_of: str | None = field(default=None, validator=validators.optional(_size))
    scale: float = field(default=1.0, validator=number(0, 2, above=True))
    seconds: float | None = field(default=None, validator=validators.optional(number(0, 60, above=True)))
    audio: bool | None = field(default=None, validator=validators.optional(flag))

    @classmethod
    def read(cls, fields: Mapping[str, object]) -> OtherFile:
        """Make one from the fields of a fault.

        Raises:
            ValueError: an unknown field, or a value that its field does not accept.
        """
        refuse_unknown(fields, cls, what="the fields of deliver")
        return cls(**fields)  # type: ignore[arg-type]  # checked by the validators

    def of(self, content: Clip | Picture) -> Clip | Picture:
        """The file to make in place of ``content``."""
        if self.instead_of not in {None, f"{content.width}x{content.height}"}:
            return content
        sides = map(int, self.size.split("x")) if self.size else (content.width, content.height)
        width, height = (max(1, round(side * (1 if self.size else self.scale))) for side in sides)
        resized = evolve(content, width=width, height=height)
        if not isinstance(resized, Clip):
            return resized
        seconds = resized.seconds if self.seconds is None else self.seconds
        audio = resized.audio if self.audio is None else self.audio
        return evolve(resized, seconds=seconds, audio=audio)


def delivered(content: Clip | Picture, faults: Iterable[Fault]) -> Clip | Picture:
    """The file to make after applying the faults of its download."""
    for fault in faults:
        if fault.effect == "deliver":
            content = OtherFile.read(fault.fields).of(content)
    return content
