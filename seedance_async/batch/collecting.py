"""The recording of the outcomes of a post's tasks, in the journal and in the ledger."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from seedance_async import clocks
from seedance_async.batch import results
from seedance_async.batch.states import State
from seedance_async.errors import SeedanceError
from seedance_async.models import Submission, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.batch.journal import JobEntry, Journal
    from seedance_async.batch.ledger import Ledger
    from seedance_async.batch.queue import Post
    from seedance_async.batch.sending import Parts

End: TypeAlias = "tuple[JobEntry, SeedanceError | None]"
"""A job as the journal has it now, and its error, if any."""


class Collector:
    """Records the outcomes of the tasks of one run."""

    def __init__(self, journal: Journal, ledger: Ledger) -> None:
        self._journal = journal
        self._ledger = ledger

    async def record(self, post: Post, parts: Parts, outcomes: Sequence[Task | SeedanceError]) -> list[End]:
        """Store how each job of a post has ended.

        Args:
            post: an accepted post.
            parts: each job's part of the answer.
            outcomes: the outcomes of all tasks, in the order of the parts.

        Returns:
            The jobs with their errors. A job without a task in the answer is planned again if that proves it
            unpaid, and uncertain otherwise.
        """
        rest = iter(outcomes)
        by_number = {number: [next(rest) for _ in part.task_ids] for number, part in parts.items() if part}
        return [
            await self._record_one(job, parts[job.number], by_number[job.number])
            if job.number in by_number
            else await self._left_out(job)
            for job in post.jobs
        ]

    async def _record_one(
        self, job: JobEntry, part: Submission | None, outcomes: Sequence[Task | SeedanceError]
    ) -> End:
        errors = [outcome for outcome in outcomes if isinstance(outcome, SeedanceError)]
        if errors:
            return await self._unfinished(job, errors[0])
        tasks = [outcome for outcome in outcomes if isinstance(outcome, Task)]
        error = results.failure_among(tasks, job)
        finish = partial(self._journal.store.finish, now=clocks.wall_now())
        await self._journal.do(finish, job.number, tasks, error and error.message)
        entry = await self._entry(job.number)
        self._settle(entry, booked=None if part is None else part.credits_used)
        return entry, results.failure_among(tasks, entry)

    async def _unfinished(self, job: JobEntry, error: SeedanceError) -> End:
        """Note that the end of a paid job was not seen: it stays accepted, and the next run polls again."""
        await self._journal.do(self._journal.store.note, job.number, error.message)
        self._ledger.doubt(job.number)
        entry = await self._entry(job.number)
        error.idempotency_key = error.idempotency_key or entry.key
        error.task_id = error.task_id or next(iter(entry.task_ids), None)
        return entry, error

    async def _left_out(self, job: JobEntry) -> End:
        """Update the ledger for a job without a task in the answer to its shared POST."""
        entry = await self._entry(job.number)
        if entry.state is State.PLANNED:
            self._ledger.release(job.number)
        else:
            self._ledger.doubt(job.number)
        return entry, None

    def _settle(self, entry: JobEntry, *, booked: float | None) -> None:
        self._ledger.conclude(entry.number, entry.tariff, booked=booked, charged=entry.credits_used)
        self._ledger.refund(entry.number, entry.credits_refunded or 0.0, charged=entry.credits_used)

    async def _entry(self, number: int) -> JobEntry:
        return await self._journal.do(self._journal.store.entry, number)
