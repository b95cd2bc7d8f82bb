"""The credits that are believed to have been given back.

A refund makes room under a cap or a standing limit, so one that is only stated is not enough: it counts for a
task that failed, which is the only case that the vendor documents, and is at most what was charged.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seedance_async.models import Task


def given_back(task: Task) -> float:
    """Credits that a task was refunded; 0 for one that has not failed, whatever the server says."""
    return at_most_charged(task.credits_refunded or 0.0, task.credits_used) if task.is_failed else 0.0


def at_most_charged(refunded: float, charged: float | None) -> float:
    """A refund, which is at most its charge; as stated where the charge is None, not known."""
    return refunded if charged is None else min(refunded, charged)
