"""The course of a batch, counted in slots of time."""

from __future__ import annotations

import random

from seedance_async.batch.pulse import Beat
from seedance_async.batch.timeline import LAYERS, MOST_SLOTS, Moment, Timeline

MONDAY = 1_780_000_000.0


def counts(moment: Moment) -> dict[str, int]:
    """Jobs by layer."""
    return {layer: moment.count(layer) for layer in LAYERS if moment.count(layer)}


def test_each_moment_tells_how_all_jobs_stood() -> None:
    """Sent, over, or neither: together they are always all."""
    timeline = Timeline()
    timeline.add(sent_at=MONDAY, ended_at=MONDAY + 5, lost=False)
    timeline.add(sent_at=MONDAY + 2, ended_at=MONDAY + 5, lost=True)
    timeline.add(sent_at=MONDAY + 2, ended_at=None, lost=False)
    timeline.add(sent_at=None, ended_at=None, lost=False)

    moments = timeline.moments()

    assert [0, 1, 3, 6] == [round(moment.at - MONDAY) for moment in moments]
    assert [
        {"waiting": 4},
        {"running": 1, "waiting": 3},
        {"running": 3, "waiting": 1},
        {"saved": 1, "lost": 1, "running": 1, "waiting": 1},
    ] == [counts(moment) for moment in moments]


def test_a_long_batch_takes_no_more_slots_than_a_short_one() -> None:
    """Days of it are counted in longer slots; no job is lost on the way."""
    chance = random.Random(1)
    timeline = Timeline()
    for _ in range(5000):
        sent_at = MONDAY + chance.uniform(0, 3 * 86_400)
        timeline.add(sent_at=sent_at, ended_at=sent_at + 200, lost=False)

    moments = timeline.moments()

    assert len(moments) <= MOST_SLOTS + 1
    assert {"saved": 5000} == counts(moments[-1])
    assert all(5000 == moment.count(*LAYERS) for moment in moments)


def test_a_night_between_two_runs_is_cut_short() -> None:
    """It would leave no room for what happened."""
    timeline = Timeline()
    for second in (0, 30, 60, 36_000, 36_060):
        timeline.add(sent_at=MONDAY + second, ended_at=None, lost=False)

    moments = timeline.moments(period=60.0)

    lulls = [moment.lull for moment in moments if moment.lull]
    assert [35_936] == [round(lull) for lull in lulls]
    assert 130 > moments[-1].place > 120


def test_waiting_is_no_lull_while_requests_are_sent() -> None:
    """A clip may take minutes in which nothing is sent but looks, or nothing at all."""
    timeline = Timeline()
    timeline.add(sent_at=MONDAY, ended_at=MONDAY + 600, lost=False)
    beats = [Beat(MONDAY + second, 0, 0) for second in range(0, 600, 60)]

    assert not any(moment.lull for moment in timeline.moments(beats, period=60.0))
    assert any(moment.lull for moment in timeline.moments(period=60.0))


def test_a_batch_in_which_nothing_was_sent_has_no_course() -> None:
    """There is nothing to draw."""
    timeline = Timeline()
    timeline.add(sent_at=None, ended_at=None, lost=False)

    assert [] == timeline.moments()


def test_a_job_that_was_refused_in_the_slot_in_which_it_was_sent_counts_once() -> None:
    """It has an end and, by the journal, no begin."""
    timeline = Timeline()
    timeline.add(sent_at=None, ended_at=MONDAY, lost=True)

    assert [{"waiting": 1}, {"lost": 1}] == [counts(moment) for moment in timeline.moments()]
