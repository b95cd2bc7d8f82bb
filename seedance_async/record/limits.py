"""Standing limits: the most credits per day and per month, and whether a POST may be sent under them.

The rule is that of a batch's ledger, applied to everything this machine sends: the credits spent, the credits
held for POSTs whose price is not known yet, and the credits that the next POST may cost together stay within
each limit.

* The next POST holds the highest price seen for its kind. Before the first price of a kind is known, it holds
  all that is left, and it is not sent if the documented price is more than that.
* A price may rise at any POST. While a POST is on the wire and its price is awaited, the next one waits.
* Credits held for a POST under way may be released. A POST that would fit without them waits, too.
* An uncertain POST holds its price until its outcome is found under its idempotency key.

Days and months are those of UTC, the same for all processes, whatever their time zone. A POST counts on the
day on which it was last sent without an answer, and its refund is booked on the same day. Days in the future,
recorded under a wrong clock, count as well.

Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from seedance_async.credit_format import credit_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seedance_async.models import CreditLimits

DAY: Final = 86_400.0  # s
ROUNDING: Final = 1e-6  # credits


@frozen(kw_only=True)
class PeriodLimit:
    """One limit, and the period it applies to.

    Attributes:
        name: ``day`` or ``month``.
        most: the limit, in credits.
        first_day: the first day of the period, in days since 1970.
    """

    name: str
    most: float
    first_day: int


@frozen(kw_only=True)
class LimitUse:
    """The use of one limit so far, in credits.

    Attributes:
        limit: the limit.
        spent: charged and not refunded.
        uncertain: held for POSTs of unknown outcome or price.
        under_way: held for POSTs that a process is sending now.
    """

    limit: PeriodLimit
    spent: float
    uncertain: float
    under_way: float

    @property
    def left(self) -> float:
        """The most that the next POST may cost."""
        return self.limit.most - self.spent - self.uncertain - self.under_way


@frozen
class Hold:
    """The POST may be sent.

    Attributes:
        credits: held for it; None if no price is known and no limit is set.
    """

    credits: float | None


@frozen
class Wait:
    """Another POST has to end first."""


@frozen(kw_only=True)
class Refusal:
    """The POST would exceed a limit.

    Attributes:
        use: the limit and its use.
        price: the expected price of the POST; None if unknown.
    """

    use: LimitUse
    price: float | None

    @property
    def reason(self) -> str:
        """The error message: the limit, its use, and the price of the POST."""
        limit, use = self.limit, self.use
        held = f", {use.uncertain:g} are held for what is uncertain" if use.uncertain else ""
        costs = "has a price that is not known yet" if self.price is None else f"costs {self.price:g}"
        return (
            f"the standing limit of {credit_count(limit.most)} a {limit.name} is reached "
            f"(SEEDANCE_MAX_CREDITS_{limit.name.upper()}): {use.spent:g} are spent{held}, "
            f"and the next POST {costs}"
        )

    @property
    def limit(self) -> PeriodLimit:
        """The limit that is reached."""
        return self.use.limit


Decision: TypeAlias = Hold | Wait | Refusal


def day_of(instant: float) -> int:
    """Return the UTC day of an instant (in seconds since 1970), in days since 1970."""
    return int(instant // DAY)


def period_limits(limits: CreditLimits, now: float) -> Iterator[PeriodLimit]:
    """Yield the limits that are set, with their present periods; the longest period last."""
    if limits.day is not None:
        yield PeriodLimit(name="day", most=limits.day, first_day=day_of(now))
    if limits.month is not None:
        first = datetime.fromtimestamp(now, UTC).replace(day=1)
        yield PeriodLimit(name="month", most=limits.month, first_day=day_of(first.timestamp()))


def decide(uses: Sequence[LimitUse], *, charged: float | None, documented: float, awaiting: bool) -> Decision:
    """Decide whether a POST may be sent.

    Args:
        uses: the use of every limit that is set; at least one.
        charged: the highest price seen for such a POST; None before the first.
        documented: the most that others are documented to have paid for it; 0 if unknown.
        awaiting: whether a POST is on the wire whose price is awaited.
    """
    if awaiting:
        return Wait()
    price = charged or documented
    tight = [each for each in uses if not _fits(price, each.left, is_known=charged is not None)]
    for each in tight:
        if not _fits(price, each.left + each.under_way, is_known=charged is not None):
            return Refusal(use=each, price=price or None)
    if tight:
        return Wait()
    return Hold(price if charged is not None else min(each.left for each in uses))


def _fits(price: float, left: float, *, is_known: bool) -> bool:
    return price <= left + ROUNDING and (is_known or left > 0)
