"""The files of a job that a worker saves: fetched, measured, named, described, and where they belong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from seedance_async.batch.file_paths import path_of
from seedance_async.batch.saving import described
from seedance_async.errors import DownloadError
from seedance_async.safe_files import leads_out

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.batch.journal import JobEntry
    from seedance_async.batch.names import Template
    from seedance_async.client import SeedanceClient
    from seedance_async.integrations.engine.places import Place
    from seedance_async.models import Delivered, Task


class FileSaver:
    """Saves the files of jobs.

    Args:
        client: whose downloads are used, and who is asked for fresh URLs.
        place: where files go.
        template: what they are called.
        embed: put each job's prompt into its files' own metadata.
    """

    def __init__(self, client: SeedanceClient, place: Place, template: Template, *, embed: bool) -> None:
        self._client = client
        self._place = place
        self._template = template
        self._embed = embed

    async def save(self, entry: JobEntry) -> dict[str, dict[str, object] | None]:
        """Save every file of a completed job.

        Returns:
            By the name of each below the place, what it turned out to be.

        Raises:
            DownloadError: one of them could not be saved.
        """
        files: dict[str, Delivered | None] = {}
        async with self._place.directory() as directory:
            completed = [task for task in entry.tasks if task.is_completed]
            for number, task in enumerate(completed, start=1):
                files |= await self._save(directory, entry, task, number if len(completed) > 1 else None)
        return {name: None if found is None else found.to_dict() for name, found in files.items()}

    async def _save(
        self, directory: Path, entry: JobEntry, task: Task, number: int | None
    ) -> dict[str, Delivered | None]:
        """The files of one task, by their names below the directory."""
        target = directory / path_of(entry, self._template, name=entry.name_on_disk, task_id=task.id)
        if number is not None:
            target = target.with_name(f"{target.name}-{number}")
        if await to_thread.run_sync(leads_out, target.parent, directory):
            raise DownloadError(f"cannot save into {target.parent}: a link there leads out of {directory}")
        saved = await self._client.running_engine().downloads.save(
            task,
            target.parent,
            name=target.name,
            prompt=str(entry.request_fields["prompt"]) if self._embed else None,
            renew=self._client.get_task,
        )
        measured = [await to_thread.run_sync(described, path, entry, task, saved[0]) for path in saved]
        names = [path.relative_to(directory).as_posix() for path in saved]
        return dict(zip(names, measured, strict=True))
