"""The files that a batch leaves next to its journal, and checks that the journal belongs to them.

If the journal is missing or older than the results next to it, it does not have everything that was paid.
Idempotency keys are derived from its nonce and its generation counters, so paid jobs would be sent under new
keys and paid again.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
from contextlib import closing, suppress
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seedance_async.batch.journal.disk import RESERVE
from seedance_async.batch.journal.schema import APPLICATION_ID
from seedance_async.errors import JournalError
from seedance_async.filenames import fold
from seedance_async.safe_files import BINARY, NOT_WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

JOURNAL: Final = "journal.sqlite"
LOG: Final = f"{JOURNAL}-wal"
HOLDER: Final = "journal.pid"
RESULTS: Final = "results.jsonl"

MOST_SEEN: Final = 2_000
"""Most files next to a missing journal, newest sidecars, and lines of results that are examined."""

MOST_SIDECAR_BYTES: Final = 1024 * 1024
TAIL_BYTES: Final = 256 * 1024
"""Number of bytes read at the end of the results: an older journal lacks the newest lines."""

LOG_MAGIC: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
LEAST_LOG_BYTES: Final = 32 + 24 + 512
"""Least size of a log with content: its header, the header of a page, and the smallest page."""


def check_nothing_is_left(directory: Path) -> None:
    """Check that a directory without a journal has no files of a batch, whose journal would be lost.

    Raises:
        JournalError: there is such a file; names it.
    """
    if size(directory / JOURNAL) > 0 and (has_log(directory) or not _is_without_tables(directory / JOURNAL)):
        return
    found = next(_left(directory), None)
    if found is not None:
        raise JournalError(
            f"{found} is from a batch, and its {JOURNAL} is missing or empty: taken for new, its jobs would "
            f"be paid again. Put {JOURNAL} and {LOG} back, or take another directory"
        )


def check_results_are_known(directory: Path, knows: Callable[[str], bool]) -> None:
    """Check that the journal is not older than the results next to it.

    Args:
        directory: the batch directory.
        knows: whether the journal has a POST that was sent under an idempotency key.

    Raises:
        JournalError: a paid result is not in the journal.
    """
    for key, name in paid_keys(directory).items():
        if not knows(key):
            raise JournalError(
                f"{RESULTS} lists {name}, paid under the key {key:.40}, and {JOURNAL} "
                "does not know it: the journal is an older copy or another batch's, and would pay again. Put "
                f"the journal that belongs to {RESULTS} in its place, or use another directory"
            )


def unknown_sidecars(directory: Path, knows: Callable[[str], bool]) -> dict[str, tuple[Path, str]]:
    """Return those of the newest sidecars that a journal does not know: an older copy of it lacks these.

    They may also be those of another batch, copied there. So only a job of the same name is in doubt.

    Args:
        directory: the batch directory.
        knows: whether the journal has a POST that was sent under an idempotency key.

    Returns:
        By folded name of its job, the path of each, and the key.
    """
    found: dict[str, tuple[Path, str]] = {}
    for path in nlargest(
        MOST_SEEN, (path for path in _files(directory) if path.suffix == ".json"), _changed_at
    ):
        with suppress(OSError):
            story = _sidecar(path)
            name, key = story.get("name"), story.get("idempotency_key")
            if isinstance(name, str) and isinstance(key, str) and not knows(key):
                found[fold(name)] = path, key
    return found


def paid_keys(directory: Path) -> dict[str, str]:
    """Return the paid results at the end of a batch's results: key to the job's name, for messages."""
    paid: dict[str, str] = {}
    for facts in map(_facts, last_of_results(directory).splitlines()):
        key = facts.get("idempotency_key")
        if facts.get("task_ids") and isinstance(key, str):
            paid[key] = f"{facts.get('name')!r:.80}"
    return paid


def has_sent(directory: Path) -> bool:
    """Whether a batch has sent a POST, according to its journal, which another process may have open."""
    if has_log(directory):  # a run is going on, or has died: it may have sent something
        return True
    query = "SELECT 1 FROM jobs WHERE state NOT IN ('planned', 'refused', 'blocked') LIMIT 1"
    uri = f"{(directory / JOURNAL).absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(query).fetchone() is not None
    except sqlite3.Error:  # there is no journal, or the file is not one
        return False


def has_log(directory: Path) -> bool:
    """Whether the journal has a write-ahead log: the file is not missing, truncated or overwritten."""
    path = directory / LOG
    return size(path) >= LEAST_LOG_BYTES and _head(path, 4) in LOG_MAGIC


def size(path: Path) -> int:
    """Return the size of a file in bytes; 0 if it is missing."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _left(directory: Path) -> Iterator[Path]:
    """Yield files of a batch, other than its journal."""
    if size(directory / LOG) > 0:
        yield directory / LOG
    # Created after the journal, and deleted when it is closed normally.
    yield from (path for name in (HOLDER, RESERVE) if _is_our_own(path := directory / name))
    if any(facts.keys() >= {"state", "task_ids", "idempotency_key"} for facts in _first_results(directory)):
        yield directory / RESULTS
    for path in islice(_files(directory), MOST_SEEN):
        with suppress(OSError):
            if _sidecar(path) or (path.parent == directory and (_is_renamed(path) or _is_media(path))):
                yield path


def _is_our_own(path: Path) -> bool:
    """Whether a path is a regular file, and not a symbolic or hard link."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _files(directory: Path) -> Iterator[Path]:
    """Yield the files in and below a directory, except in directories with a journal of their own."""
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if size(Path(folder, name, JOURNAL)) == 0)
        yield from (Path(folder, name) for name in sorted(names))


def _changed_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _is_renamed(path: Path) -> bool:
    """Whether a file is a journal under another name."""
    return _application(path) == APPLICATION_ID


def _is_without_tables(path: Path) -> bool:
    """Whether a file is a database that would be taken for a new journal, if it has no tables either."""
    return _application(path) == 0


def _application(path: Path) -> int | None:
    """Return the application id of a database file; None if it is no database."""
    head = _head(path, 72)
    return int.from_bytes(head[68:]) if head.startswith(b"SQLite format 3\0") else None


def _sidecar(path: Path) -> dict[str, object]:
    """Return the content of a sidecar; empty for any other file."""
    if path.suffix != ".json" or size(path) > MOST_SIDECAR_BYTES:
        return {}
    with _opened(path) as file:
        facts = _facts(file.read())
    return facts if facts.keys() >= {"sha256", "task_id", "idempotency_key"} else {}


def _is_media(path: Path) -> bool:
    """Whether this package saved a file, which then has its origin in its metadata."""
    # Imported only here: the downloads package loads the HTTP stack.
    from seedance_async.downloads.metadata import FORMATS, read_origin  # noqa: PLC0415

    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        return False
    with _opened(path) as file:
        return read_origin(file, kind) is not None


def _first_results(directory: Path) -> Iterator[dict[str, object]]:
    with suppress(OSError), _opened(directory / RESULTS) as results:
        yield from map(_facts, islice(results, MOST_SEEN))


def last_of_results(directory: Path) -> bytes:
    """Return the last ``TAIL_BYTES`` of a batch's results, which may begin inside a line; empty if none."""
    path = directory / RESULTS
    with suppress(OSError), _opened(path) as results:
        results.seek(max(0, size(path) - TAIL_BYTES))
        return results.read()
    return b""


def _facts(text: bytes) -> dict[str, object]:
    """Decode a JSON object; return an empty one for anything else."""
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _head(path: Path, length: int) -> bytes:
    with suppress(OSError), _opened(path) as file:
        return file.read(length)
    return b""


def _opened(path: Path) -> BinaryIO:
    """Open a file without waiting for a writer, as a named pipe would.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | NOT_WAITING | BINARY)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")
