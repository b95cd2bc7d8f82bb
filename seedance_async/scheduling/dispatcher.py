"""The one loop that spends the budget of a client: it takes a slot, then picks who gets it.

Callers do not queue at the limiter. The loop waits until something is worth sending, takes one slot from the
budget, and only then chooses, because the best request may have changed while it waited (late binding). Who
may go:

* the direct lane, first come first served: single submits, ``get_task`` from a web handler, and retries;
* the polls of tasks that a caller waits for, by a schedule of their own: a batch beside them does not make
  them any rarer;
* the schedule of the batches: jobs waiting for their submit and tasks waiting for a poll.

They go in this order. So that a flood in the direct lane cannot starve what is already paid, every fifth slot
is offered to the polls first, and every fifth to the batches (measured: a 4:1 weight bounds the wait of both
sides, strict priority starves polls). With whom the first two lanes share an account elsewhere, their batches
leave them the next slot, too (`budget.priority`).

Whoever waits holds a future of its slot: a ``Turn`` for a job, one a poll for a task.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import anyio
from attrs import evolve

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
"""Slots that a lane may go without, while others have them."""

PollTurn: TypeAlias = "Future[Slot | None]"


class Dispatcher:
    """Gives the slots of one budget to direct callers, waiting jobs and tasks that are due.

    Args:
        budget: whose slots.
        schedule: of batches.
        awaited: schedule of tasks that a caller waits for.

    Attributes:
        room: whether the server has room for another job. While it has none, no waiting job is submitted.
    """

    def __init__(self, budget: Budget, schedule: Schedule, awaited: Schedule) -> None:
        self._budget = budget
        self._schedule = schedule
        self._awaited = awaited
        self._awaited_tasks: set[Hashable] = set()
        self._direct: deque[Future[Slot]] = deque()
        self._at_the_gate = 0  # direct callers who take their slot by themselves
        self._until_closed: set[anyio.CancelScope] = set()
        self._jobs: set[Turn] = set()
        self._polls: dict[Hashable, PollTurn] = {}
        self._open_sources = 0
        self._since_poll = 0  # direct ones, since a poll that a caller waits for
        self._since_batch = 0  # others, since one of a batch
        self._taking = False
        self._end: SeedanceError | None = None
        self._changed = Signal()
        self.room: Room = Room(self._changed)
        budget.on_change(self._budget_changed)

    async def run(self) -> None:
        """Serve for ever; ends by cancellation."""
        while True:
            await self._something_worth_sending()
            self._budget.set_interactive(interactive=self._is_awaited(anyio.current_time()))
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
        """Wait for a slot to send one request, in the direct lane.

        Raises:
            SeedanceError: what ``close`` was given; nobody serves the lane any more.
        """
        if self._end is not None:
            raise self._end.about()
        if self._nobody_waits() and self._budget.is_open():
            self._since_poll += bool(self._awaited_tasks)
            self._since_batch += self._has_batch()
            return await self._slot_by_itself()
        turn: Future[Slot] = Future()
        self._direct.append(turn)
        self._budget.set_interactive(interactive=True)
        self._changed.set()
        try:
            return await turn.wait()
        except anyio.get_cancelled_exc_class():
            if turn.has_result:  # granted in the very moment of the cancellation: give it back
                turn.result().cancel()
            elif not turn.is_done:
                self._direct.remove(turn)
            raise

    async def _slot_by_itself(self) -> Slot:
        """Without the loop. Although the budget is open, it may take a while: others share it."""
        self._at_the_gate += 1
        self._budget.set_interactive(interactive=True)
        try:
            slot = await self.until_closed(self._budget.acquire())
        finally:
            self._at_the_gate -= 1
            if self._taking:  # for somebody else, who need not be in such a hurry
                self._budget.set_interactive(interactive=self._is_awaited(anyio.current_time()))
        return await self.slot() if slot is None else slot  # closed meanwhile: it says so

    async def until_closed(self, wait: Awaitable[Value]) -> Value | None:
        """What a wait gives; None where the dispatcher is closed meanwhile, which the next ``slot`` tells."""
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
        """Refuse everybody who waits for a slot of his own, and whoever does later."""
        self._end = error
        for scope in self._until_closed:
            scope.cancel()
        while self._direct:
            self._direct.popleft().set_error(error.about())

    # --- jobs that wait for their submit

    def turn(self, kind: Kind, then: Sequence[Kind] = ()) -> Turn:
        """Let the schedule decide when a job of this kind is submitted; see ``Turn``.

        Args:
            kind: of the job.
            then: of jobs that wait for its result, and for each other, one after the other.
        """
        turn = Turn(self)
        self._jobs.add(turn)
        self._schedule.offer(turn, kind, then)
        self._changed.set()
        return turn

    def withdraw(self, turn: Turn) -> None:
        """Take a job out of the schedule; it gets None for a slot, unless it has one."""
        if turn in self._jobs:
            self._jobs.remove(turn)
            self._schedule.withdraw(turn)
            turn.set_result(None)
            self._changed.set()

    def open_source(self) -> None:
        """A source of jobs of unknown length is being read: more may come than is known."""
        self._open_sources += 1
        self._expect_more()

    def close_source(self) -> None:
        """A source that was opened has come to its end."""
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
        """Let the schedule decide when this task is polled, again and again.

        Args:
            task: that is running.
            kind: of it.
            started_at: when it was accepted.
            then: of jobs that wait for its result, and for each other, one after the other.
            is_awaited: a caller waits for it, who has no batch.
        """
        self._polls[task] = Future()
        if is_awaited:
            self._awaited_tasks.add(task)
        self._schedule_of(task).watch(task, kind, started_at, then)
        self.room.start_running()
        self._changed.set()

    async def poll_turn(self, task: Hashable) -> Slot | None:
        """Wait until a poll of the task is worth a slot; None if it is forgotten meanwhile."""
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
        """The task was not final at this instant; it may be chosen again."""
        if task in self._polls:
            self._polls[task] = Future()
            self._schedule_of(task).polled(task, at)
            self._changed.set()

    def forget(self, task: Hashable) -> None:
        """Nobody waits for the task any more, or it is final."""
        turn = self._polls.pop(task, None)
        if turn is not None:
            turn.set_result(None)
            self._schedule_of(task).forget(task)
            self._awaited_tasks.discard(task)
            self.room.end_running()

    def allowance(self) -> Allowance:
        """What may be sent from now on, if nothing else happens."""
        return self._budget.allowance(anyio.current_time())

    def expected_end(self, *, waiting: int = 0) -> float:
        """The instant by which all that is known here is expected to be over.

        Args:
            waiting: jobs that wait for their submit, those not offered yet included.
        """
        now = anyio.current_time()
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
        """True when a direct caller may take a slot by itself, without waking the loop first."""
        in_a_row = max(self._since_poll, self._since_batch)
        return not self._direct and not self._taking and in_a_row < IN_A_ROW

    async def _something_worth_sending(self) -> None:
        while not self._direct:
            now = anyio.current_time()
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
        """Whether the next slot would be for somebody who waits for it."""
        allowance = _with_one(self._budget.allowance(now))
        is_direct = self._at_the_gate > 0 or bool(self._direct)
        return is_direct or not isinstance(self._awaited.decide(now, allowance), Sleep)

    def _grant(self, slot: Slot) -> bool:
        """Give the slot to whoever should have it now; False when nobody wants it any more."""
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
        now = anyio.current_time()
        match self._awaited.decide(now, _with_one_more(self._budget.allowance(now))):
            case Poll(task):
                self._since_batch += 1
                self._grant_poll(task, slot)
                return True
            case _:
                return False

    def _grant_batch(self, slot: Slot) -> bool:
        self._since_batch = 0
        now = anyio.current_time()
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
    """The same, as if one slot were free: what is worth it waits at the gate, ahead of others' batches."""
    return evolve(allowance, free=max(1, allowance.free))


def _with_one_more(allowance: Allowance) -> Allowance:
    """The same, with a slot that was taken and may still be given."""
    return evolve(allowance, free=allowance.free + 1)


class Turn(Future["Slot | None"]):
    """A job's turn to be submitted. Within ``async with`` its POST counts as under way.

    The slot is None if the turn was withdrawn: then nothing may be sent.

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
            if (slot := self.result()) is not None:  # granted in the very moment of the cancellation
                slot.cancel()
                self._dispatcher.room.end_posting()
            raise

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.result() is not None:
            self._dispatcher.room.end_posting()
