"""The probable price of a job, and who says so.

The vendor publishes no price list. There are its two documents' examples, what users of the real API have
seen, and what a batch has been charged itself; a price is the best of these, never a promise. Of a class of
work that nobody has told of, the price is unknown, and it is not guessed.

Pure.
"""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from seedance_async.models import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

Source = Literal["learned", "recorded", "documented", "observed"]


NOTHING_RECORDED: Final[Mapping[Kind, float]] = {}


@frozen
class Tariff:
    """What the price of a submission goes by.

    Attributes:
        kind: of the work.
        tasks: how many tasks one submission starts, its ``batch_count``.
    """

    kind: Kind
    tasks: int = 1


@frozen
class Price:
    """Credits of one submission.

    Attributes:
        low: at least.
        high: at most.
        source: ``learned`` from this batch's own charges, ``recorded`` of other POSTs of the account,
            ``documented`` in an example of the vendor's, or ``observed`` by users.
    """

    low: float
    high: float
    source: Source


def price_of(
    tariff: Tariff, learned: Mapping[Tariff, float], recorded: Mapping[Kind, float] = NOTHING_RECORDED
) -> Price | None:
    """The price of a submission; None if nobody knows.

    Args:
        tariff: what it goes by.
        learned: prices that were charged already.
        recorded: what the account was charged for one task of each kind.
    """
    if (charged := learned.get(tariff)) is not None:
        return Price(charged, charged, "learned")
    if (charged := recorded.get(tariff.kind)) is not None:
        return Price(charged * tariff.tasks, charged * tariff.tasks, "recorded")
    kind = tariff.kind
    one = (
        _clip(kind)
        if kind.model == "seedance2"
        else _PICTURES.get((kind.model, kind.channel, kind.resolution))
    )
    # Nobody has told what several pictures of one submission cost; that each costs the same is likely.
    return one and Price(one.low * tariff.tasks, one.high * tariff.tasks, one.source)


def documented_price(tariff: Tariff) -> float:
    """The most that anybody has told of being charged for a submission; 0 if nobody has."""
    price = price_of(tariff, {})
    return 0.0 if price is None else price.high


def _clip(kind: Kind) -> Price | None:
    told = _CLIPS_A_SECOND.get((kind.quality_tier, kind.channel, kind.resolution))
    if told is None or kind.seconds is None:
        return None
    rate, source = told
    credits_told = round(rate * kind.seconds, 6)
    return Price(floor(credits_told), ceil(credits_told), source)


_CLIPS_A_SECOND: Final[Mapping[tuple[str | None, ...], tuple[float, Source]]] = {
    ("standard", "standard", "720p"): (6.0, "documented"),  # 30 credits for 5 s
    ("mini", "standard", "720p"): (2.2, "observed"),
    ("standard", "standard", "1080p"): (14.5, "observed"),
    ("pro", "standard", "720p"): (11.0, "observed"),
    ("pro", "standard", "1080p"): (24.0, "observed"),
}
_PICTURES: Final[Mapping[tuple[str | None, ...], Price]] = {
    ("gpt-image-2", "standard", "1K"): Price(8, 8, "documented"),
    ("nano-banana-pro", None, "1K"): Price(8, 12, "documented"),  # 12 in the example; one user saw 8
}
