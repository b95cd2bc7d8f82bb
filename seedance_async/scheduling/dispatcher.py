"""One loop that spends the budget for the whole client: it takes a slot, then picks who gets it.

Callers do not queue at the limiter. The loop waits until something is worth sending, takes one slot from the
budget, and only then chooses, because the best request may have changed while it waited (late binding). Who
may go:

* the direct lane, first come first served: single submits, ``get_task`` from a web handler, and retries;
* the schedule: jobs waiting for their submit and tasks waiting for a look, by ``Schedule.decide``.

The direct lane goes first. So that a flood there cannot starve what is already paid, every fifth slot is
offered to the schedule (measured: a 4:1 weight bounds the wait of both sides, strict priority starves polls).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
from attrs import evolve

from seedance_async.promise import Bell, Promise
from seedance_async.scheduling.room import Room
from seedance_async.scheduling.schedule import Poll, Sleep, Submit

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from seedance_async.budget import Budget, Slot
    from seedance_async.errors import SeedanceError
    from seedance_async.models import Kind
    from seedance_async.scheduling.schedule import Schedule

    Start = Callable[[Slot], None]

DIRECT_IN_A_ROW: Final = 4


class Dispatcher:
    """Gives the slots of one budget to direct callers, waiting jobs and due looks.

    Attributes:
        room: whether the server has room for another job. While it has none, no waiting job is started.
    """

    def __init__(self, budget: Budget, schedule: Schedule) -> None:
        self._budget = budget
        self._schedule = schedule
        self._direct: deque[Promise[Slot]] = deque()
        self._jobs: dict[Hashable, Start] = {}
        self._looks: dict[Hashable, Start] = {}
        self._lazy_sources = 0
        self._in_a_row = 0
        self._taking = False
        self._end: SeedanceError | None = None
        self._bell = Bell()
        self.room: Room = Room(lambda: len(self._looks), on_change=self._bell.ring)
        budget.on_change(self._budget_changed)

    async def run(self) -> None:
        """Serve for ever; ends by cancellation."""
        while True:
            await self._something_worth_sending()
            self._taking = True
            slot = await self._budget.acquire()
            self._taking = False
            try:
                granted = self._grant(slot)
            except BaseException:
                slot.cancel()
                raise
            if not granted:
                slot.cancel()

    async def slot(self) -> Slot:
        """Wait for leave to send one request, in the direct lane.

        Raises:
            SeedanceError: what ``close`` was given; nobody serves the lane any more.
        """
        if self._end is not None:
            raise self._end.about()
        if self._nobody_waits() and self._budget.is_open():
            self._in_a_row += self._has_scheduled_work()
            return await self._budget.acquire()
        promise: Promise[Slot] = Promise()
        self._direct.append(promise)
        self._bell.ring()
        try:
            return await promise.wait()
        except anyio.get_cancelled_exc_class():
            if promise.kept:  # granted in the very moment of the cancellation: give it back
                promise.result().cancel()
            elif not promise.settled:
                self._direct.remove(promise)
            raise

    def close(self, error: SeedanceError) -> None:
        """Refuse everybody who waits in the direct lane, and whoever comes to it later."""
        self._end = error
        while self._direct:
            self._direct.popleft().fail(error.about())

    def offer(self, job: Hashable, kind: Kind, start: Start) -> None:
        """Let the schedule decide when ``start`` may submit this job."""
        self._jobs[job] = start
        self._schedule.offer(job, kind)
        self._bell.ring()

    def withdraw(self, job: Hashable) -> bool:
        """Take a job back; False when it was started already."""
        if self._jobs.pop(job, None) is None:
            return False
        self._schedule.withdraw(job)
        self._bell.ring()
        return True

    def watch(self, task: Hashable, kind: Kind, *, started_at: float, start: Start) -> None:
        """Let the schedule decide when ``start`` may look at this task, again and again."""
        self._looks[task] = start
        self._schedule.watch(task, kind, started_at)
        self._bell.ring()

    def looked(self, task: Hashable, at: float) -> None:
        """The task was not final at this instant; it may be chosen again."""
        if task in self._looks:
            self._schedule.polled(task, at)
            self._bell.ring()

    def forget(self, task: Hashable) -> None:
        """Nobody waits for the task any more, or it is final."""
        if self._looks.pop(task, None) is not None:
            self._schedule.forget(task)
            self.room.changed()

    def lazy_source(self, *, opened: bool) -> None:
        """A source of jobs of unknown length was opened, or has come to its end."""
        self._lazy_sources += 1 if opened else -1
        self._schedule.expect_more(self._lazy_sources > 0)
        self._bell.ring()

    def expected_end(self, *, waiting: int = 0) -> float:
        """The instant by which all that is known here is expected to be over.

        Args:
            waiting: jobs that wait for their submit, those not offered yet included.
        """
        now = anyio.current_time()
        further = max(0, waiting - len(self._jobs))
        return self._schedule.expected_end(now, self._budget.allowance(now), further=further)

    def _budget_changed(self) -> None:
        if self._direct or self._has_scheduled_work():
            self._bell.ring()

    def _has_scheduled_work(self) -> bool:
        return bool(self._jobs or self._looks)

    def _nobody_waits(self) -> bool:
        """True when a direct caller may take a slot by itself, without waking the loop first."""
        return not self._direct and not self._taking and self._in_a_row < DIRECT_IN_A_ROW

    async def _something_worth_sending(self) -> None:
        while not self._direct:
            now = anyio.current_time()
            match self._schedule.decide(now, self._budget.allowance(now), room=self.room.for_a_new_job):
                case Sleep(None):
                    await self._bell.sleep()
                case Sleep(until) if until is not None and until > now:
                    await self._bell.sleep(until - now)
                case _:
                    return

    def _grant(self, slot: Slot) -> bool:
        """Give the slot to whoever should have it now; False when nobody wants it any more."""
        if self._in_a_row < DIRECT_IN_A_ROW and self._grant_direct(slot):
            self._in_a_row += 1
            return True
        self._in_a_row = 0
        return self._grant_scheduled(slot) or self._grant_direct(slot)

    def _grant_direct(self, slot: Slot) -> bool:
        if not self._direct:
            return False
        self._direct.popleft().keep(slot)
        return True

    def _grant_scheduled(self, slot: Slot) -> bool:
        now = anyio.current_time()
        allowance = self._budget.allowance(now)
        with_this_one = evolve(allowance, free=allowance.free + 1)
        match self._schedule.decide(now, with_this_one, room=self.room.for_a_new_job):
            case Submit(job):
                self._schedule.withdraw(job)
                self._jobs.pop(job)(slot)
            case Poll(task):
                self._schedule.polling(task)
                self._looks[task](slot)
            case Sleep():
                return False
        return True
