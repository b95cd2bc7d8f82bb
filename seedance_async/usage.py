"""What a client has spent so far: requests of the allowance, and credits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from seedance_async.models import Submission, Task


@define(kw_only=True)
class Usage:
    """Counters of one client, from its opening on.

    ``submits`` and ``polls`` count wire attempts, so ``requests`` is what the account's limit saw of us.
    Credits are what the API said; answers that said nothing count 0.
    """

    submits: int = 0
    polls: int = 0
    retries: int = 0
    refusals: int = 0
    """Answers of 429."""
    credits_used: float = 0
    credits_refunded: float = 0
    balance: float | None = None
    """Credits left on the account when the API last said so; only image submissions tell."""

    @property
    def requests(self) -> int:
        """Wire attempts in all."""
        return self.submits + self.polls

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
        self.credits_refunded += task.credits_refunded or 0
