"""A cell that cannot be: one error, which names the job, before anything is made of it or paid for it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from seedance_async import GptImage2, Job, JournalError
from seedance_async.batch.report import write_gallery
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, pictures, run_once, submits

if TYPE_CHECKING:
    from pathlib import Path

JOBS = [*pictures(2), Job(GptImage2(prompt="A hat"), name="hat", repeat=3)]
"""Those of the hat end uncertain, two of them in one POST."""

BROKEN_TEXT = "CAST(x'ff' AS TEXT)"


@pytest.mark.case(133)
@pytest.mark.parametrize(
    ("job", "column", "cell"),
    [
        ("boat-0", "name", "'gull'"),
        ("boat-0", "name", BROKEN_TEXT),
        ("boat-0", "fold", "'gull'"),
        ("boat-0", "tariff", "99"),
        ("boat-0", "body", "x'7b7d'"),
        ("boat-0", "body", "'{}'"),
        ("boat-0", "path", "'/elsewhere'"),
        ("boat-0", "digest", "x'00'"),
        ("boat-0", "state", "'planned'"),
        ("boat-0", "state", "'sunk'"),
        ("boat-0", "run", "7"),
        ("boat-0", "post", "NULL"),
        ("boat-0", "posts.key", "x'ff'"),
        ("boat-0", "accepted_at", "'yesterday'"),
        ("boat-0", "task_ids", "NULL"),
        ("boat-0", "task_ids", "'[1]'"),
        ("boat-0", "task_ids", "x'ff'"),
        ("boat-0", "tasks", "'[{}]'"),
        ("boat-0", "tasks", "'[[[['"),
        ("boat-0", "files", "'{}'"),
        ("boat-0", "credits_used", "'much'"),
        ("hat-2", "state", "'planned'"),
        ("hat-2", "posts.key", "'another'"),
        ("hat", "posts.body", "'{}'"),
        ("hat", "posts.body", "CAST(replace(CAST(body AS TEXT), 'A hat', 'A wig') AS BLOB)"),
        ("hat", "posts.state", "'planned'"),
        ("hat-2", "place", "9"),
        ("hat-2", "place", "NULL"),
        ("hat-2", "posts.crashes", "x'00'"),
    ],
)
async def test_a_cell_that_cannot_be_is_damage_and_pays_nothing(
    job: str, column: str, cell: str, tmp_path: Path
) -> None:
    """Catalogue 133, within sound pages: whatever is sent after it is what was sent before."""
    async with Sandbox(conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        await _begun(sandbox, tmp_path)
        sent, paid = set(submits(sandbox)), len(sandbox.paid_tasks)
        table, of_the_job, name = (
            ("posts", "post", column[6:]) if "." in column else ("jobs", "number", column)
        )
        row = {"posts": "id", "jobs": "number"}[table]
        which = f"SELECT {of_the_job} FROM jobs WHERE name = '{job}'"
        _overwrite(tmp_path, f"UPDATE {table} SET {name} = {cell} WHERE {row} = ({which})")
        with pytest.raises(JournalError, match=r"the journal is damaged: .*put a copy of journal\.sqlite"):
            await run_once(sandbox, tmp_path, JOBS)

        assert sent >= set(submits(sandbox))
        assert paid == len(sandbox.paid_tasks)


async def test_the_job_and_the_column_are_named(tmp_path: Path) -> None:
    """Whoever mends it by hand has to find it."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(2))
        _overwrite(tmp_path, "UPDATE jobs SET task_ids = '[' WHERE name = 'boat-1'")

        with pytest.raises(JournalError, match=r"task_ids of job 2 \('boat-1'\)"):
            await run_once(sandbox, tmp_path, pictures(2))


@pytest.mark.parametrize("fact", ["nonce", "run", "credits_used", "credits_refunded"])
@pytest.mark.parametrize("cell", ["NULL", "'x'", "x'ff'"])
async def test_a_fact_that_cannot_be_is_damage(fact: str, cell: str, tmp_path: Path) -> None:
    """Without the nonce keys would be others, without the sums the cap another."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        _overwrite(tmp_path, f"UPDATE meta SET value = {cell} WHERE name = '{fact}'")

        with pytest.raises(JournalError, match=f"{fact} of the batch"):
            await run_once(sandbox, tmp_path, pictures(2))
        assert 1 == len(submits(sandbox))


async def test_a_gallery_of_a_damaged_journal_is_an_error_of_the_tree(tmp_path: Path) -> None:
    """It reads every job, and what the course of the run was kept as."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
    _overwrite(tmp_path, "INSERT INTO meta VALUES ('requests', '[[')")
    with pytest.raises(JournalError, match="damaged"):
        await write_gallery(tmp_path)


async def _begun(sandbox: Sandbox, directory: Path) -> None:
    """A batch in which two are saved, and three are paid that it does not know of."""
    await run_once(sandbox, directory, [*JOBS[:2], Job(GptImage2(prompt="A cap"))])
    sandbox.faults.add(Fault(effect="drop", on="submit", count=None))
    await run_once(sandbox, directory, JOBS)
    sandbox.faults.clear()


def _overwrite(directory: Path, sql: str) -> None:
    with sqlite3.connect(directory / "journal.sqlite") as file:
        file.execute("PRAGMA ignore_check_constraints = ON")
        assert 1 == file.execute(sql).rowcount
    file.close()
