"""Files of a batch that were copied, restored or mixed: nothing is paid again, and nothing is destroyed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from seedance_async import JournalError
from seedance_async.batch.journal.remains import JOURNAL, LOG, RESULTS
from seedance_async.sandbox import Conditions, Sandbox
from tests.batch.helpers import PRICE, opened, pictures, run_once, states
from tests.batch.stores import draft, opened_store, plan

if TYPE_CHECKING:
    from pathlib import Path


def copy_of_a_run(batch: Path, copy: Path, prompts: str, *, ends: bool = False) -> None:
    """Copy a batch while a run is open, or after its end, as a killed process leaves it."""
    with opened_store(batch) as store:
        plan(store, [draft(prompt, f"A {prompt}", line=line) for line, prompt in enumerate(prompts, start=1)])
        store.begin_run(replayable_since=0.0, now=1.0)
        for job in store.to_send(after=0, limit=9):
            store.intend(job.number, now=1.0)
        if ends:
            store.end_run()
        shutil.copytree(batch, copy)
        store.end_run()


@pytest.mark.parametrize("ends", [True, False])
def test_a_log_that_continues_its_file_is_read(ends: bool, tmp_path: Path) -> None:
    """Whatever a killed process leaves belongs together."""
    copy_of_a_run(tmp_path / "batch", tmp_path / "killed", "ab", ends=ends)

    with opened_store(tmp_path / "killed") as store:
        assert 2 == store.counts.total()


@pytest.mark.parametrize("whose", ["of the same run", "of an earlier run", "of another batch"])
def test_a_log_of_another_moment_is_refused_and_changes_nothing(whose: str, tmp_path: Path) -> None:
    """A backup that deletes nothing keeps the log of a killed run: mixed, both are lost."""
    batch, killed = tmp_path / "batch", tmp_path / "killed"
    copy_of_a_run(tmp_path / "other" if whose == "of another batch" else batch, killed, "ab")
    if whose != "of the same run":
        copy_of_a_run(batch, tmp_path / "later", "abc")
    shutil.copy(killed / LOG, batch / LOG)
    before = (batch / JOURNAL).read_bytes(), (batch / LOG).read_bytes()

    with pytest.raises(JournalError, match="is not the log of"), opened_store(batch):
        pass
    assert before == ((batch / JOURNAL).read_bytes(), (batch / LOG).read_bytes())
    (batch / LOG).unlink()
    with opened_store(batch) as store:
        assert [] == store.to_send(after=0, limit=9)


async def test_an_empty_database_is_no_journal(tmp_path: Path) -> None:
    """A batch that died has left its other files only; with a new nonce it would be paid again."""
    async with Sandbox() as sandbox:
        async with opened(sandbox, tmp_path) as batch:
            await anext(batch.run(pictures(1)))
            shutil.copy(tmp_path / "journal.pid", tmp_path / "pid")
        for path in tmp_path.iterdir():
            path.unlink() if path.name != "pid" else path.rename(tmp_path / "journal.pid")
        with sqlite3.connect(tmp_path / JOURNAL) as file:
            file.execute("VACUUM")
            file.execute("PRAGMA journal_mode = WAL")
        file.close()
        assert (tmp_path / JOURNAL).stat().st_size > 0

        with pytest.raises(JournalError, match="would be paid again"):
            await run_once(sandbox, tmp_path, pictures(1))
        assert 1 == len(sandbox.paid_tasks)


@pytest.mark.parametrize("results", ["older", "gone"])
async def test_a_result_that_an_older_journal_does_not_know_is_not_paid_again(
    results: str, tmp_path: Path
) -> None:
    """A backup was copied over the directory: its sidecars are newer than the journal."""
    out, backup = tmp_path / "out", tmp_path / "backup"
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, pictures(1))
        shutil.copytree(out, backup)
        await run_once(sandbox, out, pictures(3))
        shutil.copytree(backup, out, dirs_exist_ok=True)
        if results == "gone":
            (out / RESULTS).unlink()

        with pytest.raises(JournalError, match="is an older copy"):
            await run_once(sandbox, out, pictures(3))
        assert 3 == len(sandbox.paid_tasks)


async def test_a_sidecar_of_another_batch_stops_only_a_job_of_its_name(tmp_path: Path) -> None:
    """Somebody has copied a picture with its sidecar into the directory."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "other", pictures(1, word="ship"))
        await run_once(sandbox, tmp_path / "out", pictures(1))
        shutil.copy(tmp_path / "other" / "ship-0.jpg.json", tmp_path / "out")
        await run_once(sandbox, tmp_path / "out", pictures(2))

        assert 3 == len(sandbox.paid_tasks)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes in directories")
@pytest.mark.parametrize("name", [RESULTS, "boat.json", "boat.png"])
def test_a_named_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    """Nobody may ever write to it."""
    os.mkfifo(tmp_path / name)

    for _ in range(2):
        with opened_store(tmp_path) as store:
            assert 0 == store.counts.total()


async def test_a_log_that_is_removed_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    """SQLite goes on writing into it, and a kill would take all of it."""
    async with Sandbox(conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        async with opened(sandbox, tmp_path) as batch:
            run = batch.run(pictures(8))
            await anext(run)
            (tmp_path / LOG).unlink()
            with pytest.raises(JournalError, match=r"journal\.sqlite-wal was removed or replaced"):
                _ = [result async for result in run]
        results = await run_once(sandbox, tmp_path, pictures(8))

        assert {"saved": 8} == states(results)
        assert 8 == len(sandbox.paid_tasks)
