"""Tests of readers on arbitrary foreign bytes: each returns a value or raises its documented error."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedance_async import Forecast, GptImage2, Job, JournalError, protocol
from seedance_async.batch.journal import Journal
from seedance_async.batch.states import State
from seedance_async.errors import SeedanceError
from seedance_async.protocol import Failure, Outcome, Reply, read_submission, read_task
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, opened, pictures, run_once
from tests.batch.stores import draft, opened_store, plan

if TYPE_CHECKING:
    from pathlib import Path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "id",
    "status",
    "model",
    "output",
    "error",
    "credits_used",
    "created_at",
    "updated_at",
    "batch_task_ids",
)
ANSWER = st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda each: json.dumps(each).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "location", "x-request-id"]), st.text(max_size=60)
)


@given(status=st.integers(200, 599), body=st.binary(max_size=200) | ANSWER, headers=HEADERS)
def test_any_answer_is_read_or_is_a_failure_that_says_what_it_proves(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    """And only the API's own envelope, or a 429, proves that nothing was charged."""
    reply = Reply(status=status, headers=headers, body=body)
    for answer in (read_submission(reply), read_task(reply, task_id="sd2_a")):
        if isinstance(answer, Failure):
            assert isinstance(answer.error, SeedanceError)
            assert answer.outcome is not Outcome.NOT_SENT
            if answer.outcome is Outcome.REJECTED:
                assert status == 429 or b'"code"' in body
        else:
            assert 200 <= status < 300
            assert answer.id.strip()


@given(
    value=st.text(max_size=40) | st.from_regex(r"[-+0-9., _eEinfa]{0,20}", fullmatch=True),
    date=st.text(max_size=40),
)
def test_any_hint_to_wait_is_a_positive_number_or_none(value: str, date: str) -> None:
    """Never infinite, never a thousand years by a slip of a date."""
    seconds = protocol.retry_after(value, date=date)

    assert seconds is None or 0 < seconds < 1e16


@given(data=JSON)
def test_any_document_is_a_forecast_or_no_forecast(data: object) -> None:
    """A damaged file of durations is named as such."""
    try:
        Forecast.load(data)  # type: ignore[arg-type]  # whatever stands in the file
    except ValueError:
        return


@given(data=JSON)
def test_any_document_is_a_fault_or_no_fault(data: object) -> None:
    """As it comes through the operator's door."""
    try:
        fault = Fault.read(data)
    except ValueError:
        return
    assert fault == Fault.read(fault.document())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), noise=st.binary(min_size=1, max_size=64), cut=st.booleans())
async def test_a_journal_with_any_bytes_changed_opens_or_is_refused(
    place: float, noise: bytes, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing else is raised, and the file is not made anew: somebody may be able to mend it."""
    folder = tmp_path_factory.mktemp("batch")
    with opened_store(folder) as store:
        plan(store, [draft(f"boat {number}") for number in range(5)])
    path = folder / "journal.sqlite"
    whole = path.read_bytes()
    at = int(place * (len(whole) - 1))
    harmed = whole[:at] if cut else whole[:at] + noise + whole[at + len(noise) :]
    path.write_bytes(harmed)
    try:
        journal = await Journal.open(folder)
    except JournalError:
        assert path.exists()
    else:
        await journal.close()


JOBS = [*pictures(4), Job(GptImage2(prompt="A hat"), name="hat", repeat=3), *pictures(3, word="kite")]
ASKED = Counter({job.request.prompt: job.repeat for job in JOBS})
CELLS = {
    "jobs": (
        "name", "fold", "unnamed", "listed", "line", "take", "tariff", "path", "body", "digest", "state",
        "run", "post", "place", "accepted_at", "ended_at", "task_ids", "tasks", "credits_used",
        "credits_refunded", "files", "error",
    ),
    "posts": (
        "key", "path", "body", "account", "intended_at", "crashes", "generation", "state", "answer",
    ),
    "tariffs": ("model", "quality_tier", "channel", "resolution", "seconds", "tasks", "price"),
    "meta": ("name", "value"),
}  # fmt: skip
CELL = st.sampled_from([(table, column) for table, columns in CELLS.items() for column in columns])
NOISE = (
    st.none()
    | st.integers(-2, 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=40)
    | JSON.map(json.dumps)
    | JSON.map(lambda each: json.dumps(each).encode())
    | st.sampled_from(State)
)


@pytest.mark.timeout(240)  # twenty batches, each run three times
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cell=CELL, row=st.integers(0, 9), noise=NOISE, as_text=st.booleans())
async def test_a_journal_with_any_cell_overwritten_pays_nothing_twice(
    cell: tuple[str, str], row: int, noise: object, as_text: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A run on it ends well or in an error of the tree, and the account pays for what is planned, once."""
    folder = tmp_path_factory.mktemp("batch")
    async with Sandbox(conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        sandbox.faults.add(Fault(effect="drop", on="submit", nth=4, count=12))
        async with opened(sandbox, folder, max_credits=7 * PRICE) as batch:
            async for result in batch.run(JOBS):
                if result.files:
                    break
        sandbox.faults.clear()
        _overwrite(folder / "journal.sqlite", *cell, row, noise, as_text=as_text)
        for _ in range(2):
            try:
                await run_once(sandbox, folder, JOBS)
            except SeedanceError:
                continue
        paid = Counter(task.request.prompt for task in sandbox.paid_tasks)

        assert paid <= ASKED


def _overwrite(path: Path, table: str, column: str, row: int, noise: object, *, as_text: bool) -> None:
    """Put something into one cell; what the table itself would refuse is left as it was."""
    given = "CAST(? AS TEXT)" if as_text else "?"
    key = {"jobs": "number", "posts": "id", "tariffs": "id", "meta": "name"}[table]
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA ignore_check_constraints = ON")
        (rows,) = file.execute(f"SELECT count(*) FROM {table}").fetchone()
        which = f"{key} = (SELECT {key} FROM {table} LIMIT 1 OFFSET {row % rows})"
        file.execute(f"UPDATE OR IGNORE {table} SET {column} = {given} WHERE {which}", (noise,))
    file.close()
