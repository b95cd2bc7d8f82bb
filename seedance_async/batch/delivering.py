"""The delivery of a run's results: a line in ``results.jsonl``, and the result to the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seedance_async.batch import results
from seedance_async.batch.journal.remains import RESULTS
from seedance_async.batch.states import State
from seedance_async.logs import Log

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.batch.jobs import JobResult
    from seedance_async.batch.journal import JobEntry, Journal
    from seedance_async.errors import SeedanceError
    from seedance_async.stream import Stream

log: Log = Log(__name__)

UNENDED: Final = frozenset({State.PLANNED, State.SUBMITTING, State.ACCEPTED})


class Delivery:
    """Delivers the results of one run."""

    def __init__(self, stream: Stream[JobResult], journal: Journal, directory: Path) -> None:
        self._stream = stream
        self._journal = journal
        self._directory = directory
        self._open: set[int] = set()

    async def deliver(self, entry: JobEntry, error: SeedanceError | None) -> None:
        """Deliver a job that has ended in this run, or makes no more progress in it."""
        if entry.state in UNENDED:
            self._open.add(entry.number)
        try:
            await self._journal.do(results.add, self._directory, entry)
        except OSError as problem:  # only a copy of the journal; rewritten at the end of the run
            log.warning("%s is not in %s: %s", entry.name, RESULTS, problem)
        if not await self._stream.deliver(results.result(entry, self._directory, error=error)):
            log.debug("%s ended after its caller had left", entry.name)

    async def deliver_earlier(self, entry: JobEntry) -> None:
        """Deliver a job that ended in an earlier run."""
        await self._stream.deliver(results.result(entry, self._directory, earlier=True))

    def has_delivered(self, number: int) -> bool:
        """Whether a job that has not ended was delivered already, with its error."""
        return number in self._open
