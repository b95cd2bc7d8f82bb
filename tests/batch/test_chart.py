"""The chart of a batch: counted in few slots, well-formed, whole, and within its frame."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from seedance_async.batch.chart import (
    JOBS,
    JOBS_HEIGHT,
    MOST_SLOTS,
    REQUESTS,
    REQUESTS_HEIGHT,
    WIDTH,
    Course,
    draw,
)
from seedance_async.errors import JournalError
from seedance_async.models import RateLimit

MONDAY = 60 * 29_000_000.0


def course(*jobs: tuple[float | None, float | None, bool], length: float = 1.0) -> Course:
    """A batch of jobs that were sent, and ended, so many seconds after its begin."""
    course = Course(slot=length)
    for sent, ended, lost in jobs:
        course.add_job(
            sent_at=None if sent is None else MONDAY + sent,
            ended_at=None if ended is None else MONDAY + ended,
            lost=lost,
        )
    return course


def counts(course: Course, *names: str) -> list[dict[str, int]]:
    """What is counted under these names at each point, zeros left out."""
    return [{name: point.counts[name] for name in names if point.counts[name]} for point in course.points()]


def drawn(course: Course) -> ET.Element:
    """The picture, read as XML."""
    return ET.fromstring(draw(course))


def areas(picture: ET.Element) -> dict[str | None, list[tuple[float, float]]]:
    """The upper edge of each area: where each of its steps ends, and how high it is."""
    return {
        path.get("class"): [
            (float(x), float(y)) for y, x in re.findall(r"V([\d.]+)H([\d.]+)", path.get("d", ""))
        ]
        for path in picture.iter("path")
    }


def test_each_point_tells_how_all_jobs_stood() -> None:
    """Sent, over, or neither: together they are always all."""
    begun = course((0, 5, False), (2, 5, True), (2, None, False), (None, None, False))

    assert [0, 2, 5] == [point.slot - int(MONDAY) for point in begun.points()]
    assert [
        {"running": 1, "waiting": 3},
        {"running": 3, "waiting": 1},
        {"saved": 1, "lost": 1, "running": 1, "waiting": 1},
    ] == counts(begun, *JOBS)


def test_a_long_batch_takes_no_more_slots_than_a_short_one() -> None:
    """Days of it are counted in longer slots; no job and no request is lost on the way."""
    chance = random.Random(1)
    long = Course()
    for _ in range(5000):
        sent_at = MONDAY + chance.uniform(0, 3 * 86_400)
        long.add_job(sent_at=sent_at, ended_at=sent_at + 200, lost=False)
        long.count(sent_at, submits=1)

    points = long.points()

    assert MOST_SLOTS / 3 < len(points) <= MOST_SLOTS
    assert {"saved": 5000} == counts(long, *JOBS)[-1]
    assert all(5000 == sum(point.counts[name] for name in JOBS) for point in points)
    assert 5000 == sum(point.counts["submits"] for point in points)


def test_requests_are_those_of_a_whole_period() -> None:
    """As the limit counts them: in any period, not in the calendar's."""
    begun = Course()
    for second, submits, polls in ((0, 10, 0), (30, 5, 5), (59, 5, 5), (60, 0, 10), (200, 1, 0)):
        begun.count(MONDAY + second, submits=submits, polls=polls)

    assert [
        {"submits": 10},
        {"submits": 15, "polls": 5},
        {"submits": 20, "polls": 10},
        {"submits": 10, "polls": 20},
        {"submits": 1},
    ] == counts(begun, *REQUESTS)


def test_a_job_that_was_refused_in_the_slot_in_which_it_was_sent_counts_once() -> None:
    """It has an end and, by the journal, no begin."""
    assert [{"lost": 1}] == counts(course((None, 0, True)), *JOBS)


def test_the_layers_lie_on_each_other_and_fill_the_frame() -> None:
    """In every slot they are all jobs; in the end the saved ones have the share that is theirs."""
    edges = areas(drawn(course((0, 60, False), (10, 80, False), (20, 70, True), (None, None, False))))

    assert list(reversed(JOBS)) == list(edges)
    assert all(0 <= x <= WIDTH and 0 <= y <= JOBS_HEIGHT for edge in edges.values() for x, y in edge)
    for lower, upper in (("saved", "lost"), ("lost", "running"), ("running", "waiting")):
        assert all(below[1] >= above[1] for below, above in zip(edges[lower], edges[upper], strict=True))
    assert (WIDTH, JOBS_HEIGHT / 2) == edges["saved"][-1]
    assert {0.0} == {y for _, y in edges["waiting"]}


def test_requests_stand_under_the_limit_and_tell_their_numbers() -> None:
    """Submits below polls; the pointer is told how many."""
    begun = course((0, 100, False))
    begun.count(MONDAY, submits=12, polls=6)
    begun.count(MONDAY + 100, submits=0, polls=30)
    picture = drawn(begun)

    hints = [
        rect.findtext("title", "").split("; ")[1]
        for rect in picture.iter("rect")
        if rect.get("class") == "hint"
    ]
    assert ["12 submits, 6 polls", "30 polls"] == hints
    ground = float(picture.findall("line[@class='limit']")[0].get("y1", 0)) + REQUESTS_HEIGHT
    edges = areas(picture)
    assert [19.2, 0.0] == [round(ground - y, 3) for _, y in edges["submits"]]
    assert [28.8, 48.0] == [round(ground - y, 3) for _, y in edges["polls"]]
    assert "requests in 60 s, 30 allowed" in [text.text for text in picture.iter("text")]


def test_a_slot_of_several_periods_is_measured_by_the_limit_of_all_of_them() -> None:
    """In a batch of days no slot is above the limit because it is long."""
    days = Course()
    for minute in range(3 * 24 * 60):
        days.count(MONDAY + 60 * minute, submits=15, polls=15)
    picture = drawn(days)

    limit = float(picture.findall("line[@class='limit']")[0].get("y1", 0))
    below = [y - limit for _, y in areas(picture)["polls"][1:-1]]
    assert all(0 <= pixels < 0.01 * REQUESTS_HEIGHT for pixels in below)


def test_a_night_between_two_runs_takes_no_room_and_is_marked() -> None:
    """It would leave none for what happened; the mark says how long it was."""
    picture = drawn(course((0, 30, False), (7230, 7260, False)))

    (pause,) = picture.findall("line[@class='pause']")
    assert WIDTH / 2 == float(pause.get("x1", 0))
    assert "1:59:59 later" in [text.text for text in picture.iter("text")]


def test_the_lengths_of_pauses_that_lie_close_together_are_not_written_over_each_other() -> None:
    """Each is marked; where two marks are near, only the first says how long it was."""
    runs = [(7200.0 * run, 7200.0 * run + 2, False) for run in range(120)]
    picture = drawn(course(*runs))

    assert len(runs) - 1 == len(picture.findall("line[@class='pause']"))
    written = [float(text.get("x", 0)) for text in picture.iter("text") if "later" in (text.text or "")]
    assert written
    assert all(later - earlier > 90 for earlier, later in pairwise(written))
    assert written[-1] < WIDTH - 80


def test_waiting_is_no_pause_while_the_batch_is_running() -> None:
    """A clip may take minutes in which nothing is sent."""
    waiting = course((0, 600, False))
    assert drawn(waiting).findall("line[@class='pause']")
    for second in range(0, 600, 60):
        waiting.count(MONDAY + second, submits=0, polls=0)

    picture = drawn(waiting)
    assert not picture.findall("line[@class='pause']")
    assert "10:01" == picture.findall("text")[-1].text


@pytest.mark.parametrize("jobs", [[], [(None, None, False)]])
def test_without_a_course_there_is_no_picture(jobs: list[tuple[float | None, float | None, bool]]) -> None:
    """A batch of which nothing was sent."""
    assert "" == draw(course(*jobs))


def test_the_requests_are_kept_from_run_to_run() -> None:
    """What two runs sent in one slot is counted together; the jobs are the journal's own."""
    first = course((0, 10, False))
    first.count(MONDAY, submits=3, polls=0)
    second = Course.load(first.dump())
    second.count(MONDAY, submits=1, polls=1)

    assert {"submits": 4, "polls": 1} == counts(second, *REQUESTS)[0]
    assert {} == counts(second, *JOBS)[0]


def test_another_limit_keeps_the_requests_where_they_were() -> None:
    """The length of a slot is kept beside them; none moves, however often they are read."""
    first = Course(RateLimit(requests=30, period=3.0))
    for tenth in range(100):
        first.count(MONDAY + tenth / 10, submits=3, polls=0)
    second = Course.load(first.dump())
    third = Course.load(second.dump(), limit=RateLimit())

    assert first == second
    assert RateLimit() == third.limit
    assert [point.slot for point in first.points()] == [point.slot for point in third.points()]


def test_without_a_record_there_is_none() -> None:
    """Batches of programs that do not count have none."""
    assert Course() == Course.load(None)


@pytest.mark.parametrize(
    "text",
    ["", "[[", "[]", "{}", "[[30, 60]]", "[[0, 60, 1]]", "[[30, 60, 0]]", "[[30, 60, 1], [1, 2]]",
     '[[30, 60, 1], ["1", 2, 3]]', "[[30, 60, 1], [1, 2, 3.5]]", "[[30, 60, 1], [1e999, 2, 3]]",
     "[[30, 60, 1], [-1, 2, 3]]", f"[[30, 60, 1], [{10**400}, 2, 3]]", "[" * 100_000],
)  # fmt: skip
def test_a_record_that_nobody_can_have_kept_is_damage(text: str) -> None:
    """It stands in a file that anything may have happened to."""
    with pytest.raises(JournalError, match="damaged"):
        Course.load(text)
