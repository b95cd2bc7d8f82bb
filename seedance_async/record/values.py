"""What is read from an account's record: POSTs, their tasks, and sums of credits."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

By: TypeAlias = Literal["day", "month", "model", "project"]
"""What sums are made by."""

ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
SUBMITTING: Final = "submitting"
UNCERTAIN: Final = "uncertain"


@frozen(kw_only=True)
class TaskRecord:
    """A task of an accepted POST.

    Attributes:
        status: how it ended, as the poll said that saw it; None before.
        credits_refunded: given back.
        ended_at: when that was seen.
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
        state: ``submitting`` while a process sends it; ``accepted``; ``refused``, which includes that it
            never left: it was not charged; ``uncertain``, where nobody can know: the same request under its
            key collects it.
        model: what it was sent for.
        tasks: those that it started.
        sent_at: when it was sent first.
        credits_used: what it was charged; None if nobody said so far.
        credits_held: what it may have been charged at most where that is not known, as far as anybody knows.
        project: None if it had none.
        prompt: None unless prompts are recorded.
        error: why it was not accepted, the name of an exception.
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
        """What was given back of all its tasks."""
        return sum(task.credits_refunded for task in self.tasks)


@frozen(kw_only=True)
class Spending:
    """The sums of some POSTs.

    Attributes:
        group: the day, month, model or project; None for POSTs that have none.
        posts: those that were accepted.
        credits_used: charged.
        credits_refunded: given back.
        uncertain: POSTs of which it is not known whether, or how much, they were charged.
        credits_uncertain: what these may have been charged, as far as anybody knows.
    """

    group: str | None
    posts: int = 0
    credits_used: float = 0.0
    credits_refunded: float = 0.0
    uncertain: int = 0
    credits_uncertain: float = 0.0

    @property
    def credits_spent(self) -> float:
        """Charged and not given back."""
        return self.credits_used - self.credits_refunded
