"""The forecast of how long tasks of a kind take, learned from those that finished and those that still run.

Every completed task has an exact duration (``updated_at - created_at``, the server's own measure). The
completions of a kind add up to its distribution, whatever its shape (``evidence.py``). Three things temper
them:

* a kind borrows: what is believed about the next coarser kind counts as one completion of the finer one,
  so a kind never seen is guessed from its neighbours and soon speaks for itself. At the bottom is a prior,
  worth half a completion: it guesses the kind, and one completion or one poll that finds a task
  running teaches more about all the other tasks of it;
* old completions fade, so that a server that became slow or fast is believed within a few completions;
* a task that a poll found running counts as a completion somewhere beyond that age. Without this the fast
  ones, which finish first, would pass for the rule, and after a drift the polls would go on failing until
  the slow ones were done.

The prior expects to be wrong: until something is seen to finish, a quarter of its weight is spread evenly in
the logarithm over a factor of ``FAR_OFF`` to either side, so that a clip of nine seconds is polled in time.
Polls are timed by the whole belief (``of``). Plans, such as whether the last job would be late, rest on the
belief without that quarter (``usual``): a small chance of an hour would have every batch hurried.

Forming a belief costs a fraction of a millisecond, so a few news are let pass where they could not change it.

Pure: no clock, no randomness; durations are float seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise, zip_longest
from typing import Final

import attrs

from seedance_async.models import Kind
from seedance_async.scheduling.duration import CELLS, LONGEST, Duration, cell
from seedance_async.scheduling.evidence import Evidence, log_normal

PRIORS: Final = {
    "seedance2": (184.0, 0.5),  # 19 videos that a user reported took 102 to 268 s, median 184 s
    None: (90.0, 0.8),  # vague: two of three between 40 and 200 s
}
"""Median in seconds and spread (standard deviation of the logarithm) by model, before anything was seen."""

SURPRISE: Final = 0.25  # of a prior's weight, for durations that nobody expects
FAR_OFF: Final = 45.0  # the largest factor by which a prior's median is thought to be wrong
PRIOR_WORTH: Final = 0.5  # completions that the prior is worth; less forgets it sooner, but is misled by luck
BORROWED: Final = 1.0  # completions that a coarser kind's belief is worth
MAX_SECONDS: Final = 1e9  # of a duration that is loaded; refuses infinity too
RECENT: Final = 100  # completions of a kind that are kept for another process


class Forecast:
    """Learned durations by kind. Falls back to coarser kinds, then to a prior.

    Attributes:
        version: grows whenever a belief may have changed.
        scale: seconds that one of the vendor's takes here.
    """

    def __init__(self, *, scale: float = 1.0) -> None:
        """Know nothing but the prior, times ``scale``: below 1 where a sandbox's time runs faster."""
        self.version: int = 0
        self.scale: float = scale
        self._evidence: dict[Kind, Evidence] = {}
        self._recent: dict[Kind, deque[float]] = {}
        self._beliefs: dict[Kind, Duration] = {}
        self._usual: dict[Kind, Duration] = {}

    def of(self, kind: Kind) -> Duration:
        """What is believed about the duration of a task of ``kind``."""
        belief = self._beliefs.get(kind)
        if belief is None:
            is_known = any(level in self._evidence and self._evidence[level].count for level in _levels(kind))
            belief = self.usual(kind) if is_known else self._believe(kind, surprise=SURPRISE)
            self._beliefs[kind] = belief
        return belief

    def usual(self, kind: Kind) -> Duration:
        """The same for making plans: the surprises that the prior allows for are left out."""
        belief = self._usual.get(kind)
        if belief is None:
            belief = self._usual[kind] = self._believe(kind, surprise=0.0)
        return belief

    def seen(self, kind: Kind) -> int:
        """How many tasks of this very kind were seen to finish; at most ``RECENT``."""
        return len(self._recent.get(kind, ()))

    def observe(self, kind: Kind, duration: float) -> None:
        """Learn that a task of ``kind`` took ``duration`` seconds from start to finish.

        What is longer than anybody waits for is rather a wrong timestamp, and nothing is learned from it.
        """
        if duration > LONGEST:
            return
        self._recent.setdefault(kind, deque(maxlen=RECENT)).append(duration)
        for level in _levels(kind):
            evidence = self._about(level)
            evidence.finished(duration)
            self._heard(evidence)

    def outlasted(self, kind: Kind, seconds: float) -> None:
        """Learn that a task of ``kind`` still runs after so many seconds; ``settled`` takes it back."""
        evidence = self._about(kind)
        evidence.running(seconds, 1)
        self._heard(evidence)

    def settled(self, kind: Kind, seconds: float) -> None:
        """Take one ``outlasted`` back: more is known of that task now, or nobody polls it any more."""
        evidence = self._about(kind)
        evidence.running(seconds, -1)
        self._heard(evidence)

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

    def _about(self, kind: Kind) -> Evidence:
        if kind not in self._evidence:
            self._evidence[kind] = Evidence()
            self._usual.clear()
            self._beliefs.clear()  # some of them may rest on this from now on
        return self._evidence[kind]

    def _heard(self, evidence: Evidence) -> None:
        if evidence.is_news():
            self.version += 1
            for reader in evidence.readers:
                self._beliefs.pop(reader, None)
                self._usual.pop(reader, None)
            evidence.readers.clear()

    def _believe(self, kind: Kind, *, surprise: float) -> Duration:
        outspoken = self._outspoken(kind)
        shares: Sequence[float] = _prior(kind.model, self.scale, surprise)
        worth = PRIOR_WORTH
        for evidence in outspoken:
            shares = evidence.mixed_with(shares, worth=worth)
            worth = BORROWED
        if kind in self._evidence:
            shares = self._evidence[kind].pushed_out(shares, worth=worth)
        return Duration(shares)

    def _outspoken(self, kind: Kind) -> list[Evidence]:
        """The evidence of a kind's levels, coarse to fine, but for those that heard no more than the next."""
        heard = [self._evidence[level] for level in reversed(_levels(kind)) if level in self._evidence]
        for evidence in heard:
            evidence.readers.add(kind)
        finer = [*(evidence.count for evidence in heard[1:]), 0]
        return [evidence for evidence, count in zip(heard, finer, strict=False) if evidence.count > count]


def _levels(kind: Kind) -> tuple[Kind, ...]:
    """A kind and the coarser ones that may speak for it: another model's durations say nothing."""
    return tuple(level for level in kind.fallbacks if level.model is not None) or (kind,)


@cache
def _prior(model: str | None, scale: float, surprise: float) -> tuple[float, ...]:
    """A log-normal density, and ``surprise`` of the weight around its median, even in the logarithm."""
    median, spread = PRIORS.get(model, PRIORS[None])
    masses = [0.0] * CELLS
    first, shares = log_normal(median * scale, spread)
    for index, share in enumerate(shares, first):
        masses[index] = share * (1 - surprise)
    for low, high in pairwise(cell(median * scale * factor) for factor in (1 / FAR_OFF, 1.0, FAR_OFF)):
        for index in range(low + 1, high + 1):
            masses[index] += surprise / 2 / (high - low)
    return tuple(masses)


def _read(data: Mapping[str, object]) -> tuple[list[Kind], list[list[float]]]:
    try:
        entries = data["durations"]
        if not isinstance(entries, list):
            raise TypeError("its 'durations' are no list")
        kinds = [Kind(**entry["kind"]) for entry in entries]
        hash(tuple(kinds))  # refuses lists and objects where words belong
        return kinds, [[_seconds(value) for value in entry["seconds"]] for entry in entries]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a dumped forecast: {error}") from error


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        raise TypeError(f"{value!r:.40} is no duration")
    return float(value)
