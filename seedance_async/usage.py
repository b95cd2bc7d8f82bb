"""The counters of one client: requests sent, and credits spent."""

from __future__ import annotations

from attrs import define

from seedance_async.convertible import Convertible
from seedance_async.models import Submission, Task


@define(kw_only=True)
class Usage(Convertible):
    """The counters of one client, from its opening on.

    ``submits`` and ``polls`` count attempts, so ``requests`` is the number that the account's limit counted.
    Credits are those that the API stated; an answer without a statement counts 0.
    """

    submits: int = 0
    polls: int = 0
    retries: int = 0
    refusals: int = 0
    """Answers with status 429."""
    finished_tasks: int = 0
    """Tasks that this client has seen become final."""
    credits_used: float = 0
    credits_refunded: float = 0
    balance: float | None = None
    """Credits left on the account by the API's last statement; only image submissions state it."""

    @property
    def requests(self) -> int:
        """The total number of attempts."""
        return self.submits + self.polls

    @property
    def share_of_bound(self) -> float | None:
        """The share of requests that was necessary, 0 to 1: two per finished task; None before the first."""
        return min(1.0, 2 * self.finished_tasks / self.requests) if self.finished_tasks else None

    def count(self, method: str) -> None:
        """Count one attempt."""
        if method == "POST":
            self.submits += 1
        else:
            self.polls += 1

    def accepted(self, submission: Submission) -> None:
        """Add the credits that a submission was charged."""
        self.credits_used += submission.credits_used or 0
        if submission.remaining_credits is not None:
            self.balance = submission.remaining_credits

    def finished(self, task: Task) -> None:
        """Add a finished task and its refund."""
        self.finished_tasks += 1
        self.credits_refunded += task.credits_refunded or 0
