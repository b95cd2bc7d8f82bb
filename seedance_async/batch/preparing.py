"""The preparation of a run: the choice of jobs to send, and the planning of jobs to make again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from seedance_async.batch import refunded, reroll
from seedance_async.batch.finals_planning import Finishing, chosen, finishing_of
from seedance_async.batch.intake import take_manifest, take_stream
from seedance_async.batch.journal import Changes, Journal, Rerolled
from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
    from os import PathLike
    from pathlib import Path

    from seedance_async.batch.jobs import Job
    from seedance_async.batch.journal import JobEntry
    from seedance_async.batch.run_options import PlanOptions
    from seedance_async.models import Request


class Preparation:
    """The steps before the first POST of a run.

    Args:
        directory: the batch directory.
        options: the choice of jobs.
        has_store: whether a media store is configured.

    Attributes:
        changes: the differences from the manifest of the previous run.
        later: number of jobs left for a later run.
        rerolled: the new takes that this run is to make.
    """

    def __init__(self, directory: Path, options: PlanOptions, *, has_store: bool) -> None:
        self.changes: Changes = Changes()
        self.later: int = 0
        self.rerolled: Rerolled = Rerolled()
        self._directory = directory
        self._options = options
        self._has_store = has_store
        self._finishing: Finishing | None = None
        self._to_reroll: list[int] = []

    async def take(self, journal: Journal, manifest: str | PathLike[str]) -> None:
        """Plan the jobs of a manifest, and find those that the options name. No re-rolls are planned yet.

        Raises:
            ManifestError: with every problem of the manifest.
            ConfigurationError: an option matches no job of it.
        """
        options = self._options
        self._finishing = await to_thread.run_sync(
            finishing_of, self._directory, options.finish, options.until
        )
        self.changes = await take_manifest(
            journal, manifest, options, self._finishing, has_store=self._has_store
        )
        await self._choose(journal)
        self._to_reroll = await reroll.chosen(journal, options.reroll, self._directory)

    def check_without_manifest(self) -> None:
        """Check that no option was given that needs a manifest.

        Raises:
            ConfigurationError: one was given.
        """
        options = self._options
        given = {"until": options.until, "reroll": options.reroll or None, "finish": options.finish}
        if option := next((name for name, value in given.items() if value is not None), None):
            raise ConfigurationError(f"{option}= chooses among the jobs of a manifest; give the path of one")

    async def plan(self, journal: Journal) -> None:
        """Plan jobs to be made again, after the run has begun in the journal, and choose the jobs to send."""
        if self._options.retry_failed:
            reroll.report_unfinished(await journal.do(journal.store.plan_ended_again))
        most = self._options.reroll_refunded
        async for failures in refunded.plan_earlier(journal, most=most):
            refunded.report(failures, most=most)
        await self._reroll(journal)
        await journal.do(journal.store.sort_linked)
        await self._choose(journal)

    async def stream(
        self,
        journal: Journal,
        jobs: Iterable[Job | Request] | AsyncIterable[Job | Request],
        deliver: Callable[[JobEntry], Awaitable[None]],
    ) -> AsyncIterator[list[JobEntry]]:
        """Yield a program's jobs to be sent, as they come, and deliver those that ended earlier."""
        async for numbers in take_stream(journal, jobs, at_end=self._note, has_store=self._has_store):
            with anyio.CancelScope(shield=True):  # if reading ends now, what was read is told all the same
                await journal.do(journal.store.sort_linked, numbers)
                for entry in await journal.do(journal.store.ended_earlier_of, numbers):
                    await deliver(entry)
            yield await journal.do(journal.store.to_send_of, numbers)

    def _note(self, changes: Changes) -> None:
        self.changes = changes

    async def _reroll(self, journal: Journal) -> None:
        """Plan further takes of the chosen jobs; stored in one transaction with the order itself."""
        self.rerolled = Rerolled()
        if self._to_reroll:
            self.rerolled = await journal.do(journal.store.reroll, self._to_reroll, self._options.takes)
        reroll.report_unfinished(self.rerolled.unfinished)

    async def _choose(self, journal: Journal) -> None:
        """Choose the jobs that the run sends, and count those left for later."""
        until = self._options.until
        later = await journal.do(journal.store.choose, *chosen(until, self._finishing))
        if later is None:
            raise ConfigurationError(f"no job of the manifest has a name that matches {until!r}")
        self.later = later
