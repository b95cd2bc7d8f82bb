"""The emulator and its runtime, which a reset replaces: state, active faults and records."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

import anyio
from attrs import define, field, frozen

from seedance_async.sandbox.account_file import AccountFile, StoredSubmit, StoredTopUp
from seedance_async.sandbox.faults import ActiveFaults, Fault
from seedance_async.sandbox.options import AccountSpec, Behaviour, Conditions
from seedance_async.sandbox.recorder import Recorder
from seedance_async.sandbox.signed_urls import UrlSigner
from seedance_async.sandbox.state import ServiceState
from seedance_async.sandbox.tasks import Calendar

if TYPE_CHECKING:
    from seedance_async.sandbox.calls import Call, Reply


@frozen(kw_only=True)
class MediaRecord:
    """One request to the media origin.

    Attributes:
        at: the time in seconds on the server's clock.
        range: the ``Range`` header, empty if there was none.
        credentials: names of sent headers that must not be sent there, such as ``Authorization``.
        fault: the effects of the faults applied, separated by commas; empty if there were none.
    """

    at: float
    method: str
    path: str
    status: int
    range: str = ""
    credentials: tuple[str, ...] = ()
    fault: str = ""


class Runtime:
    """One run of the emulator, from its start or a reset to the next."""

    def __init__(
        self, *, state: ServiceState, faults: ActiveFaults, account_file: AccountFile | None = None
    ) -> None:
        self.state = state
        self.faults = faults
        self.recorder: Recorder = Recorder()
        self.media: list[MediaRecord] = []
        self._account_file = account_file
        self._jitter = Random(f"{state.conditions.seed}/latency")

    async def wait_latency(self) -> None:
        """Wait for the network latency of one direction."""
        low, high = self.state.conditions.latency
        if high > 0:
            await anyio.sleep(self._jitter.uniform(low, high))

    def prompt_of(self, call: Call) -> str:
        """The prompt of the task that a poll or a download is about; empty if there is none."""
        task_id = call.path.strip("/").removeprefix("tasks/").partition("/")[0]
        task = self.state.tasks.get(task_id)
        return task.request.prompt if task else ""

    def persist(self, call: Call, reply: Reply) -> None:
        """Store an accepted submit in the account file, if there is one."""
        accepted = call.endpoint == "submit" and reply.task_ids and not reply.replayed
        if self._account_file is not None and accepted:
            self._account_file.add_submit(call, at=self.state.calendar.at(anyio.current_time()))

    def top_up(self, account: str, amount: int) -> None:
        """Add credits to an account, and store this in the account file, if there is one.

        Raises:
            KeyError: there is no such account.
            ValueError: the amount is negative.
        """
        now = anyio.current_time()
        self.state.top_up(account, amount, now)
        if self._account_file is not None:
            self._account_file.add_top_up(account, amount, at=self.state.calendar.at(now))


@define(kw_only=True)
class Emulator:
    """The emulated service; each reset begins a new :class:`Runtime`.

    Attributes:
        accounts: the accounts that exist from the start.
        faults: faults in force from the start, and again after a reset.
        epoch: the wall-clock time at which it starts, aware; None: now.
        account_file: the file of accepted submits and top-ups; None to store nothing.
    """

    behaviour: Behaviour
    conditions: Conditions
    accounts: tuple[AccountSpec, ...]
    faults: tuple[Fault, ...] = ()
    epoch: datetime | None = None
    account_file: AccountFile | None = None
    _media_url: str = field(default="", init=False)
    _runtime: Runtime | None = field(default=None, init=False)

    @property
    def runtime(self) -> Runtime:
        """The present runtime.

        Raises:
            RuntimeError: the emulator was never started.
        """
        if self._runtime is None:
            raise RuntimeError("the sandbox has not been started: use it in an `async with`")
        return self._runtime

    def start(self, media_url: str) -> None:
        """Begin a runtime with the submits of the account file; output files are at the given origin."""
        self._media_url = media_url
        self._begin()

    def reset(self) -> None:
        """Discard the state and restart from the same seed; open requests end in the old runtime."""
        if self.account_file:
            self.account_file.clear()
        self._begin()

    def _begin(self) -> None:
        stored = self.account_file.events() if self.account_file else []
        now, wall = anyio.current_time(), self.epoch or datetime.now(UTC)
        began_at = min([wall, *(event.at for event in stored)])
        state = self._new_state(Calendar(now - (wall - began_at).total_seconds(), began_at))
        for event in stored:
            at = min(now, state.calendar.reading(event.at))
            match event:
                case StoredSubmit(call=call):
                    state.restore_submit(call, at)
                case StoredTopUp(account=account, amount=amount):
                    state.top_up(account, amount, at)
        faults = ActiveFaults(self.faults, seed=self.conditions.seed)
        self._runtime = Runtime(state=state, faults=faults, account_file=self.account_file)

    def _new_state(self, calendar: Calendar) -> ServiceState:
        secret = f"links of seed {self.conditions.seed}".encode()
        url_life = self.conditions.real(self.behaviour.url_life)
        return ServiceState(
            behaviour=self.behaviour,
            conditions=self.conditions,
            accounts=self.accounts,
            calendar=calendar,
            signer=UrlSigner(self._media_url, secret, url_life),
        )
