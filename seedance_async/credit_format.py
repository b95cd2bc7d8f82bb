"""Credits as text, the same wherever they are shown: live, at the end of a run and in the gallery. Pure."""

from __future__ import annotations


def format_credits(used: float, refunded: float | None = None, *, unit: str = "") -> str:
    """What was paid in the end, and where something was refunded, how that comes about.

    ``68 credits``, or ``44 credits (68 used, 24 refunded)``, with ``unit=" credits"``.
    """
    parts = f" ({used:,.10g} used, {refunded:,.10g} refunded)" if refunded else ""
    return f"{used - (refunded or 0.0):,.10g}{unit}{parts}"
