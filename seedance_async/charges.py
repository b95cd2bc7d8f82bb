"""The credits that a job is assumed to have cost, by the answer to its POST and by its tasks.

The higher statement counts: an answer may understate what its tasks cost. A task of several may state its own
share or what all of its POST cost together, which is not documented; a task that states more than its share
and not that sum contradicts the answer, and is believed. So is a task that states that sum, if one task alone
is known to cost as much: the answer stated the price of one then, and not of all.

Pure.
"""

from __future__ import annotations

from math import isclose
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def charged_by(
    booked: float | None, stated: Sequence[float | None], *, of_post: int, alone: float
) -> float | None:
    """Credits charged for a job; None if unknown.

    Args:
        booked: the job's share of the charge in the answer; None if there was none.
        stated: the charge that each of its tasks states, or None.
        of_post: the number of tasks of its POST.
        alone: the highest price known of one such task alone; 0 if none is.
    """
    known = [each for each in stated if each is not None]
    if not known or len(known) < len(stated):
        return booked
    if booked is None:
        return sum(known)
    more = exceeds(max(known), booked / len(known), of_post=of_post, alone=alone)
    return max(booked, sum(known)) if more else booked


def exceeds(stated: float, share: float, *, of_post: int, alone: float) -> bool:
    """Whether a task states more than the answer to its POST, of whose charge it has this share."""
    is_the_whole = isclose(stated, share * of_post) and stated > alone
    return stated > share and not isclose(stated, share) and not is_the_whole
