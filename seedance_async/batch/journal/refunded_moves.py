"""The moves of jobs that failed and were refunded: planned anew, a counted number of times.

The count belongs to the name and the request of a job, not to its row: a job that leaves the manifest and
comes back is still the same.
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
"""What is known to have cost nothing in the end. An amount that nobody stated is NULL, and proves nothing."""


@frozen(kw_only=True)
class RefundedFailure:
    """A job that failed and was refunded.

    Attributes:
        entry: as it stands now: planned, or failed still.
        rerolls: how often it was made anew, in all runs, this time included.
        times_alike: how often in a row it has failed in the same words.
        error: these words.
        is_new: whether it was not counted before.
    """

    entry: JobEntry
    rerolls: int
    times_alike: int
    error: str | None
    is_new: bool

    @property
    def is_planned(self) -> bool:
        """Whether it is to be made anew."""
        return self.entry.state is State.PLANNED


class RefundedMoves(LinkMoves):
    """The jobs of one batch that may be made anew."""

    def refunded(self, *, after: int) -> list[int]:
        """Jobs of the manifest that failed and were refunded, in order of their numbers, a page at a time."""
        rows = self.file.rows(
            f"SELECT number FROM jobs WHERE {_REFUNDED} AND {self._chosen} AND number > ? "
            "ORDER BY number LIMIT ?",
            after,
            PAGE,
        )
        return [number for (number,) in rows]

    @transaction
    def plan_refunded_again(self, numbers: Sequence[int], *, most: int) -> list[RefundedFailure]:
        """Plan each of these jobs anew that failed and was refunded, and count that, as one.

        Args:
            numbers: of jobs in any state.
            most: how often a job may be made anew.

        Returns:
            Those that failed and were refunded, also where they were made anew often enough.
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
        if counted != post:  # else an earlier run has counted this failure
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
