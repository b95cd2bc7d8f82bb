"""Standing limits: the most credits of a day and of a month, and whether a POST may leave under them.

The law is that of a batch's ledger, over all that this machine sends: what is spent, what is held for POSTs
whose price is not known yet, and what the next one may cost, stay below each limit together.

* The next POST holds the highest price seen of its kind. Before the first, it holds all that is left, and is
  not sent at all where others were charged more than that.
* A price may rise at any POST, so while one is on the wire whose price is awaited, the next one waits.
* What a POST under way holds may turn out to be free; so a POST that would fit without it waits, too.
* A POST whose outcome nobody knows holds its price until it is collected under its key.

A day is a day of UTC, and so is the first of a month: the same for all processes, whatever their time zone. A
POST counts on the day on which it was sent first, and its refund takes it back there. What a wrong clock has
put into the future counts as well.

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
class Window:
    """One limit, and the days over which it holds.

    Attributes:
        name: ``day`` or ``month``.
        most: credits.
        first_day: the first day that counts, in days since 1970.
    """

    name: str
    most: float
    first_day: int


@frozen(kw_only=True)
class Standing:
    """How one limit stands, in credits.

    Attributes:
        spent: charged and not refunded.
        uncertain: held for POSTs of unknown outcome or price.
        under_way: held for POSTs that some process is sending.
    """

    window: Window
    spent: float
    uncertain: float
    under_way: float

    @property
    def left(self) -> float:
        """What the next POST may cost."""
        return self.window.most - self.spent - self.uncertain - self.under_way


@frozen
class Hold:
    """The POST may leave, and so much is held for it."""

    credits: float | None


@frozen
class Wait:
    """Another POST has to end first."""


@frozen(kw_only=True)
class Refusal:
    """The limit does not allow it.

    Attributes:
        price: what it would cost, as believed; None if nobody knows.
    """

    standing: Standing
    price: float | None

    @property
    def reason(self) -> str:
        """What is reached, and by what."""
        window, standing = self.window, self.standing
        held = f", {standing.uncertain:g} are held for what is uncertain" if standing.uncertain else ""
        costs = "has a price that nobody knows yet" if self.price is None else f"costs {self.price:g}"
        return (
            f"the standing limit of {credit_count(window.most)} a {window.name} is reached "
            f"(SEEDANCE_MAX_CREDITS_{window.name.upper()}): {standing.spent:g} are spent{held}, "
            f"and the next POST {costs}"
        )

    @property
    def window(self) -> Window:
        """The limit that is reached."""
        return self.standing.window


Decision: TypeAlias = Hold | Wait | Refusal


def day_of(instant: float) -> int:
    """The day of UTC of an instant of the wall clock, in days since 1970."""
    return int(instant // DAY)


def windows(limits: CreditLimits, now: float) -> Iterator[Window]:
    """The limits that are set, with the days they hold over now."""
    if limits.day is not None:
        yield Window(name="day", most=limits.day, first_day=day_of(now))
    if limits.month is not None:
        first = datetime.fromtimestamp(now, UTC).replace(day=1)
        yield Window(name="month", most=limits.month, first_day=day_of(first.timestamp()))


def decide(
    standings: Sequence[Standing], *, charged: float | None, documented: float, awaiting: bool
) -> Decision:
    """Whether a POST may leave.

    Args:
        standings: of every limit that is set; at least one.
        charged: the highest price seen of what it asks for; None before the first.
        documented: the most that others were charged for it, 0 if nobody has told.
        awaiting: whether a POST is on the wire whose price is awaited.
    """
    if awaiting:
        return Wait()
    price = charged or documented
    tight = [each for each in standings if not _fits(price, each.left, is_known=charged is not None)]
    for each in tight:
        if not _fits(price, each.left + each.under_way, is_known=charged is not None):
            return Refusal(standing=each, price=price or None)
    if tight:
        return Wait()
    return Hold(price if charged is not None else min(each.left for each in standings))


def _fits(price: float, left: float, *, is_known: bool) -> bool:
    return price <= left + ROUNDING and (is_known or left > 0)
