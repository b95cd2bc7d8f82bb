"""The renaming of a batch's files after the names that their jobs have now.

The journal says which files are still called after a former name. Their new paths are put down there before
the first of them is renamed, and confirmed after the last, so a later run completes what an earlier one has
begun. An older result gives its names up when a newer one is about to be saved under them: until then it is
the newest that there is. What was adopted by another job follows at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from seedance_async.batch import file_moves, results
from seedance_async.batch.file_paths import path_of
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
"""So often other names are chosen where files of strangers come in the way of each."""


class Mover:
    """Gives the files of jobs the names that they should have.

    Args:
        journal: of the batch.
        directory: of the batch.
        template: what files are called.
    """

    def __init__(self, journal: Journal, directory: Path, template: Template) -> None:
        self._journal = journal
        self._directory = directory
        self._templates = (template, Template())
        self._lock = anyio.Lock()

    async def settle_all(self) -> None:
        """Rename whatever is to be renamed now, and whatever an earlier run has begun to rename."""
        last = 0
        while page := await self._journal.do(self._journal.store.due_moves, after=last, limit=PAGE):
            await self._journal.check_place()
            for number in page:
                await self.settle(number)
            last = page[-1]

    async def settle(self, number: int) -> None:
        """Rename the files of a job, if they are to be renamed now; a failure leaves them to a later run."""
        if not await self._journal.do(self._journal.store.is_due, number):
            return
        try:
            async with self._lock:
                await self._move(number)
        except DownloadError as problem:
            log.warning("%s", problem.message)

    async def make_way(self, name: str, number: int) -> None:
        """Take a name away from the files of older results.

        Args:
            name: of the job that is about to be saved.
            number: of that job.

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
        """Give the files of a job its name, whatever they are called after.

        Args:
            number: of the job.
            behind: jobs that wait for this one to go out of their way.
        """
        store = self._journal.store
        entry = await self._journal.do(store.entry, number)
        if entry.saved_as is None:
            return
        for other in await self._journal.do(store.in_the_way, entry.name, number):
            if other in behind:  # names are swapped: one has to stand aside
                await self._rename(other, f"{entry.name}-moving")
            else:
                await self._move(other, behind=behind | {number})
        for _ in range(ATTEMPTS):
            if (await self._journal.do(store.entry, number)).saved_as is None:
                break
            await self._rename(number, entry.name)
        await self._tell(number)

    async def _rename(self, number: int, name: str) -> None:
        """Go on to rename the files of a job; a renaming that was begun comes first."""
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
        """The path of a file under another job name; the same where it is called after neither."""
        return next(self._by_template(entry, file, before, name), file)

    def _by_template(self, entry: JobEntry, file: str, before: str, name: str) -> Iterator[str]:
        for template in self._templates:
            for task_id in entry.task_ids:
                stem = str(path_of(entry, template, name=before, task_id=task_id))
                rest = file.removeprefix(stem)
                if rest != file and rest[:1] in {".", "-"}:
                    yield f"{path_of(entry, template, name=name, task_id=task_id)}{rest}"

    async def _tell(self, number: int) -> None:
        """Add the job's line to the results, which name its files; the end of the run writes all anew."""
        entry = await self._journal.do(self._journal.store.entry, number)
        try:
            await self._journal.do(results.add, self._directory, entry)
        except OSError as problem:
            log.warning("%s is not in %s: %s", entry.name, results.RESULTS, problem)
