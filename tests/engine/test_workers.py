"""Workers as processes that are killed, interrupted, and cut off from a PostgreSQL that is stopped hard."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from anyio import to_thread

from seedance_async import Job, NanoBananaPro
from seedance_async.batch.states import State
from tests.engine.kills import fleet, run, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Postgres


@pytest.fixture
def anyio_backend() -> str:
    """The real clock: there are processes of their own."""
    return "asyncio"


@pytest.mark.timeout(120)
async def test_killed_workers_pay_nothing_twice_and_lose_nothing(postgres_url: str, tmp_path: Path) -> None:
    """Killed between POST and answer, and after acceptance; both of two at once, the last time."""
    ships = await run(postgres_url, tmp_path, between=2, after=1, all_at_once_every=2)

    assert {"between": 1, "between, all": 1, "after": 1} == ships.done
    assert ships.took[0] < 10.0, "on an idle machine it is about one second"


@pytest.mark.timeout(120)
async def test_a_postgres_that_is_stopped_hard_loses_no_job(
    postgres_server: Postgres, postgres_url: str, tmp_path: Path
) -> None:
    """Two workers with jobs in hand, some of whose answers are missing, wait until it is back."""
    async with fleet(postgres_url, tmp_path) as (ships, engine):
        await ships.ready()
        prompts = [f"A boat on pond {number}" for number in range(6)]
        jobs = [Job(NanoBananaPro(prompt=prompt), name=prompt.replace(" ", "-")) for prompt in prompts]
        await engine.enqueue(jobs)
        await until(lambda: len(ships.sandbox.paid_tasks) >= 2)

        await to_thread.run_sync(postgres_server.restart, signal.SIGQUIT)

        await ships.saved(engine)
        ships.judge(len(jobs))
        for prompt in prompts:
            assert 1 == len({(key, body) for key, body, _ in ships.posts(prompt)})


async def test_ctrl_c_leaves_what_is_accepted_to_the_next_worker(postgres_url: str, tmp_path: Path) -> None:
    """The worker ends in order; its job is collected by another, without a second POST."""
    async with fleet(postgres_url, tmp_path) as (ships, engine):
        await ships.ready(workers=1)
        (key,) = await engine.enqueue([Job(NanoBananaPro(prompt="A boat", resolution="2K"), name="boat")])
        tables, _ = engine._parts
        await until(lambda: tables.states([key])[key] is State.ACCEPTED)

        os.kill(ships.workers[0], signal.SIGINT)
        await until(lambda: not ships.is_alive(ships.workers[0]))
        ships.workers.clear()
        await ships.ready(workers=1)

        await ships.saved(engine)
        ships.judge(1)
        assert 1 == len(ships.posts("A boat"))
    assert "Traceback" not in ships.log.read_text()
