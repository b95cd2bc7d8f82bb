"""The text form of credits, the same everywhere: live, at the end of a run and in the gallery. Pure."""

from __future__ import annotations


def credit_count(amount: float) -> str:
    """``1 credit``, ``12 credits``, ``1,234.5 credits``."""
    return f"{amount:,.10g} credit{'' if amount == 1 else 's'}"


def format_credits(used: float, refunded: float | None = None, *, with_unit: bool = False) -> str:
    """The net amount paid, and after a refund also both parts of it.

    ``68 credits``, or ``44 credits (68 used, 24 refunded)``; without the unit, only the numbers.
    """
    parts = f" ({used:,.10g} used, {refunded:,.10g} refunded)" if refunded else ""
    paid = used - (refunded or 0.0)
    return f"{credit_count(paid) if with_unit else f'{paid:,.10g}'}{parts}"
