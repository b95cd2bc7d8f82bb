"""The inputs of a run's jobs: outputs of other jobs (links) and local files, with fresh URLs.

The journal is queried only if the batch has links.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from seedance_async import clocks
from seedance_async.batch.states import State
from seedance_async.errors import MediaError, SeedanceError
from seedance_async.logs import Log

if TYPE_CHECKING:
    from collections.abc import Collection

    from seedance_async.batch.journal import JobEntry, Journal
    from seedance_async.batch.ledger import Ledger
    from seedance_async.batch.queue import Post
    from seedance_async.engine import Engine
    from seedance_async.models import Kind

log: Log = Log(__name__)

FRESH: Final = 3600.0
"""Seconds at the vendor for which an output's URL is used for other jobs; its lifetime is not documented."""


def files_of(post: Post) -> dict[str, str]:
    """Return the local files of a post that is sent for the first time; for others the bytes are stored."""
    if post.state is not State.PLANNED:
        return {}
    jobs = (job for job in post.jobs if job.post is None)
    return {ref: path for job in jobs for ref, path in job.inputs.items()}


class Sources:
    """The links and local files of one run's jobs.

    Args:
        engine: polls for fresh URLs, and publishes local files.
        journal: has the links.
        ledger: reserves the cost of dependent jobs.
    """

    def __init__(self, engine: Engine, journal: Journal, ledger: Ledger) -> None:
        self._engine = engine
        self._journal = journal
        self._ledger = ledger

    async def path_after(self, post: Post) -> tuple[Kind, ...]:
        """Return the kinds of the longest chain of jobs that depend on this post, in order."""
        store = self._journal.store
        return await self._journal.do(store.path_after, post.numbers) if store.has_links else ()

    async def hold_production(self, post: Post) -> bool:
        """Reserve the cost of the jobs that depend on a post; return False if the cap does not allow it."""
        store = self._journal.store
        if self._ledger.cap is None or not store.has_links:
            return True
        others = await self._journal.do(store.production, post.numbers)
        return self._ledger.hold_ahead(dict(others), sources=post.numbers)

    async def hold_begun(self) -> None:
        """Reserve the cost of planned jobs whose sources are partly paid, before anything new is sent."""
        store = self._journal.store
        if self._ledger.cap is None or not store.has_links:
            return
        for number in await self._journal.do(store.begun):
            production = await self._journal.do(store.production, [number], whole=True)
            # A source whose first POST has no answer may have reserved all that is left.
            sources = await self._journal.do(store.sources_of, [number, *dict(production)])
            self._ledger.hold_ahead(dict(production), sources=sources)

    async def outdated(self, post: Post) -> set[int]:
        """Return the sources of a post whose URLs may have expired."""
        store = self._journal.store
        if not store.has_links:
            return set()
        now = clocks.wall_now()
        since = now - FRESH * self._engine.time_scale
        find = partial(store.outdated_sources, since=since, until=now + clocks.TOLERANCE)
        return set(await self._journal.do(find, post.numbers))

    async def publish(self, post: Post) -> MediaError | None:
        """Upload a post's local files to the media store; return the error if that fails."""
        if not (files := files_of(post)):
            return None
        try:
            await self._engine.media.publish(files)
        except MediaError as problem:
            for number in post.numbers:
                await self._journal.do(self._journal.store.note, number, problem.message)
            return problem
        return None

    def file_urls(self, post: Post) -> dict[str, str] | None:
        """Return the URLs of a post's local files; None if they must be published again."""
        return self._engine.media.fresh(files_of(post))

    async def renew(self, numbers: Collection[int]) -> None:
        """Poll for fresh URLs of jobs; if that fails, the stored ones are used."""
        for number in numbers:
            await self._renew(number)

    async def _renew(self, number: int) -> None:
        store = self._journal.store
        entry = await self._journal.do(store.entry, number)
        try:
            tasks = [await self._engine.task(task_id) for task_id in entry.task_ids]
        except SeedanceError as problem:
            log.warning("the URLs of %s could not be renewed: %s", entry.name, problem.message)
            return
        if all(task.is_final for task in tasks):
            await self._journal.do(partial(store.renew, now=clocks.wall_now()), number, tasks)

    async def pass_on(self, number: int) -> tuple[list[JobEntry], list[JobEntry]]:
        """Return the jobs that can be sent after a job has ended in this run, and those that are blocked."""
        store = self._journal.store
        if not store.has_links:
            return [], []
        ready, blocked = await self._journal.do(store.pass_on, number)
        for job in blocked:
            self._ledger.release(job.number)
        return ready, blocked
