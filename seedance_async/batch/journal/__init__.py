"""The journal: the durable record of a batch's jobs, POSTs, idempotency keys and results.

The order of writes matters: the intent (key, path, exact bytes) is on disk before a POST is sent, and the
accepted task ids are on disk before the caller gets them. So the process may die at any instruction, and the
next one finds for each job one of three: nothing was sent; the exact bytes and the key to send again; or the
task ids to poll.

SQLite runs in one dedicated thread; each call is one transaction. Cancelling the caller does not stop the
thread: a transaction that was requested is completed.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

import anyio

from seedance_async.batch.journal.broken import Broken
from seedance_async.batch.journal.disk import Space
from seedance_async.batch.journal.file import File
from seedance_async.batch.journal.opening import close, discard, knows, not_permitted, open_file
from seedance_async.batch.journal.planning import LineProblem, Planner, Taken
from seedance_async.batch.journal.queries import Milestones
from seedance_async.batch.journal.records import Changes, Draft, JobEntry, damage, drafts
from seedance_async.batch.journal.refunded_moves import RefundedFailure
from seedance_async.batch.journal.remains import JOURNAL, LOG, unknown_sidecars
from seedance_async.batch.journal.store import Store
from seedance_async.batch.journal.take_moves import Rerolled
from seedance_async.errors import JournalError
from seedance_async.safe_files import missing, remove_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

P = ParamSpec("P")
T = TypeVar("T")

__all__ = [
    "Broken",
    "Changes",
    "Draft",
    "JobEntry",
    "Journal",
    "LineProblem",
    "Milestones",
    "Planner",
    "RefundedFailure",
    "Rerolled",
    "Store",
    "Taken",
    "before_anything_is_sent",
    "damage",
    "drafts",
]


@contextmanager
def before_anything_is_sent() -> Iterator[None]:
    """Mark a ``JournalError`` raised in this block as raised before anything was sent."""
    try:
        yield
    except JournalError as error:
        error.nothing_sent = True
        raise


class Journal:
    """The journal of one batch directory, for use in an event loop.

    Attributes:
        store: the operations on it; call each of its methods through ``do``.
    """

    def __init__(self, directory: Path, given: Path | None) -> None:
        self._directory = directory
        self._made: list[Path] = []
        self._is_new = False
        self._given = given
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seedance-journal")
        self.store: Store

    @classmethod
    async def open(cls, directory: Path, *, given: Path | None = None) -> Self:
        """Open the journal of a directory, creating both if missing.

        Args:
            directory: its path with symbolic links resolved.
            given: the path that the caller gave, which may contain symbolic links.

        Raises:
            JournalError: it is locked by another process, damaged, not a journal, or of a newer version.
        """
        journal = cls(directory, given)
        try:
            with before_anything_is_sent():
                await journal.do(journal._open)
        except BaseException:  # the caller may be cancelled while the file is being opened: close it here
            closing = asyncio.get_running_loop().run_in_executor(journal._thread, journal._abandon)
            journal._thread.shutdown(wait=False)
            with anyio.CancelScope(shield=True):
                await asyncio.wait([closing])
            raise
        return journal

    async def do(self, operation: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an operation in the journal's thread, after those requested before, and return its result.

        The operation is completed even if the caller is cancelled.
        """
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, partial(operation, *args, **kwargs))
        # The scope protects against anyio's cancellation, the shield against asyncio's.
        with anyio.CancelScope(shield=True):
            await asyncio.shield(future)
        return future.result()

    async def check_place(self) -> None:
        """Check that the directory's path still leads to the directory that was opened.

        Raises:
            JournalError: it does not.
        """
        await self.do(self.store.file.space.check_place)

    async def fact(self, name: str) -> str | None:
        """Return the fact that is stored under a name; None if there is none."""
        return await self.do(self.store.fact, name)

    async def remember(self, name: str, value: str) -> None:
        """Store a fact under a name, replacing an earlier one."""
        await self.do(self.store.remember, name, value)

    async def close(self, *, keep_unused: bool = True, refused: bool = False) -> None:
        """Close the file, after the operations requested before.

        Args:
            keep_unused: False deletes the journal if ``open`` created it and no run has begun in it, together
                with the directories that were created for it.
            refused: the run was refused; one that has sent nothing then counts as not begun.
        """
        try:
            await self.do(self._close, keep_unused=keep_unused, refused=refused)
        finally:
            self._thread.shutdown(wait=False)

    def _open(self) -> None:
        space = Space(self._directory, given=self._given)
        self._made = missing(self._directory)
        self._is_new = not os.path.lexists(self._directory / JOURNAL)
        try:
            connection = open_file(self._directory)
            try:
                space.load(self._directory / JOURNAL, self._directory / LOG)
                self.store = Store(File(connection, space))
                self.store.unknown_sidecars = unknown_sidecars(self._directory, partial(knows, connection))
            except BaseException:
                close(connection, self._directory)
                raise
        except OSError as problem:
            reason = not_permitted(self._directory) if isinstance(problem, PermissionError) else None
            why = "it is a file" if isinstance(problem, FileExistsError) else problem
            reason = reason or f"{self._directory} cannot hold a batch: {why}"
            raise JournalError(reason) from problem
        except ValueError as problem:  # invalid UTF-8 in SQLite's own tables
            raise JournalError(f"the journal is damaged: {problem!s:.300}") from problem

    def _abandon(self) -> None:
        if hasattr(self, "store"):
            self._close(keep_unused=False)

    def _close(self, *, keep_unused: bool, refused: bool = False) -> None:
        connection, space = self.store.file.connection, self.store.file.space
        self.store.leave()
        space.drop()
        is_used = self.store.has_posts() if refused else self.store.has_begun()
        if keep_unused or not self._is_new or is_used or not space.is_in_place():
            close(connection, self._directory)
        else:
            discard(connection, self._directory)
            remove_empty(self._made)
