"""The values that are read from an account's record: POSTs, their tasks, and sums of credits."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

By: TypeAlias = Literal["day", "month", "model", "project"]
"""The property by which sums are grouped."""

ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
SUBMITTING: Final = "submitting"
UNCERTAIN: Final = "uncertain"


@frozen(kw_only=True)
class TaskRecord:
    """A task of an accepted POST.

    Attributes:
        status: the final status that a poll has seen; None before.
        credits_refunded: as reported by the server.
        ended_at: when the final status was seen.
    """

    id: str
    status: str | None = None
    credits_refunded: float = 0.0
    ended_at: datetime | None = None


@frozen(kw_only=True)
class PostRecord:
    """One POST.

    Attributes:
        key: its idempotency key.
        state: ``submitting`` while a process sends it; ``accepted``; ``refused`` if it was not charged, also
            if it was never sent; ``uncertain`` if the outcome is unknown: sending the same request again
            under its key finds it out.
        model: its model.
        tasks: the tasks that it started.
        sent_at: when it was first sent.
        credits_used: the charge; None if it is not known yet.
        credits_held: the expected charge while the real one is not known; None if settled or without a price.
        project: None if it had none.
        prompt: None unless prompts are recorded.
        error: why it was not accepted: the name of an exception, or a sentence.
    """

    key: str
    state: str
    model: str | None
    tasks: tuple[TaskRecord, ...] = ()
    sent_at: datetime
    credits_used: float | None = None
    credits_held: float | None = None
    project: str | None = None
    prompt: str | None = field(default=None, repr=False)
    error: str | None = None

    @property
    def credits_refunded(self) -> float:
        """The refunds of all its tasks."""
        return sum(task.credits_refunded for task in self.tasks)


@frozen(kw_only=True)
class Spending:
    """The sums of some POSTs.

    Attributes:
        group: the day, month, model or project; None for POSTs without one, and for the sum of all.
        posts: number of accepted POSTs.
        credits_used: charged.
        credits_refunded: refunded.
        uncertain: number of POSTs whose charge is not known.
        credits_uncertain: the expected charges of these.
    """

    group: str | None
    posts: int = 0
    credits_used: float = 0.0
    credits_refunded: float = 0.0
    uncertain: int = 0
    credits_uncertain: float = 0.0

    @property
    def credits_spent(self) -> float:
        """Charged and not refunded."""
        return self.credits_used - self.credits_refunded
