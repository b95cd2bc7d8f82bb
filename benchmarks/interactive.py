"""The benchmark of a single ``generate`` beside a batch of 2,000 jobs on the same account.

The batch is in the same process, in another one of this machine, or on another host. Client and sandbox are
the real ones, the way between hosts is the one of `shared_server`, time is virtual.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Final
from unittest import mock

import anyio
from attrs import frozen

from benchmarks.report import Size, Table
from benchmarks.shared_server import Line, Server
from seedance_async import NanoBananaPro, Seedance2Video, SeedanceClient
from seedance_async.budget import shared
from seedance_async.budget.file_memory import ClockReading, MachineClock
from seedance_async.sandbox import Conditions, Sandbox, virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS: Final = 2000
LASTS: Final = 150.0
"""Seconds that a clip takes."""

ANOTHER_HOST: Final = "another host, by a server"
ANOTHER_PROCESS: Final = "another process, by the file"
SAME_PROCESS: Final = "the same process"
ALONE: Final = "nowhere: alone"
PLACES: Final = (ALONE, SAME_PROCESS, ANOTHER_PROCESS, ANOTHER_HOST)


@frozen(kw_only=True)
class Single:
    """What became of one ``generate``.

    Attributes:
        ahead: requests of the batch that arrived between the call and its POST.
        waited: seconds between them.
        seen_late: seconds from the task's end until the caller had it.
        slots_late: requests of the batch that arrived in this time.
    """

    ahead: int
    waited: float
    seen_late: float
    slots_late: int


def run(size: Size) -> list[Table]:
    """A row a place."""
    quick = size is Size.QUICK
    return [
        Table(
            name="A single generate beside a batch on the same account",
            conditions=f"batch of {JOBS:,} pictures at full load, singles of {LASTS:g} s, worst of "
            f"{_singles(quick)}; slots: requests of the batch that arrived in between",
            columns=("the batch is in", "slots before its POST", "s", "slots before its result", "s"),
            rows=tuple(_row(place, measure(place, singles=_singles(quick))) for place in PLACES),
        )
    ]


def _singles(quick: bool) -> int:
    return 2 if quick else 6


def _row(place: str, singles: list[Single]) -> tuple[str | int | float, ...]:
    return (
        place,
        max(single.ahead for single in singles),
        round(max(single.waited for single in singles), 1),
        max(single.slots_late for single in singles),
        round(max(single.seen_late for single in singles), 1),
    )


def measure(place: str, *, singles: int) -> list[Single]:
    """So many clips, one after the other, beside a batch that began before them."""
    with _shared_by(place):
        return virtual_time.run(_measured, place, singles)


async def _measured(place: str, singles: int) -> list[Single]:
    conditions = Conditions(duration=lambda _order, _chance: LASTS)
    async with Sandbox(conditions=conditions, credits=10**6) as sandbox, AsyncExitStack() as opened:

        async def client() -> SeedanceClient:
            url = "redis://another" if place == ANOTHER_HOST else None
            made = SeedanceClient(sandbox.api_key, sandbox.base_url, shared_budget=url, record=False)
            return await opened.enter_async_context(made)

        ours = await client()
        async with anyio.create_task_group() as tasks:
            if place != ALONE:
                tasks.start_soon(_batch, ours if place == SAME_PROCESS else await client())
                await anyio.sleep(400.0)
            found = []
            for number in range(singles):
                await anyio.sleep(17.0 * number)
                found.append(await _single(ours, sandbox))
            tasks.cancel_scope.cancel()
        return found


async def _batch(client: SeedanceClient) -> None:
    requests = [NanoBananaPro(prompt=f"A boat, number {number}") for number in range(JOBS)]
    async for _ in client.as_completed(requests):
        pass


async def _single(client: SeedanceClient, sandbox: Sandbox) -> Single:
    began, before = anyio.current_time(), len(sandbox.requests)
    task = await client.generate(Seedance2Video(prompt="Now, please", duration=4))
    ended, requests = anyio.current_time(), sandbox.requests
    post = next(record for record in requests[before:] if b"Now, please" in record.body)
    others = [record.at for record in requests if not record.path.endswith(task.id) and record is not post]
    offset = requests[-1].at - ended  # the sandbox's clock less the loop's, but for the answer's way
    done = post.at + LASTS
    return Single(
        ahead=sum(began + offset < at < post.at for at in others),
        waited=max(0.0, post.at - offset - began),
        seen_late=ended + offset - done,
        slots_late=sum(done < at < ended + offset for at in others),
    )


@contextmanager
def _shared_by(place: str) -> Iterator[None]:
    """A machine of its own, whose clocks are the loop's, or a server in virtual time."""
    server = Server()

    def read(_: MachineClock) -> ClockReading:
        now = 1_000.0 + anyio.current_time()
        return ClockReading(boot="virtual", uptime=now, wall=now)

    with (
        tempfile.TemporaryDirectory() as directory,
        mock.patch.dict(os.environ, {"SEEDANCE_STATE_DIR": directory} if place == ANOTHER_PROCESS else {}),
        mock.patch.object(MachineClock, "read", read),
        mock.patch.dict(shared._STORES, {"redis": lambda _: Line(server)}),  # noqa: SLF001 - there is no real one
    ):
        yield
