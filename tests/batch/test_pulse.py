"""Requests a period, counted from the client's counters."""

from __future__ import annotations

from seedance_async.batch.pulse import Beat, Pulse, load
from seedance_async.models import RateLimit
from seedance_async.usage import Usage

MONDAY = 60 * 29_000_000.0


def beating(pulse: Pulse, *sent: tuple[float, int, int]) -> Pulse:
    """A pulse that saw the counters stand so at these seconds."""
    for second, submits, polls in sent:
        pulse.sample(Usage(submits=submits, polls=polls), now=second, wall=MONDAY + second)
    return pulse


def test_requests_are_booked_in_the_period_in_which_they_were_seen() -> None:
    """POSTs and looks apart; what the client sent before the batch is not the batch's."""
    pulse = beating(Pulse(RateLimit()), (0, 5, 7), (30, 9, 7), (59, 10, 8), (60, 12, 20))

    assert [Beat(MONDAY, 5, 1), Beat(MONDAY + 60, 2, 12)] == pulse.beats


def test_the_window_slides() -> None:
    """What is shown against the limit is the last period, not the calendar's."""
    pulse = beating(Pulse(RateLimit()), (0, 0, 0), (1, 10, 0), (40, 20, 5))
    assert 25 == pulse.in_window
    assert 16 == beating(pulse, (61, 20, 6)).in_window
    assert 0 == beating(pulse, (200, 20, 6)).in_window


def test_a_pulse_goes_on_where_the_last_run_stopped() -> None:
    """A minute that two runs share is counted once, with both."""
    first = beating(Pulse(RateLimit()), (0, 0, 0), (10, 3, 0))
    limit, beats = load(first.dump())
    second = beating(Pulse(limit, beats), (20, 0, 0), (30, 1, 1))

    assert [Beat(MONDAY, 4, 1)] == second.beats


def test_without_a_record_there_is_none() -> None:
    """Batches of programs that do not count have none."""
    assert (RateLimit(), []) == load(None)
