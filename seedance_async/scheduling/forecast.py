"""How long jobs of a kind take, learned from those that finished.

Durations are positive and their spread is a matter of proportion, so the forecast is normal in the
logarithm of seconds. Every completed task tells its exact duration (``updated_at - created_at``, the
server's own measure). A kind borrows from coarser ones: the belief about the next coarser kind counts as a
few completions of the finer one, down to a vague prior; so a kind never seen is guessed from its neighbours
and soon speaks for itself. Old completions fade, so that a server that became slow is believed within a few
completions.

Pure: no clock, no randomness; durations are float seconds.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from seedance_async.models import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

VAGUE: Final = (math.log(90.0), 0.8)  # median 90 s, two thirds of all jobs between 40 s and 200 s
BORROWED: Final = 3.0  # completions a coarser kind's belief is worth
MEMORY: Final = 40.0  # completions after which an old one counts a third

_NORMAL: Final = NormalDist()


@frozen
class Duration:
    """Distribution of one kind's duration: log-normal.

    Attributes:
        mu: mean of the logarithm of seconds.
        sigma: standard deviation of the logarithm of seconds.
    """

    mu: float
    sigma: float

    @property
    def mean(self) -> float:
        """Expected seconds."""
        return math.exp(self.mu + self.sigma**2 / 2)

    def cdf(self, seconds: float) -> float:
        """Chance, 0 to 1, that a task is done within ``seconds`` of its start."""
        if seconds <= 0:
            return 0.0
        return _NORMAL.cdf((math.log(seconds) - self.mu) / self.sigma)

    def quantile(self, chance: float) -> float:
        """Seconds within which a task is done with this chance, 0 < chance < 1."""
        return math.exp(self.mu + self.sigma * _NORMAL.inv_cdf(chance))


@define
class _Evidence:
    """Fading sums over the logarithms of one kind's durations."""

    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, logarithm: float) -> None:
        fade = math.exp(-1 / MEMORY)
        self.weight = self.weight * fade + 1
        self.total = self.total * fade + logarithm
        self.squares = self.squares * fade + logarithm**2

    def update(self, prior: Duration) -> Duration:
        """The belief after this evidence, when ``prior`` was the belief before it."""
        weight = self.weight + BORROWED
        mu = (self.total + BORROWED * prior.mu) / weight
        square = (self.squares + BORROWED * (prior.sigma**2 + prior.mu**2)) / weight
        return Duration(mu, max(0.05, math.sqrt(max(0.0, square - mu**2))))


class Forecast:
    """Learned durations by kind. Falls back to coarser kinds, then to a vague prior."""

    def __init__(self) -> None:
        self._evidence: dict[Kind, _Evidence] = {}
        self._known: dict[Kind, Duration] = {}

    def observe(self, kind: Kind, duration: float) -> None:
        """Learn that a task of ``kind`` took ``duration`` seconds from start to finish."""
        logarithm = math.log(max(duration, 0.001))
        for coarser in kind.fallbacks:
            self._evidence.setdefault(coarser, _Evidence()).add(logarithm)
        self._known.clear()

    def of(self, kind: Kind) -> Duration:
        """What is believed about the duration of a task of ``kind``."""
        known = self._known.get(kind)
        if known is None:
            known = self._known[kind] = self._believe(kind)
        return known

    def _believe(self, kind: Kind) -> Duration:
        belief = Duration(*VAGUE)
        for coarser in reversed(kind.fallbacks):
            evidence = self._evidence.get(coarser)
            belief = belief if evidence is None else evidence.update(belief)
        return belief

    def dump(self) -> dict[str, object]:
        """Everything learned, as JSON types."""
        return {
            "kinds": [
                {
                    "kind": [kind.model, kind.quality_tier, kind.channel, kind.resolution, kind.seconds],
                    "evidence": [evidence.weight, evidence.total, evidence.squares],
                }
                for kind, evidence in self._evidence.items()
            ]
        }

    @classmethod
    def load(cls, data: Mapping[str, object]) -> Forecast:
        """The forecast that ``dump`` described.

        Raises:
            ValueError: the data is not what ``dump`` returns.
        """
        forecast = cls()
        try:
            for entry in data["kinds"]:  # type: ignore[attr-defined]  # checked by the except below
                forecast._evidence[Kind(*entry["kind"])] = _Evidence(*map(float, entry["evidence"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a dumped forecast: {error}") from error
        return forecast
