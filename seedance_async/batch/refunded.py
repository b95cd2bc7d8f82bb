"""The automatic repetition of jobs that failed and were refunded (``reroll_refunded``).

The server refunded all credits of such a job, so another attempt costs what the first one would have cost. It
is sent under a new key, and under the cap. The number of repetitions is stored in the transaction that plans
the job again, so a crash cannot increase it.

Refused jobs are not repeated, nor are jobs that were charged and not refunded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seedance_async.logs import Log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from seedance_async.batch.journal import JobEntry, Journal, RefundedFailure

log: Log = Log(__name__)

REPEATED: Final = (
    "%s failed twice in the same words, so its prompt or its picture is likely the cause: change that "
    "rather than ask again; %s"
)


class RefundedJobs:
    """The repetition of refunded jobs in one run.

    Args:
        journal: the batch's journal.
        most: how often one job is repeated, over all runs; 0 for never.
    """

    def __init__(self, journal: Journal, *, most: int) -> None:
        self._journal = journal
        self._most = most

    async def plan(self, failed: Iterable[int]) -> list[JobEntry]:
        """Plan again those of these jobs that were refunded and may be repeated; return their new entries."""
        store = self._journal.store
        failures = await self._journal.do(store.plan_refunded_again, sorted(failed), most=self._most)
        report(failures, most=self._most)
        return [failure.entry for failure in failures if failure.is_planned]


async def plan_earlier(journal: Journal, *, most: int) -> AsyncIterator[list[RefundedFailure]]:
    """Plan again the manifest's jobs that failed and were refunded in earlier runs; yield them in pages.

    Args:
        journal: the batch's journal.
        most: how often one job is repeated, over all runs; 0 for never.
    """
    store, last = journal.store, 0
    while most and (page := await journal.do(store.refunded, after=last)):
        yield await journal.do(store.plan_refunded_again, page, most=most)
        last = page[-1]


def report(failures: Sequence[RefundedFailure], *, most: int) -> None:
    """Log which jobs are made again, and which have failed twice with the same error."""
    for failure in failures:
        name = failure.entry.name
        if failure.times_alike == 2 and failure.is_new:
            log.warning(REPEATED, name, failure.error)
        if failure.is_planned:
            log.warning("%s is made again, %d of %d times: %s", name, failure.rerolls, most, failure.error)
