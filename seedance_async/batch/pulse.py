"""How many requests a batch has sent in each period of its life, over all its runs.

The journal knows every job's instants but not the looks in vain and the retries, which spend the account's
allowance too. So the client's counters are sampled while a batch runs, and kept in the journal as one fact.

Pure: instants come in, ``now`` from the loop's clock and ``wall`` as seconds since 1970.
"""

from __future__ import annotations

import json
from collections import deque
from itertools import starmap
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from seedance_async.batch.journal import damage
from seedance_async.errors import ConfigurationError
from seedance_async.models import RateLimit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedance_async.usage import Usage

FACT: Final = "pulse"
"""Name under which the journal keeps it."""

LAST_INSTANT: Final = 2.0**40
"""Of the wall clock; what is later was never measured."""


@frozen
class Beat:
    """What was sent in one period.

    Attributes:
        at: its begin, wall clock.
        submits: POSTs, retries included.
        polls: GETs.
    """

    at: float
    submits: int
    polls: int


@define
class _Sample:
    now: float
    submits: int = 0
    polls: int = 0

    @property
    def requests(self) -> int:
        return self.submits + self.polls


class Pulse:
    """The count of requests a period.

    Args:
        limit: the account's, by whose periods requests are counted.
        earlier: the beats of earlier runs.
    """

    def __init__(self, limit: RateLimit, earlier: Iterable[Beat] = ()) -> None:
        self._limit = limit
        self._beats = {beat.at: beat for beat in earlier}
        self._samples: deque[_Sample] = deque()

    def sample(self, usage: Usage, *, now: float, wall: float) -> None:
        """Take in the client's counters; the first sample is what the others count from."""
        sample = _Sample(now, usage.submits, usage.polls)
        if self._samples:
            self._book(sample, self._samples[-1], begin=wall - wall % self._limit.period)
        self._samples.append(sample)
        while len(self._samples) > 1 and self._samples[1].now <= now - self._limit.period:
            self._samples.popleft()

    @property
    def in_window(self) -> int:
        """Requests that left in the period that ends now."""
        return self._samples[-1].requests - self._samples[0].requests if self._samples else 0

    @property
    def beats(self) -> list[Beat]:
        """Every period in which something was sent or waited for, oldest first."""
        return [self._beats[at] for at in sorted(self._beats)]

    def dump(self) -> str:
        """The pulse as the journal keeps it."""
        limit = [self._limit.requests, self._limit.period]
        return json.dumps([limit, *([beat.at, beat.submits, beat.polls] for beat in self.beats)])

    def _book(self, sample: _Sample, last: _Sample, *, begin: float) -> None:
        beat = self._beats.get(begin, Beat(begin, 0, 0))
        submits, polls = sample.submits - last.submits, sample.polls - last.polls
        self._beats[begin] = Beat(begin, beat.submits + submits, beat.polls + polls)


def load(text: str | None) -> tuple[RateLimit, list[Beat]]:
    """The limit and the beats that ``dump`` kept; the usual one and none if there are none.

    Raises:
        JournalError: what was kept is damaged.
    """
    if text is None:
        return RateLimit(), []
    try:
        (requests, period), *beats = json.loads(text)
        return RateLimit(requests=requests, period=period), list(starmap(_beat, beats))
    except (ConfigurationError, RecursionError, TypeError, ValueError) as problem:
        raise damage("the pulse of the batch") from problem


def _beat(at: object, submits: object, polls: object) -> Beat:
    match at, submits, polls:
        case int() | float(), int(), int() if 0 <= at < LAST_INSTANT:
            return Beat(at, submits, polls)
        case _:
            raise ValueError("not a beat")
