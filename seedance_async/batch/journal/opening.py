"""The opening and closing of a journal: its lock, its settings, and the checks of the file.

One process uses the journal, with one connection. The connection holds SQLite's exclusive lock until it is
closed, so a second runner is refused at once, and the kernel releases the lock however the first one ends.
With this lock SQLite needs no shared memory file, and has no concurrent writers of the write-ahead log. The
process id of the lock's holder is stored in a file next to the journal, only for the error message.

With a write-ahead log and ``synchronous=FULL``, a commit is on disk when it returns. (With NORMAL, simulated
power cuts lost all of the last fifty commits.) The file contains prompts and signed URLs. It is created with
access for its owner only, before SQLite opens it: the log gets the same permissions.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sqlite3
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from seedance_async.batch.journal import remains
from seedance_async.batch.journal.disk import LEAST_FREE_BYTES, MOUNTS, RESERVE, shared_file_system
from seedance_async.batch.journal.log_check import check_log_is_of
from seedance_async.batch.journal.permissions import refusal
from seedance_async.batch.journal.records import damage
from seedance_async.batch.journal.remains import HOLDER, JOURNAL, LOG
from seedance_async.batch.journal.schema import (
    ADDITIONS,
    APPLICATION_ID,
    CHECKS,
    CONTRADICTIONS,
    OPEN_RUN,
    TABLES,
    VERSION,
)
from seedance_async.batch.keys import NONCE_BYTES
from seedance_async.errors import JournalError
from seedance_async.logs import Log
from seedance_async.safe_files import create

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

log: Log = Log(__name__)

CACHE_KIB: Final = 16_384
CHECKPOINT_PAGES: Final = 4_000
UNPUBLISHED: Final = APPLICATION_ID - 1
"""The application id of journals that unpublished versions wrote."""


class Cursor(Protocol):
    """The methods of a database cursor that are used here."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a row of whatever was selected
        """Return the next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all remaining rows."""
        ...


class Connection(Protocol):
    """The methods of a database connection that are used; a power-cut test has its own implementation."""

    def execute(self, sql: str, parameters: Sequence[object] = ..., /) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]], /) -> Cursor:
        """Run one statement for each of many rows."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_file(directory: Path) -> Connection:
    """Open the journal of a batch directory, creating both if missing.

    Raises:
        JournalError: it is in use by another process, damaged, not a journal, or of a newer version.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / JOURNAL
    _check_other_machines(directory)
    remains.check_nothing_is_left(directory)
    _create_private(path)
    inode = path.stat().st_ino
    has_log = remains.has_log(directory)
    if has_log:
        check_log_is_of(path)
    if (directory / HOLDER).exists() and path.stat().st_size > 0 and not has_log:
        log.warning("%s-wal is missing: what the last run wrote at its end may be lost with it", path)
    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    except sqlite3.Error as problem:
        raise _refusal(problem, directory) from problem
    try:
        prepare(connection)
        _check_same_file(path, inode)
        check(connection)
        if not has_log:
            _check_no_run_is_open(connection, path)
        remains.check_results_are_known(directory, partial(knows, connection))
        with create(directory / HOLDER) as holder:
            holder.write(f"{os.getpid()} on {socket.gethostname()}\n".encode())
        _sync(directory)
    except BaseException as problem:
        connection.close()
        if isinstance(problem, sqlite3.Error):
            raise _refusal(problem, directory) from problem
        raise
    return connection


def prepare(connection: Connection) -> None:
    """Take the lock, check that the file is a journal, and create its tables if it is empty."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    for setting in (
        "synchronous = FULL",
        f"cache_size = -{CACHE_KIB}",
        f"temp_store = {_temp_store()}",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()
    if _recognise(connection) is None:
        # Before there is a write-ahead log: so the nonce is in the file itself, with fsync, before any use.
        connection.execute("BEGIN IMMEDIATE")
        make_tables(connection)
        connection.execute("COMMIT")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JournalError(f"this file system does not carry a write-ahead log (journal mode {mode!r})")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}").fetchall()
    connection.execute("BEGIN IMMEDIATE")  # takes the lock
    _execute_all(connection, ADDITIONS)
    connection.execute("COMMIT")


def check(connection: Connection) -> None:
    """Check every page, every cell's constraint, and the consistency of rows with one another.

    Raises:
        JournalError: names what is damaged, and where.
    """
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _broken_cell(connection) or JournalError(
            f"the journal is damaged ({verdict}); nothing was changed"
        )
    for column, contradiction in CONTRADICTIONS.items():
        job = connection.execute(contradiction).fetchone()
        if job is not None:
            raise damage(f"{column} of {_named('jobs', *job)}")


def close(connection: Connection, directory: Path) -> None:
    """Close the journal: copy the log into the file, and delete the holder's process id."""
    with suppress(sqlite3.Error):  # if it fails, the next run reads the log
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    (directory / HOLDER).unlink(missing_ok=True)


def discard(connection: Connection, directory: Path) -> None:
    """Delete a journal that was created but not used, and close it.

    It is deleted while its lock is held, so that no other process can begin to use it. The log is deleted
    first, also under the lock: otherwise closing could delete the log of a new journal of the same name.
    """
    with suppress(sqlite3.Error, OSError):
        (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        if mode == "delete":
            (directory / HOLDER).unlink(missing_ok=True)
            (directory / JOURNAL).unlink(missing_ok=True)
    connection.close()


def _check_same_file(path: Path, inode: int) -> None:
    """Check that the path still leads to the file that is locked.

    Raises:
        JournalError: the file was deleted while it was being opened; anything written to it would be lost.
    """
    try:
        if path.stat().st_ino == inode:
            return
    except FileNotFoundError:
        pass
    raise JournalError(f"another runner has just left {path.parent}, and took its journal away; run again")


def _check_other_machines(directory: Path) -> None:
    """Check the holder's name on network file systems, whose locks other machines may not see.

    Raises:
        JournalError: a runner on another machine is running, or has died.
    """
    kind = shared_file_system(directory, MOUNTS)
    if kind is None:
        return
    holder, machine = directory / HOLDER, socket.gethostname()
    if holder.exists() and not (named := _read_holder(directory)).endswith(f" on {machine}"):
        raise JournalError(
            f"{directory} is on {kind}, and process {named} works in it or died in it; two at a time would "
            f"pay twice. If it has ended, delete {holder} and run again"
        )
    log.warning(
        "%s is on %s, where a lock may not be seen by other machines: run this batch on one only",
        directory,
        kind,
    )


def _check_no_run_is_open(connection: Connection, path: Path) -> None:
    """Check that no run was under way when the log was lost: only the log has what that run sent.

    Raises:
        JournalError: there was such a run.
    """
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (OPEN_RUN,)).fetchone()
    if row is not None and row[0]:
        raise JournalError(
            f"{path.with_name(LOG)} is missing, and a run of this batch has not ended: what it sent and paid "
            f"is recorded there only, so nothing is sent. Put the file back next to {JOURNAL}; if it is "
            "lost, look for the jobs among the account's tasks, and run only the missing ones elsewhere"
        )


def knows(connection: Connection, key: str) -> bool:
    """Whether a POST was sent under a key."""
    query = "SELECT 1 FROM posts WHERE key = ? AND state <> 'planned'"
    return connection.execute(query, (key,)).fetchone() is not None


def _sync(directory: Path) -> None:
    """Call fsync on a directory, so that its entries survive a power cut; not possible on Windows."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _create_private(path: Path) -> None:
    """Create the file with access for its owner only, or correct its permissions.

    An existing file is not opened here: closing it would release SQLite's locks on it in this process.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if path.is_symlink() or not path.is_file():
            raise JournalError(f"{path} is not a plain file") from None
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            try:
                path.chmod(0o600)
            except OSError as problem:  # on many mounts all files have one owner and one mode
                log.warning("%s stays readable for others: %s", path, problem.strerror)


def _recognise(connection: Connection) -> int | None:
    """Return the version of a journal; None for an empty file.

    Raises:
        JournalError: it is another kind of file, or of an unpublished or newer version.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not application:
        return None
    if application == UNPUBLISHED:
        raise JournalError(
            "the journal was written by an unpublished version of this package, and cannot be read by this "
            "one: finish the batch with that version, or take another directory"
        )
    if application != APPLICATION_ID:
        raise JournalError("the file is a database of another program; take another directory")
    if version > VERSION:
        raise JournalError(f"the journal is of version {version}, this program knows up to {VERSION}: update")
    return int(version)


def _temp_store() -> str:
    """Return SQLite's ``temp_store``: ``FILE``, or ``MEMORY`` if no directory for temporary files has space.

    A read-only container may have no such directory, or a very small one.
    """
    if os.name != "posix":
        return "FILE"
    named = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"))
    tried = filter(None, (*named, "/var/tmp", "/usr/tmp", "/tmp", "."))  # noqa: S108 - SQLite's own list
    place = next((each for each in tried if Path(each).is_dir() and os.access(each, os.W_OK | os.X_OK)), None)
    if place is None or shutil.disk_usage(place).free < LEAST_FREE_BYTES:
        return "MEMORY"
    return "FILE"


def make_tables(connection: Connection) -> None:
    """Create the tables of a journal in an empty file, with a new nonce."""
    _execute_all(connection, TABLES + ADDITIONS)
    # The nonce is on disk before any key is derived from it.
    facts = {"nonce": secrets.token_bytes(NONCE_BYTES), "run": 0, "credits_used": 0, "credits_refunded": 0}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _execute_all(connection: Connection, statements: str) -> None:
    statement = ""
    for part in statements.split(";")[:-1]:  # a trigger contains semicolons itself
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


_ROW_NAMES: Final = {
    "jobs": "number, name",
    "links": "job, text",
    "inputs": "job, ref",
    "older": "number, fold",
    "moves": "number, name",
    "rerolls": "fold, fold",
    "refunds": "fold, fold",
    "boots": "post, boot",
    "deliveries": "job, job",
    "projects": "job, project",
    "unpriced": "post, place",
    "finals": "number, source",
}


def _broken_cell(connection: Connection) -> JournalError | None:
    """Return the error for a cell that violates its constraint: SQLite itself names only the table."""
    for table, checks in CHECKS.items():
        row_name = _ROW_NAMES.get(table, "id, id")
        for column, constraint in checks.items():
            query = f"SELECT {row_name} FROM {table} WHERE NOT ifnull({constraint}, 1) LIMIT 1"
            row = connection.execute(query).fetchone()
            if row is not None:
                return damage(f"{column} of {_named(table, *row)}")
    return None


def _named(table: str, number: object, name: object) -> str:
    return f"job {number} ({name!r:.80})" if table == "jobs" else f"row {number} of {table}"


def _refusal(problem: sqlite3.Error, directory: Path) -> JournalError:
    if getattr(problem, "sqlite_errorcode", 0) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        holder = _read_holder(directory)
        refused = JournalError(f"another runner works in {directory} (process {holder}); one at a time")
        refused.is_locked = True
        return refused
    return JournalError(
        not_permitted(directory)
        or f"{directory / JOURNAL} cannot be used: {problem}; nothing was changed and nothing was sent"
    )


def not_permitted(directory: Path) -> str | None:
    """Return why this user has no access to the files of a batch directory; None if it has."""
    files = (JOURNAL, LOG, f"{JOURNAL}-journal", HOLDER, RESERVE)
    return refusal((directory, *(directory / name for name in files)))


def _read_holder(directory: Path) -> str:
    try:
        return (directory / HOLDER).read_text().strip()
    except OSError:
        return "unknown"
