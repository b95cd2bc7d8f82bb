"""Requests of a batch, counted from the client's counters."""

from __future__ import annotations

from seedance_async.batch.chart import REQUESTS, Course
from seedance_async.cli.batch_status import RequestCounter
from seedance_async.usage import Usage

MONDAY = 60 * 29_000_000.0


def counting(counter: RequestCounter, *sent: tuple[float, int, int]) -> RequestCounter:
    """A counter that saw the client's counters stand so at these seconds."""
    for second, submits, polls in sent:
        counter.sample(Usage(submits=submits, polls=polls), now=second, wall=MONDAY + second)
    return counter


def in_all(course: Course) -> list[tuple[int, ...]]:
    """POSTs and polls of the last minute, at each point."""
    return [tuple(point.counts[name] for name in REQUESTS) for point in course.points()]


def test_requests_are_counted_when_they_are_seen() -> None:
    """POSTs and polls apart; what the client sent before the batch is not the batch's."""
    counter = counting(RequestCounter(Course()), (0, 5, 7), (30, 9, 7), (59, 10, 8), (60, 12, 20))

    assert [(4, 0), (5, 1), (7, 13)] == in_all(counter.course)


def test_the_window_slides() -> None:
    """What is shown against the limit is the last period, not the calendar's."""
    counter = counting(RequestCounter(Course()), (0, 0, 0), (1, 10, 0), (40, 20, 5))
    assert 25 == counter.in_window
    assert 16 == counting(counter, (61, 20, 6)).in_window
    assert 0 == counting(counter, (200, 20, 6)).in_window


def test_counters_that_go_on_changing_are_not_looked_at_twice() -> None:
    """The client's are one object, which counts on after the sample."""
    usage, counter = Usage(), RequestCounter(Course())
    for second in range(3):
        counter.sample(usage, now=second, wall=MONDAY + second)
        usage.submits += 2

    assert [(2, 0), (4, 0)] == in_all(counter.course)


def test_it_goes_on_where_the_last_run_stopped() -> None:
    """A minute that two runs share is counted once, with both."""
    first = counting(RequestCounter(Course()), (0, 0, 0), (10, 3, 0))
    second = counting(RequestCounter(Course.load(first.course.dump())), (20, 0, 0), (30, 1, 1))

    assert (4, 1) == in_all(second.course)[-1]
