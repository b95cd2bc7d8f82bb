"""The text form of credits and of counts, the same everywhere: live, at the end and in the gallery. Pure."""

from __future__ import annotations


def counted(amount: float, noun: str) -> str:
    """``1 task``, ``0 tasks``, ``1,234 tasks``."""
    return f"{amount:,.10g} {noun}{'' if amount == 1 else 's'}"


def credit_count(amount: float) -> str:
    """``1 credit``, ``12 credits``, ``1,234.5 credits``."""
    return counted(amount, "credit")


def format_credits(used: float, refunded: float | None = None, *, with_unit: bool = False) -> str:
    """The net amount paid, and after a refund also both parts of it.

    ``68 credits``, or ``44 credits (68 used, 24 refunded)``; without the unit, only the numbers.
    """
    parts = f" ({used:,.10g} used, {refunded:,.10g} refunded)" if refunded else ""
    paid = used - (refunded or 0.0)
    return f"{credit_count(paid) if with_unit else f'{paid:,.10g}'}{parts}"
