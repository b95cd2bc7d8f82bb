"""The budget that hosts share, while its server is lost again and again, and processes die meanwhile."""

from __future__ import annotations

import random

import anyio
import pytest
from attrs import define, field

from benchmarks.account import Account, World, worst_window
from benchmarks.shared_server import Server
from seedance_async.budget.gate import Budget
from seedance_async.models import RateLimit
from seedance_async.sandbox import virtual_time

pytestmark = pytest.mark.timeout(180)

LIMIT = RateLimit(requests=30, period=60.0)
TROUBLE = 350.0
"""Seconds of outages; then all is well."""

END = 600.0


@define
class Schedule:
    """Outages and lives of processes, drawn by a seed.

    Attributes:
        kind: what happens to the server: it is restarted, it forgets, or it can only be read.
        kills: whether processes die, and others begin in their place.
        dice: draws all of it.
    """

    kind: str
    kills: bool
    dice: random.Random
    server: Server = field(init=False)
    account: Account = field(factory=lambda: Account(algorithm="sliding-log"), init=False)

    def __attrs_post_init__(self) -> None:
        self.server = Server(latency=self.dice.choice([0.005, 0.05, 0.2]))

    async def run(self) -> None:
        """Run up to four processes at full load."""
        async with anyio.create_task_group() as tasks:
            for sender in range(self.dice.choice([1, 2, 3, 4, 4])):
                tasks.start_soon(self._lives, sender)
            tasks.start_soon(self._outages)

    async def _lives(self, sender: int) -> None:
        await anyio.sleep(self.dice.uniform(0, 20))
        while (now := anyio.current_time()) < END:
            life = self.dice.uniform(2, 90) if self.kills and now < TROUBLE else END - now
            await self._process(sender, seconds=life)
            await anyio.sleep(self.dice.uniform(0, 10))

    async def _process(self, sender: int, *, seconds: float) -> None:
        world = World(account=self.account, jitter=0.3, seed=self.dice.randrange(10**6), sender=sender)
        budget = Budget(LIMIT, memory=self.server.memory(LIMIT), jitter=self.dice.random)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(budget.serve)
            await world.load(budget, seconds=seconds)
            tasks.cancel_scope.cancel()

    async def _outages(self) -> None:
        for life in range(100):
            await anyio.sleep(self.dice.uniform(5, 80))
            if anyio.current_time() > TROUBLE:
                break
            name = "is_read_only" if self.kind == "read only" else "is_away"
            setattr(self.server, name, True)
            await anyio.sleep(self.dice.uniform(0, self.dice.choice([3, 20, 80])))
            if self.kind != "read only":
                self.server.restart(f"life {life}", keep=self.kind == "restarted")
            setattr(self.server, name, False)


@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("restarted", False),
        ("restarted", True),
        ("forgets", False),
        ("read only", False),
        ("read only", True),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_outages_at_random_open_no_window(kind: str, kills: bool, seed: int) -> None:
    """What others may have sent since the server was heard last is not sent again; and all recovers."""
    schedule = Schedule(kind, kills, random.Random(f"{kind} {kills} {seed}"))
    virtual_time.run(schedule.run)

    assert worst_window(schedule.account.arrivals) <= 30
    last = [arrival for arrival in schedule.account.arrivals if END - 150 < arrival.at <= END - 30]
    assert len(last) > 2 * 22
