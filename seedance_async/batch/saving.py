"""The files of completed jobs: fetched, named and described, with fresh URLs where they have expired."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Final

from anyio import to_thread
from attrs import frozen

from seedance_async import clocks
from seedance_async.batch.moving import Mover
from seedance_async.batch.places import place_of
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
"""Jobs whose files are fetched at the same time."""


@frozen
class Saved:
    """The files of a job.

    Attributes:
        names: relative to the directory, with ``/``.
        delivered: what each of them turned out to be; None for one that could not be measured.
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
        """Fetch every file of a completed job, measure it, and put a sidecar beside it.

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
        target = place_of(entry, self._template, name=entry.name_on_disk, task_id=task.id)
        return target if place is None else target.with_name(f"{target.name}-{place}")


class Saver:
    """Saves the files of jobs into a batch directory.

    Args:
        client: whose downloads are used, and who is asked for fresh URLs.
        journal: where those are recorded.
        directory: the batch.
        template: what files are called.
        embed: put each job's prompt into its files' own metadata.

    Attributes:
        mover: gives files other names.
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
        """Save every file of a completed job, and put down that they are; or why they are not.

        Returns:
            The job, and what went wrong with one of its tasks or with its files.

        Raises:
            JournalError: it cannot be put down.
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
        """Fetch every file of a completed job, measure it, and put a sidecar beside it.

        An older result makes way first.

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
        """A task with fresh URLs, by one poll; they go on record."""
        known[task_id] = await self._client.get_task(task_id)
        renew = partial(self._journal.store.renew, now=clocks.wall_now())
        await self._journal.do(renew, number, list(known.values()))
        return known[task_id]


def _described(path: Path, entry: JobEntry, task: Task, main: Path) -> Delivered | None:
    """What a saved file is, which stands beside it from then on. Blocking.

    Raises:
        DownloadError: it cannot be described there.
    """
    delivered = measure(path)
    try:
        _describe(path, entry, task, main, delivered)
    except OSError as problem:
        raise DownloadError(f"cannot describe {path.name}: {problem.strerror}", task_id=task.id) from problem
    return delivered


def _describe(path: Path, entry: JobEntry, task: Task, main: Path, delivered: Delivered | None) -> None:
    """Put a file's story beside it, as JSON: what made it, under which ids, and what it should read like.

    A clip's last frame comes with the clip: its ``main_file`` has the task's credits, and the frame has 0, so
    whoever adds up the sidecars counts no task twice.
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
