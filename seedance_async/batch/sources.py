"""What the jobs of a run take from elsewhere: outputs of other jobs, and local files; with fresh URLs.

Asks the journal only where there are links at all.
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
"""Seconds for which an output's URL is given to other jobs; how long it works is documented nowhere."""


def files_of(post: Post) -> dict[str, str]:
    """The local files of a post that is to be sent for the first time; else its bytes are those on record."""
    if post.state is not State.PLANNED:
        return {}
    jobs = (job for job in post.jobs if job.post is None)
    return {ref: path for job in jobs for ref, path in job.inputs.items()}


class Sources:
    """What links mean for one run.

    Args:
        engine: to ask for fresh URLs.
        journal: knows the links.
        ledger: reserves what jobs are made for.
    """

    def __init__(self, engine: Engine, journal: Journal, ledger: Ledger) -> None:
        self._engine = engine
        self._journal = journal
        self._ledger = ledger

    async def path_after(self, post: Post) -> tuple[Kind, ...]:
        """The kinds of the longest line of jobs that wait for this post, one after the other."""
        store = self._journal.store
        return await self._journal.do(store.path_after, post.numbers) if store.has_links else ()

    async def hold_production(self, post: Post) -> bool:
        """Whether the cap allows for what the jobs of a post are made for, too; it is reserved then."""
        store = self._journal.store
        if self._ledger.cap is None or not store.has_links:
            return True
        others = await self._journal.do(store.production, post.numbers)
        return self._ledger.hold_ahead(dict(others), beside=post.numbers)

    async def hold_begun(self) -> None:
        """Reserve what productions still cost of which a part is paid, before anything new is begun."""
        store = self._journal.store
        if self._ledger.cap is None or not store.has_links:
            return
        for number in await self._journal.do(store.begun):
            production = await self._journal.do(store.production, [number], whole=True)
            self._ledger.hold_ahead(dict(production), beside=())

    async def outdated(self, post: Post) -> set[int]:
        """The jobs whose output a post takes, and whose URLs may have expired."""
        store = self._journal.store
        if not store.has_links:
            return set()
        now = clocks.wall_now()
        find = partial(store.outdated_sources, since=now - FRESH, until=now + clocks.TOLERANCE)
        return set(await self._journal.do(find, post.numbers))

    async def publish(self, post: Post) -> MediaError | None:
        """Put the local files of a post where the API can fetch them; why that is not possible, if so."""
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
        """The URLs of a post's local files; None where they have to be published again."""
        return self._engine.media.fresh(files_of(post))

    async def renew(self, numbers: Collection[int]) -> None:
        """Ask for the URLs of jobs anew; where that fails, those on record have to do."""
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
        """A job has come as far as it comes in this run: what can be sent now, and what waits in vain."""
        store = self._journal.store
        if not store.has_links:
            return [], []
        ready, blocked = await self._journal.do(store.pass_on, number)
        for job in blocked:
            self._ledger.release(job.number)
        return ready, blocked
