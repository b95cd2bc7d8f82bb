"""The forecast of how long tasks of a kind take, learned from finished tasks and from those still running.

Every completed task has an exact duration (``updated_at - created_at``, measured by the server). The
completions of a kind add up to its distribution, of any shape (``evidence.py``). Three rules modify this:

* The distribution of the next coarser kind counts as one completion of the finer kind. So the first forecast
  of a kind is that of similar kinds, and its own completions soon outweigh it. The coarsest distribution is a
  prior, which counts as half a completion: one completion, or one poll that finds a task running, tells more
  about the other tasks of a kind.
* The weight of old completions decreases, so that the forecast follows a server that becomes slower or faster
  within a few completions.
* A task that a poll found running counts as a completion later than its present age. Without this rule, the
  short tasks, which finish first, would be taken as typical, and when tasks become slower, polls would keep
  finding them unfinished.

The prior allows for being wrong: until the first completion, a quarter of its weight is spread evenly on a
logarithmic scale, up to a factor of ``FAR_OFF`` below and above, so that a clip of nine seconds is polled in
time. Polls are timed by the whole distribution (``of``). Plans, such as whether the last job would be late,
use the distribution without that quarter (``usual``): otherwise the small probability of an hour would make
every batch submit its jobs before polling.

Calculating a distribution takes a fraction of a millisecond, so it is not repeated for changes that hardly
matter.

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
from seedance_async.shortened import first_of

PRIORS: Final = {
    "seedance2": (184.0, 0.5),  # a user reported 19 videos that took 102 to 268 s, median 184 s
    None: (90.0, 0.8),  # rough: two of three between 40 and 200 s
}
"""By model, before the first completion: median in seconds, and standard deviation of the logarithm."""

SURPRISE: Final = 0.25  # the part of a prior's weight that is spread over unexpected durations
FAR_OFF: Final = 45.0  # the largest factor by which a prior's median is assumed to be wrong
PRIOR_WORTH: Final = 0.5  # completions that the prior counts as; with less, a first outlier has more effect
BORROWED: Final = 1.0  # completions that the distribution of a coarser kind counts as
MAX_SECONDS: Final = 1e9  # of a loaded duration; this also refuses infinity
RECENT: Final = 100  # completions of each kind that ``dump`` returns
SHOWN_KINDS: Final = 3  # in a repr


class Forecast:
    """The learned durations by kind; for an unknown kind, those of coarser kinds, then a prior.

    Attributes:
        version: increases whenever a distribution may have changed.
        scale: how many seconds pass here for one second at the vendor.

    Example:
        >>> forecast = Forecast.load(json.loads(Path("forecasts.json").read_text()))
        >>> async with SeedanceClient(forecasts=forecast) as client:
        ...     print(client.forecast(request).quantile(0.9), "seconds")
        ...     task = await client.generate(request)
        >>> _ = Path("forecasts.json").write_text(json.dumps(forecast.dump()))
    """

    def __init__(self, *, scale: float = 1.0) -> None:
        """Make a forecast with only the prior; ``scale`` is its factor, below 1 for a faster sandbox."""
        self.version: int = 0
        self.scale: float = scale
        self._evidence: dict[Kind, Evidence] = {}
        self._recent: dict[Kind, deque[float]] = {}
        self._distributions: dict[Kind, Duration] = {}
        self._usual: dict[Kind, Duration] = {}

    def __repr__(self) -> str:
        learned = [f"{kind.words or 'any kind'}: {len(recent)}" for kind, recent in self._recent.items()]
        return f"<Forecast, durations learned: {first_of(learned, SHOWN_KINDS) or 'none'}>"

    def of(self, kind: Kind) -> Duration:
        """The expected distribution of the duration of a task of ``kind``."""
        distribution = self._distributions.get(kind)
        if distribution is None:
            is_known = any(level in self._evidence and self._evidence[level].count for level in _levels(kind))
            distribution = self.usual(kind) if is_known else self._calculate(kind, surprise=SURPRISE)
            self._distributions[kind] = distribution
        return distribution

    def usual(self, kind: Kind) -> Duration:
        """The same for plans, without the unexpected durations that the prior allows for."""
        distribution = self._usual.get(kind)
        if distribution is None:
            distribution = self._usual[kind] = self._calculate(kind, surprise=0.0)
        return distribution

    def seen(self, kind: Kind) -> int:
        """How many tasks of exactly this kind have finished; at most ``RECENT``."""
        return len(self._recent.get(kind, ()))

    def observe(self, kind: Kind, duration: float) -> None:
        """Learn that a task of ``kind`` took ``duration`` seconds from start to finish.

        A duration above ``LONGEST`` is ignored, as it is probably caused by a wrong timestamp.
        """
        if duration > LONGEST:
            return
        self._recent.setdefault(kind, deque(maxlen=RECENT)).append(duration)
        for level in _levels(kind):
            evidence = self._about(level)
            evidence.finished(duration)
            self._invalidate(evidence)

    def outlasted(self, kind: Kind, seconds: float) -> None:
        """Learn that a task of ``kind`` still runs after ``seconds``; ``settled`` undoes this."""
        evidence = self._about(kind)
        evidence.running(seconds, 1)
        self._invalidate(evidence)

    def settled(self, kind: Kind, seconds: float) -> None:
        """Undo one ``outlasted``: more is known about the task now, or it is not polled any more."""
        evidence = self._about(kind)
        evidence.running(seconds, -1)
        self._invalidate(evidence)

    def dump(self) -> dict[str, object]:
        """The latest completions of every kind, as JSON types, for ``load``."""
        return {
            "durations": [
                {"kind": attrs.asdict(kind), "seconds": list(recent)} for kind, recent in self._recent.items()
            ]
        }

    @classmethod
    def load(cls, data: Mapping[str, object]) -> Forecast:
        """The forecast made of what ``dump`` returned.

        Raises:
            ValueError: the data is not what ``dump`` returns.
        """
        forecast = cls()
        kinds, recent = _read(data)
        for turn in zip_longest(*recent):  # alternating: later completions weigh more in the coarser kinds
            for kind, seconds in zip(kinds, turn, strict=True):
                if seconds is not None:
                    forecast.observe(kind, seconds)
        return forecast

    def _about(self, kind: Kind) -> Evidence:
        if kind not in self._evidence:
            self._evidence[kind] = Evidence()
            self._usual.clear()
            self._distributions.clear()  # some of them may depend on it from now on
        return self._evidence[kind]

    def _invalidate(self, evidence: Evidence) -> None:
        if evidence.needs_update():
            self.version += 1
            for reader in evidence.readers:
                self._distributions.pop(reader, None)
                self._usual.pop(reader, None)
            evidence.readers.clear()

    def _calculate(self, kind: Kind, *, surprise: float) -> Duration:
        distinct = self._distinct(kind)
        shares: Sequence[float] = _prior(kind.model, self.scale, surprise)
        worth = PRIOR_WORTH
        for evidence in distinct:
            shares = evidence.mixed_with(shares, worth=worth)
            worth = BORROWED
        if kind in self._evidence:
            shares = self._evidence[kind].with_running(shares, worth=worth)
        return Duration(shares)

    def _distinct(self, kind: Kind) -> list[Evidence]:
        """The evidence of a kind's levels, coarse to fine, without levels that know no more than the next."""
        known = [self._evidence[level] for level in reversed(_levels(kind)) if level in self._evidence]
        for evidence in known:
            evidence.readers.add(kind)
        finer = [*(evidence.count for evidence in known[1:]), 0]
        return [evidence for evidence, count in zip(known, finer, strict=False) if evidence.count > count]


def _levels(kind: Kind) -> tuple[Kind, ...]:
    """A kind and its coarser ones of the same model; durations of other models tell nothing about it."""
    return tuple(level for level in kind.fallbacks if level.model is not None) or (kind,)


@cache
def _prior(model: str | None, scale: float, surprise: float) -> tuple[float, ...]:
    """A log-normal density; the part ``surprise`` of its weight is spread evenly on a logarithmic scale."""
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
        hash(tuple(kinds))  # refuses lists and objects as fields of a kind
        return kinds, [[_seconds(value) for value in entry["seconds"]] for entry in entries]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a dumped forecast: {error}") from error


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        raise TypeError(f"{value!r:.40} is no duration")
    return float(value)
