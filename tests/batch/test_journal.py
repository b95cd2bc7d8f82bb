"""The journal of jobs: which moves are made, and what is written with each."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

import pytest

from seedance_async import JournalError
from seedance_async.batch.journal.store import MOST_CRASHES
from seedance_async.batch.states import ENDED, MOVES, State
from tests.batch.stores import ACCEPTED, draft, opened_store, plan, task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from seedance_async.batch.journal import Store


DEEDS: dict[State, Callable[[Store], object]] = {
    State.SUBMITTING: lambda store: store.intend(1, now=1.0),
    State.ACCEPTED: lambda store: store.accept(1, ACCEPTED, now=2.0),
    State.COMPLETED: lambda store: store.finish(1, [task("completed")], None, now=3.0),
    State.FAILED: lambda store: store.finish(1, [task("failed")], "why", now=3.0),
    State.SAVED: lambda store: store.save(1, ["a.png"], None, now=4.0),
    State.PLANNED: lambda store: store.postpone(1, "no credits", key=None),
    State.REFUSED: lambda store: store.refuse(1, "bad prompt", now=2.0),
    State.UNCERTAIN: lambda store: store.doubt(1, "no answer"),
    State.BLOCKED: lambda store: store.file.transaction(lambda: store.block(1, "in vain")),
}
"""What brings a job into each state."""

WAYS: dict[State, list[State]] = {
    State.PLANNED: [],
    State.SUBMITTING: [State.SUBMITTING],
    State.ACCEPTED: [State.SUBMITTING, State.ACCEPTED],
    State.COMPLETED: [State.SUBMITTING, State.ACCEPTED, State.COMPLETED],
    State.SAVED: [State.SUBMITTING, State.ACCEPTED, State.COMPLETED, State.SAVED],
    State.FAILED: [State.SUBMITTING, State.ACCEPTED, State.FAILED],
    State.REFUSED: [State.SUBMITTING, State.REFUSED],
    State.UNCERTAIN: [State.SUBMITTING, State.UNCERTAIN],
    State.BLOCKED: [State.BLOCKED],
}
"""A legal way to each state."""


@pytest.mark.parametrize("to", [state for state in State if state is not State.SUBMITTING])
@pytest.mark.parametrize("start", State)
def test_only_the_moves_of_the_table_are_made(start: State, to: State, tmp_path: Path) -> None:
    """A bug above must not be able to write down that a paid job was never sent."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        for state in WAYS[start]:
            DEEDS[state](store)
        if to in MOVES[start]:
            DEEDS[to](store)
            assert to is store.entry(1).state
        else:
            with pytest.raises(JournalError, match="cannot become"):
                DEEDS[to](store)
            assert start is store.entry(1).state
        assert {store.entry(1).state: 1} == {state: n for state, n in store.counts.items() if n}


def test_every_way_ends_and_only_ends_have_no_way_on() -> None:
    """The table itself: whatever is not an end leads to one."""
    assert {state for state, moves in MOVES.items() if not moves} == ENDED
    assert all(
        after in MOVES[before] for way in WAYS.values() for before, after in pairwise([State.PLANNED, *way])
    )


def test_an_intent_is_the_same_call_every_time(tmp_path: Path) -> None:
    """Promise 2: after a crash the stored bytes go out again under the stored key."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        first = store.intend(1, now=1.0)
    with opened_store(tmp_path) as store:
        again = store.intend(1, now=99.0)

        assert first == again
        assert draft("boat").body == again.body
        assert 1.0 == store.entry(1).intended_at


def test_a_refused_job_is_asked_for_under_the_key_it_is_told(tmp_path: Path) -> None:
    """The old one, which may collect; or one never used, because a stored refusal is given again for ever."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        asked = [store.intend(1, now=1.0).idempotency_key]
        for key in (asked[0], None, asked[0], None):
            store.postpone(1, "no credits", key=key)
            asked.append(store.intend(1, now=2.0).idempotency_key)

    first, again, second, old, third = asked
    assert first == again == old
    assert 3 == len({first, second, third})


def test_a_request_that_was_tampered_with_is_not_sent(tmp_path: Path) -> None:
    """The bytes under a key must be those the key was made for."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        store.file.connection.execute("UPDATE jobs SET body = ? WHERE number = 1", (b"{}",))

        with pytest.raises(JournalError, match="damaged"):
            store.intend(1, now=1.0)


def test_sums_and_prices_outlive_the_process(tmp_path: Path) -> None:
    """A cap is a cap of the batch, not of one run of it."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat"), draft("swan", line=2)])
        for number in (1, 2):
            store.intend(number, now=1.0)
        store.accept(1, ACCEPTED, now=2.0)
        store.finish(1, [task("failed", credits_refunded=5)], "why", now=3.0)
    with opened_store(tmp_path) as store:
        assert (12, 5) == (store.credits_used, store.credits_refunded)
        assert [12] == list(store.prices().values())
        assert [(2, State.SUBMITTING)] == [(number, state) for number, _, state in store.unpriced()]


def test_a_task_that_tells_of_a_higher_charge_is_believed(tmp_path: Path) -> None:
    """A cap counts the most that any answer said."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        store.intend(1, now=1.0)
        store.accept(1, ACCEPTED, now=2.0)
        store.finish(1, [task("completed", credits_used=30)], None, now=3.0)

        assert 30 == store.entry(1).credits_used == store.credits_used
        assert [30] == list(store.prices().values())


@pytest.mark.parametrize(
    ("status", "used", "refunded", "booked"),
    [("completed", 12, 12, 0), ("failed", 12, 40, 12), ("failed", None, 40, 12), ("failed", 12, 7, 7)],
)
def test_a_refund_is_of_a_task_that_failed_and_at_most_its_charge(
    status: str, used: float | None, refunded: float, booked: float, tmp_path: Path
) -> None:
    """What else a server says that it gave back makes no room under a cap."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        store.intend(1, now=1.0)
        store.accept(1, ACCEPTED, now=2.0)
        store.finish(1, [task(status, credits_used=used, credits_refunded=refunded)], None, now=3.0)

        assert booked == store.credits_refunded


def test_old_intents_are_uncertain_and_young_doubts_are_sent_again(tmp_path: Path) -> None:
    """Within the replay window a key is safe to use again; beyond it nobody knows."""
    with opened_store(tmp_path) as store:
        plan(
            store, [draft(name, line=line) for line, name in enumerate(("old", "young", "doubted"), start=1)]
        )
        store.intend(1, now=10.0)
        store.intend(2, now=100.0)
        store.intend(3, now=100.0)
        store.doubt(3, "no answer")

        store.begin_run(replayable_since=50.0)

        assert [2, 3] == [ticket.number for ticket in store.to_send_again(after=0, limit=9)]
        assert State.UNCERTAIN is store.entry(1).state


@pytest.mark.case(140)
@pytest.mark.parametrize(("orderly", "state"), [(False, State.UNCERTAIN), (True, State.SUBMITTING)])
def test_a_job_that_runs_die_of_is_left_alone(orderly: bool, state: State, tmp_path: Path) -> None:
    """Five deaths, and the others need not wait for it; a run that was merely stopped does not count."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        for run in range(MOST_CRASHES + 1):
            store.begin_run(replayable_since=0.0)
            if run < MOST_CRASHES:
                store.intend(1, now=1.0)
            if orderly:
                store.end_run()
        assert state is store.entry(1).state

        store.begin_run(replayable_since=0.0)
        assert state is store.entry(1).state
        store.begin_run(replayable_since=-inf)
        assert State.SUBMITTING is store.entry(1).state


def test_a_key_that_will_be_used_again_stays_on_record(tmp_path: Path) -> None:
    """A proxy may deliver a POST twice, and a 429 answer the copy: the key collects the first."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        sent = store.intend(1, now=1.0)
        store.postpone(1, "rate limited", key=sent.idempotency_key)

        assert sent.idempotency_key == store.entry(1).key
        assert sent == store.intend(1, now=2.0)

        store.postpone(1, "no credits", key=None)
        assert store.entry(1).key is None


def test_deaths_before_an_answer_are_forgotten_with_it(tmp_path: Path) -> None:
    """A job that was answered is not what the runs died of."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        for _ in range(MOST_CRASHES - 1):
            store.begin_run(replayable_since=0.0)
            store.intend(1, now=1.0)
        store.postpone(1, "no credits", key=None)
        for _ in range(MOST_CRASHES - 1):
            store.begin_run(replayable_since=0.0)
            store.intend(1, now=1.0)

        assert State.SUBMITTING is store.entry(1).state
