"""The state changes of jobs that failed and were refunded: they are planned again, a limited number of times.

The count belongs to the name and request of a job, not to its row, so it is kept for a job that is removed
from the manifest and comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.batch.journal.link_moves import LinkMoves
from seedance_async.batch.journal.records import JobEntry
from seedance_async.batch.journal.take_moves import AGAIN
from seedance_async.batch.journal.transactions import transaction
from seedance_async.batch.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE: Final = 500

_REFUNDED: Final = f"state = '{State.FAILED}' AND listed = 1 AND credits_refunded >= credits_used"
"""SQL: whether a job is proved to have cost nothing. An unknown amount is NULL, and proves nothing."""


@frozen(kw_only=True)
class RefundedFailure:
    """A job that failed and was refunded.

    Attributes:
        entry: the job now: planned again, or still failed.
        rerolls: how often it was planned again, in all runs, including this time.
        times_alike: how often in a row it has failed with the same error.
        error: that error.
        is_new: whether this failure was counted for the first time.
    """

    entry: JobEntry
    rerolls: int
    times_alike: int
    error: str | None
    is_new: bool

    @property
    def is_planned(self) -> bool:
        """Whether it is planned again."""
        return self.entry.state is State.PLANNED


class RefundedMoves(LinkMoves):
    """The state changes of refunded jobs."""

    def refunded(self, *, after: int) -> list[int]:
        """Return a page of the manifest's jobs that failed and were refunded, in order of their numbers."""
        rows = self.file.rows(
            f"SELECT number FROM jobs WHERE {_REFUNDED} AND {self._chosen} AND number > ? "
            "ORDER BY number LIMIT ?",
            after,
            PAGE,
        )
        return [number for (number,) in rows]

    @transaction
    def plan_refunded_again(self, numbers: Sequence[int], *, most: int) -> list[RefundedFailure]:
        """Plan and count again, in one transaction, those of these jobs that failed and were refunded.

        Args:
            numbers: numbers of jobs in any state.
            most: how often one job may be planned again.

        Returns:
            All that failed and were refunded, also those that have reached ``most``.
        """
        return [failure for number in numbers if (failure := self._plan_refunded(number, most))]

    def _plan_refunded(self, number: int, most: int) -> RefundedFailure | None:
        found = self.file.row(
            f"SELECT fold, digest, error, post FROM jobs WHERE {_REFUNDED} AND number = ?", number
        )
        if found is None:
            return None
        fold, digest, error, post = found
        rerolls, alike, before, counted = self.file.row(
            "SELECT rerolls, alike, error, post FROM refunds WHERE fold = ? AND digest = ?", fold, digest
        ) or (0, 0, error, None)
        if counted != post:  # otherwise this failure was counted before
            alike = alike + 1 if error == before else 1
        is_allowed = rerolls < most
        self.file.write(
            "INSERT OR REPLACE INTO refunds VALUES (?, ?, ?, ?, ?, ?)",
            fold,
            digest,
            rerolls + is_allowed,
            alike,
            error,
            post,
        )
        if is_allowed:
            self.file.write(f"UPDATE jobs SET {AGAIN} WHERE number = ?", number)
            self.recount(number, State.FAILED, State.PLANNED)
        return RefundedFailure(
            entry=self._entries("number = ?", number, after=0, limit=1)[0],
            rerolls=rerolls + is_allowed,
            times_alike=alike,
            error=error,
            is_new=counted != post,
        )
