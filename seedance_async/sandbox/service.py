"""The sandbox as one thing: start it, point a client at it, and ask it afterwards what it saw."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import anyio
from aiohttp import web
from attrs import evolve

from seedance_async.sandbox.exchange import BASE_PATH
from seedance_async.sandbox.faults import Fault, FaultBook
from seedance_async.sandbox.media_server import MediaServer
from seedance_async.sandbox.memory import Memory
from seedance_async.sandbox.options import AccountSpec, Behaviour, Conditions
from seedance_async.sandbox.outputs import Links
from seedance_async.sandbox.record import WorstWindow, worst_window
from seedance_async.sandbox.server import ApiServer
from seedance_async.sandbox.state import State
from seedance_async.sandbox.tasks import Calendar, Task
from seedance_async.sandbox.world import MediaRecord, World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path
    from types import TracebackType

    from seedance_async.sandbox.exchange import Record
    from seedance_async.sandbox.ledger import Entry
    from seedance_async.sandbox.options import WindowName


class Sandbox:
    """A local emulator of the whole API, with money, memory and a limit.

    ::

        async with Sandbox(credits=500, speed=60) as sandbox:
            forecasts = Forecast(scale=sandbox.time_scale)
            async with SeedanceClient(sandbox.api_key, sandbox.base_url, forecasts=forecasts) as client:
                ...
            assert sandbox.worst_window().arrivals <= 30

    What it saw can be read while it runs and after it has stopped. Instants are readings of the running
    loop's clock, in seconds.
    """

    def __init__(
        self,
        *,
        api_key: str = "sk_test_sandbox",
        credits: int = 100_000,  # noqa: A002 - the vendor's own word
        accounts: Iterable[AccountSpec] | None = None,
        speed: float | None = None,
        seed: int | None = None,
        window: WindowName | None = None,
        behaviour: Behaviour | None = None,
        conditions: Conditions | None = None,
        faults: Iterable[Fault] = (),
        epoch: datetime | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        media_port: int = 0,
        memory: Path | None = None,
    ) -> None:
        """Describe a sandbox; nothing runs before it is entered.

        Args:
            api_key: of the one account there is, unless ``accounts`` are given.
            credits: its first credits.
            accounts: accounts in the place of that one.
            speed: in the place of ``conditions.speed``.
            seed: in the place of ``conditions.seed``.
            window: in the place of ``behaviour.window``.
            behaviour: how the vendor's open questions are answered.
            conditions: the world it plays in.
            faults: rules in force from the start, and again after a reset.
            epoch: the wall instant at which it starts, aware; None: the present one.
            host: address to listen at; of the ones that mean "any", clients are told the loopback address.
            port: of the API; 0 takes a free one.
            media_port: of the output files; 0 takes a free one.
            memory: file in which the account outlives this process, see :mod:`seedance_async.sandbox.memory`;
                the same conditions must be given every time.

        Raises:
            ValueError: the API key is a live one.
        """
        world, open_points = conditions or Conditions(), behaviour or Behaviour()
        self.conditions: Conditions = evolve(
            world, speed=world.speed if speed is None else speed, seed=world.seed if seed is None else seed
        )
        self.behaviour: Behaviour = evolve(open_points, window=window or open_points.window)
        self._accounts = tuple(accounts or [AccountSpec(keys=(api_key,), credits=credits)])
        self._faults = tuple(faults)
        self._epoch = epoch
        self._host = host
        self._ports = port, media_port
        self._memory = Memory(memory) if memory else None
        self._running = AsyncExitStack()
        self._world: World | None = None
        self._origins = "", ""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as running:
            api, media = ApiServer(lambda: self.world, reset=self.reset), MediaServer(lambda: self.world)
            last = self._memory.ports if self._memory else (0, 0)
            ports = (
                await self._listen(running, api.handle, self._ports[0], rather=last[0]),
                await self._listen(running, media.handle, self._ports[1], rather=last[1]),
            )
            self._origins = _origin(self._host, ports[0]), _origin(self._host, ports[1])
            if self._memory:
                self._memory.listening(ports)
            self._begin()
            self._running = running.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.world.state.settle(anyio.current_time())
        await self._running.aclose()

    # --- where it is

    @property
    def base_url(self) -> str:
        """What a client takes for ``base_url``."""
        return self._origins[0] + BASE_PATH

    @property
    def time_scale(self) -> float:
        """Seconds that one of the vendor's takes here: what a client's ``Forecast`` takes for ``scale``."""
        return 1 / self.conditions.speed

    @property
    def admin_url(self) -> str:
        """Where the operator's door is, see :mod:`seedance_async.sandbox.admin`."""
        return self._origins[0] + "/_sandbox"

    @property
    def media_url(self) -> str:
        """The origin of the output files."""
        return self._origins[1]

    @property
    def api_key(self) -> str:
        """A key of the first account."""
        return self._accounts[0].keys[0]

    # --- what it saw

    @property
    def requests(self) -> list[Record]:
        """Every request to the API, in order of arrival."""
        return self.world.recorder.records

    @property
    def media_requests(self) -> list[MediaRecord]:
        """Every request to the media's origin, in order of arrival."""
        return self.world.media

    @property
    def ledger(self) -> list[Entry]:
        """Every movement of credits so far, in order."""
        self._settle()
        return self.world.state.ledger.entries

    @property
    def tasks(self) -> dict[str, Task]:
        """Every task by its id; ask each for its ``status(now)``."""
        return self.world.state.tasks

    @property
    def paid_tasks(self) -> list[Task]:
        """Every task that was charged for and not refunded, oldest first."""
        refunded = {entry.task_id for entry in self.ledger if entry.kind == "refund"}
        return [task for task in self.tasks.values() if task.id not in refunded]

    @property
    def leaks(self) -> list[MediaRecord]:
        """Requests to the media's origin that carried credentials. Must be empty."""
        return [record for record in self.media_requests if record.credentials]

    def balance(self, account: str | None = None) -> int:
        """Credits of an account, the first one unless named."""
        self._settle()
        return self.world.state.ledger.balance(account or self._accounts[0].name)

    def worst_window(self, seconds: float | None = None) -> WorstWindow:
        """The fullest window of real ``seconds`` that any account saw; by default the limit's own."""
        period = self.conditions.real(self.conditions.period)
        return worst_window(self.requests, seconds=period if seconds is None else seconds)

    # --- what an operator does

    @property
    def faults(self) -> FaultBook:
        """The faults in force."""
        return self.world.faults

    def top_up(self, amount: int, *, account: str | None = None) -> None:
        """Buy credits for an account, the first one unless named."""
        self.world.state.top_up(account or self._accounts[0].name, amount, anyio.current_time())

    def revoke(self, key: str) -> None:
        """Refuse an API key from now on."""
        self.world.state.revoke(key)

    def reset(self) -> None:
        """Forget everything and start anew from the same seed; requests under way end in the old world."""
        if self._memory:
            self._memory.forget()
        self._begin()

    @property
    def world(self) -> World:
        """The state behind the servers.

        Raises:
            RuntimeError: the sandbox was never entered.
        """
        if self._world is None:
            raise RuntimeError("the sandbox has not been started: use it in an `async with`")
        return self._world

    def _begin(self) -> None:
        """Make the world: a fresh one, or the one that the memory tells of."""
        kept = self._memory.submits() if self._memory else []
        now, wall = anyio.current_time(), self._epoch or datetime.now(UTC)
        began_at = min([wall, *(submit.at for submit in kept)])
        calendar = Calendar(now - (wall - began_at).total_seconds(), began_at)
        secret = f"links of seed {self.conditions.seed}".encode()
        state = State(
            behaviour=self.behaviour,
            conditions=self.conditions,
            accounts=self._accounts,
            calendar=calendar,
            links=Links(self.media_url, secret, self.conditions.real(self.behaviour.url_life)),
        )
        for submit in kept:
            state.replay(submit.call, min(now, calendar.reading(submit.at)))
        faults = FaultBook(self._faults, seed=self.conditions.seed)
        self._world = World(state=state, faults=faults, memory=self._memory)

    def _settle(self) -> None:
        try:
            now = anyio.current_time()
        except anyio.NoEventLoopError:
            return  # read after its loop has ended: what is there is final
        self.world.state.settle(now)

    async def _listen(
        self,
        running: AsyncExitStack,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        port: int,
        *,
        rather: int,
    ) -> int:
        """Listen at the port; where any will do, rather at the one named, if it is free."""
        # Nobody waits for an answer any more when the sandbox stops, so open exchanges are not waited for.
        runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        running.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, self._host, port or rather).start()
        except OSError:
            if port or not rather:
                raise
            await web.TCPSite(runner, self._host, 0).start()
        return int(runner.addresses[0][1])


def _origin(host: str, port: int) -> str:
    """An origin as a client on this machine takes it: loopback for any address, brackets for IPv6."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not listened at
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
