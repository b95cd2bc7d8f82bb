"""All output files of a task, fetched side by side, their URLs renewed once when they have expired.

However many tasks are saved at the same time, only a few files move at once; the others wait their turn.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread
from attrs import evolve

from seedance_async.downloads.fetch import Fetch
from seedance_async.downloads.naming import sources
from seedance_async.downloads.web import Web
from seedance_async.errors import (
    ApiError,
    ConnectionFailedError,
    DownloadError,
    SeedanceError,
    UnexpectedReplyError,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable

    from yarl import URL

    from seedance_async.downloads.naming import Source
    from seedance_async.models import Task, Timeouts

    Renew = Callable[[str], Awaitable[Task]]

MAX_FILE_BYTES: Final = 4 * 1024**3
"""A 4k clip of 15 s is some 100 MB; forty times that is not a clip."""

FILES_AT_ONCE: Final = 6
"""As many as a browser asks of one host."""


class Downloads:
    """Saves output files, without credentials.

    Args:
        timeouts: ``connect`` and ``download_idle`` are used.
        trusted: the API's base URL; at loopback it permits plain http and loopback hosts.
        max_bytes: a longer file is refused.
    """

    def __init__(self, timeouts: Timeouts, *, trusted: URL, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._web = Web(timeouts, trusted=trusted)
        self._max_bytes = max_bytes
        self._turns = anyio.Semaphore(FILES_AT_ONCE)

    async def save(
        self,
        task: Task,
        directory: str | os.PathLike[str],
        *,
        name: str | None,
        prompt: str | None = None,
        renew: Renew,
    ) -> list[Path]:
        """Save every output file of a completed task, in the order of ``task.urls``.

        Args:
            task: where its files are; URLs that have expired are no obstacle.
            directory: made if missing.
            name: file name without extension; None for the task's id.
            prompt: goes into the files' metadata; None for files that are byte for byte the server's.
            renew: asks the API for a task by its id; called once at most.

        Raises:
            DownloadError: the task has no files, or one of them could not be saved; the others were.
            ValidationError: ``name`` is not a plain file name.
        """
        renewal = _Renewal(task, renew)
        try:
            if task.is_completed and not task.urls:
                task = await renewal.task()
            if not task.is_completed or not task.urls:
                raise DownloadError(f"the task has no output files; its status is {task.status!r}")
            wanted = sources(task, name)
            fetch = Fetch(
                self._web,
                await _made(directory),
                task_id=task.id,
                prompt=prompt,
                max_bytes=self._max_bytes,
            )
            return await self._save_all(wanted, fetch, renewal)
        except DownloadError as error:
            error.task_id = task.id
            raise

    async def close(self) -> None:
        """Close the session, if one was opened."""
        await self._web.close()

    async def _save_all(self, wanted: list[Source], fetch: Fetch, renewal: _Renewal) -> list[Path]:
        outcomes: dict[int, Path | SeedanceError] = {}

        async def save(source: Source) -> None:
            async with self._turns:
                try:
                    outcomes[source.place] = await _save_renewed(source, fetch, renewal)
                except SeedanceError as error:
                    outcomes[source.place] = error

        async with anyio.create_task_group() as workers:
            for source in wanted:
                workers.start_soon(save, source)
        saved = []
        for source in wanted:
            outcome = outcomes[source.place]
            if isinstance(outcome, SeedanceError):
                raise outcome
            saved.append(outcome)
        return saved


class _Renewal:
    """A task with fresh URLs, asked for once, whoever needs it first."""

    def __init__(self, stale: Task, renew: Renew) -> None:
        self._stale = stale
        self._renew = renew
        self._answer: Task | SeedanceError | None = None
        self._turn = anyio.Lock()

    async def task(self) -> Task:
        """The fresh task.

        Raises:
            DownloadError: the API did not tell.
        """
        async with self._turn:
            if self._answer is None:
                self._answer = await self._ask()
        if isinstance(self._answer, SeedanceError):
            raise self._answer
        return self._answer

    async def _ask(self) -> Task | SeedanceError:
        try:
            return await self._renew(self._stale.id)
        except (ApiError, ConnectionFailedError, UnexpectedReplyError) as problem:
            told = f"the URLs have expired, and no fresh ones were told: {problem.message}"
            error = DownloadError(told)
            error.__cause__ = problem
            return error
        except SeedanceError as problem:
            return problem


async def _save_renewed(source: Source, fetch: Fetch, renewal: _Renewal) -> Path:
    """Save a file from its URL, or else from a fresh one."""
    try:
        return await fetch.save(source)
    except DownloadError as error:
        if not error.gone:
            raise
    fresh = (await renewal.task()).urls
    if source.place > len(fresh):
        raise DownloadError(f"the task no longer tells its output number {source.place}")
    return await fetch.save(evolve(source, url=fresh[source.place - 1]))


async def _made(directory: str | os.PathLike[str]) -> Path:
    folder = Path(directory)
    try:
        await to_thread.run_sync(lambda: folder.mkdir(parents=True, exist_ok=True))
    except OSError as error:
        raise DownloadError(f"cannot save into {directory}: {error.strerror}") from error
    return folder
