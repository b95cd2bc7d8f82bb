"""The credits that are assumed to be refunded.

A refund allows further spending under a cap or a standing limit, so the server's statement alone is not
enough: it counts only for a failed task, the only case that the vendor documents, and only up to the amount
charged.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.models import Task


def refunded_by(tasks: Sequence[Task], charged: float | None) -> float | None:
    """Credits that all tasks of a job were refunded; None if none of them states a refund."""
    stated = [given_back(task) for task in tasks if task.credits_refunded is not None]
    return at_most_charged(sum(stated), charged) if stated else None


def given_back(task: Task) -> float:
    """Credits that a task was refunded; 0 for one that has not failed, whatever the server says."""
    return at_most_charged(task.credits_refunded or 0.0, task.credits_used) if task.is_failed else 0.0


def at_most_charged(refunded: float, charged: float | None) -> float:
    """A refund, limited to the charge; unlimited if the charge is unknown (None)."""
    return refunded if charged is None else min(refunded, charged)
