"""The course of a batch as a picture: jobs by state over time, and below it the requests against the limit.

The picture is SVG for the gallery, with classes in the place of colours: the page's style knows those, for a
light and a dark room.

Pure.
"""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.batch.pulse import Beat
from seedance_async.batch.timeline import LAYERS, Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from seedance_async.batch.timeline import Layer
    from seedance_async.models import RateLimit

WIDTH: Final = 1400.0
JOBS_HEIGHT: Final = 132.0
GAP: Final = 34.0
REQUESTS_HEIGHT: Final = 48.0
TICKS_HEIGHT: Final = 24.0
TICKS: Final = 6  # at most
BARS: Final = 320  # at most; of a batch of many hours a bar is several periods


@frozen
class _Axis:
    """Time, from the begin of the batch to its end so far, as places from left to right."""

    moments: Sequence[Moment]

    @property
    def length(self) -> float:
        return self.moments[-1].place or 1.0

    def x(self, place: float) -> float:
        return round(place / self.length * WIDTH, 1)

    def x_at(self, at: float) -> float:
        """Where a wall instant is; within a lull, at its end."""
        for before, after in pairwise(self.moments):
            if at <= after.at:
                return self.x(max(before.place, after.place - (after.at - at)))
        return WIDTH


def draw(moments: Sequence[Moment], beats: Sequence[Beat], *, limit: RateLimit) -> str:
    """The picture as SVG; empty if there is nothing to see.

    Args:
        moments: the course of the jobs.
        beats: the requests of each period.
        limit: the account's, by whose periods they are counted.
    """
    if len(moments) < 2 or not moments[-1].place:
        return ""
    axis = _Axis(moments)
    height = JOBS_HEIGHT + (GAP + REQUESTS_HEIGHT if beats else 0.0) + TICKS_HEIGHT
    parts = [
        *(_area(axis, layer) for layer in LAYERS),
        *_lulls(axis),
        *(_requests(axis, beats, limit) if beats else ()),
        *_ticks(axis, bottom=height),
    ]
    told = html.escape(_told(moments))
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{told}">'
        f"<title>{told}</title>{''.join(parts)}</svg>"
    )


def _area(axis: _Axis, layer: Layer) -> str:
    """One layer of jobs, on top of those below it."""
    jobs = max(1, axis.moments[-1].count(*LAYERS))
    below = LAYERS[: LAYERS.index(layer)]

    def y(moment: Moment, layers: Sequence[Layer]) -> float:
        return round(JOBS_HEIGHT * (1 - moment.count(*layers) / jobs), 1)

    top = _line(axis, lambda moment: y(moment, (*below, layer)))
    ground = _line(axis, lambda moment: y(moment, below))
    return f'<path class="{layer}" d="M{"L".join([*top, *reversed(list(ground))])}Z"/>'


def _line(axis: _Axis, y: Callable[[Moment], float]) -> Iterator[str]:
    for moment in axis.moments:
        yield f"{axis.x(moment.place):g} {y(moment):g}"


def _lulls(axis: _Axis) -> Iterator[str]:
    """Where time was cut out, nobody was running the batch."""
    for before, after in pairwise(axis.moments):
        if after.lull:
            x, width = axis.x(before.place), axis.x(after.place) - axis.x(before.place)
            yield (
                f'<rect class="lull" x="{x:g}" y="0" width="{width:g}" height="{JOBS_HEIGHT:g}">'
                f"<title>{span(after.lull)} in which nobody ran it</title></rect>"
            )


def _requests(axis: _Axis, beats: Sequence[Beat], limit: RateLimit) -> Iterator[str]:
    """A bar for each period, and the limit as a line over them."""
    ground, top = JOBS_HEIGHT + GAP + REQUESTS_HEIGHT, JOBS_HEIGHT + GAP
    yield f'<text x="0" y="{top - 10:g}">requests in {span(limit.period)}, {limit.requests} allowed</text>'
    periods = ceil(len(beats) / BARS)
    for beat in _merged(beats, length=limit.period * periods):
        x, end = axis.x_at(beat.at), axis.x_at(beat.at + limit.period * periods)
        width = max(0.5, end - x - min(1.0, (end - x) / 4))
        y = ground
        for name, count in (("submits", beat.submits), ("polls", beat.polls)):
            height = REQUESTS_HEIGHT * min(1.0, count / (limit.requests * periods))
            y -= height
            yield (
                f'<rect class="{name}" x="{x:g}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
                f"<title>{beat.submits} submits, {beat.polls} polls</title></rect>"
            )
    yield f'<line class="limit" x1="0" x2="{WIDTH:g}" y1="{top:g}" y2="{top:g}"/>'


def _merged(beats: Sequence[Beat], *, length: float) -> list[Beat]:
    """The beats of longer periods."""
    sums: defaultdict[float, list[int]] = defaultdict(lambda: [0, 0])
    for beat in beats:
        total = sums[beat.at - beat.at % length]
        total[0] += beat.submits
        total[1] += beat.polls
    return [Beat(at, *total) for at, total in sums.items()]


def _ticks(axis: _Axis, *, bottom: float) -> Iterator[str]:
    """Marks at whole lengths of busy time."""
    step = next((step for step in _STEPS if axis.length / step <= TICKS), _STEPS[-1])
    count = int(axis.length / step)
    for number in range(count + 1):
        x = axis.x(number * step)
        anchor = "start" if number == 0 else "end" if x > WIDTH - 30 else "middle"
        yield f'<text x="{x:g}" y="{bottom - 4:g}" text-anchor="{anchor}">{span(number * step)}</text>'
        yield f'<line class="tick" x1="{x:g}" x2="{x:g}" y1="0" y2="{JOBS_HEIGHT:g}"/>'


def _told(moments: Sequence[Moment]) -> str:
    last = moments[-1]
    counts = ", ".join(f"{last.count(layer):,} {layer}" for layer in LAYERS if last.count(layer))
    return f"Jobs over {span(last.place)}: {counts} in the end"


def span(seconds: float) -> str:
    """A length of time in its largest fitting unit."""
    unit, length = next(((unit, length) for unit, length in _UNITS if seconds >= length), ("s", 1))
    return f"{round(seconds / length, 1):g} {unit}"


_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_STEPS: Final = tuple(
    count * length for length in (1, 60, 3600) for count in (1, 2, 5, 10, 15, 30)
) + tuple(86_400 * days for days in (0.5, 1, 2, 5, 10, 30, 100))  # fmt: skip
