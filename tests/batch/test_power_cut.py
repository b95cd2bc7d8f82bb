"""A power cut: every write that was not synced is gone. Killing a process proves nothing about that."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import apsw
import pytest

from seedance_async.batch.journal.disk import Space
from seedance_async.batch.journal.file import File
from seedance_async.batch.journal.opening import prepare
from seedance_async.batch.journal.store import Store
from seedance_async.batch.states import State
from tests.batch.stores import ACCEPTED, draft, plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = 30


class LossyDisk(apsw.VFS):
    """A file layer that keeps writes in memory until they are synced."""

    def __init__(self) -> None:
        self.name = "lossy"
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> LossyFile:  # noqa: N802
        """Open a file in front of the real one."""
        return LossyFile(name, flags)


class LossyFile(apsw.VFSFile):
    """One file: reads see everything, the disk only what was synced."""

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self.pending: list[tuple[int, bytes]] = []

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        """Hold a write back."""
        self.pending.append((offset, bytes(data)))

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        """Read what is on the disk and what is held back."""
        content = bytearray(super().xRead(amount, offset).ljust(amount, b"\0"))
        size = self.xFileSize()
        for start, data in self.pending:
            low, high = max(start, offset), min(start + len(data), offset + amount)
            if low < high:
                content[low - offset : high - offset] = data[low - start : high - start]
        return bytes(content[: max(0, min(amount, size - offset))])

    def xFileSize(self) -> int:  # noqa: N802
        """The size that it would have."""
        return max([super().xFileSize(), *(start + len(data) for start, data in self.pending)])

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        """Cut off what is held back as well."""
        self.xSync(0)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Let everything through to the disk."""
        for start, data in self.pending:
            super().xWrite(data, start)
        self.pending.clear()
        super().xSync(flags)


@pytest.fixture
def disk() -> Iterator[LossyDisk]:
    """A lossy disk, registered with SQLite."""
    disk = LossyDisk()
    yield disk
    disk.unregister()


def open_on(directory: Path, *, vfs: str | None = None) -> tuple[apsw.Connection, Store]:
    """Open a journal through a file layer."""
    connection = apsw.Connection(str(directory / "journal.sqlite"), vfs=vfs)
    prepare(connection)
    return connection, Store(File(connection, Space(directory)))


@pytest.mark.case(129)
@pytest.mark.parametrize("synced", [True, False], ids=["FULL", "NORMAL"])
def test_a_power_cut_takes_no_committed_intent(disk: LossyDisk, synced: bool, tmp_path: Path) -> None:
    """Catalogue 129. Under NORMAL the same cut loses them, so the layer does lose what is not synced."""
    disk_side, remains = tmp_path / "disk", tmp_path / "remains"
    disk_side.mkdir()
    connection, store = open_on(disk_side, vfs=disk.name)
    plan(store, [draft(f"boat-{line}", line=line) for line in range(1, JOBS + 1)])
    if not synced:
        connection.execute("PRAGMA synchronous = NORMAL")
    sent = {number: store.intend(number, now=1.0) for number in range(1, JOBS + 1)}
    store.accept(1, ACCEPTED, now=2.0)

    shutil.copytree(disk_side, remains)  # what was synced, and nothing else
    connection.close()

    connection, survived = open_on(remains)
    kept = survived.counts[State.SUBMITTING] + survived.counts[State.ACCEPTED]
    if synced:
        assert JOBS == kept
        assert State.ACCEPTED is survived.entry(1).state
        assert {number: survived.intend(number, now=9.0) for number in range(2, JOBS + 1)} == {
            number: call for number, call in sent.items() if number > 1
        }
    else:
        assert 0 == kept
    connection.close()
