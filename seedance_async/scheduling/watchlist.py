"""The tasks in flight: which of them a poll would most surely find done, and when the next poll falls due.

Tasks of one kind that were never polled rank by their age alone, so one heap a kind orders them by start and
only its head is ever judged, with the present forecast at the present price. A task that was found running
has a due instant of its own. Forecast and price change while it waits, so the instant is judged again halfway
there and whenever it comes.

Pure: a step costs O(log n) in the tasks, and O(1) in the kinds. Entries of a heap that no longer hold
are dropped when they surface.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import define, field, frozen

from seedance_async.scheduling.backlog import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.scheduling.forecast import Forecast

NEAR: Final = 1.0  # s; so close to a due instant it is not judged once more
OLDER: Final = 1.3  # times the age at which one was found running: a poll of another teaches something


@frozen
class Price:
    """What a poll costs.

    Attributes:
        seconds: of waiting elsewhere.
        discount: so much less just after a task's start.
    """

    seconds: float
    discount: float = 0.0


@define(eq=False)
class _Watched:
    task: Hashable
    line: Line
    started_at: float
    since: float = 0.0  # s after its start at which it was last seen running
    entry: int = 0  # the heap entry that holds; 0 while a poll is on the wire and when forgotten
    polling: bool = False


_Heap: TypeAlias = list[tuple[float, int, _Watched]]


@define
class Running:
    """The tasks of one kind.

    Attributes:
        size: how many there are.
        polling: how many of them have a poll on the wire.
        outlasted: how many were found running.
        longest: seconds after its start at which one was found running, the largest so far.
        youngest: when the last one started.
        unpolled: those never polled, by start.
    """

    size: int = 0
    polling: int = 0
    outlasted: int = 0
    longest: float = 0.0
    youngest: float = -math.inf
    unpolled: _Heap = field(factory=list)


class Watchlist:
    """Every task in flight, and the order in which polls pay.

    Attributes:
        later: jobs that wait for the results of those.
    """

    def __init__(self, forecast: Forecast) -> None:
        self._forecast = forecast
        self._tasks: dict[Hashable, _Watched] = {}
        self._kinds: dict[Line, Running] = {}
        self._polled: _Heap = []
        self._entries = 0
        self.later: int = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Hashable, line: Line, started_at: float) -> None:
        """A task is in flight, the first of a line."""
        watched = self._tasks[task] = _Watched(task, line, started_at)
        running = self._kinds.setdefault(line, Running())
        running.size += 1
        self.later += len(line) - 1
        running.youngest = max(running.youngest, started_at)
        self._push(running.unpolled, started_at, watched)

    def polling(self, task: Hashable) -> None:
        """A poll of the task is on the wire: it is not chosen."""
        watched = self._tasks[task]
        watched.entry = 0
        watched.polling = True
        self._kinds[watched.line].polling += 1

    def polled(self, task: Hashable, at: float) -> None:
        """The task was last seen running at this instant; it may be chosen again."""
        watched = self._tasks[task]
        self._answered(watched)
        since = max(watched.since, at - watched.started_at)
        if since > watched.since:
            self._learn(watched, since)
        self._push(self._polled, at, watched)  # judged as soon as somebody asks

    def remove(self, task: Hashable) -> None:
        """The task is of no interest any more."""
        watched = self._tasks.pop(task)
        watched.entry = 0
        self._answered(watched)
        running = self._kinds[watched.line]
        if watched.since:
            running.outlasted -= 1
            self._forecast.settled(watched.line[0], watched.since)
        running.size -= 1
        self.later -= len(watched.line) - 1
        if not running.size:
            del self._kinds[watched.line]

    def kinds(self) -> Mapping[Line, Running]:
        """The tasks in flight by kind."""
        return self._kinds

    def last_end(self, chance: float) -> float:
        """The instant by which the youngest of every kind is done with this chance."""
        ends = (
            running.youngest + sum(self._forecast.usual(kind).quantile(chance) for kind in line)
            for line, running in self._kinds.items()
        )
        return max(ends, default=-math.inf)

    def best(self, now: float, prices: Mapping[Line, Price]) -> tuple[Hashable | None, float]:
        """The task that a poll would most surely find done, among those due; and when the next one falls due.

        Args:
            now: seconds on the loop clock.
            prices: of every kind in flight.
        """
        surest, chance, soonest = None, -1.0, math.inf
        for due, watched in self._candidates(now, prices):
            if due > now:
                soonest = min(soonest, due)
            elif (found := self._chance(watched, now)) > chance:
                surest, chance = watched.task, found
        return surest, soonest

    def teaching(self, now: float, prices: Mapping[Line, Price], *, chance: float) -> Hashable | None:
        """A task never polled whose poll might show its kind to be faster than planned, or None.

        Args:
            now: seconds on the loop clock.
            prices: of those kinds of which something is to be learned.
            chance: of the quantile by which the kind's tasks are planned to be over.
        """
        for line in prices:
            running = self._kinds[line]
            if _live(running.unpolled):
                oldest = running.unpolled[0][2]
                planned = self._forecast.usual(line[0]).quantile(chance)
                is_news = running.longest * OLDER < now - oldest.started_at < planned
                if is_news and self._due(oldest, prices) <= now:
                    return oldest.task
        return None

    def _candidates(self, now: float, prices: Mapping[Line, Price]) -> Iterator[tuple[float, _Watched]]:
        """The oldest unpolled of every kind and the first of the polled, with the instants they fall due."""
        for running in self._kinds.values():
            if _live(running.unpolled):
                oldest = running.unpolled[0][2]
                yield self._due(oldest, prices), oldest
        self._judge_again(now, prices)
        if self._polled:
            yield self._polled[0][0], self._polled[0][2]

    def _judge_again(self, now: float, prices: Mapping[Line, Price]) -> None:
        """Put off the polled tasks whose instant has come but that are not due, up to the first that is."""
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
        running = self._kinds[watched.line]
        if watched.since:
            self._forecast.settled(watched.line[0], watched.since)
        else:
            running.outlasted += 1
        self._forecast.outlasted(watched.line[0], since)
        watched.since = since
        running.longest = max(running.longest, since)

    def _answered(self, watched: _Watched) -> None:
        """No poll of the task is on the wire any more, if one was."""
        if watched.polling:
            watched.polling = False
            self._kinds[watched.line].polling -= 1

    def _due(self, watched: _Watched, prices: Mapping[Line, Price]) -> float:
        duration = self._forecast.of(watched.line[0])
        price = prices[watched.line]
        return watched.started_at + duration.next_poll(
            since=watched.since, price=price.seconds, discount=price.discount
        )

    def _chance(self, watched: _Watched, now: float) -> float:
        duration = self._forecast.of(watched.line[0])
        return duration.chance(now - watched.started_at, since=watched.since)


def _live(heap: _Heap) -> bool:
    """Whether an entry that still holds is on top, once those that do not are dropped."""
    while heap and heap[0][1] != heap[0][2].entry:
        heapq.heappop(heap)
    return bool(heap)
