"""What refusals teach: how long the gate is closed, why, and how far apart requests go afterwards."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.budget.pace import (
    FORGET,
    LONGEST_PAUSE,
    PLATEAU,
    Cause,
    Pace,
    counter_could_refuse,
    narrowest,
    pause,
)
from seedance_async.models import RateLimit
from seedance_async.sandbox.windows import StrictSlidingCounter

LIMIT = RateLimit(requests=30, period=60.0)
PERIOD = LIMIT.period


ALONE: list[float] = []
"""So few requests of ours that no counter could have refused one."""
BURSTS = [*[40.0] * 30, *[100.0] * 20]
"""A window's worth of requests, and more of them a period later than a counter lets through."""
HALF = [100.0 - 4.0 * number for number in range(30)]
"""Fifteen a period, evenly, for two periods."""


def refused(pace: Pace, now: float, *, sent: list[float] = ALONE, sent_at: float | None = None) -> Pace:
    """The pace after a refusal heard now, with ten seconds to wait."""
    return pace.refused(now, sent_at=now if sent_at is None else sent_at, wait=10.0, sent=sent, limit=LIMIT)


def interval(pace: Pace) -> float:
    """The spacing, which there must be."""
    spacing = pace.interval(LIMIT)
    assert spacing is not None
    return spacing


def test_untaught_the_window_alone_decides() -> None:
    """The whole first window saves every batch a minute."""
    assert Pace().interval(LIMIT) is None
    assert LIMIT.requests == Pace().slots(LIMIT)


def test_strict_window_is_satisfied_by_its_own_spacing_at_once() -> None:
    """Even spacing of one request fewer a period suits the strictest counter; a quarter more is waste."""
    taught = refused(Pace(), 100.0, sent=BURSTS)

    assert "window" == taught.cause
    assert interval(taught) == pytest.approx(1.015 * PERIOD / 29)


@given(st.integers(1, 5))
def test_every_further_pause_widens_by_a_quarter(pauses: int) -> None:
    """However often: four refusals in a row leave less than half of the rate."""
    pace = refused(Pace(), 100.0)
    before = interval(pace)
    for number in range(1, pauses + 1):
        pace = refused(pace, 100.0 + number)

    assert interval(pace) == pytest.approx(min(before * 1.25**pauses, PERIOD / 4))


def test_requests_refused_together_teach_once() -> None:
    """Those under way when the pause began say nothing new, except how long to wait."""
    first = refused(Pace(), 100.0, sent_at=99.8)
    second = refused(first, 100.1, sent_at=99.9)

    assert interval(first) == interval(second)
    assert 110.1 == second.closed_until


@given(st.floats(100, 200), st.floats(100, 200))
def test_gate_stays_closed_until_the_last_deadline(earlier: float, later: float) -> None:
    """A refusal with a shorter wait must not open what one with a longer wait has closed."""
    pace = evolve(Pace(), closed_until=earlier)

    assert max(earlier, later + 10.0) == refused(pace, later).closed_until


def test_success_narrows_in_small_steps_to_the_narrowest() -> None:
    """Never wider, never much narrower at once, and back at the refused spacing when it should be."""
    pace = refused(Pace(), 100.0, sent=HALF)
    spacings = [interval(pace)]
    while spacings[-1] > narrowest(LIMIT, "others"):
        pace = pace.succeeded()
        spacings.append(interval(pace))

    assert all(narrower <= wider for wider, narrower in pairwise(spacings))
    assert all(narrower >= 0.98 * wider for wider, narrower in pairwise(spacings[:PLATEAU]))
    assert spacings[PLATEAU] == pytest.approx(PERIOD / 15)


def test_spacing_starts_from_what_was_sent_in_the_last_period() -> None:
    """Fifteen of ours filled the window: somebody else has the other half, and a quarter less is tried."""
    assert "others" == refused(Pace(), 100.0, sent=HALF).cause
    assert interval(refused(Pace(), 100.0, sent=HALF)) == pytest.approx(1.25 * PERIOD / 15)


def test_who_has_only_begun_to_send_is_not_taken_for_slow() -> None:
    """The window was full before our first request; that says nothing about how many we may send."""
    assert interval(refused(Pace(), 100.0, sent=[99.0, 99.5])) == pytest.approx(
        1.25 * narrowest(LIMIT, "others")
    )


def test_window_drains_to_the_new_spacing() -> None:
    """Otherwise the requests of the faster minute would be refused for another."""
    pace = refused(Pace(), 100.0, sent=HALF)

    assert 12 == pace.slots(LIMIT)


@pytest.mark.parametrize("cause", ["window", "others"])
def test_lesson_is_forgotten_when_nothing_was_refused_for_long(cause: Cause) -> None:
    """What somebody did yesterday is no reason to be slow today."""
    taught = refused(Pace(), 100.0, sent=BURSTS if cause == "window" else ALONE)

    assert taught == taught.at(100.0 + FORGET[cause] - 1)
    assert taught.at(100.0 + FORGET[cause]).interval(LIMIT) is None


def test_moved_pace_says_the_same_on_another_clock() -> None:
    """Instants move, what was learned does not."""
    taught = refused(Pace(), 100.0).succeeded().granted(120.0)

    assert taught == taught.moved(-100.0).moved(100.0)
    assert 0.0 == taught.moved(-100.0).refused_at
    assert interval(taught) == interval(taught.moved(-100.0))


@pytest.mark.parametrize(
    ("retry_after", "least"),
    [(36.0, 37.0), (0.0, 1.0), (None, PERIOD + 1.0), (1e9, LONGEST_PAUSE + 1.0)],
    ids=["header", "zero", "no header", "absurd"],
)
def test_pause_is_a_little_longer_than_asked(retry_after: float | None, least: float) -> None:
    """Servers round down, and programs refused together must not return together."""
    assert least == pause(retry_after, limit=LIMIT, jitter=0.0)
    assert least < pause(retry_after, limit=LIMIT, jitter=1.0) < least + 1


@given(
    gaps=st.lists(st.floats(0, 8).map(lambda gap: round(gap, 2)), min_size=20, max_size=120),
    origin=st.floats(-60, 0),
)
def test_every_refusal_of_a_counter_is_recognised(gaps: list[float], origin: float) -> None:
    """Wherever a counter's windows begin, what it refuses is never blamed on somebody else."""
    counter = StrictSlidingCounter(requests=LIMIT.requests, period=PERIOD, origin=origin)
    sent: list[float] = []
    now = 0.0
    for gap in gaps:
        now += gap
        if counter.admit(now) is not None:
            assert counter_could_refuse(sent, now, LIMIT)
        sent.append(now)


def test_evenly_spaced_requests_are_not_what_a_counter_refuses() -> None:
    """If they are refused all the same, somebody else is spending the account."""
    spacing = narrowest(LIMIT, "window")
    sent = [number * spacing for number in range(60)]

    assert not counter_could_refuse(sent, 60 * spacing, LIMIT)


def test_half_a_window_is_not_what_a_counter_refuses() -> None:
    """A burst of fifteen out of nothing is half of what any counter allows."""
    assert not counter_could_refuse([0.1 * number for number in range(15)], 2.0, LIMIT)
