"""The direct lane of the dispatcher, where a caller takes a slot by itself."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest
from attrs import evolve

from seedance_async import ClientStateError, Forecast, GptImage2, RateLimit
from seedance_async.budget.gate import Budget
from seedance_async.scheduling.dispatcher import Dispatcher
from seedance_async.scheduling.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from seedance_async.budget.allowance import Allowance

KIND = GptImage2(prompt="A shoe on chrome").kind


class TakenMeanwhile(Budget):
    """A budget that seems to be open: others take its slots between the look and the taking."""

    def __init__(self) -> None:
        super().__init__(RateLimit(requests=1, period=60.0))
        self.hurries: list[bool] = []

    def is_open(self) -> bool:
        """As it seems."""
        return True

    def allowance(self, now: float) -> Allowance:
        """As it seems."""
        return evolve(super().allowance(now), free=1)

    def set_interactive(self, interactive: bool) -> None:
        """Note it."""
        self.hurries.append(interactive)
        super().set_interactive(interactive)


@asynccontextmanager
async def spent() -> AsyncIterator[tuple[Dispatcher, TakenMeanwhile]]:
    """A dispatcher whose budget has no slot for a minute."""
    budget = TakenMeanwhile()
    dispatcher = Dispatcher(budget, Schedule(Forecast()), Schedule(Forecast()))
    (await budget.acquire()).settle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dispatcher.run)
        yield dispatcher, budget
        tasks.cancel_scope.cancel()


async def test_closing_ends_who_waits_at_the_gate() -> None:
    """And nobody waits there afterwards."""
    async with spent() as (dispatcher, _):

        async def wait() -> None:
            with pytest.raises(ClientStateError, match="closed"):
                await dispatcher.slot()

        with anyio.fail_after(5.0):
            async with anyio.create_task_group() as callers:
                callers.start_soon(wait)
                await anyio.sleep(1.0)
                dispatcher.close(ClientStateError("the client is closed"))
        with pytest.raises(ClientStateError):
            await dispatcher.slot()
        with anyio.fail_after(1.0):
            await dispatcher.until_closed(anyio.sleep(100.0))


async def test_a_job_beside_who_waits_at_the_gate_does_not_make_it_less_urgent() -> None:
    """The next slot is for somebody who waits, until that one has it."""
    async with spent() as (dispatcher, budget):
        async with anyio.create_task_group() as callers:
            callers.start_soon(dispatcher.slot)
            await anyio.sleep(1.0)
            dispatcher.turn(KIND)
            await anyio.sleep(1.0)
            assert [True, True] == budget.hurries  # the caller's, and the loop's
            callers.cancel_scope.cancel()
        assert [True, True, False] == budget.hurries
