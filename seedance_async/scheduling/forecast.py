"""How long jobs of a kind take, learned from those that finished and from those that still run.

Every completed task tells its exact duration (``updated_at - created_at``, the server's own measure). It
is remembered as a hump around that duration, as wide as the kind is still uncertain, and the humps of a
kind add up to its distribution, whatever its shape. Three things temper them:

* a kind borrows: what is believed about the next coarser kind counts as two completions of the finer
  one, so a kind never seen is guessed from its neighbours and soon speaks for itself. At the bottom is a
  prior;
* old completions fade, so that a server that became slow or fast is believed within a few completions;
* a task that a look found running counts as a completion somewhere beyond that age (Kaplan and Meier's
  estimate). Without this the fast ones, which finish first, would pass for the rule, and after a drift
  the looks would go on failing until the slow ones came home.

Pure: no clock, no randomness; durations are float seconds.
"""

from __future__ import annotations

import math
from collections import deque
from functools import cache
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Final

import attrs
from attrs import define, field

from seedance_async.models import Kind
from seedance_async.scheduling.duration import CELLS, GRID, Duration, cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRIORS: Final = {
    "seedance2": (184.0, 0.5),  # 19 videos that a user reported took 102 to 268 s, median 184 s
    None: (90.0, 0.8),  # vague: two of three between 40 and 200 s
}
"""Median in seconds and spread (standard deviation of the logarithm) by model, before anything was seen."""

BORROWED: Final = 2.0  # completions that a coarser kind's belief is worth
MEMORY: Final = 60.0  # completions after which an old one counts a third
FADE: Final = math.exp(-1 / MEMORY)
WIDEST: Final = 0.35  # spread of the first completion's hump; later ones narrow as a standard error does
NARROWEST: Final = 0.06
RECENT: Final = 100  # completions of a kind that are kept for another process


class Forecast:
    """Learned durations by kind. Falls back to coarser kinds, then to a prior.

    Attributes:
        version: grows whenever a belief may have changed.
    """

    def __init__(self, *, scale: float = 1.0) -> None:
        """Know nothing but the prior, times ``scale``: below 1 where a sandbox's time runs faster."""
        self.version = 0
        self._scale = scale
        self._evidence: dict[Kind, _Evidence] = {}
        self._outlasted: dict[Kind, dict[int, int]] = {}
        self._recent: dict[Kind, deque[float]] = {}
        self._known: dict[Kind, Duration] = {}

    def of(self, kind: Kind) -> Duration:
        """What is believed about the duration of a task of ``kind``."""
        known = self._known.get(kind)
        if known is None:
            known = self._known[kind] = self._believe(kind)
        return known

    def observe(self, kind: Kind, duration: float) -> None:
        """Learn that a task of ``kind`` took ``duration`` seconds from start to finish."""
        for level in _levels(kind):
            self._evidence.setdefault(level, _Evidence()).add(duration)
        self._recent.setdefault(kind, deque(maxlen=RECENT)).append(duration)
        self._changed()

    def outlasted(self, kind: Kind, seconds: float) -> None:
        """Learn that a task of ``kind`` still runs after so many seconds; ``settled`` takes it back."""
        tally = self._outlasted.setdefault(kind, {})
        tally[cell(seconds)] = tally.get(cell(seconds), 0) + 1
        self._changed()

    def settled(self, kind: Kind, seconds: float) -> None:
        """Take one ``outlasted`` back: more is known of that task now, or nobody looks any more."""
        tally = self._outlasted[kind]
        tally[cell(seconds)] -= 1
        if not tally[cell(seconds)]:
            del tally[cell(seconds)]
        self._changed()

    def dump(self) -> dict[str, object]:
        """The latest completions of every kind, as JSON types."""
        return {
            "durations": [
                {"kind": attrs.asdict(kind), "seconds": list(recent)} for kind, recent in self._recent.items()
            ]
        }

    @classmethod
    def load(cls, data: Mapping[str, object]) -> Forecast:
        """The forecast that learns again what ``dump`` kept.

        Raises:
            ValueError: the data is not what ``dump`` returns.
        """
        forecast = cls()
        kinds, recent = _read(data)
        for turn in zip_longest(*recent):  # in turns, so that no kind has the last word about their parents
            for kind, seconds in zip(kinds, turn, strict=True):
                if seconds is not None:
                    forecast.observe(kind, seconds)
        return forecast

    def _changed(self) -> None:
        self.version += 1
        self._known.clear()

    def _believe(self, kind: Kind) -> Duration:
        masses: Sequence[float] = _prior(kind.model, self._scale)
        for evidence in self._distinct(kind):
            masses = evidence.mixed_with(masses)
        if tally := self._outlasted.get(kind):
            own = self._evidence.get(kind, _Evidence())
            masses = _pushed_out(masses, own.weight + BORROWED, tally)
        return Duration(masses)

    def _distinct(self, kind: Kind) -> list[_Evidence]:
        """The evidence of a kind's levels, coarse to fine; who heard no more than the next is mute."""
        heard = [self._evidence[level] for level in reversed(_levels(kind)) if level in self._evidence]
        finer = [*(evidence.count for evidence in heard[1:]), 0]
        return [evidence for evidence, count in zip(heard, finer, strict=False) if evidence.count > count]


@define
class _Evidence:
    """The humps of one kind, each a share of a completion; later ones are worth more, in a growing unit."""

    masses: list[float] = field(factory=lambda: [0.0] * CELLS)
    count: int = 0
    unit: float = 1.0

    @property
    def weight(self) -> float:
        """Completions this evidence is worth now: at most ``MEMORY``."""
        return (1 - FADE**self.count) / (1 - FADE)

    def add(self, duration: float) -> None:
        self.count += 1
        self.unit /= FADE
        spread = max(NARROWEST, WIDEST / math.sqrt(self.weight))
        first, hump = _hump(duration, spread)
        for index, mass in enumerate(hump, first):
            self.masses[index] += mass * self.unit
        if self.unit > 1e100:
            self.masses = [mass / self.unit for mass in self.masses]
            self.unit = 1.0

    def mixed_with(self, belief: Sequence[float]) -> list[float]:
        """The shares of every cell when ``belief`` counts as ``BORROWED`` completions."""
        total = self.weight + BORROWED
        ours, theirs = 1 / (self.unit * total), BORROWED / total
        return [mass * ours + other * theirs for mass, other in zip(self.masses, belief, strict=True)]


def _levels(kind: Kind) -> tuple[Kind, ...]:
    """A kind and the coarser ones that may speak for it: another model's durations say nothing."""
    return tuple(level for level in kind.fallbacks if level.model is not None) or (kind,)


def _hump(median: float, spread: float) -> tuple[int, list[float]]:
    """A log-normal completion in shares of the cells from the first index on."""
    reach = math.exp(3 * spread)
    first, last = cell(median / reach), cell(median * reach)
    ends = [_normal(math.log(GRID[index] / median) / spread) for index in range(first, last)]
    return first, [after - before for before, after in pairwise([0.0, *ends, 1.0])]


@cache
def _prior(model: str | None, scale: float) -> tuple[float, ...]:
    median, spread = PRIORS.get(model, PRIORS[None])
    first, hump = _hump(median * scale, spread)
    return (*([0.0] * first), *hump, *([0.0] * (CELLS - first - len(hump))))


def _normal(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


def _pushed_out(masses: Sequence[float], weight: float, outlasted: Mapping[int, int]) -> list[float]:
    """The shares when each running task adds one completion, spread over the cells it can still end in."""
    pushed, share, beyond = [], 1.0, 1.0
    for index, mass in enumerate(masses):
        pushed.append(mass * share)
        beyond -= mass
        if index in outlasted:
            share += outlasted[index] / (weight * max(beyond, 1e-9))
    return pushed


def _read(data: Mapping[str, object]) -> tuple[list[Kind], list[list[float]]]:
    try:
        entries = data["durations"]
        if not isinstance(entries, list):
            raise TypeError("its 'durations' are no list")
        kinds = [Kind(**entry["kind"]) for entry in entries]
        return kinds, [[float(seconds) for seconds in entry["seconds"]] for entry in entries]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a dumped forecast: {error}") from error
