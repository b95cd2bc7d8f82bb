"""Whatever bytes somebody else has written, reading them ends in a value or in the error that is promised."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedance_async import Forecast, JournalError, protocol
from seedance_async.batch.journal import Journal
from seedance_async.errors import SeedanceError
from seedance_async.protocol import Failure, Outcome, Reply, read_submission, read_task
from seedance_async.sandbox.faults import Fault
from tests.batch.stores import draft, opened_store, plan

if TYPE_CHECKING:
    import pytest

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
