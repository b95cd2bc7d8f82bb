"""The backlog: the jobs that wait to be submitted, in their order, and the number of jobs of each length.

The longest kind goes first, because the longest job must not start last; within a kind, the caller's order is
kept. If other jobs wait for the result of a job, its length is that of the whole chain of jobs that it
begins. Two jobs of every unknown kind go before all others, and kinds of equal expected length alternate, so
that the first results already inform about each kind: with a wrong expectation, jobs would be submitted early
that have time. Optionally the caller's order is kept throughout.

Pure: every step costs O(1) in the number of jobs; the chains are sorted again after the forecast has changed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from seedance_async.models import Kind
    from seedance_async.scheduling.forecast import Forecast

Chain: TypeAlias = "tuple[Kind, ...]"
"""The kind of a job, then the kinds of the jobs of which each waits for the result of the one before."""

SubmitOrder = Literal["longest-first", "given"]

PESSIMISTIC: Final = 0.95  # quantile used as a job's length; 0.9: batches end later, 0.97: results come later
TRIALS: Final = 2  # jobs of an unknown kind that go first; one may be an outlier, more do not add much


class Backlog:
    """The waiting jobs, by the chain they begin, in the order in which they should be submitted.

    Attributes:
        later: how many further jobs wait for the results of these.
    """

    def __init__(self, forecast: Forecast, *, order: SubmitOrder) -> None:
        self._forecast = forecast
        self._order = order
        self._chains: OrderedDict[Hashable, Chain] = OrderedDict()
        self._waiting: dict[Chain, OrderedDict[Hashable, None]] = {}
        self._turns: dict[Kind, int] = {}
        self._changes = 0  # number of changes to the set of waiting chains
        self._sorted: list[tuple[float, Chain]] = []
        self._sorted_at = (-1, -1)
        self.later: int = 0

    def __len__(self) -> int:
        return len(self._chains)

    def offer(self, job: Hashable, kind: Kind, then: Sequence[Kind] = ()) -> None:
        """Add a job; jobs of the kinds ``then`` wait for it, each for the result of the one before."""
        chain = self._chains[job] = (kind, *then)
        self.later += len(then)
        if chain not in self._waiting:
            self._waiting[chain] = OrderedDict()
            self._changes += 1
        self._waiting[chain][job] = None

    def count(self, kind: Kind) -> int:
        """How many jobs of one kind wait."""
        return sum(len(waiting) for chain, waiting in self._waiting.items() if chain[0] == kind)

    def withdraw(self, job: Hashable) -> None:
        """Remove a job."""
        chain = self._chains.pop(job)
        self.later -= len(chain) - 1
        self._turns[chain[0]] = self._turns.get(chain[0], 0) + 1
        waiting = self._waiting[chain]
        del waiting[job]
        if not waiting:
            del self._waiting[chain]
            self._changes += 1

    def first(self) -> Hashable:
        """The job to submit next; the backlog must not be empty."""
        if self._order == "given":
            return next(iter(self._chains))
        lengths = self.lengths()
        known = self._forecast.seen
        unknown = [chain for _, chain in lengths if self._turn(chain) + known(chain[0]) < TRIALS]
        candidates = unknown or [chain for length, chain in lengths if length == lengths[0][0]]
        return next(iter(self._waiting[min(candidates, key=self._turn)]))

    def stages(self) -> Iterator[tuple[int, float]]:
        """For each chain, longest first: how many jobs are submitted before its last one, and its length."""
        before = -1
        for length, chain in self.lengths():
            before += len(self._waiting[chain])
            yield before, length

    def lengths(self) -> list[tuple[float, Chain]]:
        """The pessimistic length in seconds of every waiting chain, longest first."""
        state = (self._forecast.version, self._changes)
        if self._sorted_at != state:
            lengths = [(sum(map(self._length, chain)), chain) for chain in self._waiting]
            self._sorted = sorted(lengths, key=lambda entry: -entry[0])
            self._sorted_at = state
        return self._sorted

    def _length(self, kind: Kind) -> float:
        return self._forecast.usual(kind).quantile(PESSIMISTIC)

    def _turn(self, chain: Chain) -> int:
        return self._turns.get(chain[0], 0)
