"""Lists in messages, shortened to their first entries. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST: Final = 80
"""The most characters of an entry that are shown: a job's name may be a whole prompt."""


def first_of(entries: Sequence[str], most: int = 5) -> str:
    """Return the first entries, and how many others there are.

    Args:
        entries: names, or texts of one line.
        most: how many are shown.

    Example:
        >>> first_of(["a", "b", "c"], 2)
        'a, b, and 1 more'
    """
    shown = ", ".join(f"{entry:.{LONGEST}}" for entry in entries[:most])
    return f"{shown}, and {len(entries) - most:,} more" if len(entries) > most else shown
