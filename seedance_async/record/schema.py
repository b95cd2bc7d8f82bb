"""The schema of an account record's file, and how the file is opened.

One row of ``posts`` is one POST under one idempotency key, however many attempts it took. Columns ``…_at``
are seconds of the wall clock since 1970, UTC. They are not used for ordering, because clocks jump; ``id`` is.

``sent_at``   is when it was first sent: the server remembers the key from then on.

``day``       is the UTC day on which it counts: that of ``sent_at``, or that of the last retry or replay.

``kind``      is what the price depends on, a JSON list.

``settled``   is 0 until it is known what the POST cost.

``held``      is the number of credits that it may cost, as expected when it was sent.

``owner``     is the process that sends it, ``touched_at`` the time of its last attempt, and ``awaited`` is 1
until its first attempt has ended, and again while its tasks are asked what it cost.

``days`` has the sums of each UTC day, so that checking a limit is fast; ``prices`` has the highest price of a
task of each kind.

Many processes write to the file, each for less than a millisecond. It uses a write-ahead log with synchronous
NORMAL: when a commit returns, the operating system has the data, so the death of a process loses nothing, and
a POST does not wait for the disk.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from seedance_async.safe_files import NOT_THROUGH_LINKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION_ID: Final = 0x5EED_ACC7
VERSION: Final = 1
PAUSE: Final = 0.005  # s, before opening is retried while another process creates the file

TABLES: Final = (
    """
    CREATE TABLE posts (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        kind TEXT NOT NULL,
        model TEXT,
        tasks INTEGER NOT NULL,
        project TEXT,
        prompt TEXT,
        sent_at REAL NOT NULL,
        day INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('submitting', 'accepted', 'refused', 'uncertain')),
        settled INTEGER NOT NULL DEFAULT 0,
        held REAL,
        owner TEXT NOT NULL,
        touched_at REAL NOT NULL,
        awaited INTEGER NOT NULL DEFAULT 1,
        credits_used REAL,
        credits_refunded REAL NOT NULL DEFAULT 0,
        error TEXT
    )
    """,
    "CREATE INDEX posts_of_key ON posts (key)",
    "CREATE INDEX unsettled ON posts (day) WHERE settled = 0",
    """
    CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        post INTEGER NOT NULL,
        place INTEGER NOT NULL,
        status TEXT,
        credits_used REAL,
        credits_refunded REAL NOT NULL DEFAULT 0,
        ended_at REAL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX tasks_of_post ON tasks (post)",
    "CREATE TABLE days (day INTEGER PRIMARY KEY, used REAL NOT NULL, refunded REAL NOT NULL)",
    "CREATE TABLE prices (kind TEXT PRIMARY KEY, high REAL NOT NULL) WITHOUT ROWID",
)

HELD: Final = "COALESCE((SELECT high FROM prices WHERE prices.kind = posts.kind) * posts.tasks, posts.held)"
"""SQL for the cost of a POST that is not settled: by the price known now, else by the price expected then."""


def connect(path: Path, *, patience: float) -> sqlite3.Connection:
    """Open the record, created if missing, readable for its owner only.

    Args:
        path: the file.
        patience: seconds to wait for other processes.

    Raises:
        OSError: the file cannot be created, or is a link or not a regular file.
        sqlite3.Error: the file is damaged, not a record, or of another version.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _create_private(path)
    until = time.monotonic() + patience
    while True:
        connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
        try:
            _prepare(connection)
        except BaseException as problem:
            connection.close()
            if not _is_busy(problem) or time.monotonic() >= until:
                raise
        else:
            return connection
        time.sleep(PAUSE)


def _is_busy(problem: BaseException) -> bool:
    """Whether another process is creating or closing the file; SQLite does not wait for that by itself."""
    code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL}


def connect_to_nothing() -> sqlite3.Connection:
    """Return a connection to an empty record in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _prepare(connection)
    return connection


def _create_private(path: Path) -> None:
    """Create the file with private permissions before SQLite opens it: the log gets the same permissions."""
    flags = os.O_RDWR | os.O_CREAT | NOT_THROUGH_LINKS
    file = os.open(path, flags, 0o600)
    try:
        mode = os.fstat(file).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(f"{path} is not a regular file")
        if os.name == "posix" and mode & 0o077:
            os.fchmod(file, 0o600)
    finally:
        os.close(file)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # not while a POST waits; see ``Store.checkpoint``
    connection.execute("PRAGMA journal_size_limit = 1048576").fetchall()  # for the log, after a checkpoint
    with transaction(connection, "BEGIN"):
        is_ours = _is_ours(connection)
    if is_ours:
        return
    connection.execute("PRAGMA page_size = 1024")  # SQLite writes whole pages, and rows are short
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    with transaction(connection):
        if not _is_ours(connection):  # another process may have been faster
            for table in TABLES:
                connection.execute(table)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Run the block as one transaction: commit at its end, roll back on an exception."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
            connection.execute("ROLLBACK")
        raise


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Whether the file is a record of this version; false if it is empty.

    Raises:
        sqlite3.DatabaseError: it is another file, or a record of another version.
    """
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if mark == APPLICATION_ID and version == VERSION:
        return True
    if mark == APPLICATION_ID:
        raise sqlite3.DatabaseError(f"it was written by another version of this package (layout {version})")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if mark or tables:
        raise sqlite3.DatabaseError("it is no account record")
    return False
