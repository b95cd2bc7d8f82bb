"""What busy answers teach: how many jobs are sent at a time from then on."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from seedance_async.scheduling.capacity import Capacity

EVENTS = st.lists(st.one_of(st.none(), st.integers(0, 500)), max_size=200)
"""None for an acceptance, a number for a busy answer while so many tasks were running."""


def after(events: list[int | None]) -> Capacity:
    """What is known after these events."""
    capacity = Capacity()
    for event in events:
        capacity = capacity.after_acceptance() if event is None else capacity.after_busy(running=event)
    return capacity


@given(events=EVENTS)
def test_one_job_at_a_time_is_always_let_through(events: list[int | None]) -> None:
    """Whatever was answered: a bound of none would never learn that the server has recovered."""
    assert after(events).admits(0)


@given(events=EVENTS)
def test_accepted_jobs_never_lower_the_bound(events: list[int | None]) -> None:
    """A server that takes jobs is not trusted less for it."""
    capacity = after(events)

    assert capacity.bound <= capacity.after_acceptance().bound


@given(events=EVENTS, running=st.integers(0, 500))
def test_a_busy_answer_bounds_at_what_was_running(events: list[int | None], running: int) -> None:
    """Every answer of a storm says the same, so a storm of many costs no more than its first."""
    once = after(events).after_busy(running=running)

    assert max(1, running) == once.bound
    assert once == once.after_busy(running=running)


@given(running=st.integers(0, 500))
def test_the_bound_is_tried_by_one_job_in_twice_its_number(running: int) -> None:
    """Of a server that stays full, few POSTs are refused."""
    full = Capacity().after_busy(running=running)
    taken = 0
    while not full.admits(max(1, running)):
        full = full.after_acceptance()
        taken += 1

    assert 2 * max(1, running) == taken


def test_a_server_that_recovers_gets_its_stream_back_soon() -> None:
    """From one job at a time to a hundred takes two dozen, not the thousands of a straight line."""
    capacity = Capacity().after_busy(running=0)
    taken = 0
    while capacity.bound < 100:
        capacity = capacity.after_acceptance()
        taken += 1

    assert 20 == taken


def test_a_server_that_was_never_busy_has_no_bound() -> None:
    """Then the request budget alone decides."""
    assert inf == after([None] * 10).bound
