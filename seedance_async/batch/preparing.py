"""The preparation of a run: which jobs it is to send, and what is planned for it to make anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from seedance_async.batch import refunded, reroll
from seedance_async.batch.finishing import Finishing, chosen, finishing_of
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
    """What comes before the first POST of each run of a batch.

    Args:
        directory: of the batch.
        options: which jobs are to be sent.
        has_store: whether there is a place where local files become URLs.

    Attributes:
        changes: how the manifest differs from the one of the run before.
        later: jobs that are left for a later run.
        rerolled: new takes that this run was told to make.
    """

    def __init__(self, directory: Path, options: PlanOptions, *, has_store: bool) -> None:
        self.changes: Changes = Changes()
        self.later: int = 0
        self.rerolled: Rerolled = Rerolled()
        self._directory = directory
        self._options = options
        self._has_store = has_store
        self._finishing: Finishing | None = None
        self._anew: list[int] = []

    async def take(self, journal: Journal, manifest: str | PathLike[str]) -> None:
        """Take the jobs of a manifest, and see which are meant; beyond that nothing is planned for the run.

        Raises:
            ManifestError: with everything that is wrong in the manifest.
            ConfigurationError: an option means no job of it.
        """
        options = self._options
        self._finishing = await to_thread.run_sync(
            finishing_of, self._directory, options.finish, options.until
        )
        self.changes = await take_manifest(
            journal, manifest, options, self._finishing, has_store=self._has_store
        )
        await self._choose(journal)
        self._anew = await reroll.chosen(journal, options.reroll, self._directory)

    def check_without_manifest(self) -> None:
        """See that no option was given that chooses among the jobs of a manifest.

        Raises:
            ConfigurationError: one was.
        """
        options = self._options
        given = {"until": options.until, "reroll": options.reroll or None, "finish": options.finish}
        if option := next((name for name, value in given.items() if value is not None), None):
            raise ConfigurationError(f"{option}= chooses among the jobs of a manifest; give the path of one")

    async def plan(self, journal: Journal) -> None:
        """Plan what is to be made anew, once the run is on record, and leave for later what is not wanted."""
        if self._options.retry_failed:
            reroll.report_unfinished(await journal.do(journal.store.plan_ended_again))
        most = self._options.reroll_refunded
        async for failures in refunded.plan_earlier(journal, most=most):
            refunded.report(failures, most=most)
        await self._make_anew(journal)
        await journal.do(journal.store.sort_linked)
        await self._choose(journal)

    async def stream(
        self,
        journal: Journal,
        jobs: Iterable[Job | Request] | AsyncIterable[Job | Request],
        deliver: Callable[[JobEntry], Awaitable[None]],
    ) -> AsyncIterator[list[JobEntry]]:
        """A program's jobs that were never sent, as they come; those that ended earlier are delivered."""
        async for numbers in take_stream(journal, jobs, at_end=self._note, has_store=self._has_store):
            await journal.do(journal.store.sort_linked, numbers)
            for entry in await journal.do(journal.store.ended_earlier_of, numbers):
                await deliver(entry)
            yield await journal.do(journal.store.to_send_of, numbers)

    def _note(self, changes: Changes) -> None:
        self.changes = changes

    async def _make_anew(self, journal: Journal) -> None:
        """Plan further takes of the jobs that were chosen; they go on record with the order itself."""
        self.rerolled = Rerolled()
        if self._anew:
            self.rerolled = await journal.do(journal.store.reroll, self._anew, self._options.takes)
        reroll.report_unfinished(self.rerolled.unfinished)

    async def _choose(self, journal: Journal) -> None:
        """Leave the jobs for later that the run is not to send."""
        until = self._options.until
        later = await journal.do(journal.store.choose, *chosen(until, self._finishing))
        if later is None:
            raise ConfigurationError(f"no job of the manifest has a name that matches {until!r}")
        self.later = later
