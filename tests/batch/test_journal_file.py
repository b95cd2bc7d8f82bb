"""The journal as a file: whose it is, who may open it, and what a failing disk does to it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import JournalError
from seedance_async.batch.journal import Journal, disk, opening
from seedance_async.batch.journal.opening import UNPUBLISHED
from seedance_async.batch.states import State
from tests.batch.stores import ACCEPTED, draft, opened_store, plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Prompts and signed URLs stand in them; the log takes its mode from the file."""
    mask = os.umask(0o022)
    try:
        with opened_store(tmp_path) as store:
            plan(store, [draft("boat")])
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("journal.sqlite*")
            }
    finally:
        os.umask(mask)

    assert {"journal.sqlite": 0o600, "journal.sqlite-wal": 0o600} == modes


def test_a_mode_that_is_too_open_is_mended(tmp_path: Path) -> None:
    """A copy or an archive may have loosened it."""
    with opened_store(tmp_path):
        pass
    (tmp_path / "journal.sqlite").chmod(0o644)
    with opened_store(tmp_path):
        assert 0o600 == stat.S_IMODE((tmp_path / "journal.sqlite").stat().st_mode)


def test_commits_are_synced(tmp_path: Path) -> None:
    """Write-ahead log with full syncs; SQLite forgets the setting with each connection."""
    with opened_store(tmp_path) as store:
        settings = [
            store.file.connection.execute(f"PRAGMA {name}").fetchone()
            for name in ("journal_mode", "synchronous", "locking_mode")
        ]

    assert [("wal",), (2,), ("exclusive",)] == settings


def test_a_closed_journal_is_one_file(tmp_path: Path) -> None:
    """It can be copied as it lies there."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])

    assert ["journal.sqlite"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.case(133)
def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Catalogue 133: never recreate over what is not ours."""
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()

    with pytest.raises(JournalError, match="another program"), opened_store(tmp_path):
        pass

    assert before == path.read_bytes()


@pytest.mark.case(133)
@pytest.mark.parametrize("content", [b"not a database at all" * 200, b"SQLite format 3\x00" + b"\xff" * 8000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    """Catalogue 133."""
    path = tmp_path / "journal.sqlite"
    path.write_bytes(content)

    with pytest.raises(JournalError, match="nothing was changed"), opened_store(tmp_path):
        pass

    assert content == path.read_bytes()


@pytest.mark.case(133)
def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    """Catalogue 133: a page of noise in the middle is found before anything is sent."""
    with opened_store(tmp_path) as store:
        plan(store, [draft(f"boat-{line}", line=line) for line in range(1, 400)])
    path = tmp_path / "journal.sqlite"
    content = bytearray(path.read_bytes())
    content[8 * 4096 : 20 * 4096] = b"\xa5" * (12 * 4096)
    path.write_bytes(content)

    with pytest.raises(JournalError), opened_store(tmp_path):
        pass


@pytest.mark.case(135)
def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """Catalogue 135: guessing what the newer one means would be paid for."""
    with opened_store(tmp_path) as store:
        store.file.connection.execute("PRAGMA user_version = 99")

    with pytest.raises(JournalError, match="version 99"), opened_store(tmp_path):
        pass


def test_a_link_is_refused(tmp_path: Path) -> None:
    """Two names for one journal would be two logs."""
    with opened_store(tmp_path / "real"):
        pass
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "journal.sqlite").symlink_to(tmp_path / "real" / "journal.sqlite")

    with pytest.raises(JournalError, match="plain file"), opened_store(tmp_path / "linked"):
        pass


@pytest.mark.case(83, 132)
def test_another_process_is_refused_with_the_holders_number(tmp_path: Path) -> None:
    """Catalogue 132: at once, and by name."""
    program = (
        "import sys, pathlib; from seedance_async.batch.journal.opening import open_file; "
        "open_file(pathlib.Path(sys.argv[1]))"
    )
    with opened_store(tmp_path):
        ended = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
        )

    assert f"process {os.getpid()} on" in ended.stderr


@pytest.mark.case(134)
def test_a_lost_log_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Catalogue 134: somebody copied the file alone after a crash."""
    with opened_store(tmp_path):
        pass
    (tmp_path / "journal.pid").write_text("1 on nowhere")

    with opened_store(tmp_path):
        assert "journal.sqlite-wal is missing" in caplog.text


@pytest.fixture
def network_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that the kernel says is on NFS."""
    share = tmp_path / "a share"
    share.mkdir()
    mounts = tmp_path / "mounts"
    place = str(share).replace(" ", "\\040")
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nnas:/media {place} nfs4 rw,relatime 0 0\n")
    monkeypatch.setattr(opening, "MOUNTS", mounts)
    return share


@pytest.mark.case(138)
def test_a_file_system_of_many_machines_is_told(
    network_share: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The lock may hold on this machine only; beside the share there is nothing to tell."""
    caplog.set_level(logging.WARNING)
    with opened_store(network_share / "boats"):
        assert "is on nfs4" in caplog.text
    caplog.clear()
    with opened_store(network_share.parent / "a share beside it"):
        assert "" == caplog.text


@pytest.mark.case(138)
def test_there_a_runner_of_another_machine_is_believed(network_share: Path) -> None:
    """Two at a time would pay twice, so what it left behind must be taken away by somebody who knows."""
    holder = network_share / "journal.pid"
    holder.write_text("7 on another")
    with (
        pytest.raises(JournalError, match="process 7 on another works in it or died in it"),
        opened_store(network_share),
    ):
        pass
    assert [holder] == list(network_share.iterdir())

    holder.unlink()
    with opened_store(network_share):
        pass
    holder.write_text(f"7 on {socket.gethostname()}")
    with opened_store(network_share):
        pass


@pytest.mark.case(130)
def test_nothing_is_intended_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogue 130: no POST whose answer could not be written down."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        monkeypatch.setattr(disk, "LEAST_FREE_BYTES", 2**62)

        with pytest.raises(JournalError, match="nothing more is sent"):
            store.intend(1, now=1.0)
        assert State.PLANNED is store.entry(1).state


@pytest.mark.case(131)
def test_the_reserve_is_given_up_for_a_record_of_what_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 131: the disk is full after the POST; the ids are recorded all the same."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        store.intend(1, now=1.0)
        store.file.space.load()
        attempt, full = store.file._attempt, [True]

        def full_once(deed: Callable[[], object]) -> object:
            if full:
                full.clear()
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return attempt(deed)

        monkeypatch.setattr(store.file, "_attempt", full_once)
        store.accept(1, ACCEPTED, now=2.0)

        assert State.ACCEPTED is store.entry(1).state
        assert not (tmp_path / disk.RESERVE).exists()


@pytest.mark.case(137)
def test_after_an_error_of_the_disk_nothing_more_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 137: what a failed sync left behind is unknown; trying again would only look like success."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])

        def broken(*_: object) -> None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(store.file, "_attempt", broken)
            with pytest.raises(JournalError, match="I/O"):
                store.intend(1, now=1.0)
        with pytest.raises(JournalError, match="I/O"):
            store.intend(1, now=1.0)


async def test_a_run_that_could_not_write_any_more_can_be_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log went into the file when it was closed, in good order: that is no log that was lost."""
    journal = await Journal.open(tmp_path)
    await journal.do(journal.store.begin_run, replayable_since=0.0, now=1.0)

    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(journal.store.file, "_attempt", broken)
        with pytest.raises(JournalError, match="I/O"):
            await journal.do(journal.store.end_run)
    with pytest.raises(JournalError, match="I/O"):
        await journal.do(journal.store.end_run)
    await journal.close()

    with opened_store(tmp_path) as store:
        assert 1 == store.run


def test_a_cell_that_may_not_stand_there_fails_its_own_record_only(tmp_path: Path) -> None:
    """A clock before 1970, say; the disk is sound, and the others go on."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat"), draft("swan", line=2)])
        with pytest.raises(JournalError, match="could not be written"):
            store.intend(1, now=-1.0)
        store.intend(2, now=1.0)

        assert [State.PLANNED, State.SUBMITTING] == [store.entry(number).state for number in (1, 2)]


@pytest.mark.case(136)
async def test_a_cancelled_caller_does_not_stop_what_was_begun(tmp_path: Path) -> None:
    """Catalogue 136: the thread goes on, so the record of something paid is written."""
    journal = await Journal.open(tmp_path)
    await journal.do(plan, journal.store, [draft("boat")])
    await journal.do(journal.store.intend, 1, now=1.0)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await journal.do(journal.store.accept, 1, ACCEPTED, now=2.0)

    entry = await journal.do(journal.store.entry, 1)
    await journal.close()
    assert State.ACCEPTED is entry.state


async def test_an_opening_that_was_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    """The thread opens the file all the same, and has to close it."""
    opening = asyncio.ensure_future(Journal.open(tmp_path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    for _ in range(2):
        journal = await Journal.open(tmp_path)
        await journal.close()


async def test_a_directory_that_cannot_hold_a_batch_is_told(tmp_path: Path) -> None:
    """In the words of the package, not of the system."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(JournalError, match="cannot hold a batch: it is a file"):
        await Journal.open(tmp_path / "file")


@pytest.mark.case(120)
async def test_a_journal_is_not_carried_over_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogue 120: SQLite's locks are not inherited, and both would write."""
    journal = await Journal.open(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(JournalError, match="fork"):
            await journal.do(plan, journal.store, [draft("boat")])
    await journal.close()


def test_a_journal_of_an_unpublished_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Its tables are others; what stands in it may be paid, so nothing is made of it and nothing over it."""
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE jobs (number INTEGER PRIMARY KEY)")
        file.execute(f"PRAGMA application_id = {UNPUBLISHED}")
        file.execute("PRAGMA user_version = 3")
    file.close()
    before = path.read_bytes()

    with pytest.raises(JournalError, match="unpublished version"), opened_store(tmp_path):
        pass

    assert before == path.read_bytes()
