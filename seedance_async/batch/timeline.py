"""The course of a batch: how many jobs were waiting, running and over at each moment of its life.

Jobs are told one by one, in any order, and only counts are kept: in slots of time that double in length
whenever there would be too many of them. So a million jobs cost no more memory than a few hundred.

Pure: instants are seconds of the wall clock since 1970.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seedance_async.batch.pulse import Beat

Event = Literal["sent", "saved", "lost"]
Layer = Literal["saved", "lost", "running", "waiting"]

LAYERS: Final[tuple[Layer, ...]] = ("saved", "lost", "running", "waiting")
"""What a job can be at a moment; together they are all jobs, always."""

MOST_SLOTS: Final = 400
FIRST_SLOT: Final = 1.0  # s
LULL: Final = 4  # periods, or slots, in which nothing is sent and nothing ends: nobody was running the batch
SHOWN_LULL: Final = 0.03  # of the busy time


@frozen(kw_only=True)
class Moment:
    """How a batch stood.

    Attributes:
        at: wall clock.
        place: on the time axis, seconds from its begin, lulls cut short.
        lull: seconds that were cut out just before.
        waiting: jobs not sent yet.
        running: sent, and not over.
        saved: over, and all is well.
        lost: failed, refused or uncertain.
    """

    at: float
    place: float
    lull: float
    waiting: int
    running: int
    saved: int
    lost: int

    def count(self, *layers: Layer) -> int:
        """Jobs in these layers."""
        return sum(count for layer, count in self._counts if layer in layers)

    @property
    def _counts(self) -> Iterator[tuple[Layer, int]]:
        yield from zip(LAYERS, (self.saved, self.lost, self.running, self.waiting), strict=True)


@define
class Timeline:
    """Counts what happened to the jobs of a batch."""

    jobs: int = 0
    slot: float = FIRST_SLOT
    _events: dict[int, Counter[Event]] = field(factory=dict, init=False)

    def add(self, *, sent_at: float | None, ended_at: float | None, lost: bool) -> None:
        """Take in one job; None stands for what has not happened."""
        self.jobs += 1
        self._count("sent", sent_at)
        self._count("lost" if lost else "saved", ended_at)

    def moments(self, beats: Sequence[Beat] = (), *, period: float = 60.0) -> list[Moment]:
        """The batch's course. Where requests were sent, ``period`` seconds long, there was no lull."""
        slots = sorted({*self._events, *(int(beat.at // self.slot) for beat in beats)})
        if not slots:
            return []
        slots = [slots[0] - 1, *slots]
        total: Counter[Event] = Counter()
        moments = []
        for slot, (place, lull) in zip(slots, self._places(slots, period), strict=True):
            total.update(self._events.get(slot, {}))
            moments.append(self._moment((slot + 1) * self.slot, place, lull, total))
        return moments

    def _moment(self, at: float, place: float, lull: float, total: Counter[Event]) -> Moment:
        saved, lost = total["saved"], total["lost"]
        over = saved + lost
        sent = max(total["sent"], over)  # within a slot a job may be counted as over first
        return Moment(
            at=at,
            place=place,
            lull=lull,
            waiting=self.jobs - sent,
            running=sent - over,
            saved=saved,
            lost=lost,
        )

    def _places(self, slots: Sequence[int], period: float) -> Iterator[tuple[float, float]]:
        """Where each slot ends on an axis from which the lulls are cut, and what was cut before it."""
        pauses = [(slot - before) * self.slot for before, slot in pairwise(slots)]
        longest = LULL * max(period, self.slot)
        shown = max(2 * self.slot, SHOWN_LULL * sum(pause for pause in pauses if pause <= longest))
        place = 0.0
        yield place, 0.0
        for pause in pauses:
            kept = pause if pause <= longest else min(pause, shown)
            place += kept
            yield place, pause - kept

    def _count(self, event: Event, at: float | None) -> None:
        if at is None:
            return
        self._events.setdefault(int(at // self.slot), Counter())[event] += 1
        while len(self._events) > MOST_SLOTS:
            self._double()

    def _double(self) -> None:
        finer, self._events = self._events, {}
        self.slot *= 2
        for slot, counts in finer.items():
            self._events.setdefault(slot // 2, Counter()).update(counts)
