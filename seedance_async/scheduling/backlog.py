"""The jobs that wait to be submitted: which is next, and how many of which length stand behind it.

The longest kind goes first, because what takes longest must not start last; inside a kind the caller's
order holds. Of a kind that nothing is known of, two jobs go ahead of all, and kinds believed to be
equally long take turns, so that the first results already speak of each: a wrong guess of a length would
have jobs hurried that have time. Or the caller's order holds throughout.

Pure: every step costs O(1) in the jobs; the kinds are sorted anew when a belief has changed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from seedance_async.models import Kind
    from seedance_async.scheduling.forecast import Forecast

SubmitOrder = Literal["longest-first", "given"]

PESSIMISTIC: Final = 0.95  # quantile for a job's length; 0.9 ends later, 0.97 brings results later
TRIALS: Final = 2  # jobs of an unknown kind that go ahead; one is a matter of luck, more teach no more


class Backlog:
    """The jobs that wait, by kind, in the order in which they should be submitted."""

    def __init__(self, forecast: Forecast, *, order: SubmitOrder) -> None:
        self._forecast = forecast
        self._order = order
        self._kinds: OrderedDict[Hashable, Kind] = OrderedDict()
        self._waiting: dict[Kind, OrderedDict[Hashable, None]] = {}
        self._turns: dict[Kind, int] = {}
        self._changes = 0  # of the set of kinds that wait
        self._sorted: list[tuple[float, Kind]] = []
        self._sorted_at = (-1, -1)

    def __len__(self) -> int:
        return len(self._kinds)

    def offer(self, job: Hashable, kind: Kind) -> None:
        """A job waits from now on."""
        self._kinds[job] = kind
        if kind not in self._waiting:
            self._waiting[kind] = OrderedDict()
            self._changes += 1
        self._waiting[kind][job] = None

    def count(self, kind: Kind) -> int:
        """How many jobs of one kind wait."""
        return len(self._waiting.get(kind, ()))

    def withdraw(self, job: Hashable) -> None:
        """A job waits no longer."""
        kind = self._kinds.pop(job)
        self._turns[kind] = self._turns.get(kind, 0) + 1
        waiting = self._waiting[kind]
        del waiting[job]
        if not waiting:
            del self._waiting[kind]
            self._changes += 1

    def first(self) -> Hashable:
        """The job to submit next; there must be one."""
        if self._order == "given":
            return next(iter(self._kinds))
        lengths = self.lengths()
        unknown = [kind for _, kind in lengths if self._turn(kind) + self._forecast.seen(kind) < TRIALS]
        candidates = unknown or [kind for length, kind in lengths if length == lengths[0][0]]
        return next(iter(self._waiting[min(candidates, key=self._turn)]))

    def stages(self) -> Iterator[tuple[int, float]]:
        """For each kind, longest first: how many jobs stand before its last one, and its length."""
        before = -1
        for length, kind in self.lengths():
            before += len(self._waiting[kind])
            yield before, length

    def lengths(self) -> list[tuple[float, Kind]]:
        """The pessimistic length in seconds of every kind that waits, longest first."""
        state = (self._forecast.version, self._changes)
        if self._sorted_at != state:
            lengths = [(self._forecast.usual(kind).quantile(PESSIMISTIC), kind) for kind in self._waiting]
            self._sorted = sorted(lengths, key=lambda entry: -entry[0])
            self._sorted_at = state
        return self._sorted

    def _turn(self, kind: Kind) -> int:
        return self._turns.get(kind, 0)
