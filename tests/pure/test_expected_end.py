"""When a batch will be over, as the schedule expects: what people are told while they wait."""

from __future__ import annotations

import pytest

from seedance_async.budget.allowance import Allowance
from seedance_async.models import Kind
from seedance_async.scheduling.forecast import Forecast
from seedance_async.scheduling.schedule import Schedule

CLIP = Kind(model="seedance2", resolution="720p", seconds=5)
FREE = Allowance(free=30)


def schedule(*, waiting: int = 0, running: int = 0) -> Schedule:
    """A schedule that knows clips to take two minutes; the running ones began at 0."""
    forecast = Forecast()
    for _ in range(200):
        forecast.observe(CLIP, 120.0)
    made = Schedule(forecast)
    for job in range(waiting):
        made.offer(f"job {job}", CLIP)
    for task in range(running):
        made.watch(f"task {task}", CLIP, 0.0)
    return made


def test_one_running_task_ends_when_its_kind_does() -> None:
    """Seen from half way, there is half of it to go."""
    assert 120 == pytest.approx(schedule(running=1).expected_end(60.0, FREE), rel=0.1)


def test_a_waiting_job_takes_its_whole_length_from_now() -> None:
    """It has not begun."""
    assert 60 + 120 == pytest.approx(schedule(waiting=1).expected_end(60.0, FREE), rel=0.1)


def test_many_jobs_end_with_the_last_request_that_they_need() -> None:
    """Two requests for each that waits, one for each that runs, thirty a minute; offered already or not."""
    needed = 2 * 400 + 10
    begun = schedule(waiting=400, running=10)
    early = schedule(waiting=100, running=10)

    assert needed * 2.0 == pytest.approx(begun.expected_end(0.0, FREE), rel=0.05)
    assert begun.expected_end(0.0, FREE) == early.expected_end(0.0, FREE, further=300)
