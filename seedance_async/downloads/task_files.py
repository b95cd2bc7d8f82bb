"""Download of all output files of a task, concurrently, with its URLs renewed once if they give no file.

At most ``MAX_CONCURRENT_FILES`` are transferred at the same time, for all tasks together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread
from attrs import evolve

from seedance_async.downloads.fetch import Fetch
from seedance_async.downloads.naming import sources
from seedance_async.downloads.session import AttemptError, DownloadSession
from seedance_async.errors import (
    ApiError,
    ConnectionFailedError,
    DownloadError,
    SeedanceError,
    UnexpectedReplyError,
)
from seedance_async.route import Route

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable

    from yarl import URL

    from seedance_async.downloads.naming import Source
    from seedance_async.models import Output, Task, Timeouts

    Renew = Callable[[str], Awaitable[Task]]

MAX_FILE_BYTES: Final = 4 * 1024**3
"""Largest file accepted: forty times a 4k clip of 15 s, which has about 100 MB."""

MAX_CONCURRENT_FILES: Final = 6
"""Most files transferred at the same time: the number of connections that browsers open to one host."""


class Downloads:
    """Saves output files, without credentials.

    Args:
        timeouts: ``connect`` and ``download_idle`` are used.
        trusted: the API's base URL; that of a sandbox allows plain http from loopback and from its own host.
        route: the proxy, if any, and the private networks that are allowed.
        max_bytes: a larger file is refused.
    """

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        trusted: URL,
        route: Route | None = None,
        max_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        self._session = DownloadSession(timeouts, trusted=trusted, route=route or Route())
        self._max_bytes = max_bytes
        self._slots = anyio.Semaphore(MAX_CONCURRENT_FILES)

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
            task: the task; its URLs may have expired.
            directory: created if missing.
            name: file name without extension; None for the task's id.
            prompt: written into the files' metadata; None keeps the server's bytes unchanged.
            renew: gets a task from the API by its id; called at most once.

        Returns:
            The path of each file, whether it was saved now or before.

        Raises:
            DownloadError: the task has no files, or one of them could not be saved; the others were tried.
            ValidationError: ``name`` is not a plain file name.
        """
        renewal = _Renewal(task, renew)
        try:
            if task.is_completed and not task.urls:
                task = await renewal.task()
            if not task.is_completed or not task.urls:
                raise _nothing_to_save(task)
            wanted = sources(task, name)
            fetch = Fetch(
                self._session,
                await _created(directory),
                task_id=task.id,
                seed=task.seed,
                prompt=prompt,
                max_bytes=self._max_bytes,
            )
            return await self._save_all(wanted, fetch, renewal)
        except DownloadError as error:
            error.task_id = task.id
            raise

    async def close(self) -> None:
        """Close the session, if one was opened."""
        await self._session.close()

    async def _save_all(self, wanted: list[Source], fetch: Fetch, renewal: _Renewal) -> list[Path]:
        outcomes: dict[int, Path | SeedanceError] = {}

        async def save(source: Source) -> None:
            async with self._slots:
                try:
                    outcomes[source.number] = await _save_renewed(source, fetch, renewal)
                except SeedanceError as error:
                    outcomes[source.number] = error

        async with anyio.create_task_group() as workers:
            for source in wanted:
                workers.start_soon(save, source)
        saved = []
        for source in wanted:
            outcome = outcomes[source.number]
            if isinstance(outcome, SeedanceError):
                raise outcome
            saved.append(outcome)
        return saved


class _Renewal:
    """The renewal of a task's URLs, requested at most once for all of its files."""

    def __init__(self, expired: Task, renew: Renew) -> None:
        self._expired = expired
        self._renew = renew
        self._answer: Task | SeedanceError | None = None
        self._lock = anyio.Lock()

    async def task(self) -> Task:
        """Return the renewed task.

        Raises:
            DownloadError: the API refused, could not be reached, or gave an unexpected reply.
            SeedanceError: the request failed in another way.
        """
        async with self._lock:
            if self._answer is None:
                self._answer = await self._request()
        if isinstance(self._answer, SeedanceError):
            raise self._answer
        return self._answer

    async def _request(self) -> Task | SeedanceError:
        try:
            return await self._renew(self._expired.id)
        except (ApiError, ConnectionFailedError, UnexpectedReplyError) as problem:
            error = DownloadError(f"the API gave no other URL: {problem.message}")
            error.__cause__ = problem
            return error
        except SeedanceError as problem:
            return problem


async def _save_renewed(source: Source, fetch: Fetch, renewal: _Renewal) -> Path:
    """Save a file from its URL, or from a renewed one if the URL is refused or has expired."""
    try:
        return await fetch.save(source)
    except DownloadError as error:
        if not error.gone:
            raise
        problem = error
    try:
        urls = (await renewal.task()).urls
    except DownloadError as not_renewed:
        raise DownloadError(f"{problem.message}; {not_renewed.message}") from not_renewed
    if source.number > len(urls):
        raise DownloadError(f"the task no longer has output number {source.number}")
    if urls[source.number - 1] == source.url and isinstance(problem.__cause__, AttemptError):
        raise problem  # the same URL was tried often enough
    return await fetch.save(evolve(source, url=urls[source.number - 1]))


async def _created(directory: str | os.PathLike[str]) -> Path:
    folder = Path(directory)
    try:
        await to_thread.run_sync(lambda: folder.mkdir(parents=True, exist_ok=True))
    except OSError as error:
        raise DownloadError(f"cannot save into {directory}: {error.strerror}") from error
    return folder


def _nothing_to_save(task: Task[Output]) -> DownloadError:
    """Return the error for a task that has no files, with advice for its status."""
    error = DownloadError(f"the task has no output files; its status is {task.status!r}")
    if not task.is_final:
        error.advice = "wait for it, then download it"
    elif task.is_failed:
        error.advice = "the task's error says why"
    return error
