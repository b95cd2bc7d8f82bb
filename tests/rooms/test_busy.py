"""A server that answers 503 ``service_busy``: it gets as much work as it takes, and few POSTs in vain."""

from __future__ import annotations

from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import NanoBananaPro, SeedanceClient, Timeouts
from seedance_async.sandbox import Conditions, Fault, Sandbox

if TYPE_CHECKING:
    from random import Random

    from seedance_async.completions import Completion


def pictures(count: int) -> list[NanoBananaPro]:
    """Requests of one kind."""
    return [NanoBananaPro(prompt=f"A boat on pond {number}") for number in range(count)]


async def completions(sandbox: Sandbox, count: int) -> list[Completion]:
    """Have so many pictures made."""
    async with SeedanceClient(sandbox.api_key, sandbox.base_url, timeouts=Timeouts(wait=900.0)) as client:
        return [completion async for completion in client.as_completed(pictures(count))]


def refused(sandbox: Sandbox) -> int:
    """POSTs that were answered 503."""
    return sum(record.status == 503 for record in sandbox.requests if record.endpoint == "submit")


def most_at_a_time(sandbox: Sandbox) -> int:
    """Tasks that the service made at the same time."""
    changes = [(task.accepted_at, 1) for task in sandbox.tasks.values()]
    changes += [(task.ends_at, -1) for task in sandbox.tasks.values()]
    return max(accumulate(change for _, change in sorted(changes)))


@pytest.mark.case(34)
@pytest.mark.parametrize(("most", "jobs", "in_vain"), [(1, 8, 32), (2, 12, 20), (10, 60, 10), (40, 120, 8)])
@pytest.mark.parametrize("latency", [(0.0, 0.0), (0.2, 2.0)])
async def test_a_server_that_takes_so_many_jobs_is_kept_full_and_seldom_asked_in_vain(
    most: int, jobs: int, in_vain: int, latency: tuple[float, float]
) -> None:
    """Every job is made, none is uncertain, and the busy answers cost a small share of the slots."""
    async with Sandbox(conditions=Conditions(busy_above=most, latency=latency)) as sandbox:
        done = await completions(sandbox, jobs)

    assert [None] * jobs == [completion.error for completion in done]
    assert jobs == len(sandbox.paid_tasks)
    assert most == most_at_a_time(sandbox)
    assert refused(sandbox) <= in_vain


async def test_a_server_that_recovers_gets_its_whole_stream_back() -> None:
    """A minute of 503 for everybody must not leave a bound behind."""
    outage = Fault(effect="status", on="submit", moment="before", status=503, count=None, lasts=60.0)
    async with Sandbox() as healthy:
        await completions(healthy, 120)
    async with Sandbox(faults=[outage]) as sandbox:
        await completions(sandbox, 120)

    assert 120 == len(sandbox.paid_tasks)
    assert 0.8 * most_at_a_time(healthy) <= most_at_a_time(sandbox)


async def test_a_task_that_never_ends_holds_nobody_for_ever() -> None:
    """Others may have made room meanwhile, so a held POST is sent once a minute to see."""

    def duration(_order: object, _chance: Random) -> float:
        return inf if not sandbox.tasks else 30.0

    busy = Fault(effect="status", on="submit", moment="before", status=503, nth=2, count=3)
    async with Sandbox(conditions=Conditions(duration=duration), faults=[busy]) as sandbox:
        done = await completions(sandbox, 4)

    assert 3 == sum(completion.error is None for completion in done)
    assert 4 == len(sandbox.paid_tasks)


@pytest.mark.case(34)
async def test_a_post_of_its_own_is_held_as_well() -> None:
    """A web handler's submit waits for a task of ours to end, however long that takes."""
    slow = Conditions(duration=lambda _order, _chance: 1500.0, busy_above=1)
    async with (
        Sandbox(conditions=slow) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
        anyio.create_task_group() as handlers,
    ):
        for picture in pictures(2):
            handlers.start_soon(client.generate, picture)

    assert 2 == len(sandbox.paid_tasks)
    assert 30 >= refused(sandbox)


async def test_a_held_post_can_be_cancelled() -> None:
    """Leaving takes nobody else's place, and the others go on."""
    async with (
        Sandbox(conditions=Conditions(busy_above=1)) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
        anyio.create_task_group() as workers,
    ):
        workers.start_soon(client.generate, pictures(1)[0])
        await anyio.sleep(1.0)
        with anyio.move_on_after(10.0) as given_up:
            await client.generate(pictures(2)[1])
        await client.generate(pictures(3)[2])

    assert given_up.cancelled_caught
    assert 2 == len(sandbox.paid_tasks)
