"""Expected cost and duration of one job, shown before it is paid, and the check of its cap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async.cli.estimate import SOURCES, recorded_prices
from seedance_async.credit_format import credit_count
from seedance_async.errors import CreditCapError
from seedance_async.prices import Tariff, price_of
from seedance_async.time_format import format_range

if TYPE_CHECKING:
    from seedance_async.cli.connection import Connection
    from seedance_async.models import Request
    from seedance_async.prices import Price
    from seedance_async.scheduling.duration import Duration


def expected_price(request: Request, connection: Connection) -> Price | None:
    """Return the price of its POST: what the account was charged before, else a published one, else None."""
    return price_of(Tariff.of(request), {}, recorded_prices(connection, warns=False))


def expectation(price: Price | None, duration: Duration) -> str:
    """Return one line with the expected credits and time, as ranges where they are uncertain."""
    time = format_range(duration.quantile(0.1), duration.quantile(0.9))
    if price is None:
        return f"expected: {time}; the price is unknown"
    amount = credit_count(price.high)
    if price.low != price.high:
        amount = f"{price.low:,.10g} to {amount}"
    return f"expected: {amount} ({SOURCES[price.source]}), {time}"


def check_cap(price: Price | None, cap: float | None) -> None:
    """Refuse a job that may cost more than the cap.

    Raises:
        CreditCapError: it may cost more, or its price is unknown. Nothing was sent.
    """
    if cap is None:
        return
    if price is None:
        raise CreditCapError("the price of this is unknown, so --max-credits cannot be guaranteed")
    if price.high > cap:
        raise CreditCapError(f"it may cost {credit_count(price.high)}, and --max-credits is {cap:,.10g}")
