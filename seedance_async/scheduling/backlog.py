"""The jobs that wait to be submitted: which is next, and how many of which length stand behind it.

The longest kind goes first, because what takes longest must not start last; inside a kind the caller's
order holds. A job that others wait for is as long as the longest line of jobs that begins with it. Of a kind
that nothing is known of, two jobs go ahead of all, and kinds believed to be equally long take turns, so that
the first results already speak of each: a wrong guess of a length would have jobs hurried that have time. Or
the caller's order holds throughout.

Pure: every step costs O(1) in the jobs; the kinds are sorted anew when a belief has changed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from seedance_async.models import Kind
    from seedance_async.scheduling.forecast import Forecast

Line: TypeAlias = "tuple[Kind, ...]"
"""The kind of a job, and of those that wait for it and for each other, one after the other."""

SubmitOrder = Literal["longest-first", "given"]

PESSIMISTIC: Final = 0.95  # quantile for a job's length; 0.9 ends later, 0.97 brings results later
TRIALS: Final = 2  # jobs of an unknown kind that go ahead; one is a matter of luck, more teach no more


class Backlog:
    """The jobs that wait, by the line they begin, in the order in which they should be submitted.

    Attributes:
        later: jobs that wait for the results of those.
    """

    def __init__(self, forecast: Forecast, *, order: SubmitOrder) -> None:
        self._forecast = forecast
        self._order = order
        self._lines: OrderedDict[Hashable, Line] = OrderedDict()
        self._waiting: dict[Line, OrderedDict[Hashable, None]] = {}
        self._turns: dict[Kind, int] = {}
        self._changes = 0  # of the set of lines that wait
        self._sorted: list[tuple[float, Line]] = []
        self._sorted_at = (-1, -1)
        self.later: int = 0

    def __len__(self) -> int:
        return len(self._lines)

    def offer(self, job: Hashable, kind: Kind, then: Sequence[Kind] = ()) -> None:
        """A job waits from now on, and others of the kinds ``then`` wait for it, one after the other."""
        line = self._lines[job] = (kind, *then)
        self.later += len(then)
        if line not in self._waiting:
            self._waiting[line] = OrderedDict()
            self._changes += 1
        self._waiting[line][job] = None

    def count(self, kind: Kind) -> int:
        """How many jobs of one kind wait."""
        return sum(len(waiting) for line, waiting in self._waiting.items() if line[0] == kind)

    def withdraw(self, job: Hashable) -> None:
        """A job waits no longer."""
        line = self._lines.pop(job)
        self.later -= len(line) - 1
        self._turns[line[0]] = self._turns.get(line[0], 0) + 1
        waiting = self._waiting[line]
        del waiting[job]
        if not waiting:
            del self._waiting[line]
            self._changes += 1

    def first(self) -> Hashable:
        """The job to submit next; there must be one."""
        if self._order == "given":
            return next(iter(self._lines))
        lengths = self.lengths()
        unknown = [line for _, line in lengths if self._turn(line) + self._forecast.seen(line[0]) < TRIALS]
        candidates = unknown or [line for length, line in lengths if length == lengths[0][0]]
        return next(iter(self._waiting[min(candidates, key=self._turn)]))

    def stages(self) -> Iterator[tuple[int, float]]:
        """For each line, longest first: how many jobs stand before its last one, and its length."""
        before = -1
        for length, line in self.lengths():
            before += len(self._waiting[line])
            yield before, length

    def lengths(self) -> list[tuple[float, Line]]:
        """The pessimistic length in seconds of every line that waits, longest first."""
        state = (self._forecast.version, self._changes)
        if self._sorted_at != state:
            lengths = [(sum(map(self._length, line)), line) for line in self._waiting]
            self._sorted = sorted(lengths, key=lambda entry: -entry[0])
            self._sorted_at = state
        return self._sorted

    def _length(self, kind: Kind) -> float:
        return self._forecast.usual(kind).quantile(PESSIMISTIC)

    def _turn(self, line: Line) -> int:
        return self._turns.get(line[0], 0)
