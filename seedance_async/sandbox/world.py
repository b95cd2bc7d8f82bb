"""Everything that a reset makes anew: the state, the faults in force, and the records of what was seen."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import anyio
from attrs import frozen

from seedance_async.sandbox.record import Recorder

if TYPE_CHECKING:
    from seedance_async.sandbox.exchange import Answer, Call
    from seedance_async.sandbox.faults import FaultBook
    from seedance_async.sandbox.memory import Memory
    from seedance_async.sandbox.state import State


@frozen(kw_only=True)
class MediaRecord:
    """One request to the media origin.

    Attributes:
        at: server clock, seconds.
        range: the ``Range`` header, empty if there was none.
        credentials: names of headers that do not belong there, such as ``Authorization``. Must stay empty.
        fault: effect of the fault that struck, empty if none did.
    """

    at: float
    method: str
    path: str
    status: int
    range: str = ""
    credentials: tuple[str, ...] = ()
    fault: str = ""


class World:
    """One life of the sandbox, from its start or a reset to the next."""

    def __init__(self, *, state: State, faults: FaultBook, memory: Memory | None = None) -> None:
        self.state = state
        self.faults = faults
        self.recorder: Recorder = Recorder()
        self.media: list[MediaRecord] = []
        self._memory = memory
        self._jitter = Random(f"{state.conditions.seed}/latency")

    async def latency(self) -> None:
        """Wait as long as the network takes in one direction."""
        low, high = self.state.conditions.latency
        if high > 0:
            await anyio.sleep(self._jitter.uniform(low, high))

    def prompt_behind(self, call: Call) -> str:
        """The prompt of the task that a poll or a download is about; empty if there is none."""
        task_id = call.path.strip("/").removeprefix("tasks/").partition("/")[0]
        task = self.state.tasks.get(task_id)
        return task.order.prompt if task else ""

    def remember(self, call: Call, answer: Answer) -> None:
        """Have a submit that was accepted outlive this process, if anything does."""
        if self._memory is not None and call.endpoint == "submit" and answer.task_ids and not answer.replayed:
            self._memory.accepted(call, at=self.state.calendar.at(anyio.current_time()))
