"""Tasks in flight: which of them a look would most surely find done, and when the next look falls due.

Tasks of one kind that nobody looked at yet rank by their age alone, so one heap a kind orders them by
start and only its head is ever judged, with today's forecast at today's price. A task that was found
running has a due instant of its own. Forecast and price move on while it waits, so the instant is judged
again halfway there and whenever it comes.

Pure: a step costs O(log n) in the tasks, and O(1) in the kinds. Entries of a heap that no longer hold
are dropped when they surface.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import define, field

from seedance_async.models import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.scheduling.forecast import Forecast

NEAR: Final = 1.0  # s; so close to a due instant it is not judged once more


@define(eq=False)
class _Watched:
    task: Hashable
    kind: Kind
    started_at: float
    since: float = 0.0  # s after its start at which it was last seen running
    entry: int = 0  # the heap entry that holds; 0 while a poll is on the wire and when forgotten


_Heap: TypeAlias = list[tuple[float, int, _Watched]]


@define
class _Flock:
    """The tasks of one kind: how many there are, when the youngest started, and those never looked at."""

    size: int = 0
    youngest: float = -math.inf
    unseen: _Heap = field(factory=list)


class Watchlist:
    """Every task in flight, and the order in which looks pay."""

    def __init__(self, forecast: Forecast) -> None:
        self._forecast = forecast
        self._tasks: dict[Hashable, _Watched] = {}
        self._flocks: dict[Kind, _Flock] = {}
        self._seen: _Heap = []
        self._entries = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Hashable, kind: Kind, started_at: float) -> None:
        """A task is in flight."""
        watched = self._tasks[task] = _Watched(task, kind, started_at)
        flock = self._flocks.setdefault(kind, _Flock())
        flock.size += 1
        flock.youngest = max(flock.youngest, started_at)
        self._push(flock.unseen, started_at, watched)

    def polling(self, task: Hashable) -> None:
        """A poll of the task is on the wire: it is not chosen."""
        self._tasks[task].entry = 0

    def looked(self, task: Hashable, at: float) -> None:
        """The task was last seen running at this instant; it may be chosen again."""
        watched = self._tasks[task]
        since = max(watched.since, at - watched.started_at)
        if since > watched.since:
            self._learn(watched, since)
        self._push(self._seen, at, watched)  # judged as soon as somebody asks

    def remove(self, task: Hashable) -> None:
        """The task is of no interest any more."""
        watched = self._tasks.pop(task)
        watched.entry = 0
        if watched.since:
            self._forecast.settled(watched.kind, watched.since)
        flock = self._flocks[watched.kind]
        flock.size -= 1
        if not flock.size:
            del self._flocks[watched.kind]

    def last_end(self, chance: float) -> float:
        """The instant by which the youngest of every kind is done with this chance."""
        ends = (
            flock.youngest + self._forecast.of(kind).quantile(chance) for kind, flock in self._flocks.items()
        )
        return max(ends, default=-math.inf)

    def best(self, now: float, *, price: float) -> tuple[Hashable | None, float]:
        """The task that a look would most surely find done, among those due; and when the next one falls due.

        Args:
            now: seconds on the loop clock.
            price: seconds of waiting elsewhere that a request costs.
        """
        surest, chance, soonest = None, -1.0, math.inf
        for due, watched in self._candidates(now, price):
            if due > now:
                soonest = min(soonest, due)
            elif (found := self._chance(watched, now)) > chance:
                surest, chance = watched.task, found
        return surest, soonest

    def _candidates(self, now: float, price: float) -> Iterator[tuple[float, _Watched]]:
        """The oldest unseen of every kind and the first of the seen, with the instants they fall due."""
        for flock in self._flocks.values():
            if _live(flock.unseen):
                oldest = flock.unseen[0][2]
                yield self._due(oldest, price), oldest
        self._judge_again(now, price)
        if self._seen:
            yield self._seen[0][0], self._seen[0][2]

    def _judge_again(self, now: float, price: float) -> None:
        """Put off the seen tasks whose instant has come but who are not due, up to the first who is."""
        while _live(self._seen) and self._seen[0][0] <= now:
            watched = self._seen[0][2]
            due = self._due(watched, price)
            if due <= now:
                return
            heapq.heappop(self._seen)
            self._push(self._seen, (now + due) / 2 if due > now + NEAR else due, watched)

    def _push(self, heap: _Heap, key: float, watched: _Watched) -> None:
        self._entries += 1
        watched.entry = self._entries
        heapq.heappush(heap, (key, self._entries, watched))

    def _learn(self, watched: _Watched, since: float) -> None:
        if watched.since:
            self._forecast.settled(watched.kind, watched.since)
        self._forecast.outlasted(watched.kind, since)
        watched.since = since

    def _due(self, watched: _Watched, price: float) -> float:
        duration = self._forecast.of(watched.kind)
        return watched.started_at + duration.next_look(since=watched.since, price=price)

    def _chance(self, watched: _Watched, now: float) -> float:
        duration = self._forecast.of(watched.kind)
        return duration.chance(now - watched.started_at, since=watched.since)


def _live(heap: _Heap) -> bool:
    """Whether an entry that still holds is on top, once those that do not are dropped."""
    while heap and heap[0][1] != heap[0][2].entry:
        heapq.heappop(heap)
    return bool(heap)
