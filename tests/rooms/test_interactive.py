"""Single calls beside a batch of thousands on the same account, wherever it runs."""

from __future__ import annotations

import logging

import anyio
import pytest

from benchmarks.interactive import ALONE, LASTS, PLACES, measure
from seedance_async import NanoBananaPro, Seedance2Video, SeedanceClient
from seedance_async.sandbox import Conditions, Sandbox
from tests.faults.helpers import client_for, polls, posts


@pytest.mark.parametrize("place", PLACES)
def test_a_single_generate_is_two_slots_late_at_most(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its POST, and the poll that sees its result."""
    caplog.set_level(logging.ERROR, logger="seedance_async")  # thousands of tasks are left
    for single in measure(place, singles=2):
        assert single.ahead <= 2
        assert single.slots_late <= 2
        if place == ALONE:
            assert single.waited < 1.0
        assert single.seen_late < 60.0


async def batch(client: SeedanceClient, jobs: int) -> None:
    """At full load until it is over."""
    async for _ in client.as_completed([NanoBananaPro(prompt=f"A boat, number {n}") for n in range(jobs)]):
        pass


async def test_polls_of_a_single_task_are_as_many_beside_a_batch() -> None:
    """A deep backlog makes its own polls rare, and nobody else's."""
    counts = []
    for jobs in (0, 400):
        async with (
            Sandbox(conditions=Conditions(duration=lambda _order, _chance: LASTS)) as sandbox,
            client_for(sandbox) as client,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(batch, client, jobs)
            await anyio.sleep(30.0)
            task = await client.generate(Seedance2Video(prompt="Now, please", duration=4))
            counts.append(sum(record.path.endswith(task.id) for record in sandbox.requests))
            tasks.cancel_scope.cancel()

    alone, beside = counts
    assert beside >= min(alone, 3)


async def test_singles_leave_a_fifth_to_a_batch() -> None:
    """A stream of them in the same process; the batch goes on, and nothing is paid twice."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batch, client, 40)
            for number in range(100):
                tasks.start_soon(client.submit, NanoBananaPro(prompt=f"A single, number {number}"))
        bodies = [body for _, body in posts(sandbox)]
        first = bodies[:60]

        assert 140 == len(sandbox.paid_tasks) == len(set(bodies))
        assert 0 < sum(b"A boat" in body for body in first) < len(first) / 2
        assert polls(sandbox)
        assert sandbox.worst_window().arrivals <= 30
