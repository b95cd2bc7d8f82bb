"""Kinds: classes of work with about the same duration and the same price.

The duration and the price of one task predict those of another of its kind. For an unknown kind, a more
general one is used: first with any length of clip, then any channel, any resolution, any tier, and finally
any model.
"""

from __future__ import annotations

from typing import Final

import attrs
from attrs import frozen

_PREFIXES: Final = {"sd2_": "seedance2", "gpt2_": "gpt-image-2", "nbp_": "nano-banana-pro"}
_GENERALIZED_IN_ORDER: Final = ("seconds", "channel", "resolution", "quality_tier", "model")


@frozen(kw_only=True, cache_hash=True)
class Kind:
    """A class of work; a field that does not apply to the model, or is not known, is None.

    Attributes:
        seconds: requested length of the clip.
    """

    model: str | None = None
    quality_tier: str | None = None
    channel: str | None = None
    resolution: str | None = None
    seconds: int | None = None

    @property
    def fallbacks(self) -> tuple[Kind, ...]:
        """This kind, followed by increasingly general ones without repetition; the last is ``Kind()``."""
        kinds = [self]
        for name in _GENERALIZED_IN_ORDER:
            if getattr(kinds[-1], name) is not None:
                kinds.append(attrs.evolve(kinds[-1], **{name: None}))
        return tuple(kinds)

    @property
    def words(self) -> str:
        """Its name, such as ``seedance2 pro 1080p 5 s``; ``standard`` values are left out."""
        words = [self.model, self.quality_tier, self.channel, self.resolution]
        name = " ".join(word for word in words if word and word != "standard")
        return f"{name} {self.seconds} s" if self.seconds else name

    @classmethod
    def of_task_id(cls, task_id: str) -> Kind:
        """The kind shown by the documented prefix of a task's id, with the model only; else ``Kind()``."""
        prefix, mark, _ = task_id.partition("_")
        return cls(model=_PREFIXES.get(prefix + mark))
