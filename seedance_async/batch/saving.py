"""The saving of completed jobs: their files are downloaded, measured, and described by sidecars."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Final

from anyio import to_thread
from attrs import frozen

from seedance_async import clocks
from seedance_async.batch.file_paths import path_of
from seedance_async.batch.moving import Mover
from seedance_async.batch.results import failure_among
from seedance_async.downloads.measuring import measure
from seedance_async.errors import DownloadError, JournalError, SeedanceError
from seedance_async.models import Delivered
from seedance_async.safe_files import leads_out, replacing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path, PurePath

    from seedance_async.batch.journal import JobEntry, Journal
    from seedance_async.batch.names import Template
    from seedance_async.client import SeedanceClient
    from seedance_async.models import Task

DOWNLOADS: Final = 4
"""Most jobs whose files are downloaded at the same time."""


@frozen
class Saved:
    """The saved files of a job.

    Attributes:
        names: paths relative to the directory, with ``/``.
        delivered: the measured properties of each; None for a file that could not be measured.
    """

    names: tuple[str, ...]
    delivered: tuple[Delivered | None, ...]


class FileSaver:
    """Saves the files of jobs, of a batch on one host or on several.

    Args:
        client: whose downloads are used.
        template: what files are called.
        embed: put each job's prompt into its files' own metadata.
    """

    def __init__(self, client: SeedanceClient, template: Template, *, embed: bool) -> None:
        self._client = client
        self._template = template
        self._embed = embed

    async def save(
        self, entry: JobEntry, directory: Path, *, renew: Callable[[str], Awaitable[Task]]
    ) -> Saved:
        """Fetch every file of a completed job, measure it, and write its sidecar.

        Args:
            entry: the job.
            directory: of the batch.
            renew: a task with fresh URLs, by its id.

        Returns:
            The files, in the order of the tasks and their outputs.

        Raises:
            DownloadError: one of them could not be saved.
        """
        completed = [task for task in entry.tasks if task.is_completed]
        files: dict[str, Delivered | None] = {}
        for place, task in enumerate(completed, start=1):
            target = directory / self._target(entry, task, place if len(completed) > 1 else None)
            if await to_thread.run_sync(leads_out, target.parent, directory):
                raise DownloadError(
                    f"cannot save into {target.parent}: a link there leads out of {directory}; take it "
                    "away and run again",
                    task_id=task.id,
                )
            saved = await self._client.running_engine().downloads.save(
                task,
                target.parent,
                name=target.name,
                prompt=str(entry.request_fields["prompt"]) if self._embed else None,
                renew=renew,
            )
            for path in saved:
                name = path.relative_to(directory).as_posix()
                files[name] = await to_thread.run_sync(_described, path, entry, task, saved[0])
        return Saved(tuple(files), tuple(files.values()))

    def _target(self, entry: JobEntry, task: Task, place: int | None) -> PurePath:
        """Where a task's files go, without extension; tasks of one job are numbered."""
        target = path_of(entry, self._template, name=entry.name_on_disk, task_id=task.id)
        return target if place is None else target.with_name(f"{target.name}-{place}")


class Saver:
    """Saves the files of jobs into a batch directory.

    Args:
        client: downloads the files and polls for fresh URLs.
        journal: the batch's journal.
        directory: the batch directory.
        template: template of file names.
        embed: write each job's prompt into its files' metadata.

    Attributes:
        mover: renames files.
    """

    def __init__(
        self, client: SeedanceClient, journal: Journal, directory: Path, template: Template, *, embed: bool
    ) -> None:
        self._client = client
        self._journal = journal
        self._directory = directory
        self._files = FileSaver(client, template, embed=embed)
        self.mover: Mover = Mover(journal, directory, template)

    async def save_on_record(self, job: JobEntry) -> tuple[JobEntry, SeedanceError | None]:
        """Save every file of a completed job, and store that in the journal, or why they are not saved.

        Returns:
            The job's new entry, and the error of a failed task or file, if any.

        Raises:
            JournalError: the journal cannot be written.
        """
        store = self._journal.store
        try:
            await self._journal.check_place()
            files = await self.save(job)
            await self._journal.check_place()
        except JournalError:
            raise
        except SeedanceError as problem:
            await self._journal.do(store.note, job.number, problem.message)
            return await self._journal.do(store.entry, job.number), problem
        error = failure_among(job.tasks, job)
        save = partial(store.save, now=clocks.wall_now(), delivered=files.delivered)
        await self._journal.do(save, job.number, files.names, error and error.message)
        await self.mover.settle(job.number)
        return await self._journal.do(store.entry, job.number), error

    async def save(self, entry: JobEntry) -> Saved:
        """Download every file of a completed job, measure it, and write a sidecar next to it.

        The files of an older result with the same name are renamed first.

        Returns:
            The files, in the order of the tasks and their outputs.

        Raises:
            DownloadError: one of them could not be saved.
            JournalError: fresh URLs could not be recorded.
        """
        await self.mover.make_way(entry.name_on_disk, entry.number)
        known = {task.id: task for task in entry.tasks}
        renew = partial(self._renewed, entry.number, known)
        return await self._files.save(entry, self._directory, renew=renew)

    async def _renewed(self, number: int, known: dict[str, Task], task_id: str) -> Task:
        """Poll a task for fresh URLs, store them in the journal, and return the task."""
        known[task_id] = await self._client.get_task(task_id)
        renew = partial(self._journal.store.renew, now=clocks.wall_now())
        await self._journal.do(renew, number, list(known.values()))
        return known[task_id]


def _described(path: Path, entry: JobEntry, task: Task, main: Path) -> Delivered | None:
    """Measure a saved file, write its sidecar, and return its properties. Blocking.

    Raises:
        DownloadError: the sidecar cannot be written.
    """
    delivered = measure(path)
    try:
        _describe(path, entry, task, main, delivered)
    except OSError as problem:
        raise DownloadError(f"cannot describe {path.name}: {problem.strerror}", task_id=task.id) from problem
    return delivered


def _describe(path: Path, entry: JobEntry, task: Task, main: Path, delivered: Delivered | None) -> None:
    """Write a file's sidecar, a JSON file with its origin, ids, measured properties and request.

    A task may have several files, such as a clip and its last frame. Only the main file has the task's
    credits, and the others have 0, so that a sum over all sidecars counts no task twice.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    story = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": digest,
        "name": entry.name,
        "model": entry.model,
        "task_id": task.id,
        "idempotency_key": entry.key,
        "credits_used": task.credits_used if path == main else 0,
        "main_file": main.name,
        "seed": task.seed,
        "delivered": delivered and delivered.to_dict(),
        "created_at": task.created_at.isoformat() if task.created_at else None,
        "updated_at": task.updated_at.isoformat() if task.updated_at else None,
        "request": entry.request_fields,
    }
    with replacing(path.with_name(f"{path.name}.json")) as file:
        file.write(json.dumps(story, ensure_ascii=False, indent=2).encode())
