"""The journal: the durable record of a batch, of what was asked for, sent under which key, and accepted.

The order of writing is what matters: the intent (key, path, exact bytes) is on the disk before a POST leaves,
and the accepted task ids are before anybody learns of them. So at any instruction a process may end, and the
next one finds for each job either that nothing was sent, or the very bytes and key to ask again with, or the
ids to collect.

SQLite runs in one dedicated thread, one whole transaction a call. A caller that is cancelled meanwhile does
not stop the thread; what was begun will be written.
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
from seedance_async.batch.journal.opening import close, discard, not_permitted, open_file
from seedance_async.batch.journal.planning import LineProblem, Planner, Taken
from seedance_async.batch.journal.queries import Milestones
from seedance_async.batch.journal.records import Changes, Draft, JobEntry, damage, drafts
from seedance_async.batch.journal.refunded_moves import RefundedFailure
from seedance_async.batch.journal.remains import JOURNAL
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
    """A part of a run that sends nothing: an error of the journal in it says so."""
    try:
        yield
    except JournalError as error:
        error.nothing_sent = True
        raise


class Journal:
    """The journal of one batch directory, from an event loop.

    Attributes:
        store: what to do with it; each of its methods is called through ``do``.
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
        """Open the journal of a directory, making both if missing.

        Args:
            directory: its own path.
            given: the path that it was asked for by, with links in it.

        Raises:
            JournalError: held by another process, damaged, foreign, or of a newer version.
        """
        journal = cls(directory, given)
        try:
            with before_anything_is_sent():
                await journal.do(journal._open)
        except BaseException:  # a cancelled caller leaves before the file is open; nobody else would close it
            closing = asyncio.get_running_loop().run_in_executor(journal._thread, journal._abandon)
            journal._thread.shutdown(wait=False)
            with anyio.CancelScope(shield=True):
                await asyncio.wait([closing])
            raise
        return journal

    async def do(self, operation: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something in the journal's thread, after all that was asked for before.

        Once asked for it is done: a cancelled caller leaves, the operation stays.
        """
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._thread, partial(operation, *args, **kwargs))
        # Against anyio's cancellation the scope, against asyncio's own the shield.
        with anyio.CancelScope(shield=True):
            await asyncio.shield(done)
        return done.result()

    async def check_place(self) -> None:
        """See that the directory is still where it was opened.

        Raises:
            JournalError: it is not.
        """
        await self.do(self.store.file.space.check_place)

    async def fact(self, name: str) -> str | None:
        """A fact that was remembered under a name; None if there is none."""
        return await self.do(self.store.fact, name)

    async def remember(self, name: str, value: str) -> None:
        """Remember a fact under a name, in the place of an earlier one."""
        await self.do(self.store.remember, name, value)

    async def close(self, *, keep_unused: bool = True, refused: bool = False) -> None:
        """Close the file, after all that was asked before.

        Args:
            keep_unused: False takes a journal away again that was made by this opening and has begun no run,
                and the directories that were made for it.
            refused: what it was to run was refused: a run that has sent nothing is as none.
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
                space.load()
                self.store = Store(File(connection, space))
            except BaseException:
                close(connection, self._directory)
                raise
        except OSError as problem:
            reason = not_permitted(self._directory) if isinstance(problem, PermissionError) else None
            reason = reason or f"{self._directory} cannot hold a batch: {problem}"
            raise JournalError(reason) from problem
        except ValueError as problem:  # text that is none, in SQLite's own tables
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
