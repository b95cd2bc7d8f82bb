"""The schedule as users get it: the real client, over sockets, against the sandbox, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from benchmarks.workloads import CLIP, LONG_CLIP, PICTURE
from seedance_async import NanoBananaPro, Seedance2Video, SeedanceClient
from seedance_async.sandbox import Conditions, Sandbox
from seedance_async.sandbox.virtual_time import run
from seedance_async.scheduling.simulation import LATENCY, SimulatedRun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from seedance_async.models import Kind, Request
    from seedance_async.sandbox.validation import GenerationRequest
    from seedance_async.scheduling.simulation import SimulatedTask

BREATH: Final = 120.0  # s between two batches of one client, in which its window empties


def through_client(draws: Sequence[SimulatedTask], *, before: Sequence[SimulatedTask] = ()) -> SimulatedRun:
    """The outcome of a batch, after another one through the same client where it should be warm."""
    return run(_batch, draws, before)


async def _batch(draws: Sequence[SimulatedTask], before: Sequence[SimulatedTask]) -> SimulatedRun:
    everything = [*before, *draws]

    def duration(order: GenerationRequest, _: Random) -> float:
        return everything[int(order.text("prompt").rpartition(" ")[2])].duration

    world = Conditions(duration=duration, latency=(LATENCY / 2, LATENCY / 2))
    async with (
        Sandbox(credits=1_000_000, conditions=world) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
    ):
        await _submit_all(client, before, first=0)
        await anyio.sleep(BREATH)
        requests_before, began = len(sandbox.requests), anyio.current_time()
        seen, tasks = await _submit_all(client, draws, first=len(before))
        done = [sandbox.tasks[task].ends_at for task in tasks]
        records = list(sandbox.requests)[requests_before:]
    return SimulatedRun(
        done=[at - began for at in done],
        seen=[at - began for at in seen],
        requests=len(records),
        refused=sum(record.status == 429 for record in records),
    )


async def _submit_all(
    client: SeedanceClient, draws: Sequence[SimulatedTask], *, first: int
) -> tuple[list[float], list[str]]:
    """When each result was in hand, and the id of its task."""
    seen, tasks = [0.0] * len(draws), [""] * len(draws)
    orders = [
        _request(draw.kind, f"A red kite over the sea, take {first + job}") for job, draw in enumerate(draws)
    ]
    async for result in client.as_completed(orders):
        seen[result.index] = anyio.current_time()
        tasks[result.index] = result.tasks[0].id
    return seen, tasks


def _request(kind: Kind, prompt: str) -> Request:
    if kind == PICTURE:
        return NanoBananaPro(prompt=prompt)
    if kind == CLIP:
        return Seedance2Video(prompt=prompt)
    if kind == LONG_CLIP:
        return Seedance2Video(prompt=prompt, quality_tier="pro", resolution="1080p", duration=10)
    raise ValueError(f"no request is of {kind}")
