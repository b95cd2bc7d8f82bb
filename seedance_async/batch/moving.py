"""The renaming of a batch's files to the present names of their jobs.

The journal has the files that still have a former name. Their new paths are stored there before the first
file is renamed, and confirmed after the last one, so a later run completes what an earlier one has begun. The
files of an older result are renamed when a newer one is about to be saved under the name; until then they are
the newest. The files of a job that was adopted under another name are renamed at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from seedance_async.batch import file_moves, results
from seedance_async.batch.file_paths import path_of
from seedance_async.batch.journal.remains import RESULTS
from seedance_async.batch.names import Template
from seedance_async.errors import DownloadError
from seedance_async.fault_points import fault_point
from seedance_async.logs import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from seedance_async.batch.journal import JobEntry, Journal

log: Log = Log(__name__)

PAGE: Final = 200
"""Jobs that are read from the journal at a time."""

ATTEMPTS: Final = 5
"""Most renamings in a row to reach a job's present name; one that was begun before is completed first."""


class Mover:
    """Renames the files of jobs.

    Args:
        journal: the batch's journal.
        directory: the batch directory.
        template: template of file names.
    """

    def __init__(self, journal: Journal, directory: Path, template: Template) -> None:
        self._journal = journal
        self._directory = directory
        self._templates = (template, Template())
        self._lock = anyio.Lock()

    async def settle_all(self) -> None:
        """Rename all files that are to be renamed now, including those that an earlier run has begun."""
        last = 0
        while page := await self._journal.do(self._journal.store.due_moves, after=last, limit=PAGE):
            await self._journal.check_place()
            for number in page:
                await self.settle(number)
            last = page[-1]

    async def settle(self, number: int) -> None:
        """Rename the files of a job, if they are to be renamed now; after a failure, a later run does it."""
        if not await self._journal.do(self._journal.store.is_due, number):
            return
        try:
            async with self._lock:
                await self._move(number)
        except DownloadError as problem:
            log.warning("%s", problem.message)

    async def make_way(self, name: str, number: int) -> None:
        """Rename the files of older results that have the name of a job.

        Args:
            name: the name of the job that is about to be saved.
            number: the number of that job.

        Raises:
            DownloadError: a file cannot be renamed.
        """
        store = self._journal.store
        if not await self._journal.do(store.in_the_way, name, number):
            return
        async with self._lock:
            for other in await self._journal.do(store.in_the_way, name, number):
                await self._move(other)

    async def _move(self, number: int, *, behind: frozenset[int] = frozenset()) -> None:
        """Rename the files of a job to its present name.

        Args:
            number: the number of the job.
            behind: jobs whose renaming waits for this one.
        """
        store = self._journal.store
        entry = await self._journal.do(store.entry, number)
        if entry.saved_as is None:
            return
        for other in await self._journal.do(store.in_the_way, entry.name, number):
            if other in behind:  # the names are swapped: one gets a temporary name
                await self._rename(other, f"{entry.name}-moving")
            else:
                await self._move(other, behind=behind | {number})
        for _ in range(ATTEMPTS):
            if (await self._journal.do(store.entry, number)).saved_as is None:
                break
            await self._rename(number, entry.name)
        await self._add_to_results(number)

    async def _rename(self, number: int, name: str) -> None:
        """Rename the files of a job to ``name``, or complete a renaming that was begun before."""
        store = self._journal.store
        entry = await self._journal.do(store.entry, number)
        move = await self._journal.do(store.move_of, number)
        if move is None:
            return
        name = move.target or name
        wanted = [self._renamed(entry, file, move.name, name) for file in entry.files]
        intended = move.files
        free = move.target is not None and await to_thread.run_sync(self._are_free, entry.files, intended)
        if not free:
            chosen = await to_thread.run_sync(
                file_moves.targets, self._directory, entry.files, wanted, intended
            )
            await self._journal.do(store.intend_move, number, name, chosen)
            intended = tuple(chosen)
        fault_point("before_move")
        moves = dict(zip(entry.files, intended, strict=True))
        await to_thread.run_sync(file_moves.rename_all, self._directory, moves, name)
        fault_point("after_move")
        await self._journal.do(store.confirm_move, number)

    def _are_free(self, files: tuple[str, ...], intended: tuple[str, ...]) -> bool:
        if len(files) != len(intended):
            return False
        return all(
            file_moves.is_free(self._directory, file, target, begun=True)
            for file, target in zip(files, intended, strict=True)
        )

    def _renamed(self, entry: JobEntry, file: str, before: str, name: str) -> str:
        """Return the path of a file under another job name; unchanged if its path fits no template."""
        return next(self._by_template(entry, file, before, name), file)

    def _by_template(self, entry: JobEntry, file: str, before: str, name: str) -> Iterator[str]:
        for template in self._templates:
            for task_id in entry.task_ids:
                stem = str(path_of(entry, template, name=before, task_id=task_id))
                rest = file.removeprefix(stem)
                if rest != file and rest[:1] in {".", "-"}:
                    yield f"{path_of(entry, template, name=name, task_id=task_id)}{rest}"

    async def _add_to_results(self, number: int) -> None:
        """Add the job's new line to ``results.jsonl``, which is rewritten at the end of the run."""
        entry = await self._journal.do(self._journal.store.entry, number)
        try:
            await self._journal.do(results.add, self._directory, entry)
        except OSError as problem:
            log.warning("%s is not in %s: %s", entry.name, RESULTS, problem)
