"""The workloads on which all policies are compared: jobs, and how long each of them takes.

A workload is a number of jobs, the kinds they are of, and a shape of durations. The log-normal shapes are
what a forecast would assume; the others are chosen against it. Everything follows from the seed.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from seedance_async.models import Kind
from seedance_async.scheduling.simulation import SimulatedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Shape = Callable[[random.Random, float], float]

PICTURE: Final = Kind(model="nano-banana-pro", resolution="1K")
CLIP: Final = Kind(
    model="seedance2", quality_tier="standard", channel="standard", resolution="720p", seconds=5
)
LONG_CLIP: Final = Kind(
    model="seedance2", quality_tier="pro", channel="standard", resolution="1080p", seconds=10
)
MEDIANS: Final = {PICTURE: 40.0, CLIP: 150.0, LONG_CLIP: 240.0}
MIXES: Final = {"one": (CLIP,), "pictures": (PICTURE,), "mixed": (PICTURE, CLIP, LONG_CLIP)}


def _spread(sigma: float) -> Shape:
    return lambda chance, _: chance.lognormvariate(0, sigma)


def _times(factor: float) -> Shape:
    return lambda chance, _: factor * chance.lognormvariate(0, 0.2)


def _bimodal(chance: random.Random, _: float) -> float:
    return chance.lognormvariate(0, 0.1) * chance.choice((0.6, 1.7))


def _stragglers(chance: random.Random, _: float) -> float:
    return chance.lognormvariate(0, 0.2) * (6.0 if chance.random() < 0.02 else 1.0)


def _drift(chance: random.Random, progress: float) -> float:
    return chance.lognormvariate(0, 0.2) * (2.0 if progress >= 0.5 else 1.0)


SHAPES: Final[dict[str, Shape]] = {
    "sigma 0.2": _spread(0.2),
    "sigma 0.4": _spread(0.4),
    "bimodal": _bimodal,  # half take 0.6 times the median, half 1.7 times
    "stragglers": _stragglers,  # 2 % take 6 times as long
    "drift": _drift,  # the second half of the jobs takes twice as long
    "3 % fail": _spread(0.2),  # at any moment of the time they would have taken
    "184 s": lambda _, __: 184.0 / 150.0,  # the median of nineteen clips that a user reported, as one clip
}

FACTORS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""How many times longer a kind may take than its median, where the forecast is to be surprised."""


def usual(kind: Kind) -> float:
    """The median of a kind, in seconds."""
    return MEDIANS[kind]


def draw(*, jobs: int, mix: str, shape: str, seed: int) -> tuple[SimulatedTask, ...]:
    """The jobs in the caller's order; the kinds take turns.

    Args:
        jobs: how many.
        mix: of ``MIXES``.
        shape: of ``SHAPES``, or ``x0.5`` for half the usual durations with a spread of 0.2.
        seed: of chance.
    """
    chance = random.Random(f"{jobs} {mix} {shape} {seed}")
    return tuple(_draw(chance, MIXES[mix], shape, index, jobs) for index in range(jobs))


def _draw(chance: random.Random, kinds: Sequence[Kind], shape: str, index: int, jobs: int) -> SimulatedTask:
    kind = kinds[index % len(kinds)]
    duration = usual(kind) * (SHAPES.get(shape) or _times(float(shape.removeprefix("x"))))(
        chance, index / jobs
    )
    if shape == "3 % fail" and chance.random() < 0.03:
        return SimulatedTask(kind, duration * chance.random(), fails=True)
    return SimulatedTask(kind, duration)


def makespan_bound(draws: Sequence[SimulatedTask], *, requests: int = 30, period: float = 60.0) -> float:
    """Seconds that no policy can beat, whatever it knows.

    Every job needs a POST and a GET, and its length between them. Through an exact window request number
    ``k`` leaves no earlier than ``k // requests * period``, and of all orders the longest jobs first end
    soonest. So where ``2 N`` requests fill their windows exactly (300 jobs fill 20), a single poll in vain
    costs a whole period: 5 % there.
    """
    longest = sorted((draw.duration for draw in draws), reverse=True)
    ends = [place // requests * period + length for place, length in enumerate(longest)]
    return max((2 * len(draws) - 1) // requests * period, *ends)
