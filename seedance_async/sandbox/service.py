"""The ``Sandbox`` class: the two servers of the emulated API, and the records of what they received."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from aiohttp import web
from attrs import evolve

from seedance_async.reprs import even_if_unfinished
from seedance_async.sandbox.account_file import AccountFile, Terms
from seedance_async.sandbox.api_server import ApiServer
from seedance_async.sandbox.calls import BASE_PATH, Record, fingerprint
from seedance_async.sandbox.faults import ActiveFaults, Fault
from seedance_async.sandbox.ledger import Entry
from seedance_async.sandbox.media_server import MediaServer
from seedance_async.sandbox.options import API_KEY, AccountSpec, Behaviour, Conditions, WindowName
from seedance_async.sandbox.recorder import WorstWindow, worst_window
from seedance_async.sandbox.runtime import Emulator, MediaRecord, Runtime
from seedance_async.sandbox.tasks import Task


class Sandbox:
    """A local emulator of the whole API, with credits, idempotency keys and a rate limit.

    Its records can be read while it runs and after it has stopped. Instants are readings of the clock of the
    event loop, in seconds.

    Example:
        >>> async with Sandbox(credits=500, speed=60) as sandbox:
        ...     forecasts = Forecast(scale=sandbox.time_scale)
        ...     async with SeedanceClient(sandbox.api_key, sandbox.base_url, forecasts=forecasts) as client:
        ...         await client.generate(Seedance2Video(prompt="A paper boat crosses a pond"))
        ...     assert len(sandbox.paid_tasks) == 1
        ...     assert sandbox.worst_window().arrivals <= 30
    """

    def __init__(
        self,
        *,
        api_key: str = API_KEY,
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
        url_host: str | None = None,
    ) -> None:
        """Configure a sandbox; no server runs before it is entered.

        Args:
            api_key: the key of the only account, unless ``accounts`` are given.
            credits: the initial credits of that account.
            accounts: the accounts, instead of that one.
            speed: factor by which its time runs faster; overrides ``conditions.speed``.
            seed: overrides ``conditions.seed``.
            window: overrides ``behaviour.window``.
            behaviour: how it behaves where the vendor's documentation leaves questions open.
            conditions: speed, seed, prices, durations and the like.
            faults: faults in force from the start, and again after a reset.
            epoch: the wall-clock time at which it starts, aware; None: now.
            host: the address to listen at; if that means "any", ``base_url`` has the loopback address.
            port: the port of the API; 0 for a free one.
            media_port: the port of the output files; 0 for a free one.
            memory: a file that keeps the account when this process ends, see
                :mod:`seedance_async.sandbox.account_file`; the same conditions must be given every time.
                Entering raises ValueError if it was begun with another seed, speed, key or initial credits.
            url_host: the host name in the URLs it returns, if other machines reach it by another name than
                ``host``, such as in a network of containers.

        Raises:
            ValueError: the API key is one of the real API.
        """
        given, switches = conditions or Conditions(), behaviour or Behaviour()
        self.conditions: Conditions = evolve(
            given, speed=given.speed if speed is None else speed, seed=given.seed if seed is None else seed
        )
        self.behaviour: Behaviour = evolve(switches, window=window or switches.window)
        self._accounts = tuple(accounts or [AccountSpec(keys=(api_key,), credits=credits)])
        self._host = host
        self.url_host: str = url_host or {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not listened at
        self._ports = port, media_port
        self._account_file = AccountFile(memory) if memory else None
        self._emulator = Emulator(
            behaviour=self.behaviour,
            conditions=self.conditions,
            accounts=self._accounts,
            faults=tuple(faults),
            epoch=epoch,
            account_file=self._account_file,
        )
        self._running = AsyncExitStack()
        self._is_running = False
        self._origins = "", ""

    @even_if_unfinished
    def __repr__(self) -> str:
        where = self.base_url if self._is_running else "not running"
        return f"<Sandbox {where}, speed {self.conditions.speed:g}>"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as running:
            if self._account_file:
                self._account_file.begin(self._terms())
            api, media = ApiServer(self._emulator), MediaServer(self._emulator)
            last = self._account_file.ports if self._account_file else (0, 0)
            ports = (
                await self._listen(running, api.handle, self._ports[0], preferred=last[0]),
                await self._listen(running, media.handle, self._ports[1], preferred=last[1]),
            )
            self._origins = _origin(self.url_host, ports[0]), _origin(self.url_host, ports[1])
            if self._account_file:
                self._account_file.set_ports(ports)
            self._emulator.start(self.media_url)
            self._running = running.pop_all()
        self._is_running = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_running = False
        self.runtime.state.settle(anyio.current_time())
        await self._running.aclose()

    # --- addresses

    @property
    def base_url(self) -> str:
        """The API's URL, for the ``base_url`` of a client."""
        return self._origins[0] + BASE_PATH

    @property
    def time_scale(self) -> float:
        """Seconds that one second of the vendor's takes here, for the ``scale`` of a ``Forecast``."""
        return 1 / self.conditions.speed

    @property
    def admin_url(self) -> str:
        """The URL of the admin endpoints, see :mod:`seedance_async.sandbox.admin`."""
        return self._origins[0] + "/_sandbox"

    @property
    def media_url(self) -> str:
        """The origin of the output files."""
        return self._origins[1]

    @property
    def api_key(self) -> str:
        """A key of the first account."""
        return self._accounts[0].keys[0]

    # --- records

    @property
    def requests(self) -> list[Record]:
        """Every request to the API, in order of arrival."""
        return self.runtime.recorder.records

    @property
    def media_requests(self) -> list[MediaRecord]:
        """Every request to the origin of the output files, in order of arrival."""
        return self.runtime.media

    @property
    def ledger(self) -> list[Entry]:
        """Every charge, refund and top-up so far, in order."""
        self._settle()
        return self.runtime.state.ledger.entries

    @property
    def tasks(self) -> dict[str, Task]:
        """Every task by its id; ``status(now)`` of each is its present state."""
        return self.runtime.state.tasks

    @property
    def paid_tasks(self) -> list[Task]:
        """Every task that was charged and not refunded, oldest first."""
        refunded = {entry.task_id for entry in self.ledger if entry.kind == "refund"}
        return [task for task in self.tasks.values() if task.id not in refunded]

    @property
    def leaks(self) -> list[MediaRecord]:
        """Requests to the origin of the output files that carried credentials; there must be none."""
        return [record for record in self.media_requests if record.credentials]

    def balance(self, account: str | None = None) -> int:
        """The credits of an account; of the first one if none is named."""
        self._settle()
        return self.runtime.state.ledger.balance(account or self._accounts[0].name)

    def worst_window(self, seconds: float | None = None) -> WorstWindow:
        """The fullest window of any account, of real ``seconds``; by default of the limit's period."""
        period = self.conditions.real(self.conditions.period)
        return worst_window(self.requests, seconds=period if seconds is None else seconds)

    # --- control by tests and operators

    @property
    def faults(self) -> ActiveFaults:
        """The faults in force."""
        return self.runtime.faults

    def top_up(self, amount: int, *, account: str | None = None) -> None:
        """Add credits to an account; to the first one if none is named."""
        self.runtime.top_up(account or self._accounts[0].name, amount)

    def revoke(self, key: str) -> None:
        """Refuse an API key from now on."""
        self.runtime.state.revoke(key)

    def reset(self) -> None:
        """Discard the state and restart from the same seed; open requests end in the old state."""
        self._emulator.reset()

    @property
    def runtime(self) -> Runtime:
        """The state behind the servers.

        Raises:
            RuntimeError: the sandbox was never entered.
        """
        return self._emulator.runtime

    def _terms(self) -> Terms:
        return Terms(
            seed=self.conditions.seed,
            speed=float(self.conditions.speed),
            account=fingerprint(self.api_key),
            credits=self._accounts[0].credits,
        )

    def _settle(self) -> None:
        try:
            now = anyio.current_time()
        except anyio.NoEventLoopError:
            return  # read after its loop has ended: nothing can change any more
        self.runtime.state.settle(now)

    async def _listen(
        self,
        running: AsyncExitStack,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        port: int,
        *,
        preferred: int,
    ) -> int:
        """Listen at the port; if it is 0, at the preferred one if that is free, else at any."""
        # When the sandbox stops, no client waits for a reply any more, so open exchanges are not waited for.
        runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        running.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, self._host, port or preferred).start()
        except OSError:
            if port or not preferred:
                raise
            await web.TCPSite(runner, self._host, 0).start()
        return int(runner.addresses[0][1])


def _origin(host: str, port: int) -> str:
    """The origin as a URL, with an IPv6 address in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
