"""An account under load in virtual time: how its server counts, the network's jitter, and who sends when."""

from __future__ import annotations

import random
from bisect import bisect_left
from typing import TYPE_CHECKING, Protocol

import anyio
from attrs import define, field, frozen

from seedance_async.sandbox import virtual_time
from seedance_async.sandbox.options import WindowName
from seedance_async.sandbox.windows import RateWindow, open_window, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REQUESTS = 30
PERIOD = 60.0
SECOND_CONSUMER = -1


class Leave(Protocol):
    """Leave to send one request."""

    def settle(self, *, refused: bool = False, retry_after: float | None = None) -> None:
        """Its answer was received."""


class Limiter(Protocol):
    """What stands between a client and the server."""

    async def acquire(self) -> Leave:
        """Wait until the next request may leave."""
        ...


@frozen(kw_only=True)
class Arrival:
    """One request as the server saw it; the client cannot know when."""

    at: float
    sender: int
    refused: bool

    @property
    def ours(self) -> bool:
        """Whether it is not the second consumer's."""
        return self.sender != SECOND_CONSUMER


@define(kw_only=True)
class Account:
    """The server's side of one account.

    Attributes:
        algorithm: how it counts.
        origin: an instant at which one of its windows begins.
        harsh: it counts refused requests too, and rounds ``Retry-After`` down.
    """

    algorithm: WindowName
    origin: float = 0.0
    harsh: bool = False
    arrivals: list[Arrival] = field(factory=list, init=False)
    _window: RateWindow = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._window = open_window(
            self.algorithm, requests=REQUESTS, period=PERIOD, origin=self.origin, refused_count=self.harsh
        )

    def arrive(self, *, sender: int) -> float | None:
        """Count a request now; None if it is let in, else its ``Retry-After``."""
        now = anyio.current_time()
        wait = self._window.admit(now)
        self.arrivals.append(Arrival(at=now, sender=sender, refused=wait is not None))
        return None if wait is None else float(retry_after(wait, "down" if self.harsh else "up"))


@frozen(kw_only=True)
class Shift:
    """A second consumer at work: a request every ``interval`` seconds, give or take a half."""

    begin: float
    end: float
    interval: float


@define(kw_only=True)
class World:
    """One account, the network to it, and the dice.

    Attributes:
        jitter: each way, a request or an answer takes up to so many seconds.
        sender: which of several clients of the account this one is.
    """

    account: Account
    jitter: float
    seed: int = 0
    sender: int = 0
    dice: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def live(
        self, make: Callable[[], Limiter], *, seconds: float, shifts: Sequence[Shift] = ()
    ) -> tuple[Arrival, ...]:
        """Let one client send all it may for so long, beside a second consumer; everything that arrived."""
        virtual_time.run(self._live, make, seconds, shifts)
        return tuple(self.account.arrivals)

    async def _live(self, make: Callable[[], Limiter], seconds: float, shifts: Sequence[Shift]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._second_consumer, shifts)
            await self.load(make(), seconds=seconds)
            tasks.cancel_scope.cancel()

    async def load(self, limiter: Limiter, *, seconds: float) -> None:
        """Send all that the limiter lets through; at the end, what is on the wire is dropped as by a kill."""
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                while True:
                    tasks.start_soon(self._exchange, await limiter.acquire())

    async def _exchange(self, leave: Leave) -> None:
        await anyio.sleep(self.dice.uniform(0, self.jitter))
        wait = self.account.arrive(sender=self.sender)
        await anyio.sleep(self.dice.uniform(0, self.jitter))
        leave.settle(refused=wait is not None, retry_after=wait)

    async def _second_consumer(self, shifts: Sequence[Shift]) -> None:
        dice = random.Random(self.seed + 1)
        for shift in shifts:
            await anyio.sleep_until(shift.begin)
            while anyio.current_time() < shift.end:
                self.account.arrive(sender=SECOND_CONSUMER)
                await anyio.sleep(shift.interval * dice.uniform(0.5, 1.5))


def worst_window(arrivals: Sequence[Arrival]) -> int:
    """The most of our requests that any window of one period saw, refused ones included."""
    instants = [arrival.at for arrival in arrivals if arrival.ours]
    return max(
        bisect_left(instants, begin + PERIOD, lo=index) - index for index, begin in enumerate(instants)
    )


def sustained(arrivals: Sequence[Arrival]) -> float:
    """Requests of ours let in per period, once the first two are over."""
    instants = [arrival.at for arrival in arrivals if arrival.ours and not arrival.refused]
    steady = instants[bisect_left(instants, 2 * PERIOD) :]
    rounds = (len(steady) - 1) // REQUESTS  # whole ones: bursts that return every period would count half
    return PERIOD * rounds * REQUESTS / (steady[rounds * REQUESTS] - steady[0])
