"""The emulator that a reset starts anew: its state, its active faults and the records of what it saw."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

import anyio
from attrs import frozen

from seedance_async.sandbox.faults import ActiveFaults
from seedance_async.sandbox.recorder import Recorder
from seedance_async.sandbox.signed_urls import UrlSigner
from seedance_async.sandbox.state import ServiceState
from seedance_async.sandbox.tasks import Calendar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedance_async.sandbox.account_file import AccountFile
    from seedance_async.sandbox.calls import Call, Reply
    from seedance_async.sandbox.faults import Fault
    from seedance_async.sandbox.options import AccountSpec, Behaviour, Conditions


@frozen(kw_only=True)
class MediaRecord:
    """One request to the media origin.

    Attributes:
        at: server clock, seconds.
        range: the ``Range`` header, empty if there was none.
        credentials: names of headers that must not be sent there, such as ``Authorization``. Must stay empty.
        fault: effects of the faults that were applied, comma-separated; empty if there were none.
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
        """Wait as long as the network takes in one direction."""
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


class Emulator:
    """The emulated service over its resets, each of which begins a new :class:`Runtime`."""

    def __init__(
        self,
        *,
        behaviour: Behaviour,
        conditions: Conditions,
        accounts: Iterable[AccountSpec],
        faults: Iterable[Fault],
        epoch: datetime | None,
        account_file: AccountFile | None,
    ) -> None:
        """Describe the service; nothing exists before :meth:`start`.

        Args:
            behaviour: how the vendor's open questions are answered.
            conditions: everything else that can be set.
            accounts: the accounts that exist from the start.
            faults: rules in force from the start, and again after a reset.
            epoch: the wall instant at which it starts, aware; None: the present one.
            account_file: where accepted submits are stored, if anywhere.
        """
        self._behaviour = behaviour
        self._conditions = conditions
        self._accounts = tuple(accounts)
        self._faults = tuple(faults)
        self._epoch = epoch
        self._account_file = account_file
        self._media_url = ""
        self._runtime: Runtime | None = None

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
        """Begin a runtime whose output files are at this origin, with the submits of the account file."""
        self._media_url = media_url
        self._begin()

    def reset(self) -> None:
        """Forget everything and begin anew from the same seed; open requests end in the old runtime."""
        if self._account_file:
            self._account_file.delete()
        self._begin()

    def _begin(self) -> None:
        stored = self._account_file.submits() if self._account_file else []
        now, wall = anyio.current_time(), self._epoch or datetime.now(UTC)
        began_at = min([wall, *(submit.at for submit in stored)])
        state = self._new_state(Calendar(now - (wall - began_at).total_seconds(), began_at))
        for submit in stored:
            state.restore_submit(submit.call, min(now, state.calendar.reading(submit.at)))
        faults = ActiveFaults(self._faults, seed=self._conditions.seed)
        self._runtime = Runtime(state=state, faults=faults, account_file=self._account_file)

    def _new_state(self, calendar: Calendar) -> ServiceState:
        secret = f"links of seed {self._conditions.seed}".encode()
        url_life = self._conditions.real(self._behaviour.url_life)
        return ServiceState(
            behaviour=self._behaviour,
            conditions=self._conditions,
            accounts=self._accounts,
            calendar=calendar,
            signer=UrlSigner(self._media_url, secret, url_life),
        )
