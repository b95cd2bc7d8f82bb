"""List of the batches that this user has run, for a note when a manifest is run in a second directory.

In a second directory the jobs are new jobs and are paid for again. The list is a file in the state directory,
with a line for each of the latest batches: its directory, and a digest of the manifest and the account. It
serves only this note: where the list cannot be read or written, there is no note.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yarl import URL

from seedance_async.batch.journal.remains import has_sent
from seedance_async.batch.manifest import fingerprint
from seedance_async.budget.file_memory import outlives_a_process
from seedance_async.budget.lock import locked
from seedance_async.state_files import state_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

BATCHES: Final = "batches.jsonl"
KEPT: Final = 500
"""Most batches in the list."""


def record_batch(manifest: str, directory: Path, *, account: str, base_url: str) -> list[Path]:
    """Record that a manifest is run in a directory.

    Returns:
        The other directories from which the same manifest, byte for byte, was sent for the same account.
    """
    digest = fingerprint(manifest) if outlives_a_process(URL(base_url)) else None
    if digest is None:
        return []
    digest = hashlib.sha256(f"{digest} {account}".encode()).hexdigest()
    with suppress(OSError, RuntimeError):  # RuntimeError: the user has no home directory
        file = locked(state_directory() / BATCHES)
        if file is not None:
            with file:
                return _record(file, (digest, str(directory.resolve())))
    return []


def _record(file: FileIO, batch: tuple[str, str]) -> list[Path]:
    known = [each for each in _read(file) if each != batch]
    lines = [json.dumps(each) + "\n" for each in [*known[1 - KEPT :], batch]]
    file.seek(0)
    file.truncate()
    file.write("".join(lines).encode())
    same = [Path(directory) for digest, directory in known if digest == batch[0]]
    return [directory for directory in same if has_sent(directory)]


def _read(file: FileIO) -> Iterator[tuple[str, str]]:
    for line in file.read().decode(errors="replace").splitlines():
        with suppress(ValueError):
            match json.loads(line):
                case [str(digest), str(directory)]:
                    yield digest, directory
                case _:
                    continue
