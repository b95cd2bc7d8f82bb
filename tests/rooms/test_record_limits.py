"""What standing limits count: no refund, no task id and no midnight makes room that there is not."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from seedance_async import (
    CreditCapError,
    CreditLimits,
    GptImage2,
    Kind,
    RetryPolicy,
    SeedanceError,
    Submission,
    Task,
    UncertainSubmissionError,
    clocks,
)
from seedance_async.record import Asked, Reader
from seedance_async.record.limits import DAY, Refusal, Wait
from seedance_async.record.store import Opened, Store
from seedance_async.sandbox import Fault, Sandbox
from tests.batch.helpers import PRICE
from tests.faults.helpers import client_for
from tests.rooms.records import BOAT, SINKS, keep_record, spent_in

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async import SeedanceClient

LOST = Fault(effect="reset", on="submit", moment="before", count=None)
NOON = 20_620 * DAY + 43_200.0
HASTY = RetryPolicy(max_elapsed=0.5)


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory of the test's own."""
    keep_record(tmp_path, monkeypatch)


async def test_a_refund_stated_on_a_completed_task_makes_no_room(sandbox: Sandbox, reader: Reader) -> None:
    """The server has charged for what it delivered, whatever it says."""
    sandbox.faults.add(Fault(effect="edit", on="task", count=None, fields={"credits_refunded": PRICE}))
    async with client_for(sandbox, credit_limits=CreditLimits(day=2.5 * PRICE)) as client:
        for _ in range(2):
            assert (await client.generate(BOAT)).is_completed
        with pytest.raises(CreditCapError):
            await client.generate(BOAT)

    assert 2 * PRICE == spent_in(sandbox) == sum(each.credits_spent for each in reader.spending("day"))
    assert [0, 0] == [post.credits_refunded for post in reader.posts()]


async def test_a_refund_makes_room_for_at_most_what_was_charged(sandbox: Sandbox) -> None:
    """Of a task that failed, too."""
    sandbox.faults.add(Fault(effect="edit", on="task", count=1, fields={"credits_refunded": 9 * PRICE}))
    async with client_for(sandbox, credit_limits=CreditLimits(day=2 * PRICE)) as client:
        with pytest.raises(SeedanceError, match="task failed"):
            await client.generate(SINKS)
        for _ in range(2):
            await client.submit(BOAT)
        with pytest.raises(CreditCapError):
            await client.submit(BOAT)

    assert 2 * PRICE == spent_in(sandbox)


@pytest.mark.case(185)
async def test_a_task_that_states_more_than_the_answer_is_booked(sandbox: Sandbox, reader: Reader) -> None:
    """In the sums of the day, in the price of its kind, and so under the limit."""
    sandbox.faults.add(Fault(effect="edit", on="submit", count=None, fields={"credits_used": 1}))
    async with client_for(sandbox, credit_limits=CreditLimits(day=2.5 * PRICE)) as client:
        for _ in range(2):
            await client.generate(BOAT)
        with pytest.raises(CreditCapError):
            await client.generate(BOAT)

    assert 2 * PRICE == spent_in(sandbox) == sum(each.credits_spent for each in reader.spending("day"))
    assert [PRICE, PRICE] == [post.credits_used for post in reader.posts()]


@pytest.mark.parametrize(
    ("all_of_them", "each", "booked"),
    [(48, 12, 48), (48, 25, 100), (48, 48, 48), (48, 60, 240), (8, 8, 32), (6, 6, 24)],
)
def test_tasks_that_state_what_all_cost_together_are_not_added_up(
    all_of_them: int, each: int, booked: int, tmp_path: Path
) -> None:
    """Of four of one POST each may state its share or the whole; but the whole costs more than one alone."""
    path = tmp_path / "record.sqlite"
    ids = ("a", "b", "c", "d")
    asked = Asked(key="key", kind=GptImage2(prompt="Four hats").kind, tasks=4)
    with closing(Store(path, CreditLimits(), patience=5)) as store:
        opened = store.intend(asked)
        assert isinstance(opened, Opened)
        store.accept(asked, opened, Submission(id="a", task_ids=ids, credits_used=all_of_them))
        for task_id in ids:
            store.finish(Task(id=task_id, status="completed", credits_used=each))

    assert booked == sum(day.credits_spent for day in Reader(path).spending("day"))


def test_the_refund_of_one_task_settles_no_post_of_two(tmp_path: Path) -> None:
    """Where no answer states a charge, the other task may have cost something."""
    path = tmp_path / "record.sqlite"
    asked = Asked(key="key", kind=Kind(model="gpt-image-2"), tasks=2)
    with closing(Store(path, CreditLimits(), patience=5)) as store:
        opened = store.intend(asked)
        assert isinstance(opened, Opened)
        store.accept(asked, opened, Submission(id="a", task_ids=("a", "b")))
        uncertain = []
        for task_id in ("a", "b"):
            store.finish(Task(id=task_id, status="failed", credits_refunded=PRICE))
            uncertain.append(sum(each.uncertain for each in Reader(path).spending("day")))

    assert [1, 0] == uncertain


@pytest.mark.case(185)
@pytest.mark.parametrize("stated", [0, 1, None])
@pytest.mark.parametrize("clients", [1, 5])
async def test_posts_under_way_whose_answers_say_less_pass_no_limit(
    clients: int, stated: int | None, sandbox: Sandbox
) -> None:
    """Their tasks are asked at once, also by a client that closes before any is final."""
    sandbox.faults.add(Fault(effect="edit", on="submit", count=None, fields={"credits_used": stated}))
    limits = CreditLimits(day=5 * PRICE)
    for _ in range(clients):
        async with client_for(sandbox, credit_limits=limits) as client:
            for _ in range(5 // clients):
                await client.submit(BOAT)
    async with client_for(sandbox, credit_limits=limits) as client:
        with pytest.raises(CreditCapError):
            await client.submit(BOAT)

    assert 5 * PRICE == spent_in(sandbox)


async def test_an_answer_that_its_task_confirms_is_believed_from_then_on(sandbox: Sandbox) -> None:
    """One request more for a price and client, and none without a limit."""
    for limits, looks in ((CreditLimits(day=1000), 1), (CreditLimits(), 0)):
        before = len(sandbox.requests)
        async with client_for(sandbox, credit_limits=limits) as client:
            for _ in range(4):
                await client.submit(BOAT)
        assert looks == [record.endpoint for record in sandbox.requests[before:]].count("task")


@pytest.mark.case(185)
async def test_a_task_that_cannot_be_asked_holds_nobody_up_and_the_next_one_is(sandbox: Sandbox) -> None:
    """The answer to the first is believed until the task is final."""
    sandbox.faults.add(Fault(effect="edit", on="submit", count=None, fields={"credits_used": 1}))
    sandbox.faults.add(Fault(effect="status", on="task", moment="before", status=404, count=1))
    async with client_for(sandbox, credit_limits=CreditLimits(day=1 + 3 * PRICE)) as client:
        for _ in range(4):
            await client.submit(BOAT)
        with pytest.raises(CreditCapError):
            await client.submit(BOAT)


def test_a_price_that_is_being_confirmed_when_its_process_dies_stays_held(tmp_path: Path) -> None:
    """Nobody waits for it, and the end of its task books it."""
    path = tmp_path / "record.sqlite"
    first, second = (Asked(key=key, kind=Kind(model="nano-banana-pro")) for key in ("first", "second"))
    with closing(Store(path, CreditLimits(day=100), patience=5)) as store:
        opened = store.intend(first)
        assert isinstance(opened, Opened)
        accepted = Submission(id="a", task_ids=("a",), credits_used=1)
        store.accept(first, opened, accepted, to_confirm=True)
        assert isinstance(store.intend(second), Wait)

        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE posts SET touched_at = touched_at - 1e6")
        assert isinstance(store.intend(second), Refusal)

        store.finish(Task(id="a", status="completed", credits_used=PRICE))
        assert isinstance(store.intend(second), Opened)
        assert PRICE == sum(day.credits_spent for day in Reader(path).spending("day"))


async def test_a_task_of_another_key_leaves_a_post_in_doubt(sandbox: Sandbox, reader: Reader) -> None:
    """A server that repeats one id charges each POST: what it may have cost stays held."""
    limits = CreditLimits(day=2.5 * PRICE)
    async with client_for(sandbox, credit_limits=limits) as client:
        first = await client.submit(BOAT)
    same = {"id": first.id, "task_id": first.id}
    sandbox.faults.add(Fault(effect="edit", on="submit", count=None, fields=same))
    async with client_for(sandbox, credit_limits=limits) as client:  # one that does not know the first
        await client.submit(BOAT)
    async with client_for(sandbox, credit_limits=limits) as client:
        with pytest.raises(CreditCapError):
            await client.submit(BOAT)

    assert 2 * PRICE == spent_in(sandbox)
    (known, doubted) = reader.posts()
    assert ("accepted", PRICE) == (known.state, known.credits_used)
    assert ("uncertain", None, PRICE) == (doubted.state, doubted.credits_used, doubted.credits_held)
    assert "another key" in str(doubted.error)


async def test_the_same_answer_under_the_same_key_is_one_post(
    sandbox: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server remembers a key for longer than it is trusted: a replay is charged once."""
    monkeypatch.setattr("seedance_async.record.store.KEY_TRUSTED", -1.0)
    async with client_for(sandbox) as client:
        first = await client.submit(BOAT)
        await client.submit(BOAT, idempotency_key=first.idempotency_key)

    assert [("accepted", PRICE), ("refused", None)] == [
        (post.state, post.credits_used) for post in reader.posts()
    ]
    assert PRICE == spent_in(sandbox)


async def test_a_lost_post_counts_on_the_day_on_which_it_is_sent_again(
    sandbox: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its charge is of that day; the day before is left with what was charged then."""
    monkeypatch.setattr(clocks, "wall_now", lambda: NOON)
    limits = CreditLimits(day=3 * PRICE)
    async with client_for(sandbox, credit_limits=limits, retry=HASTY) as client:
        await client.submit(BOAT)
        sandbox.faults.add(LOST)
        lost = [await _lose(client) for _ in range(2)]
        sandbox.faults.clear()
        monkeypatch.setattr(clocks, "wall_now", lambda: NOON + DAY / 2)
        for key in lost:
            await client.submit(BOAT, idempotency_key=key)
        await client.submit(BOAT)
        with pytest.raises(CreditCapError):
            await client.submit(BOAT)

    assert 4 * PRICE == spent_in(sandbox)
    assert [PRICE, 3 * PRICE] == [each.credits_spent for each in reader.spending("day")]


async def test_a_post_that_is_retried_past_midnight_counts_on_the_new_day(
    sandbox: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the client itself, which asks until it is answered."""
    monkeypatch.setattr(clocks, "wall_now", lambda: NOON)
    async with client_for(sandbox, credit_limits=CreditLimits(day=PRICE)) as client:
        with pytest.raises(SeedanceError, match="task failed"):
            await client.generate(SINKS)  # the price is known
        loop = asyncio.get_running_loop()
        began = loop.time()
        monkeypatch.setattr(clocks, "wall_now", lambda: NOON + DAY / 2 - 0.01 + loop.time() - began)
        sandbox.faults.add(evolve(LOST, count=3))
        await client.submit(BOAT)
        with pytest.raises(CreditCapError):
            await client.submit(BOAT)

    assert PRICE == spent_in(sandbox)
    assert [0, PRICE] == [each.credits_spent for each in reader.spending("day")]


@pytest.mark.parametrize("later", [-DAY, 0.0, 3600.0])
async def test_a_post_that_is_sent_again_counts_on_no_earlier_day(
    sandbox: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch, later: float
) -> None:
    """A clock that is set back does not move it out of the day for which it is held."""
    monkeypatch.setattr(clocks, "wall_now", lambda: NOON)
    async with client_for(sandbox, credit_limits=CreditLimits(day=PRICE), retry=HASTY) as client:
        with pytest.raises(SeedanceError, match="task failed"):
            await client.generate(SINKS)  # the price is known
        sandbox.faults.add(LOST)
        key = await _lose(client)
        sandbox.faults.clear()
        monkeypatch.setattr(clocks, "wall_now", lambda: NOON + later)
        await client.submit(BOAT, idempotency_key=key)
        monkeypatch.setattr(clocks, "wall_now", lambda: NOON)
        with pytest.raises(CreditCapError):
            await client.submit(BOAT)

    assert PRICE == spent_in(sandbox) == sum(each.credits_spent for each in reader.spending("day"))
    assert 1 == len(reader.spending("day"))


async def _lose(client: SeedanceClient) -> str | None:
    """Send a POST that nobody answers, and return its key."""
    with pytest.raises(UncertainSubmissionError) as caught:
        await client.submit(BOAT)
    return caught.value.idempotency_key
