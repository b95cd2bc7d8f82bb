"""Property tests: whatever is written into a journal is read back from it, and calls nothing damaged."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedance_async import Job, NanoBananaPro, ValidationError, protocol, wire
from seedance_async.batch import manifest, results
from seedance_async.batch.journal import drafts
from seedance_async.batch.journal.schema import MAX_NUMBER
from seedance_async.batch.states import State
from tests.batch.stores import draft, opened_store, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.batch.journal import JobEntry, Store
    from seedance_async.models import Submission

MOST = 5
CHARACTERS = st.characters(exclude_categories=())
"""Halves of characters among them, as JSON may hold them."""

TEXT = st.text(CHARACTERS, max_size=20)
NUMBERS = st.floats() | st.integers() | st.sampled_from([2**53, 2**53 + 1, wire.MAX_CREDITS, 10**63])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ID = TEXT | st.text("abc_é\u202e\u2028\0\n ", min_size=1, max_size=8) | st.just("nbp_a")
SUBMISSION = st.fixed_dictionaries(
    {"id": ID},
    optional={
        "batch_task_ids": st.lists(ID, max_size=5) | JSON,
        "credits_used": NUMBERS | JSON,
        "batch_success": st.integers(-2, 5) | JSON,
        "batch_failed": st.integers(-2, 5) | JSON,
        "model": JSON,
        "status": JSON,
        "note": JSON,
    },
)
URL = TEXT | TEXT.map("https://files.example/{}".format)
TASK = st.fixed_dictionaries(
    {"id": st.just("nbp_0"), "status": st.sampled_from(["completed", "failed"])},
    optional={
        "output": JSON | st.fixed_dictionaries({"images": st.lists(URL | JSON, max_size=3)}),
        "error": JSON,
        "credits_used": NUMBERS | JSON,
        "credits_refunded": NUMBERS | JSON,
        "created_at": JSON | st.datetimes().map(str),
        "note": JSON,
    },
)

few = settings(max_examples=40)
"""Each example opens a journal twice, and syncs every commit."""


@contextmanager
def directory() -> Iterator[Path]:
    """One for each example."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def accepted(document: object) -> Submission | None:
    """What the wire makes of an answer to a POST; None where it is unusable."""
    try:
        return wire.submission(wire.loads_answer(json.dumps(document).encode()))
    except ValueError:
        return None


def in_flight(store: Store, jobs: int = 1) -> list[int]:
    """Jobs whose POSTs have left."""
    plan(store, [draft(f"{n}", f"A boat {n}", line=n + 1) for n in range(jobs)])
    numbers = [job.number for job in store.to_send(after=0, limit=jobs)]
    for number in numbers:
        store.intend(number, now=1.0)
    return numbers


def lines(entry: JobEntry) -> dict[str, object]:
    """Its line of the results, as a program reads it."""
    text = results.line(entry)
    assert 1 == text.count("\n")
    found = json.loads(text.encode())
    assert isinstance(found, dict)
    return found


@few
@given(documents=st.lists(SUBMISSION, min_size=1, max_size=MOST))
def test_what_was_accepted_is_read_back(documents: list[object]) -> None:
    """Ids, amounts and sums; a job whose answer cannot be costs itself only."""
    with directory() as place:
        with opened_store(place) as store:
            written = {}
            for number, document in zip(in_flight(store, len(documents)), documents, strict=False):
                submission = accepted(document)
                if submission is not None:
                    store.accept(number, submission, now=2.0)
                    written[number] = store.entry(number)
            used = store.credits_used
        with opened_store(place) as store:
            read = {number: store.entry(number) for number in written}
            for entry in read.values():
                assert list(entry.task_ids) == lines(entry)["task_ids"]

            assert written == read
            assert used == store.credits_used <= MAX_NUMBER
            assert used == sum(entry.credits_used or 0.0 for entry in read.values())
            ids = [task_id for entry in read.values() for task_id in entry.task_ids]
            assert len(ids) == len(set(ids))


@few
@given(documents=st.lists(TASK, min_size=1, max_size=3))
def test_a_final_task_is_read_back(documents: list[object]) -> None:
    """With every URL and every word of it, and a refund that is no larger than the charge."""
    with directory() as place:
        with opened_store(place) as store:
            (number,) = in_flight(store)
            submission = accepted({"id": "nbp_0", "credits_used": 12})
            assert submission is not None
            store.accept(number, submission, now=2.0)
            tasks = []
            for document in documents:
                try:
                    tasks.append(wire.task(wire.loads_answer(json.dumps(document).encode())))
                except ValueError:
                    continue
            if not tasks:
                return
            store.finish(number, tasks, tasks[0].error, now=3.0)
        with opened_store(place) as store:
            entry = store.entry(number)

            assert tuple(tasks) == entry.tasks
            assert [url for task in tasks for url in task.urls] == lines(entry)["urls"]
            assert tasks[0].error == entry.error
            assert 0 <= store.credits_refunded <= store.credits_used


@few
@given(status=st.sampled_from([200, 202, 400, 402, 409, 500]), message=JSON, code=JSON)
def test_what_a_server_says_of_a_failure_is_read_back(status: int, message: object, code: object) -> None:
    """Also where it is no text, or no text that can be written."""
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    failure = protocol.read_submission(protocol.Reply(status=status, headers={}, body=body))
    assert isinstance(failure, protocol.Failure)
    with directory() as place:
        with opened_store(place) as store:
            (number,) = in_flight(store)
            store.doubt(number, failure.error.message)
        with opened_store(place) as store:
            entry = store.entry(number)

            assert State.UNCERTAIN is entry.state
            assert failure.error.message == entry.error == lines(entry)["error"]


@few
@given(names=st.lists(TEXT, min_size=1, max_size=MOST), prompt=st.text(min_size=1, max_size=40))
def test_a_name_and_a_prompt_are_read_back(names: list[str], prompt: str) -> None:
    """From the journal, and from a manifest that is made of the results."""
    jobs = []
    for name in names:
        try:
            jobs.append(Job(NanoBananaPro(prompt=prompt), name=name))
        except ValidationError:
            continue
    with directory() as place:
        with opened_store(place) as store:
            asked = [each for n, job in enumerate(jobs, start=1) for each in drafts(job, line=n, place=n)]
            taken = plan(store, asked)
            if taken.problems or not jobs:
                return
        with opened_store(place) as store:
            entries = store.entries(after=0, limit=MOST)
            file = place / "again.jsonl"
            file.write_bytes("".join(map(results.line, entries)).encode())

            assert [job.name for job in jobs] == [entry.name for entry in entries]
            assert jobs == [line.job for line in manifest.read(file)]


@pytest.mark.case(180)
@pytest.mark.parametrize("near", [0, 1, wire.MAX_CREDITS - 1, wire.MAX_CREDITS])
@pytest.mark.parametrize("amount", [0.5, 1, wire.MAX_CREDITS, 0.1])
def test_a_sum_stays_within_what_a_journal_holds(near: int, amount: float, tmp_path: Path) -> None:
    """However much was charged before."""
    with opened_store(tmp_path) as store:
        store.remember("credits_used", MAX_NUMBER - near)
        store.remember("credits_refunded", MAX_NUMBER - near)
        store.reload()
        (number,) = in_flight(store)
        submission = accepted({"id": "nbp_0", "credits_used": amount})
        assert submission is not None
        store.accept(number, submission, now=2.0)
        failed = wire.task({"id": "nbp_0", "status": "failed", "credits_refunded": amount})
        store.finish(number, [failed], None, now=3.0)

    with opened_store(tmp_path) as store:
        assert MAX_NUMBER - near <= store.credits_used <= MAX_NUMBER
        assert store.credits_refunded <= MAX_NUMBER
        assert amount == store.entry(number).credits_used
