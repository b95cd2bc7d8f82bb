"""The check that a journal's write-ahead log was written for this very file.

SQLite knows a log by its name only. One that a copy or a backup has left next to another state of the file
would be copied into it as soon as it is opened, and destroy it. So both are read before, without any change.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from seedance_async.batch.journal.remains import JOURNAL, LOG
from seedance_async.batch.journal.schema import OPEN_RUN
from seedance_async.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

_FACTS: Final = f"SELECT name, value FROM meta WHERE name IN ('nonce', 'run', '{OPEN_RUN}')"


def check_log_is_of(path: Path) -> None:
    """Check that the log next to a journal continues it.

    Raises:
        JournalError: it is the log of another journal, or of an earlier state of this one.
    """
    try:
        before = _facts(path, "immutable=1")
    except sqlite3.Error:  # a checkpoint was interrupted: the file can only be read with its log
        return
    try:
        after = _facts(path, "")
    except sqlite3.OperationalError:  # in use by another process, or not permitted: told when it is opened
        return
    except sqlite3.DatabaseError:
        after = {}
    finally:
        with suppress(OSError):
            path.with_name(f"{JOURNAL}-shm").unlink()
    if not _continues(before, after):
        raise JournalError(
            f"{path.with_name(LOG)} is not the log of {path} as it is now: one of them is an older copy, or "
            f"of another batch. Nothing was changed and nothing was sent. If this {JOURNAL} is that of a "
            f"finished run, move {LOG} away and run again; else put the two files of one moment there"
        )


def _facts(path: Path, how: str) -> dict[str, object]:
    """Return what a journal states about itself: alone if it is read as immutable, else with its log."""
    uri = f"{path.absolute().as_uri()}?mode=ro&{how}"  # nothing of the log is copied when it is only read
    with closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
        return dict(connection.execute(_FACTS).fetchall())


def _continues(before: dict[str, object], after: dict[str, object]) -> bool:
    """Whether a file that states ``before`` can state ``after`` with its log: runs only begin, then end."""
    if before.get("nonce") != after.get("nonce"):
        return False
    first, last = before.get("run"), after.get("run")
    if first == last:
        return not after.get(OPEN_RUN) or after.get(OPEN_RUN) == before.get(OPEN_RUN)
    return isinstance(first, int) and isinstance(last, int) and first < last
