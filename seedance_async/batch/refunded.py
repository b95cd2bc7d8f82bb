"""The jobs of a run that failed, were refunded, and are made anew by themselves: ``reroll_refunded``.

The server gave all credits of such a job back, so another attempt costs what the first one would have. It is
sent under a key of its own, and under the cap. How often that was done is in the journal, written in the same
transaction that plans the job anew: no crash makes it happen more often.

What was refused never comes here, nor what was charged and not refunded.
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
    """What is made anew in one run.

    Args:
        journal: of the batch.
        most: how often a job is made anew, over all runs; 0 for never.
    """

    def __init__(self, journal: Journal, *, most: int) -> None:
        self._journal = journal
        self._most = most

    async def plan(self, failed: Iterable[int]) -> list[JobEntry]:
        """Plan those of these jobs anew that were refunded, and may be; each as it stands then."""
        store = self._journal.store
        failures = await self._journal.do(store.plan_refunded_again, sorted(failed), most=self._most)
        report(failures, most=self._most)
        return [failure.entry for failure in failures if failure.is_planned]


async def plan_earlier(journal: Journal, *, most: int) -> AsyncIterator[list[RefundedFailure]]:
    """Plan those jobs of the manifest anew that earlier runs left failed and refunded; a page at a time.

    Args:
        journal: of the batch.
        most: how often a job is made anew, over all runs; 0 for never.
    """
    store, last = journal.store, 0
    while most and (page := await journal.do(store.refunded, after=last)):
        yield await journal.do(store.plan_refunded_again, page, most=most)
        last = page[-1]


def report(failures: Sequence[RefundedFailure], *, most: int) -> None:
    """Log what is made anew, and what there is no sense in making anew."""
    for failure in failures:
        name = failure.entry.name
        if failure.times_alike == 2 and failure.is_new:
            log.warning(REPEATED, name, failure.error)
        if failure.is_planned:
            log.warning("%s is made anew, %d of %d times: %s", name, failure.rerolls, most, failure.error)
