"""One run of a batch with a display, and its gallery afterwards."""

from __future__ import annotations

from contextlib import aclosing, suppress
from functools import partial
from math import ceil, floor
from typing import TYPE_CHECKING

from anyio import to_thread
from attrs import frozen

from seedance_async.batch.journal.remains import JOURNAL
from seedance_async.batch.report import write_gallery, write_gallery_of
from seedance_async.batch.states import State
from seedance_async.cli.batch_status import Monitor
from seedance_async.cli.output import write_message
from seedance_async.errors import CreditCapError, JournalError, StandingLimitError
from seedance_async.prices import most_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from pathlib import Path

    from seedance_async import BatchRunner, Job, SeedanceClient, Summary
    from seedance_async.batch.journal import Store
    from seedance_async.cli.batch_display import Display
    from seedance_async.cli.batch_status import Status


@frozen(kw_only=True)
class Shortfall:
    """Credits that a batch still needs after its cap has stopped it.

    Attributes:
        cap: a higher cap, enough for all remaining jobs of known price.
        rest: the most credits that these jobs cost.
        unpriced: number of remaining jobs of unknown price.
    """

    cap: int
    rest: float
    unpriced: int


class BatchRun:
    """One run of a batch.

    Args:
        directory: of the batch.
        display: shows the batch.
        is_recorded: whether the batch is added to this user's list of batches, which serves the note about
            the same manifest in another directory.

    Attributes:
        status: of the batch when the run ended, however it ended; None if the journal was never open.
        shortfall: the credits that the batch still needs, if its cap ended the run.
    """

    def __init__(self, directory: Path, display: Display, *, is_recorded: bool = False) -> None:
        self.status: Status | None = None
        self.shortfall: Shortfall | None = None
        self._page: Path | None = None
        self._has_written = False
        self._directory = directory
        self._display = display
        self._is_recorded = is_recorded

    async def run(self, client: SeedanceClient, batch: BatchRunner, jobs: str | Iterable[Job]) -> None:
        """Run every job of a manifest, or of a list, to its end, and write the gallery."""
        async with batch:
            plan = await batch.prepare(jobs) if isinstance(jobs, str) else None
            if isinstance(jobs, str) and plan is not None and self._is_recorded:
                await self._note_others(client, jobs, plan.to_send)
            with await Monitor.of(batch, client) as monitor:
                self._display.start(monitor)
                if plan is not None:
                    self._display.planned(plan)
                try:
                    await self._show_results(batch, jobs, monitor)
                finally:
                    self._display.stop()
                    self.status = monitor.status()
            # Before the batch is closed: only closing it ends a reroll, so after a crash the reroll goes on.
            self._page = await self._written(write_gallery_of(batch.journal, self._directory))
            self._has_written = True

    async def _note_others(self, client: SeedanceClient, manifest: str, to_send: int) -> None:
        """Warn, before anything is sent, of batches of the same manifest in other directories."""
        # Imported late: the budget's limiter takes long to load, and a help page does not need it.
        from seedance_async.cli.earlier_batches import record_batch  # noqa: PLC0415

        record = partial(
            record_batch, manifest, self._directory, account=client.account, base_url=client.base_url
        )
        for other in await to_thread.run_sync(record) if to_send else ():
            write_message(
                f"note: {other} has a batch of the same manifest, and this directory does not know its jobs: "
                f"{to_send:,} {'job is' if to_send == 1 else 'jobs are'} sent from here, and paid for again"
            )

    async def write_gallery(self) -> Path | None:
        """Write the gallery, unless the run has done so.

        Returns:
            Its first page; None if there is no batch, or if writing failed, which a message reports.
        """
        if self._has_written:
            return self._page
        if not (self._directory / JOURNAL).exists():  # nothing was sent
            return None
        return await self._written(write_gallery(self._directory))

    async def _written(self, writing: Awaitable[Path]) -> Path | None:
        try:
            return await writing
        except (
            OSError,
            JournalError,
        ) as problem:  # the results are saved: the exit code stays that of the run
            write_message(f"the gallery could not be written: {problem}")
            return None

    async def _show_results(self, batch: BatchRunner, jobs: str | Iterable[Job], monitor: Monitor) -> None:
        try:
            async with aclosing(batch.run(jobs)) as results:
                async for result in results:
                    self._display.job_ended(result)
                    await monitor.save()
                stopped = batch.summary.stopped
                if isinstance(stopped, CreditCapError) and not isinstance(stopped, StandingLimitError):
                    self.shortfall = await batch.journal.do(_shortfall, batch.journal.store, batch.summary)
        finally:
            with suppress(JournalError):  # must not hide the error that ended the run
                await monitor.save(at_end=True)


def _shortfall(store: Store, summary: Summary) -> Shortfall:
    """Return what a stopped batch still needs; runs in the journal's thread."""
    planned = {tariff: count for (tariff, state), count in store.tally().items() if state is State.PLANNED}
    rest, unpriced = most_of(planned, store.prices())
    bound = store.credits_used - store.credits_refunded + store.credits_doubted + summary.credits_reserved
    higher = floor(summary.max_credits or 0) + 1
    return Shortfall(cap=max(ceil(bound + rest), higher), rest=rest, unpriced=unpriced)
