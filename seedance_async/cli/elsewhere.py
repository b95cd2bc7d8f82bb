"""Where else a manifest was run: in another directory its jobs are other jobs, and paid for once more.

A file in the state directory keeps a line for each of the latest batches of this user. It serves a warning
and nothing else: where it cannot be read or written, nobody is warned.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seedance_async.batch.journal.opening import JOURNAL
from seedance_async.batch.manifest import fingerprint
from seedance_async.budget import state_directory
from seedance_async.budget.lock import locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

BATCHES: Final = "batches.jsonl"
KEPT: Final = 500
"""Batches that are remembered."""


def remember(manifest: str, directory: Path) -> list[Path]:
    """Note that a manifest is run here; return the other directories that have a batch of the same bytes."""
    mark = fingerprint(manifest)
    if mark is None:
        return []
    with suppress(OSError, RuntimeError):  # RuntimeError: the user has no home
        file = locked(state_directory() / BATCHES)
        if file is not None:
            with file:
                return _note(file, (mark, str(directory.resolve())))
    return []


def _note(file: FileIO, batch: tuple[str, str]) -> list[Path]:
    known = [each for each in _read(file) if each != batch]
    lines = [json.dumps(each) + "\n" for each in [*known[1 - KEPT :], batch]]
    file.seek(0)
    file.truncate()
    file.write("".join(lines).encode())
    alike = [Path(place) for mark, place in known if mark == batch[0]]
    return [place for place in alike if (place / JOURNAL).exists()]


def _read(file: FileIO) -> Iterator[tuple[str, str]]:
    for line in file.read().decode(errors="replace").splitlines():
        with suppress(ValueError):
            match json.loads(line):
                case [str(mark), str(place)]:
                    yield mark, place
                case _:
                    continue
