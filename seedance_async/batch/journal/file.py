"""One connection and its transactions, and what becomes of one that fails.

Where the disk is full, the reserve file is given up, once. After any other failure of the file, an
input/output error above all, nothing more is written: what a failed sync has left behind is not known, and
trying again would only look like success.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from seedance_async.batch.journal.records import REMEDY
from seedance_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.batch.journal.disk import Space
    from seedance_async.batch.journal.opening import Connection
    from seedance_async.batch.journal.records import Row

T = TypeVar("T")

_NO_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
    }
)  # fmt: skip
"""Why a file cannot be read that may be whole: nobody should take a copy in its place for that."""


class File:
    """The connection of a journal, in the thread that opened it.

    Args:
        connection: prepared by ``opening``.
        space: the disk it lies on.
    """

    def __init__(self, connection: Connection, space: Space) -> None:
        self.connection = connection
        self.space = space
        self._broken: JournalError | None = None
        self._nested = False
        self._pid = os.getpid()

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        """The rows that a query gives, within a transaction or without.

        Raises:
            JournalError: the file cannot be read.
        """
        try:
            return self.connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as problem:
            raise self._unreadable(problem) from problem

    def row(self, sql: str, *parameters: object) -> Row | None:
        """The first row that a query gives."""
        return next(iter(self.rows(sql, *parameters)), None)

    def write(self, sql: str, *parameters: object) -> None:
        """Change something; part of a transaction."""
        self.connection.execute(sql, parameters)

    def transaction(self, operation: Callable[[], T]) -> T:
        """Do an operation whole or not at all; when this returns it is on the disk.

        Raises:
            JournalError: it is not done.
        """
        if os.getpid() != self._pid:
            raise JournalError("the journal was opened in the parent process; open it anew after a fork")
        if self._broken is not None:
            raise self._broken
        try:
            return operation() if self._nested else self._attempt(operation)
        except sqlite3.Error as problem:
            full = getattr(problem, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
            if full and not self._nested and self.space.drop():
                return self.transaction(operation)
            failure = JournalError(f"the journal could not be written: {problem}")
            refused = isinstance(problem, sqlite3.IntegrityError)  # the file is sound, and has kept a cell so
            self._broken = None if full or refused else failure
            raise failure from problem
        except OSError as problem:  # the directory is gone, say
            raise JournalError(f"the journal could not be written: {problem}") from problem

    def checkpoint(self) -> None:
        """Copy what is in the log into the file itself, synced; the log stays."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
        except sqlite3.Error as problem:
            raise JournalError(f"the journal could not be written: {problem}") from problem

    def begin(self) -> None:
        """Make all transactions up to ``end`` one.

        Raises:
            JournalError: nothing can be written.
        """
        self.transaction(lambda: None)
        self.connection.execute("BEGIN IMMEDIATE")
        self._nested = True

    def end(self, *, keep: bool) -> None:
        """Write down all that was done since ``begin``, or none of it. Without a ``begin``, nothing happens.

        Raises:
            JournalError: it could not be written, and nothing of it is.
        """
        if not self._nested:
            return
        try:
            self.transaction(lambda: self.connection.execute("COMMIT" if keep else "ROLLBACK"))
        except JournalError:
            with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                self.connection.execute("ROLLBACK")
            raise
        finally:
            self._nested = False

    def _unreadable(self, problem: sqlite3.Error) -> JournalError:
        code = (
            getattr(problem, "sqlite_errorcode", 0) & 0xFF
        )  # Python's own errors, of text that is none, have 0
        if code in _NO_DAMAGE:
            return JournalError(f"the journal cannot be read: {problem}; nothing was sent because of it")
        failure = JournalError(f"the journal is damaged: {problem!s:.300}; {REMEDY}")
        if code == sqlite3.SQLITE_IOERR:
            self._broken = failure
        return failure

    def _attempt(self, operation: Callable[[], T]) -> T:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            done = operation()
            self.connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite may have rolled back by itself, as when the disk is full
                self.connection.execute("ROLLBACK")
            raise
        return done
