"""The probable price of a job, and its source.

The vendor publishes no price list. The sources are the examples in its documentation, reports of users of the
real API, and the charges of the batch itself; a price is taken from the best of these and is never certain.
The price of a kind that nobody has reported is unknown; it is not guessed.

Pure.
"""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve, frozen

from seedance_async.models import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seedance_async.models import Request

Source = Literal["learned", "recorded", "documented", "observed"]


NOTHING_RECORDED: Final[Mapping[Kind, float]] = {}


FAR_BELOW: Final = 4.0
"""So many times below the documented price, a charge is in doubt; users saw up to a third less."""

EXAMPLE_SECONDS: Final = 5
"""The length of the clip in the vendor's example, in seconds."""


@frozen
class Tariff:
    """The properties of a submission that determine its price.

    Attributes:
        kind: the kind of its tasks.
        tasks: how many tasks it starts, its ``batch_count``.
    """

    kind: Kind
    tasks: int = 1

    @classmethod
    def of(cls, request: Request) -> Tariff:
        """The tariff of a request's POST."""
        return cls(request.kind, getattr(request, "batch_count", 1))


@frozen
class Price:
    """The price of one submission, in credits.

    Attributes:
        low: the lowest price known.
        high: the highest price known.
        source: the source of the higher price: ``learned`` from this batch's own charges, ``recorded`` for
            other POSTs of the account, ``documented`` in an example of the vendor's, or ``observed`` by
            users.
        low_source: the source of the lower price; None if it is the same.
        basis: what the source states, if the price is calculated from it.
    """

    low: float
    high: float
    source: Source
    low_source: Source | None = None
    basis: str = ""

    @property
    def sources(self) -> tuple[Source, Source]:
        """The sources of the lower and the higher price."""
        return self.low_source or self.source, self.source


def price_of(
    tariff: Tariff, learned: Mapping[Tariff, float], recorded: Mapping[Kind, float] = NOTHING_RECORDED
) -> Price | None:
    """The price of a submission; None if it is unknown.

    Args:
        tariff: the properties of the submission.
        learned: prices that were charged in this batch.
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
    if one is None or tariff.tasks == 1:
        return one
    # The price of several pictures in one submission is not reported; probably each costs the same.
    low, high = one.low * tariff.tasks, one.high * tariff.tasks
    return evolve(one, low=low, high=high, basis=f"{one.high:g} for one")


def most_of(jobs: Mapping[Tariff, int], learned: Mapping[Tariff, float]) -> tuple[float, int]:
    """The highest total price of the jobs with a known price, and the number of jobs without one."""
    prices = [(count, price_of(tariff, learned)) for tariff, count in jobs.items()]
    unknown = sum(count for count, price in prices if price is None)
    return sum(count * price.high for count, price in prices if price is not None), unknown


def documented_price(tariff: Tariff) -> float:
    """The highest price reported for a submission; 0 if none is."""
    price = price_of(tariff, {})
    return 0.0 if price is None else price.high


def is_in_doubt(price: float, tariff: Tariff) -> bool:
    """Whether a price is so far below the documented one that it may not be that of the next submission."""
    return price * FAR_BELOW < documented_price(tariff)


def _clip(kind: Kind) -> Price | None:
    known = _CLIPS_A_SECOND.get((kind.quality_tier, kind.channel, kind.resolution))
    if known is None or kind.seconds is None:
        return None
    rate, source = known
    amount = round(rate * kind.seconds, 6)
    if source == "observed":
        basis = f"{rate:g} a second"
    else:
        basis = (
            "" if kind.seconds == EXAMPLE_SECONDS else f"{rate * EXAMPLE_SECONDS:g} for {EXAMPLE_SECONDS} s"
        )
    return Price(floor(amount), ceil(amount), source, basis=basis)


_CLIPS_A_SECOND: Final[Mapping[tuple[str | None, ...], tuple[float, Source]]] = {
    ("standard", "standard", "720p"): (6.0, "documented"),  # 30 credits for 5 s
    ("mini", "standard", "720p"): (2.2, "observed"),
    ("standard", "standard", "1080p"): (14.5, "observed"),
    ("pro", "standard", "720p"): (11.0, "observed"),
    ("pro", "standard", "1080p"): (24.0, "observed"),
}
_PICTURES: Final[Mapping[tuple[str | None, ...], Price]] = {
    ("gpt-image-2", "standard", "1K"): Price(8, 8, "documented"),
    ("nano-banana-pro", None, "1K"): Price(8, 12, "documented", low_source="observed"),  # one user saw 8
}
