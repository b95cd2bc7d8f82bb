"""Kinds: classes of work that take about as long and cost the same.

What is learned from one task (its duration, its price) is a fair guess for another of its kind. A kind never
seen before borrows from a coarser one: first any length of clip, then any channel, any resolution, any tier,
and in the end any model.
"""

from __future__ import annotations

from typing import Final

import attrs
from attrs import frozen

_PREFIXES: Final = {"sd2_": "seedance2", "gpt2_": "gpt-image-2", "nbp_": "nano-banana-pro"}
_FORGOTTEN_IN_ORDER: Final = ("seconds", "channel", "resolution", "quality_tier", "model")


@frozen(kw_only=True, cache_hash=True)
class Kind:
    """A class of work; a field that does not apply to the model, or is not known, is None.

    Attributes:
        seconds: length of the clip asked for.
    """

    model: str | None = None
    quality_tier: str | None = None
    channel: str | None = None
    resolution: str | None = None
    seconds: int | None = None

    @property
    def fallbacks(self) -> tuple[Kind, ...]:
        """This kind, then ever coarser ones, each once; the last is ``Kind()``."""
        kinds = [self]
        for name in _FORGOTTEN_IN_ORDER:
            if getattr(kinds[-1], name) is not None:
                kinds.append(attrs.evolve(kinds[-1], **{name: None}))
        return tuple(kinds)

    @classmethod
    def of_task_id(cls, task_id: str) -> Kind:
        """What a task's id alone tells: the documented prefix names the model; else the vaguest kind."""
        prefix, mark, _ = task_id.partition("_")
        return cls(model=_PREFIXES.get(prefix + mark))
