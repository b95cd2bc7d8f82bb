"""The chart of a batch for its gallery: jobs by state over time, and the requests against the limit.

Events are counted in slots of the wall clock, which double in length whenever there are too many of them, so
memory does not grow with the batch. Times without events that are longer than the limit's period are left
out, such as the night between two runs.

The chart is SVG, with classes instead of colours: the gallery's style sheet has light and dark colours.

Pure: times are seconds of the wall clock since 1970.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Self

from attrs import Factory, define, field, frozen

from seedance_async.batch.journal import damage
from seedance_async.errors import ConfigurationError
from seedance_async.models import RateLimit
from seedance_async.time_format import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FACT: Final = "requests"
"""Name under which the journal keeps the count of requests."""

JOBS: Final = ("saved", "lost", "running", "waiting")
"""The states of jobs in the chart, from bottom to top; each job is in exactly one."""

REQUESTS: Final = ("submits", "polls")

MOST_SLOTS: Final = 300
LAST_SLOT: Final = 2**53  # larger numbers cannot be valid, nor represented exactly as a float

WIDTH: Final = 1400.0
JOBS_HEIGHT: Final = 132.0
GAP: Final = 34.0
REQUESTS_HEIGHT: Final = 48.0
TIMES_HEIGHT: Final = 24.0
LETTER: Final = 9.0
"""Wider than any character of a label, in units of the chart."""


@frozen
class Point:
    """The state of a batch at the end of a slot.

    Attributes:
        slot: number of the slot since 1970.
        place: position of the slot on the axis, in slots from the left.
        skipped: number of slots left out before it.
        counts: the jobs in each state, and the requests of the period that ended then.
    """

    slot: int
    place: int
    skipped: int
    counts: Mapping[str, int]


@define
class Course:
    """The events of a batch, counted in slots of time.

    Attributes:
        limit: the account's rate limit.
        jobs: number of jobs.
        slot: length of a slot in seconds; at first a sixtieth of the limit's period.
    """

    limit: RateLimit = field(factory=RateLimit)
    jobs: int = 0
    slot: float = Factory(lambda self: self.limit.period / 60, takes_self=True)
    _slots: dict[int, Counter[str]] = field(factory=dict, init=False)

    def add_job(self, *, sent_at: float | None, ended_at: float | None, lost: bool) -> None:
        """Add one job; None stands for an event that has not happened."""
        self.jobs += 1
        if sent_at is not None:
            self.count(sent_at, sent=1)
        if ended_at is not None:
            self.count(ended_at, **{"lost" if lost else "saved": 1})

    def count(self, at: float, **events: int) -> None:
        """Count ``submits``, ``polls``, or jobs ``sent``, ``saved`` or ``lost``.

        A count of 0 only marks that the batch was running.
        """
        self._add(int(at // self.slot), events)

    def points(self) -> list[Point]:
        """Return the state of the batch at the end of every slot with events."""
        total: Counter[str] = Counter()
        points: list[Point] = []
        for slot in sorted(self._slots):
            total.update(self._slots[slot])
            place, skipped = self._next_place(points[-1], slot) if points else (0, 0)
            points.append(Point(slot, place, skipped, {**self._jobs(total), **self._requests(slot)}))
        return points

    def _next_place(self, last: Point, slot: int) -> tuple[int, int]:
        gap = slot - last.slot - 1
        skipped = gap if gap * self.slot > self.limit.period else 0
        return last.place + 1 + gap - skipped, skipped

    def dump(self) -> str:
        """Return the counts of requests as JSON, for the journal; those of jobs follow from its rows."""
        rows = [[slot, *(events[name] for name in REQUESTS)] for slot, events in sorted(self._slots.items())]
        return json.dumps([[self.limit.requests, self.limit.period, self.slot], *rows])

    @classmethod
    def load(cls, text: str | None, *, limit: RateLimit | None = None) -> Self:
        """Return a course with the requests that ``dump`` stored; an empty one for None.

        Args:
            text: the result of ``dump``.
            limit: the account's rate limit; None takes the stored one.

        Raises:
            JournalError: the text is damaged.
        """
        if text is None:
            return cls(limit or RateLimit())
        try:
            (requests, period, slot), *rows = json.loads(text)
            kept = RateLimit(requests=requests, period=period)
            course = cls(limit or kept, slot=RateLimit(period=slot).period)
            counted = [_counted(*row) for row in rows]
        except (ConfigurationError, RecursionError, TypeError, ValueError) as problem:
            raise damage("the count of requests") from problem
        for number, events in counted:
            course._add(number // int(course.slot / slot), events)
        return course

    def _add(self, slot: int, events: Mapping[str, int]) -> None:
        self._slots.setdefault(slot, Counter()).update(events)
        while len(self._slots) > MOST_SLOTS:
            self._double()

    def _jobs(self, total: Counter[str]) -> dict[str, int]:
        over = total["saved"] + total["lost"]
        sent = max(total["sent"], over)  # within a slot, a job's end may be counted before its sending
        running, waiting = sent - over, self.jobs - sent
        return {"saved": total["saved"], "lost": total["lost"], "running": running, "waiting": waiting}

    def _requests(self, slot: int) -> dict[str, int]:
        length = max(1, round(self.limit.period / self.slot))
        window = [self._slots.get(each, Counter()) for each in range(slot - length + 1, slot + 1)]
        return {name: sum(events[name] for events in window) for name in REQUESTS}

    def _double(self) -> None:
        finer, self._slots = self._slots, {}
        self.slot *= 2
        for slot, events in finer.items():
            self._slots.setdefault(slot // 2, Counter()).update(events)


def _counted(slot: object, submits: object, polls: object) -> tuple[int, Mapping[str, int]]:
    match slot, submits, polls:
        case int(), int(), int() if 0 <= slot < LAST_SLOT:
            return slot, {"submits": submits, "polls": polls}
        case _:
            raise ValueError("not a count of requests")


def draw(course: Course) -> str:
    """Return the chart as SVG; empty if there are fewer than two points."""
    points = course.points()
    if len(points) < 2:
        return ""
    has_requests = any(point.counts[name] for point in points for name in REQUESTS)
    height = JOBS_HEIGHT + (GAP + REQUESTS_HEIGHT if has_requests else 0.0)
    parts = [
        *_areas(points, JOBS, top=0.0, height=JOBS_HEIGHT, full=course.jobs),
        *(_draw_requests(course, points) if has_requests else ()),
        *_pauses(course, points),
        *_times(_length(points) * course.slot, bottom=height + TIMES_HEIGHT),
        *_hints(points, height=height),
    ]
    title = f"Jobs over {format_seconds(_length(points) * course.slot)}: {_text(points[-1], JOBS)} at the end"
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {height + TIMES_HEIGHT:g}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{''.join(parts)}</svg>"
    )


def _areas(
    points: Sequence[Point], layers: Sequence[str], *, top: float, height: float, full: float
) -> Iterator[str]:
    """Yield stacked areas. Each is filled down to the base line, so the highest is drawn first."""
    ground = top + height
    for count in range(len(layers), 0, -1):
        path = f"M0 {ground:g}"
        for point in points:
            share = sum(point.counts[layer] for layer in layers[:count]) / max(1.0, full)
            path += f"H{_x(point, points):.5g}V{ground - height * min(1.0, share):.4g}"
        yield f'<path class="{layers[count - 1]}" d="{path}H{WIDTH:g}V{ground:g}Z"/>'


def _length(points: Sequence[Point]) -> int:
    return points[-1].place + 1


def _x(point: Point, points: Sequence[Point]) -> float:
    return point.place / _length(points) * WIDTH


def _draw_requests(course: Course, points: Sequence[Point]) -> Iterator[str]:
    top, limit = JOBS_HEIGHT + GAP, course.limit
    yield f'<text x="0" y="{top - 10:g}">requests in {limit.period:g} s, {limit.requests} allowed</text>'
    allowed = limit.requests * max(1.0, course.slot / limit.period)  # a slot may be several periods
    yield from _areas(points, REQUESTS, top=top, height=REQUESTS_HEIGHT, full=allowed)
    yield f'<line class="limit" x1="0" x2="{WIDTH:g}" y1="{top:g}" y2="{top:g}"/>'


def _pauses(course: Course, points: Sequence[Point]) -> Iterator[str]:
    """Yield a mark where time is left out, usually between two runs, and its length where there is room."""
    free = 0.0
    for point in points:
        if point.skipped:
            x, text = _x(point, points), f"{format_seconds(point.skipped * course.slot)} later"
            yield f'<line class="pause" x1="{x:.5g}" x2="{x:.5g}" y1="0" y2="{JOBS_HEIGHT:g}"/>'
            length = LETTER * len(text)
            if x >= free and x + length <= WIDTH:  # elsewhere it would lie over another, or be cut off
                yield f'<text x="{x + 5:.5g}" y="14">{text}</text>'
                free = x + length


def _times(seconds: float, *, bottom: float) -> Iterator[str]:
    """Yield the labels of the time axis, one for each quarter."""
    for quarter in range(1, 5):
        x, anchor = quarter / 4 * WIDTH, "end" if quarter == 4 else "middle"
        text = format_seconds(quarter / 4 * seconds)
        yield f'<text x="{x:g}" y="{bottom - 4:g}" text-anchor="{anchor}">{text}</text>'
        yield f'<line class="tick" x1="{x:g}" x2="{x:g}" y1="0" y2="{JOBS_HEIGHT:g}"/>'


def _hints(points: Sequence[Point], *, height: float) -> Iterator[str]:
    """Yield the tooltip of every slot."""
    width = WIDTH / _length(points)
    for point in points:
        text = f"{_text(point, JOBS)}; {_text(point, REQUESTS)}".rstrip("; ")
        yield (
            f'<rect class="hint" x="{_x(point, points):.5g}" y="0" width="{width:.4g}" height="{height:g}">'
            f"<title>{text}</title></rect>"
        )


def _text(point: Point, names: Sequence[str]) -> str:
    return ", ".join(f"{point.counts[name]:,} {name}" for name in names if point.counts[name])
