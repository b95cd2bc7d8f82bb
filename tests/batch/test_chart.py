"""The chart of a batch: well-formed, whole, and within its frame."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from seedance_async.batch.chart import BARS, JOBS_HEIGHT, WIDTH, draw, span
from seedance_async.batch.pulse import Beat
from seedance_async.batch.timeline import LAYERS, Timeline
from seedance_async.models import RateLimit

MONDAY = 60 * 29_000_000.0


def course(*jobs: tuple[float | None, float | None, bool]) -> Timeline:
    """A batch of jobs that were sent, and ended, so many seconds after its begin."""
    timeline = Timeline()
    for sent, ended, lost in jobs:
        timeline.add(
            sent_at=None if sent is None else MONDAY + sent,
            ended_at=None if ended is None else MONDAY + ended,
            lost=lost,
        )
    return timeline


def drawn(timeline: Timeline, *beats: Beat) -> ET.Element:
    """The picture, read as XML."""
    return ET.fromstring(draw(timeline.moments(beats), beats, limit=RateLimit()))


def corners(path: str) -> list[tuple[float, float]]:
    """The corners of an area."""
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


def test_the_layers_lie_on_each_other_and_fill_the_frame() -> None:
    """At every moment they are all jobs; in the end the saved ones have the share that is theirs."""
    picture = drawn(course((0, 60, False), (10, 80, False), (20, 70, True), (None, None, False)))

    areas = {path.get("class"): corners(path.get("d", "")) for path in picture.iter("path")}
    assert list(LAYERS) == list(areas)
    assert all(0 <= x <= WIDTH and 0 <= y <= JOBS_HEIGHT for area in areas.values() for x, y in area)
    half = len(areas["saved"]) // 2
    for lower, upper in (("saved", "lost"), ("lost", "running"), ("running", "waiting")):
        assert areas[lower][:half] == areas[upper][half:][::-1]
    assert (WIDTH, JOBS_HEIGHT / 2) == areas["saved"][half - 1]
    assert {0.0} == {y for _, y in areas["waiting"][:half]}


def test_requests_stand_under_the_limit_and_tell_their_numbers() -> None:
    """A bar a period, submits below looks."""
    picture = drawn(course((0, 100, False)), Beat(MONDAY, 12, 6), Beat(MONDAY + 60, 0, 30))

    bars = [rect for rect in picture.iter("rect") if rect.get("class") in {"submits", "polls"}]
    titles = [bar.findtext("title") for bar in bars]
    assert ["12 submits, 6 polls"] * 2 + ["0 submits, 30 polls"] * 2 == titles
    heights = [float(bar.get("height", 0)) for bar in bars]
    assert [19.2, 9.6, 0.0, 48.0] == heights
    assert "requests in 1 min, 30 allowed" in [text.text for text in picture.iter("text")]


def test_a_batch_of_days_has_no_more_bars_than_one_of_hours() -> None:
    """Each stands for several periods then."""
    beats = [Beat(MONDAY + 60 * number, 15, 15) for number in range(3 * 24 * 60)]
    picture = drawn(
        course(*((60.0 * number, 60.0 * number + 200, False) for number in range(3 * 24 * 60))), *beats
    )

    bars = [rect for rect in picture.iter("rect") if rect.get("class") == "submits"]
    assert BARS / 2 < len(bars) <= BARS + 1
    assert {24.0} == {float(bar.get("height", 0)) for bar in bars[1:-1]}


def test_a_lull_says_how_long_it_was() -> None:
    """So the axis does not lie."""
    picture = drawn(course((0, 30, False), (7200, 7230, False)))

    (lull,) = [rect for rect in picture.iter("rect") if rect.get("class") == "lull"]
    assert "2 h in which nobody ran it" == lull.findtext("title")


def test_without_a_course_there_is_no_picture() -> None:
    """A batch of which nothing was sent."""
    assert "" == draw([], [], limit=RateLimit())


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (42, "42 s"), (90, "1.5 min"), (7200, "2 h"), (129_600, "1.5 d")]
)
def test_lengths_of_time_are_told_in_their_largest_unit(seconds: float, told: str) -> None:
    """Axes have little room."""
    assert told == span(seconds)
