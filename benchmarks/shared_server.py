"""A server that keeps shared budgets, in virtual time: PostgreSQL or Redis as the budget sees them.

Its own clock, a way to it that takes time, and whatever can become of it: it goes away, comes back as
another, forgets.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from seedance_async.budget.shared_memory import SharedMemory, fingerprint
from seedance_async.budget.shared_store import Kept, StoreUnavailableError

if TYPE_CHECKING:
    from seedance_async.models import RateLimit

EPOCH: Final = 1.8e9
"""Seconds that the server's clock shows when the loop's shows none."""


@define(kw_only=True)
class Server:
    """What it keeps, and how it is.

    Attributes:
        latency: each way, a question or an answer takes up to so many seconds.
        clock: seconds by which its clock is wrong.
        life: its name, since it was started last.
        since: when that was, by the loop's clock.
        is_away: nobody reaches it.
        is_read_only: it refuses what it is told, as a standby, or where its disk is full.
        kept: version and text by name.
        asked: questions that it has answered.
    """

    latency: float = 0.005
    clock: float = 0.0
    life: str = "first"
    since: float = -1e6
    is_away: bool = False
    is_read_only: bool = False
    kept: dict[str, tuple[int, str]] = field(factory=dict)
    asked: int = 0
    dice: random.Random = field(factory=lambda: random.Random(0))

    def restart(self, life: str, *, keep: bool = True) -> None:
        """Begin another life, with what was kept or without."""
        self.life, self.since = life, anyio.current_time()
        if not keep:
            self.kept.clear()

    def memory(self, limit: RateLimit, *, account: str = "account", line: Line | None = None) -> SharedMemory:
        """The memory of one process, by a line of its own, which may be cut."""
        return SharedMemory(fingerprint(account), line or Line(self), limit=limit, shown="test://server")

    def look(self, name: str) -> Kept:
        """What is kept now."""
        version, text = self.kept.get(name, (0, None))
        now = anyio.current_time()
        up_for = now - self.since
        return Kept(version=version, text=text, at=EPOCH + now + self.clock, server=self.life, up_for=up_for)

    async def travel(self) -> None:
        """Be on the way to it, or back."""
        await anyio.sleep(self.dice.uniform(0.0, self.latency))
        if self.is_away:
            raise StoreUnavailableError("nobody answers")


@define
class Line:
    """One process's way to the server."""

    server: Server
    is_cut: bool = False

    async def read(self, name: str) -> Kept:
        """What is kept; see ``Store``."""
        await self._travel()
        self.server.asked += 1
        kept = self.server.look(name)
        await self._travel()
        return kept

    async def replace(self, name: str, version: int, text: str) -> Kept | None:
        """Write, if what is kept has this version; see ``Store``."""
        await self._travel()
        self.server.asked += 1
        if self.server.is_read_only:
            raise StoreUnavailableError("read only")
        before = self.server.look(name)
        if before.version == version:
            self.server.kept[name] = (before.version + 1 if version else int(1e6 * before.at), text)
        kept = self.server.look(name)
        await self._travel()
        return kept if before.version == version else None

    async def close(self) -> None:
        """Nothing is to be closed."""

    async def _travel(self) -> None:
        if self.is_cut:
            raise StoreUnavailableError("cut off")
        await self.server.travel()
