"""Files of a batch that were copied, restored or mixed: nothing is paid again, and nothing is destroyed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from seedance_async import JournalError
from seedance_async.batch.journal.remains import JOURNAL, LOG
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
