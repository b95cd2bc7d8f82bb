"""Files that a batch leaves beside its journal, and whether the journal is the one that belongs to them.

A journal that is missing, or older than the results beside it, does not know what is paid. Keys are made of
its nonce, or of a generation that it counts, so its jobs would be sent as new ones.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seedance_async.batch.journal.disk import RESERVE
from seedance_async.batch.journal.schema import APPLICATION_ID
from seedance_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOURNAL: Final = "journal.sqlite"
LOG: Final = f"{JOURNAL}-wal"
HOLDER: Final = "journal.pid"
RESULTS: Final = "results.jsonl"

MOST_SEEN: Final = 2_000
"""Files beside a missing journal, and lines of results, that are looked at."""

MOST_SIDECAR_BYTES: Final = 1024 * 1024
TAIL_BYTES: Final = 256 * 1024
"""Of the results, which end with what an older journal lacks."""

LOG_MAGIC: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
LEAST_LOG_BYTES: Final = 32 + 24 + 512
"""Of a write-ahead log that holds something: its header, that of a page, and the smallest page."""


def check_nothing_is_left(directory: Path) -> None:
    """Take no directory for new that a batch has worked in: its journal is lost, and what it says is paid.

    Raises:
        JournalError: names what was found.
    """
    if size(directory / JOURNAL) > 0:
        return
    found = next(_left(directory), None)
    if found is not None:
        raise JournalError(
            f"{found} is from a batch, and its {JOURNAL} is missing or empty: taken for new, its jobs would "
            f"be paid again. Put {JOURNAL} and {LOG} back, or take another directory"
        )


def check_results_are_known(directory: Path, knows: Callable[[str], bool]) -> None:
    """See that the journal is not older than the results beside it.

    Args:
        directory: of the batch.
        knows: whether something was sent under an idempotency key, by the journal.

    Raises:
        JournalError: it does not know of something that is paid.
    """
    for key, name in paid_keys(directory).items():
        if not knows(key):
            raise JournalError(
                f"{RESULTS} tells of {name}, paid under the key {key:.40}, and {JOURNAL} "
                "knows nothing of it: it is an older copy, or another batch's, and would pay again. Put the "
                f"one that belongs to {RESULTS} in its place, or take another directory"
            )


def paid_keys(directory: Path) -> dict[str, str]:
    """What the end of a batch's results tells of as paid: by idempotency key, the job's name for messages."""
    paid: dict[str, str] = {}
    for facts in map(_facts, last_of_results(directory).splitlines()):
        key = facts.get("idempotency_key")
        if facts.get("task_ids") and isinstance(key, str):
            paid[key] = f"{facts.get('name')!r:.80}"
    return paid


def has_sent(directory: Path) -> bool:
    """Whether a batch has sent something, by its journal, which another process may have open now."""
    if has_log(directory):  # of a run that goes on, or has died: it was about to
        return True
    query = "SELECT 1 FROM jobs WHERE state NOT IN ('planned', 'refused', 'blocked') LIMIT 1"
    uri = f"{(directory / JOURNAL).absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(query).fetchone() is not None
    except sqlite3.Error:  # there is none, or it is none
        return False


def has_log(directory: Path) -> bool:
    """Whether the log beside the journal is one: neither missing, nor cut to nothing, nor overwritten."""
    path = directory / LOG
    return size(path) >= LEAST_LOG_BYTES and _head(path, 4) in LOG_MAGIC


def size(path: Path) -> int:
    """Bytes of a file; 0 for one that is missing."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _left(directory: Path) -> Iterator[Path]:
    """Files of a batch, other than its journal."""
    if size(directory / LOG) > 0:
        yield directory / LOG
    # Made after the journal, and taken away when it is closed in good order.
    yield from (path for name in (HOLDER, RESERVE) if _is_our_own(path := directory / name))
    if any(facts.keys() >= {"state", "task_ids", "idempotency_key"} for facts in _first_results(directory)):
        yield directory / RESULTS
    for path in islice(_files(directory), MOST_SEEN):
        with suppress(OSError):
            if _is_sidecar(path) or (path.parent == directory and (_is_renamed(path) or _is_media(path))):
                yield path


def _is_our_own(path: Path) -> bool:
    """Whether it is a file, and no link that somebody has planted."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _files(directory: Path) -> Iterator[Path]:
    """The files of a directory, and those below it that belong to no other batch."""
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if size(Path(folder, name, JOURNAL)) == 0)
        yield from (Path(folder, name) for name in sorted(names))


def _is_renamed(path: Path) -> bool:
    """Whether a file is a journal under another name."""
    head = _head(path, 72)
    return head.startswith(b"SQLite format 3\0") and int.from_bytes(head[68:]) == APPLICATION_ID


def _is_sidecar(path: Path) -> bool:
    if path.suffix != ".json" or size(path) > MOST_SIDECAR_BYTES:
        return False
    return _facts(path.read_bytes()).keys() >= {"sha256", "task_id", "idempotency_key"}


def _is_media(path: Path) -> bool:
    """Whether a file was saved by this package, which wrote its origin into it."""
    # Looked up only now: the room of downloads loads the HTTP stack.
    from seedance_async.downloads.metadata import FORMATS, read_origin  # noqa: PLC0415

    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        return False
    with path.open("rb") as file:
        return read_origin(file, kind) is not None


def _first_results(directory: Path) -> Iterator[dict[str, object]]:
    with suppress(OSError), (directory / RESULTS).open("rb") as results:
        yield from map(_facts, islice(results, MOST_SEEN))


def last_of_results(directory: Path) -> bytes:
    """The end of a batch's results, from anywhere in a line; empty where there are none."""
    path = directory / RESULTS
    with suppress(OSError), path.open("rb") as results:
        results.seek(max(0, size(path) - TAIL_BYTES))
        return results.read()
    return b""


def _facts(text: bytes) -> dict[str, object]:
    """A JSON object; an empty one for anything else."""
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _head(path: Path, length: int) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(length)
    return b""
