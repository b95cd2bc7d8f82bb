"""The counters of one client: requests sent, and credits spent."""

from __future__ import annotations

from attrs import define

from seedance_async.convertible import Convertible
from seedance_async.models import Submission, Task


@define(kw_only=True)
class Usage(Convertible):
    """Counters of one client, from its opening on.

    ``submits`` and ``polls`` count wire attempts, so ``requests`` is what the account's limit saw of us.
    Credits are what the API said; answers that said nothing count 0.
    """

    submits: int = 0
    polls: int = 0
    retries: int = 0
    refusals: int = 0
    """Answers of 429."""
    finished_tasks: int = 0
    """Tasks that this client's poller saw become final."""
    credits_used: float = 0
    credits_refunded: float = 0
    balance: float | None = None
    """Credits left on the account when the API last said so; only image submissions state it."""

    @property
    def requests(self) -> int:
        """Wire attempts in all."""
        return self.submits + self.polls

    @property
    def share_of_bound(self) -> float | None:
        """Part of the requests that was needed, 0 to 1: two for each finished task; None before the first."""
        return min(1.0, 2 * self.finished_tasks / self.requests) if self.finished_tasks else None

    def count(self, method: str) -> None:
        """Count one wire attempt."""
        if method == "POST":
            self.submits += 1
        else:
            self.polls += 1

    def accepted(self, submission: Submission) -> None:
        """Book what a submission was charged."""
        self.credits_used += submission.credits_used or 0
        if submission.remaining_credits is not None:
            self.balance = submission.remaining_credits

    def finished(self, task: Task) -> None:
        """Book what a finished task gave back."""
        self.finished_tasks += 1
        self.credits_refunded += task.credits_refunded or 0
