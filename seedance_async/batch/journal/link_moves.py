"""The state changes of jobs with links: which can be sent, which are blocked, which are left for later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seedance_async.batch.journal.post_rows import PostRows
from seedance_async.batch.journal.transactions import transaction
from seedance_async.batch.states import HAS_OUTPUT, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.batch.journal.records import JobEntry

_NOT_YET: Final = "it takes the output of a job that has not ended; run again to continue"


class LinkMoves(PostRows):
    """The state changes that follow from links."""

    @transaction
    def sort_linked(self, numbers: Sequence[int] | None = None) -> None:
        """Block the planned jobs whose sources cannot deliver; called when a run begins.

        Args:
            numbers: the jobs to check; None checks all, after it has made blocked jobs planned again.
        """
        if numbers is None:
            for (blocked,) in self.file.rows("SELECT number FROM jobs WHERE state = ?", State.BLOCKED):
                self._move(blocked, State.PLANNED, "error = NULL")
        for number in self.waiting() if numbers is None else numbers:
            if self._is_planned(number) and (reason := self.obstacle(number)):
                blocked = self.block(number, reason)
                marks = ", ".join("?" * len(blocked))
                # For the present run they count as ended before it.
                self.file.write(f"UPDATE jobs SET run = ? WHERE number IN ({marks})", self.run - 1, *blocked)

    @transaction
    def pass_on(self, number: int) -> tuple[list[JobEntry], list[JobEntry]]:
        """Update the jobs that take the output of a job which has ended, for this run.

        Returns:
            The jobs that can be sent now, and those that are blocked now.
        """
        ready: list[int] = []
        blocked: list[int] = []
        state = State(self._job(number, "state")[0])
        for taker in self.takers(number):
            if not self._is_planned(taker):
                continue
            reason = self.obstacle(taker) or (None if state in HAS_OUTPUT else _NOT_YET)
            if reason:
                blocked += self.block(taker, reason)
            elif self.is_ready(taker):
                ready.append(taker)
        return [self.entry(each) for each in ready], [self.entry(each) for each in blocked]

    def block(self, number: int, reason: str) -> list[int]:
        """Block a planned job and all jobs that depend on it, and return them. Part of a transaction."""
        self._move(number, State.BLOCKED, "error = ?", reason)
        blocked = [number]
        for each in blocked:  # the list grows in the loop
            for taker in self.takers(each):
                self._move(taker, State.BLOCKED, "error = ?", self.obstacle(taker) or reason)
                blocked.append(taker)
        return blocked

    def _is_planned(self, number: int) -> bool:
        """Whether a job is still planned: it may have been blocked with another one that it takes."""
        return bool(self._job(number, "state") == (State.PLANNED,))

    @transaction
    def choose(self, pattern: str | None, only: Sequence[int] | None = None) -> int | None:
        """Choose the jobs of this run: all, or those that ``want`` finds; return how many are left."""
        self._chosen = "1"
        return 0 if pattern is None and only is None else self.want(pattern or "*", only)
