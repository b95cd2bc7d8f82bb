"""The journal's database connection, its transactions, and the handling of failed writes.

If the disk is full, the reserve file is deleted, once, and the transaction repeated. After any other failure
of the file, such as an input/output error, nothing more is written: what a failed fsync has left on disk is
unknown, and a repeated one may report success wrongly.
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
"""Errors that do not prove damage, so the message does not advise to restore a copy of the file."""


class File:
    """The connection of a journal, for use in the thread that opened it.

    Args:
        connection: prepared by ``opening``.
        space: the journal's disk.
    """

    def __init__(self, connection: Connection, space: Space) -> None:
        self.connection = connection
        self.space = space
        self._broken: JournalError | None = None
        self._nested = False
        self._pid = os.getpid()

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        """Return the rows of a query, inside or outside a transaction.

        Raises:
            JournalError: the file cannot be read.
        """
        try:
            return self.connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as problem:
            raise self._unreadable(problem) from problem

    def row(self, sql: str, *parameters: object) -> Row | None:
        """Return the first row of a query; None if there is none."""
        return next(iter(self.rows(sql, *parameters)), None)

    def write(self, sql: str, *parameters: object) -> None:
        """Execute a statement that changes rows. Part of a transaction."""
        self.connection.execute(sql, parameters)

    def transaction(self, operation: Callable[[], T]) -> T:
        """Run an operation as one transaction and return its result; then the changes are on disk.

        Raises:
            JournalError: it failed, and nothing of it was stored.
        """
        if os.getpid() != self._pid:
            raise JournalError("the journal was opened in the parent process; open it again after a fork")
        if self._broken is not None:
            raise self._broken
        try:
            return operation() if self._nested else self._attempt(operation)
        except sqlite3.Error as problem:
            full = getattr(problem, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
            if full and not self._nested and self.space.drop():
                return self.transaction(operation)
            failure = JournalError(f"the journal could not be written: {problem}")
            refused = isinstance(problem, sqlite3.IntegrityError)  # a constraint: the file itself is intact
            self._broken = None if full or refused else failure
            raise failure from problem
        except OSError as problem:  # for example, the directory was deleted
            raise JournalError(f"the journal could not be written: {problem}") from problem

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file, with fsync; the log is kept."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
        except sqlite3.Error as problem:
            raise JournalError(f"the journal could not be written: {problem}") from problem

    def begin(self) -> None:
        """Begin one transaction that includes all further ones up to ``end``.

        Raises:
            JournalError: the file cannot be written.
        """
        self.transaction(lambda: None)
        self.connection.execute("BEGIN IMMEDIATE")
        self._nested = True

    def end(self, *, keep: bool) -> None:
        """Commit or roll back everything since ``begin``. Without a ``begin``, do nothing.

        Raises:
            JournalError: the commit failed, and nothing was stored.
        """
        if not self._nested:
            return
        try:
            self.transaction(lambda: self.connection.execute("COMMIT" if keep else "ROLLBACK"))
        except JournalError:
            with suppress(sqlite3.Error):  # SQLite may have rolled back already
                self.connection.execute("ROLLBACK")
            raise
        finally:
            self._nested = False

    def _unreadable(self, problem: sqlite3.Error) -> JournalError:
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF  # 0 for Python's own errors: invalid UTF-8
        if code in _NO_DAMAGE:
            return JournalError(f"the journal cannot be read: {problem}; nothing was sent because of it")
        failure = JournalError(f"the journal is damaged: {problem!s:.300}; {REMEDY}")
        if code == sqlite3.SQLITE_IOERR:
            self._broken = failure
        return failure

    def _attempt(self, operation: Callable[[], T]) -> T:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            result = operation()
            self.connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite may have rolled back already, as when the disk is full
                self.connection.execute("ROLLBACK")
            raise
        return result
