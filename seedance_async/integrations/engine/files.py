"""The files of a worker's jobs, saved into the place that all workers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async.batch.saving import FileSaver

if TYPE_CHECKING:
    from seedance_async.batch.journal import JobEntry
    from seedance_async.batch.names import Template
    from seedance_async.batch.saving import Saved
    from seedance_async.client import SeedanceClient
    from seedance_async.integrations.engine.places import Place


class PlacedFiles:
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
        self._files = FileSaver(client, template, embed=embed)

    async def save(self, entry: JobEntry) -> Saved:
        """Save every file of a completed job.

        Raises:
            DownloadError: one of them could not be saved.
        """
        async with self._place.directory() as directory:
            return await self._files.save(entry, directory, renew=self._client.get_task)
