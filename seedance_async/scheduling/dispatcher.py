"""The dispatcher: the one loop that spends the budget of a client. It takes a slot, then chooses a request.

Callers do not queue at the budget. The loop waits until a request is worth sending, takes one slot from the
budget, and only then chooses the request, because the best one may have changed during the wait (late
binding). There are three lanes, in this order:

* the direct lane, in order of arrival: single submits, ``get_task`` of a web handler, and retries;
* the polls of tasks that a caller waits for, which have a schedule of their own: a batch in the same client
  does not make them less frequent;
* the schedule of the batches: jobs that wait for their POST and tasks that wait for a poll.

So that many requests in the direct lane cannot starve tasks that are already paid, every fifth slot is
offered to the polls first, and every fifth to the batches (measured: a weight of 4:1 bounds the wait of both
sides, while strict priority starves polls). Across processes of one account, the first two lanes go before
batches, too (`budget.priority`).

Each waiting request is a future of a slot: a ``Turn`` for a job; for a task, one future per poll.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import anyio
from attrs import evolve

from seedance_async import clocks
from seedance_async.scheduling.room import Room
from seedance_async.scheduling.schedule import Poll, Sleep, Submit
from seedance_async.signals import Future, Signal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Hashable, Sequence
    from types import TracebackType

    from seedance_async.budget.allowance import Allowance
    from seedance_async.budget.gate import Budget, Slot
    from seedance_async.errors import SeedanceError
    from seedance_async.models import Kind
    from seedance_async.scheduling.schedule import Schedule

Value = TypeVar("Value")

IN_A_ROW: Final = 4
"""How many slots in a row may go to other lanes before a waiting lane gets one."""

PollTurn: TypeAlias = "Future[Slot | None]"


class Dispatcher:
    """The loop that gives the slots of one budget to direct callers, waiting jobs and tasks that are due.

    Args:
        budget: the budget.
        schedule: the schedule of the batches.
        awaited: the schedule of the tasks that a caller waits for.

    Attributes:
        room: whether the server accepts another job. While it does not, no waiting job is submitted.
    """

    def __init__(self, budget: Budget, schedule: Schedule, awaited: Schedule) -> None:
        self._budget = budget
        self._schedule = schedule
        self._awaited = awaited
        self._awaited_tasks: set[Hashable] = set()
        self._direct: deque[Future[Slot]] = deque()
        self._taking_directly = 0  # direct callers that take their slot without the loop
        self._until_closed: set[anyio.CancelScope] = set()
        self._jobs: set[Turn] = set()
        self._polls: dict[Hashable, PollTurn] = {}
        self._open_sources = 0
        self._since_poll = 0  # direct slots since the last one for a poll that a caller waits for
        self._since_batch = 0  # slots of other lanes since the last one for a batch
        self._taking = False
        self._end: SeedanceError | None = None
        self._changed = Signal()
        self.room: Room = Room(self._changed)
        budget.on_change(self._budget_changed)

    async def run(self) -> None:
        """Give out slots until cancelled."""
        while True:
            await self._something_worth_sending()
            self._budget.set_interactive(interactive=self._is_awaited(clocks.now()))
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
        """Wait for a slot in the direct lane, to send one request.

        Raises:
            SeedanceError: the error given to ``close``, as the dispatcher is closed.
        """
        if self._end is not None:
            raise self._end.about()
        if self._nobody_waits() and self._budget.is_open():
            self._since_poll += bool(self._awaited_tasks)
            self._since_batch += self._has_batch()
            return await self._take_slot()
        turn: Future[Slot] = Future()
        self._direct.append(turn)
        self._budget.set_interactive(interactive=True)
        self._changed.set()
        try:
            return await turn.wait()
        except anyio.get_cancelled_exc_class():
            if turn.has_result:  # granted just before the cancellation: give it back
                turn.result().cancel()
            elif not turn.is_done:
                self._direct.remove(turn)
            raise

    async def _take_slot(self) -> Slot:
        """Take a slot without the loop. It may take a while although the budget is open, as it is shared."""
        self._taking_directly += 1
        self._budget.set_interactive(interactive=True)
        try:
            slot = await self.until_closed(self._budget.acquire())
        finally:
            self._taking_directly -= 1
            if self._taking:  # the loop waits for a slot, perhaps for a batch only
                self._budget.set_interactive(interactive=self._is_awaited(clocks.now()))
        return await self.slot() if slot is None else slot  # closed in the meantime: ``slot`` raises

    async def until_closed(self, wait: Awaitable[Value]) -> Value | None:
        """The result of ``wait``; None if the dispatcher is closed meanwhile, so that ``slot`` raises."""
        scope = anyio.CancelScope()
        if self._end is not None:
            scope.cancel()
        self._until_closed.add(scope)
        try:
            with scope:
                return await wait
        finally:
            self._until_closed.discard(scope)
        return None

    def close(self, error: SeedanceError) -> None:
        """Raise ``error`` in every present and later wait for a direct slot."""
        self._end = error
        for scope in self._until_closed:
            scope.cancel()
        while self._direct:
            self._direct.popleft().set_error(error.about())

    # --- jobs that wait for their submit

    def turn(self, kind: Kind, then: Sequence[Kind] = ()) -> Turn:
        """Add a job of this kind to the schedule, which decides when it is submitted; see ``Turn``.

        Args:
            kind: the job's kind.
            then: the kinds of the jobs of which each waits for the result of the one before.
        """
        turn = Turn(self)
        self._jobs.add(turn)
        self._schedule.offer(turn, kind, then)
        self._changed.set()
        return turn

    def withdraw(self, turn: Turn) -> None:
        """Remove a job from the schedule; it gets None as its slot, unless it already has one."""
        if turn in self._jobs:
            self._jobs.remove(turn)
            self._schedule.withdraw(turn)
            turn.set_result(None)
            self._changed.set()

    def open_source(self) -> None:
        """Note that a source of unknown length is being read, so further jobs may come."""
        self._open_sources += 1
        self._expect_more()

    def close_source(self) -> None:
        """Note that a source has been read to its end."""
        self._open_sources -= 1
        self._expect_more()

    # --- tasks that wait for a poll

    def watch(
        self,
        task: Hashable,
        kind: Kind,
        *,
        started_at: float,
        then: Sequence[Kind] = (),
        is_awaited: bool = False,
    ) -> None:
        """Add a running task to its schedule, which decides when it is polled.

        Args:
            task: the task.
            kind: the task's kind.
            started_at: when it was accepted, on the loop's clock.
            then: the kinds of the jobs of which each waits for the result of the one before.
            is_awaited: whether a caller waits for it, outside a batch.
        """
        self._polls[task] = Future()
        if is_awaited:
            self._awaited_tasks.add(task)
        self._schedule_of(task).watch(task, kind, started_at, then)
        self.room.start_running()
        self._changed.set()

    async def poll_turn(self, task: Hashable) -> Slot | None:
        """Wait until the task is to be polled, and return the slot; None if it is forgotten meanwhile."""
        turn = self._polls.get(task)
        if turn is None:
            return None
        try:
            return await turn.wait()
        except anyio.get_cancelled_exc_class():
            if turn.has_result and (slot := turn.result()) is not None:
                slot.cancel()
            raise

    def polled(self, task: Hashable, at: float) -> None:
        """Note that the task was last seen running at this instant; it may be chosen again."""
        if task in self._polls:
            self._polls[task] = Future()
            self._schedule_of(task).polled(task, at)
            self._changed.set()

    def forget(self, task: Hashable) -> None:
        """Remove a task, which is final or not waited for any more."""
        turn = self._polls.pop(task, None)
        if turn is not None:
            turn.set_result(None)
            self._schedule_of(task).forget(task)
            self._awaited_tasks.discard(task)
            self.room.end_running()

    def allowance(self) -> Allowance:
        """How many requests may be sent now and later, if nothing else happens."""
        return self._budget.allowance(clocks.now())

    def expected_end(self, *, waiting: int = 0) -> float:
        """The instant on the loop's clock by which all known jobs and tasks are expected to be finished.

        Args:
            waiting: how many jobs wait for their POST, including those that are not known here yet.
        """
        now = clocks.now()
        allowance = self._budget.allowance(now)
        further = max(0, waiting - len(self._jobs))
        batch = self._schedule.expected_end(now, allowance, further=further)
        return max(batch, self._awaited.expected_end(now, allowance)) if self._awaited_tasks else batch

    def _schedule_of(self, task: Hashable) -> Schedule:
        return self._awaited if task in self._awaited_tasks else self._schedule

    def _expect_more(self) -> None:
        self._schedule.expect_more(self._open_sources > 0)
        self._changed.set()

    def _budget_changed(self) -> None:
        if self._direct or self._jobs or self._polls:
            self._changed.set()

    def _has_batch(self) -> bool:
        return bool(self._jobs) or len(self._polls) > len(self._awaited_tasks)

    def _nobody_waits(self) -> bool:
        """Whether a direct caller may take a slot itself, without waking the loop."""
        in_a_row = max(self._since_poll, self._since_batch)
        return not self._direct and not self._taking and in_a_row < IN_A_ROW

    async def _something_worth_sending(self) -> None:
        while not self._direct:
            now = clocks.now()
            allowance = self._budget.allowance(now)
            decisions = [
                self._awaited.decide(now, _with_one(allowance)),
                self._schedule.decide(now, allowance, room=self.room.for_a_new_job),
            ]
            waits = [decision.until for decision in decisions if isinstance(decision, Sleep)]
            until = min((wait for wait in waits if wait is not None), default=None)
            if len(waits) < len(decisions) or (until is not None and until <= now):
                return
            await self._changed.wait(None if until is None else until - now)

    def _is_awaited(self, now: float) -> bool:
        """Whether the next slot would be for a caller that waits, not for a batch."""
        allowance = _with_one(self._budget.allowance(now))
        is_direct = self._taking_directly > 0 or bool(self._direct)
        return is_direct or not isinstance(self._awaited.decide(now, allowance), Sleep)

    def _grant(self, slot: Slot) -> bool:
        """Give the slot to the request that should have it now; False if no request wants it any more."""
        if self._since_batch >= IN_A_ROW and self._grant_batch(slot):
            return True
        if self._since_poll >= IN_A_ROW and self._grant_awaited(slot):
            return True
        return self._grant_direct(slot) or self._grant_awaited(slot) or self._grant_batch(slot)

    def _grant_direct(self, slot: Slot) -> bool:
        if not self._direct:
            return False
        self._since_poll += 1
        self._since_batch += 1
        self._direct.popleft().set_result(slot)
        return True

    def _grant_awaited(self, slot: Slot) -> bool:
        self._since_poll = 0
        now = clocks.now()
        match self._awaited.decide(now, _with_one_more(self._budget.allowance(now))):
            case Poll(task):
                self._since_batch += 1
                self._grant_poll(task, slot)
                return True
            case _:
                return False

    def _grant_batch(self, slot: Slot) -> bool:
        self._since_batch = 0
        now = clocks.now()
        allowance = _with_one_more(self._budget.allowance(now))
        match self._schedule.decide(now, allowance, room=self.room.for_a_new_job):
            case Submit(Turn() as turn):
                self._schedule.withdraw(turn)
                self._jobs.remove(turn)
                self.room.posting += 1
                turn.set_result(slot)
            case Poll(task):
                self._grant_poll(task, slot)
            case _:
                return False
        return True

    def _grant_poll(self, task: Hashable, slot: Slot) -> None:
        self._schedule_of(task).polling(task)
        self._polls[task].set_result(slot)


def _with_one(allowance: Allowance) -> Allowance:
    """The same with at least one free slot: a due request waits at the budget, before batches of others."""
    return evolve(allowance, free=max(1, allowance.free))


def _with_one_more(allowance: Allowance) -> Allowance:
    """The same with one more free slot: the one that was taken and is not given to a request yet."""
    return evolve(allowance, free=allowance.free + 1)


class Turn(Future["Slot | None"]):
    """A job's turn to be submitted. Within ``async with``, its POST counts as in progress.

    The slot is None if the turn was withdrawn; then nothing may be sent.

        async with dispatcher.turn(kind) as slot:
            if slot is not None:
                submission = await post(slot)
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    async def __aenter__(self) -> Slot | None:
        try:
            return await self.wait()
        except BaseException:
            self._dispatcher.withdraw(self)
            if (slot := self.result()) is not None:  # granted just before the cancellation
                slot.cancel()
                self._dispatcher.room.end_posting()
            raise

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.result() is not None:
            self._dispatcher.room.end_posting()
