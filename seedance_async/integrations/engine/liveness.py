"""The record of which workers are alive: a lock on each worker's name, freed when its process or host dies.

On PostgreSQL it is an advisory lock in a session of its own, with SQLite a lock on a file in the same
directory. A worker's name has a random part, so no later process is taken for an earlier one. A process that
is stopped (SIGSTOP) keeps its lock, and its jobs.

Blocking: call it in threads.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from seedance_async.file_lock import try_lock
from seedance_async.integrations.engine.database import EngineAwayError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from seedance_async.integrations.engine.database import Database

JUST_STARTED: Final = 5.0
"""Seconds after the start of a server in which a free lock proves no death: it may be taken again soon."""

LOCK: Final = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
UNLOCK: Final = sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")
UPTIME: Final = sa.text("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8")


class Liveness(Protocol):
    """The workers that are alive, as one worker sees them."""

    def connect(self) -> bool:
        """Show that this worker is alive, from now on; False while that cannot be trusted of others."""
        ...

    def check(self) -> None:
        """Check that this worker still counts as alive; EngineAwayError if it does not."""
        ...

    def claim(self, name: str) -> AbstractContextManager[bool]:
        """Whether another worker is dead; inside the block no other worker can claim it."""
        ...

    def close(self) -> None:
        """Free the lock: this worker counts as dead from now on."""
        ...


class PostgresLiveness:
    """Advisory locks of one session.

    Args:
        tables: whose database it is.
        name: of this worker.
    """

    def __init__(self, tables: Database, name: str) -> None:
        self._tables = tables
        self._name = name
        self._session: sa.Connection | None = None

    def connect(self) -> bool:
        """Open the session and lock the worker's own name.

        Returns:
            False if the server has just started: live workers may not have locked their names again.
        """
        self.close()
        with self._tables.reached():
            session = self._tables.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._session = session
            if not session.scalar(LOCK, {"name": self._name}):
                raise EngineAwayError("another worker is just taking over this one's jobs")
            return float(session.scalar(UPTIME) or 0.0) > JUST_STARTED

    def check(self) -> None:
        """Send any query: a session that is broken holds no lock any more."""
        with self._tables.reached():
            self._open().scalar(sa.text("SELECT 1"))

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Lock another worker's name, if the lock is free."""
        session = self._open()
        with self._tables.reached():
            is_dead = bool(session.scalar(LOCK, {"name": name}))
        try:
            yield is_dead
        finally:
            if is_dead:
                with self._tables.reached():
                    session.execute(UNLOCK, {"name": name})

    def close(self) -> None:
        """Close the session, and its lock with it."""
        if self._session is not None:
            with suppress(DBAPIError):
                self._session.invalidate()  # not back into the pool: the lock is the session's
                self._session.close()
            self._session = None

    def _open(self) -> sa.Connection:
        if self._session is None:
            raise EngineAwayError("the worker is not connected")
        return self._session


class FileLiveness:
    """Locks on files in a directory, a file a worker.

    Args:
        directory: made if missing.
        name: of this worker.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._file: int | None = None

    def connect(self) -> bool:
        """Lock the worker's own file; nothing but its death frees it."""
        if self._file is None:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            self._file = os.open(self._directory / self._name, os.O_RDWR | os.O_CREAT, 0o600)
            if not try_lock(self._file):
                raise EngineAwayError("another worker is just taking over this one's jobs")
        return True

    def check(self) -> None:
        """Nothing to check: the kernel keeps the lock."""

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Lock another worker's file, if the lock is free; a worker that has left has no file."""
        path = self._directory / os.path.basename(name)  # noqa: PTH119 - a name out of the database
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            yield True
            return
        try:
            is_dead = try_lock(file)
            yield is_dead
            if is_dead:
                path.unlink(missing_ok=True)
        finally:
            os.close(file)

    def close(self) -> None:
        """Remove the file, and free its lock."""
        if self._file is not None:
            (self._directory / self._name).unlink(missing_ok=True)
            os.close(self._file)
            self._file = None
