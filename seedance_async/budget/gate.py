"""The gate through which every request of a client leaves: it combines window, pause and pace.

Three rules decide when the next request may leave, in this order: the exact window (`window`), the pause
after a 429, which holds for all requests (`pace`), and the spacing, which aiolimiter's leaky bucket keeps.
Its token is taken last, because it cannot be given back; and the rate of a bucket cannot be changed, so a new
spacing needs a new bucket.

Before each request leaves, the memory is read again and the slot is written to it; while another process
keeps the memory locked, the request waits. A slot can be used for a limited time only (`Slot.is_fresh`):
after it was taken and before the request is written, the process may have been stopped or the machine
suspended.

A fourth rule limits the damage if the server counts in a way that these rules do not foresee: only a few
requests may be unanswered at the same time, so only those few are refused before the first 429 is received.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections import deque
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from seedance_async import clocks
from seedance_async.budget.allowance import Allowance, most_unanswered
from seedance_async.budget.memory import NoMemory
from seedance_async.budget.pace import Pace, counter_could_refuse, pause
from seedance_async.budget.priority import YIELD_CHECK, Wait, Waiting, after, others_first
from seedance_async.budget.window import Window
from seedance_async.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiolimiter import AsyncLimiter

    from seedance_async.budget.memory import BudgetMemory, BudgetState
    from seedance_async.models import RateLimit

FORESEEN: Final = 240  # slots listed one by one; later ones are described by the rate alone
LOCK_WAIT: Final = 0.01  # s until a locked memory is opened again; doubled each time
LONGEST_LOCK_WAIT: Final = 0.25  # s
FRESH: Final = 0.5  # of a period; a claim expires after two, and its request must have arrived after one


class Budget:
    """One account's allowance of requests, as one client spends it.

    ``acquire`` may be called by one asyncio task at a time, the dispatcher. The budget belongs to the event
    loop it is first used in.
    """

    def __init__(
        self,
        limit: RateLimit,
        *,
        memory: BudgetMemory | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make a budget; nothing is read or written before its first use.

        Args:
            limit: the account's limit.
            memory: stores used slots and the learned pace; by default they end with the budget.
            jitter: draws a number from 0 to 1, by which the pauses of programs refused together differ.
        """
        self._limit = limit
        self._most_unanswered = most_unanswered(limit.requests)
        self._memory = memory or NoMemory()
        self._jitter = jitter
        self._window = Window(limit)
        self._pace = Pace()
        self._share = 1.0
        self._spacing_for_now = 0.0
        self._others_first = False
        self._in_a_row = 0
        self._acquiring = 0
        self._interactive = False
        self._committing = asyncio.Lock()
        self._sent: deque[float] = deque()  # of the last two periods
        self._spacing: float | None = None
        self._bucket = _bucket(limit, None)
        self._changed_signal = Signal()
        self._listeners: list[Callable[[], object]] = [self._changed_signal.set]

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` whenever a slot was settled or cancelled, as this changes the allowance."""
        self._listeners.append(listener)

    async def serve(self) -> None:
        """Exchange state with the other processes of the account until cancelled."""
        await self._memory.serve(self._heard)

    def set_interactive(self, interactive: bool) -> None:
        """Set whether a caller waits for the next slot; such slots are given first, see `priority`."""
        if interactive != self._interactive:
            self._interactive = interactive
            if self._acquiring:
                self._say_again()

    async def acquire(self) -> Slot:
        """Wait until one more request may leave, and return its slot.

        The caller must settle or cancel the slot: until then it counts as a request on the wire.
        """
        self._acquiring += 1
        try:
            has_token = False
            while True:
                await self._open()
                if not has_token or self._interval != self._spacing:
                    await self._token()
                slot = await self._slot()
                if slot is not None:
                    return slot
                has_token = True  # the gate closed meanwhile, or another process was first
        except BaseException:
            self._acquiring -= 1
            self._say_again()
            raise

    def is_open(self) -> bool:
        """True when ``acquire`` would not have to wait."""
        return self._closed_for(clocks.now()) == 0.0 and self._bucket.has_capacity()

    def is_nearly_spent(self) -> bool:
        """Whether a server with some way of counting would refuse one more request now."""
        return counter_could_refuse(self._sent, clocks.now(), self._limit)

    def allowance(self, now: float) -> Allowance:
        """How many requests may leave at ``now`` and later, if nothing else happens.

        A very large limit is described by a smaller one of the same rate: a schedule does not need a million
        instants.
        """
        openings = self._openings(now)
        free = bisect_right(openings, now)
        slots, interval = self._slots, self._interval
        listed = min(slots, FORESEEN)
        return Allowance(
            free=max(0, min(free, self._room_for_unanswered)),
            returns=tuple(openings[free:]),
            requests=listed,
            period=self._limit.period * listed / slots if interval is None else interval * listed,
        )

    def settle(
        self, sent_at: float, *, refused: bool, retry_after: float | None, arrives_within: float
    ) -> None:
        """Record that the request sent at ``sent_at`` was answered or failed; see ``Slot.settle``."""
        with self._remembered() as state:
            under_way = min(arrives_within, self._limit.period)
            self._window.settle(sent_at, max(state.now, sent_at + under_way) if under_way else state.now)
            self._pace = self._refused(sent_at, retry_after, state.now) if refused else self._pace.succeeded()
        self._changed()

    def cancel(self, sent_at: float) -> None:
        """Give back the unused slot taken at ``sent_at``; see ``Slot.cancel``."""
        with self._remembered():
            self._window.cancel(sent_at)
        self._changed()

    def _openings(self, now: float) -> list[float]:
        """When the next requests may leave: an instant for each of the first slots not on the wire."""
        interval = self._interval or 0.0
        earliest = max(self._pace.closed_until, self._pace.granted_at + interval)
        openings = []
        for opening in self._window.openings(now, slots=self._slots, most=FORESEEN):
            earliest = max(earliest, opening)
            openings.append(earliest)
            earliest += interval
        return openings

    @property
    def _slots(self) -> int:
        """Requests one period may carry: fewer after a refusal, and where other processes cannot be seen."""
        return min(self._pace.slots(self._limit), max(1, int(self._limit.requests * self._share)))

    @property
    def _interval(self) -> float | None:
        """Seconds between two requests; None if only the window decides."""
        return max(self._pace.interval(self._limit) or 0.0, self._spacing_for_now) or None

    @property
    def _wait(self) -> Wait:
        """What others read that we wait for; ``NONE`` if it is not their slots that keep us from sending."""
        if not self._acquiring or self._room_for_unanswered <= 0:
            return Wait.NONE
        return Wait.INTERACTIVE if self._interactive else Wait.SCHEDULED

    @property
    def _room_for_unanswered(self) -> int:
        return self._most_unanswered - self._window.held

    async def _open(self) -> None:
        """Wait until window, pause and the requests on the wire allow one more."""
        while self._closed_for(clocks.now()) != 0.0:
            longest = self._memory.check_every or inf
            if longest < inf:
                self._say_again()
            wait = self._closed_for(clocks.now())
            if wait != 0.0:
                wait = min(inf if wait is None else wait, longest)
                await self._changed_signal.wait(None if wait == inf else wait)

    def _closed_for(self, now: float) -> float | None:
        """Seconds until every rule except the bucket allows a request; None: not before a change."""
        opens = self._window.opens(now, slots=self._slots)
        if opens is None or self._room_for_unanswered <= 0:
            return None
        closed_for = max(0.0, max(opens, self._pace.closed_until, self._spaced_until()) - now)
        return closed_for or (YIELD_CHECK if self._others_first else 0.0)

    def _spaced_until(self) -> float:
        """When the spacing allows the next request, counted from the last one of any process.

        Our own are counted here as well as by the bucket: its token may be older than the request, because it
        is kept if the slot has to be decided again.
        """
        interval = self._interval
        return -inf if interval is None else self._pace.granted_at + interval

    async def _token(self) -> None:
        """Wait for our own spacing."""
        await self._bucket.acquire()
        interval = self._interval
        if interval != self._spacing:
            self._spacing = interval
            self._bucket = _bucket(self._limit, interval)
            await self._bucket.acquire()  # a new bucket lets the first request through at once

    async def _slot(self) -> Slot | None:
        """A slot, or None if the gate has closed in the meantime; waits while the memory is locked."""
        wait = LOCK_WAIT
        while True:
            async with self._committing:
                with self._remembered() as state:
                    slot = self._take(state.now) if state.certain else None
                if state.certain and (slot is None or await self._is_ours(slot)):
                    return slot
            if not state.certain:
                await anyio.sleep(wait)
                wait = min(2 * wait, LONGEST_LOCK_WAIT)

    async def _is_ours(self, slot: Slot) -> bool:
        """Whether the memory confirms the slot; if it does not, or the wait ends early, it is given back."""
        try:
            if await self._memory.commit():
                return True
        except BaseException:
            self._give_back(slot)
            raise
        self._give_back(slot)
        return False

    def _give_back(self, slot: Slot) -> None:
        self._sent.pop()
        self._acquiring += 1
        slot.cancel()

    def _take(self, now: float) -> Slot | None:
        if self._closed_for(now) != 0.0:
            return None
        self._in_a_row = after(self._in_a_row, self._wait)
        self._acquiring -= 1
        self._window.take(now)
        self._pace = self._pace.granted(now)
        self._sent.append(now)
        while self._sent[0] < now - 2 * self._limit.period:
            self._sent.popleft()
        return Slot(sent_at=now, fresh_for=FRESH * self._limit.period, budget=self)

    def _refused(self, sent_at: float, retry_after: float | None, now: float) -> Pace:
        earlier_lives = [instant - self._limit.period for instant in self._window.others]
        return self._pace.refused(
            now,
            sent_at=sent_at,
            wait=pause(retry_after, limit=self._limit, jitter=self._jitter()),
            sent=[*earlier_lives, *self._sent],
            limit=self._limit,
        )

    @contextmanager
    def _remembered(self) -> Iterator[BudgetState]:
        """Load the state of the memory, run the block, and store what the block has changed."""
        with self._memory.open(clocks.now) as state:
            self._window.others = state.others
            self._pace = state.pace.at(state.now)
            self._share = state.share
            self._spacing_for_now = state.spacing
            self._in_a_row = state.in_a_row
            self._others_first = bool(state.others_wait) and self._yields_to(state)
            yield state
            state.pace = self._pace
            state.in_a_row = self._in_a_row
            if state.is_shared:
                state.claims = self._window.claims(state.now)
                state.wait = self._wait

    def _yields_to(self, state: BudgetState) -> bool:
        mine = Waiting(self._wait, self._window.taken(state.now))
        return others_first(mine, state.others_wait, in_a_row=state.in_a_row)

    def _say_again(self) -> None:
        """Write our claims and our wait to the memory again."""
        with self._remembered():
            pass

    def _heard(self) -> None:
        """Take over what other processes have changed in the memory."""
        self._say_again()
        self._changed()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


@define(eq=False)
class Slot:
    """The right to send one request. Settling or cancelling it a second time has no effect.

    Attributes:
        sent_at: when it was taken, on the clock of the event loop.
        fresh_for: seconds after ``sent_at`` within which its request must leave.
    """

    sent_at: float
    fresh_for: float
    _budget: Budget = field(alias="budget")
    _open: bool = field(default=True, init=False)
    _taken_at: float = field(factory=clocks.boot_time, init=False)

    def explains_refusal(self) -> bool:
        """Whether enough requests were sent for a server to refuse this one for their number."""
        return self._budget.is_nearly_spent()

    def is_fresh(self) -> bool:
        """Whether its request may still leave; to be called directly before the first byte is written.

        The clock of the event loop may stop while the machine is suspended, so the time since boot counts
        too.
        """
        age = max(clocks.now() - self.sent_at, clocks.boot_time() - self._taken_at)
        return age <= self.fresh_for

    def settle(
        self, *, refused: bool = False, retry_after: float | None = None, arrives_within: float = 0.0
    ) -> None:
        """Record the answer or the failure of the request; the slot becomes free one period from now.

        Args:
            refused: the answer was 429. This closes the gate for all requests and changes the pace.
            retry_after: the seconds that the 429 asks to wait, if it does.
            arrives_within: if no answer was received, the seconds from sending on in which the request may
                still arrive, at most one period; the slot becomes free one period after that.
        """
        if self._open:
            self._open = False
            self._budget.settle(
                self.sent_at, refused=refused, retry_after=retry_after, arrives_within=arrives_within
            )

    def cancel(self) -> None:
        """Give the slot back at once, as its request was never sent."""
        if self._open:
            self._open = False
            self._budget.cancel(self.sent_at)


def _bucket(limit: RateLimit, interval: float | None) -> AsyncLimiter:
    from aiolimiter import AsyncLimiter  # noqa: PLC0415 - not loaded by commands that send nothing

    return AsyncLimiter(limit.requests, limit.period) if interval is None else AsyncLimiter(1, interval)
