"""The watchlist: the tasks in flight, which of them a poll most probably finds done, and the next due time.

Among tasks of one kind that were never polled, the oldest comes first. So one heap per kind orders them by
start, and only its head is evaluated, with the present forecast and price. A task that was found running has
a due time of its own. Forecast and price change while it waits, so the due time is evaluated again halfway to
it and when it is reached.

Pure: a step costs O(log n) in the number of tasks and O(1) in the number of kinds. Invalid entries of a heap
are removed when they come to its top.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import define, field, frozen

from seedance_async.scheduling.backlog import Chain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.scheduling.forecast import Forecast

NEAR: Final = 1.0  # s; this close to its due time, a task is not evaluated once more before it
OLDER: Final = 1.3  # factor to the age of one found running, from which a poll of another gives information


@frozen
class Price:
    """The price of a poll.

    Attributes:
        seconds: the price, in seconds of waiting elsewhere.
        discount: the reduction of the price at the task's start, in seconds.
    """

    seconds: float
    discount: float = 0.0


@define(eq=False)
class _Watched:
    task: Hashable
    chain: Chain
    started_at: float
    since: float = 0.0  # s after its start at which it was last seen running
    entry: int = 0  # number of its valid heap entry; 0 while a poll is on the wire, and when forgotten
    polling: bool = False


_Heap: TypeAlias = list[tuple[float, int, _Watched]]


@define
class Running:
    """The running tasks of one kind.

    Attributes:
        size: how many there are.
        polling: how many of them have a poll on the wire.
        outlasted: how many were found running.
        longest: the largest age in seconds at which one was found running.
        youngest: when the last one started.
        unpolled: a heap of those never polled, by start.
    """

    size: int = 0
    polling: int = 0
    outlasted: int = 0
    longest: float = 0.0
    youngest: float = -math.inf
    unpolled: _Heap = field(factory=list)


class Watchlist:
    """The tasks in flight, and the order in which to poll them.

    Attributes:
        later: how many jobs wait for the results of these.
    """

    def __init__(self, forecast: Forecast) -> None:
        self._forecast = forecast
        self._tasks: dict[Hashable, _Watched] = {}
        self._kinds: dict[Chain, Running] = {}
        self._polled: _Heap = []
        self._entries = 0
        self.later: int = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Hashable, chain: Chain, started_at: float) -> None:
        """Add a task, the first of a chain."""
        watched = self._tasks[task] = _Watched(task, chain, started_at)
        running = self._kinds.setdefault(chain, Running())
        running.size += 1
        self.later += len(chain) - 1
        running.youngest = max(running.youngest, started_at)
        self._push(running.unpolled, started_at, watched)

    def polling(self, task: Hashable) -> None:
        """Note that a poll of the task is on the wire; it is not chosen meanwhile."""
        watched = self._tasks[task]
        watched.entry = 0
        watched.polling = True
        self._kinds[watched.chain].polling += 1

    def polled(self, task: Hashable, at: float) -> None:
        """Note that the task was last seen running at this instant; it may be chosen again."""
        watched = self._tasks[task]
        self._answered(watched)
        since = max(watched.since, at - watched.started_at)
        if since > watched.since:
            self._learn(watched, since)
        self._push(self._polled, at, watched)  # evaluated at the next decision

    def remove(self, task: Hashable) -> None:
        """Remove a task."""
        watched = self._tasks.pop(task)
        watched.entry = 0
        self._answered(watched)
        running = self._kinds[watched.chain]
        if watched.since:
            running.outlasted -= 1
            self._forecast.settled(watched.chain[0], watched.since)
        running.size -= 1
        self.later -= len(watched.chain) - 1
        if not running.size:
            del self._kinds[watched.chain]

    def kinds(self) -> Mapping[Chain, Running]:
        """The tasks in flight by kind."""
        return self._kinds

    def last_end(self, chance: float) -> float:
        """The instant by which the youngest task of every kind is done with this probability."""
        ends = (
            running.youngest + sum(self._forecast.usual(kind).quantile(chance) for kind in chain)
            for chain, running in self._kinds.items()
        )
        return max(ends, default=-math.inf)

    def best(self, now: float, prices: Mapping[Chain, Price]) -> tuple[Hashable | None, float]:
        """The due task that is most probably done, or None; and when the next task will be due.

        Args:
            now: seconds on the loop's clock.
            prices: the price for every kind in flight.
        """
        surest, chance, soonest = None, -1.0, math.inf
        for due, watched in self._candidates(now, prices):
            if due > now:
                soonest = min(soonest, due)
            elif (found := self._chance(watched, now)) > chance:
                surest, chance = watched.task, found
        return surest, soonest

    def teaching(self, now: float, prices: Mapping[Chain, Price], *, chance: float) -> Hashable | None:
        """A task never polled, of which a poll might show that its kind is faster than planned; or None.

        Args:
            now: seconds on the loop's clock.
            prices: the price for each kind about which information is needed.
            chance: the quantile at which tasks are planned to be done.
        """
        for chain in prices:
            running = self._kinds[chain]
            if _live(running.unpolled):
                oldest = running.unpolled[0][2]
                planned = self._forecast.usual(chain[0]).quantile(chance)
                is_news = running.longest * OLDER < now - oldest.started_at < planned
                if is_news and self._due(oldest, prices) <= now:
                    return oldest.task
        return None

    def _candidates(self, now: float, prices: Mapping[Chain, Price]) -> Iterator[tuple[float, _Watched]]:
        """The oldest unpolled task of every kind and the first polled one, with their due times."""
        for running in self._kinds.values():
            if _live(running.unpolled):
                oldest = running.unpolled[0][2]
                yield self._due(oldest, prices), oldest
        self._reevaluate(now, prices)
        if self._polled:
            yield self._polled[0][0], self._polled[0][2]

    def _reevaluate(self, now: float, prices: Mapping[Chain, Price]) -> None:
        """Postpone polled tasks whose time is reached but that are not due, up to the first that is due."""
        while _live(self._polled) and self._polled[0][0] <= now:
            watched = self._polled[0][2]
            due = self._due(watched, prices)
            if due <= now:
                return
            heapq.heappop(self._polled)
            self._push(self._polled, (now + due) / 2 if due > now + NEAR else due, watched)

    def _push(self, heap: _Heap, key: float, watched: _Watched) -> None:
        self._entries += 1
        watched.entry = self._entries
        heapq.heappush(heap, (key, self._entries, watched))

    def _learn(self, watched: _Watched, since: float) -> None:
        running = self._kinds[watched.chain]
        if watched.since:
            self._forecast.settled(watched.chain[0], watched.since)
        else:
            running.outlasted += 1
        self._forecast.outlasted(watched.chain[0], since)
        watched.since = since
        running.longest = max(running.longest, since)

    def _answered(self, watched: _Watched) -> None:
        """Note that no poll of the task is on the wire any more."""
        if watched.polling:
            watched.polling = False
            self._kinds[watched.chain].polling -= 1

    def _due(self, watched: _Watched, prices: Mapping[Chain, Price]) -> float:
        duration = self._forecast.of(watched.chain[0])
        price = prices[watched.chain]
        return watched.started_at + duration.next_poll(
            since=watched.since, price=price.seconds, discount=price.discount
        )

    def _chance(self, watched: _Watched, now: float) -> float:
        duration = self._forecast.of(watched.chain[0])
        return duration.chance(now - watched.started_at, since=watched.since)


def _live(heap: _Heap) -> bool:
    """Remove invalid entries from the top; returns whether a valid one is left."""
    while heap and heap[0][1] != heap[0][2].entry:
        heapq.heappop(heap)
    return bool(heap)
