"""Tests of the rest of section B: requests that our own side ends, and replies that come too early."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import BatchRunner, InvalidRequestError, Seedance2Video, SeedanceClient
from seedance_async.sandbox import Fault, Sandbox
from tests.batch.helpers import pictures
from tests.faults.helpers import SECONDS, VIDEO, client_for, posts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from seedance_async import JobResult

SLOW = Fault(effect="delay", on="submit", seconds=5.0, count=None)


@pytest.mark.case(21, 22)
async def test_a_neighbours_failure_tells_the_keys_of_every_post_it_cancels() -> None:
    """A group of tasks ends with its first error; what the others may have paid has a name."""
    keys: list[str | None] = []

    async def submit(client: SeedanceClient) -> None:
        try:
            await client.submit(VIDEO)
        except asyncio.CancelledError as cancelled:
            keys.append(getattr(cancelled, "idempotency_key", None))
            raise

    async def fail() -> None:
        await anyio.sleep(1.0)
        raise LookupError("a row of the sheet is gone")

    async with Sandbox(conditions=SECONDS, faults=[SLOW]) as sandbox, client_for(sandbox) as client:
        with pytest.raises(ExceptionGroup):  # noqa: PT012 - the group is what is tested
            async with anyio.create_task_group() as siblings:
                for _ in range(3):
                    siblings.start_soon(submit, client)
                siblings.start_soon(fail)
        collected = [await client.submit(VIDEO, idempotency_key=key) for key in keys]

    assert {submission.id for submission in collected} == {paid.id for paid in sandbox.paid_tasks}
    assert 3 == len(sandbox.paid_tasks)


@pytest.mark.case(22)
async def test_a_failure_beside_a_run_abandons_no_post(caplog: pytest.LogCaptureFixture) -> None:
    """The POSTs of a run are the client's own: they are answered, and what they paid is named."""
    caplog.set_level(logging.WARNING)
    async with Sandbox(conditions=SECONDS, faults=[SLOW]) as sandbox:  # noqa: SIM117 - the client closes first
        async with client_for(sandbox) as client:
            with pytest.raises(ExceptionGroup):  # noqa: PT012 - the group is what is tested
                async with anyio.create_task_group() as siblings:
                    results = client.as_completed([VIDEO] * 3)
                    siblings.start_soon(anext, results)
                    await anyio.sleep(1.0)
                    raise LookupError("a row of the sheet is gone")
            await results.aclose()

    assert 3 == len(sandbox.paid_tasks)
    assert all(paid.id in caplog.text for paid in sandbox.paid_tasks)


@pytest.mark.case(21)
@pytest.mark.parametrize("instant", [0.0, 0.3, 2.0, 4.9, 5.1, 30.0, 104.0])
async def test_a_job_cancelled_at_any_instant_is_collected_by_what_the_cancellation_tells(
    instant: float,
) -> None:
    """Before, during or after the POST: either nothing was paid, or the key or the id is told."""
    async with Sandbox(conditions=SECONDS, faults=[SLOW]) as sandbox, client_for(sandbox) as client:
        job = asyncio.create_task(client.generate(VIDEO))
        await anyio.sleep(instant)
        job.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await job
        await anyio.sleep(10.0)
        paid = [task.id for task in sandbox.paid_tasks]
        key = getattr(caught.value, "idempotency_key", None)
        if paid:
            assert paid == [(await client.submit(VIDEO, idempotency_key=key)).id]

    assert key is not None
    assert len(posts(sandbox)) <= 2


@pytest.mark.case(28)
async def test_a_refusal_that_comes_before_the_body_was_read_is_a_refusal() -> None:
    """The server answers at the end of the headers and hangs up; the body is still on its way."""
    envelope = {"error": {"code": "invalid_request", "message": "prompt is too long"}}
    body = json.dumps(envelope).encode()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.write_eof()
        await reader.read()
        writer.close()

    long = Seedance2Video(prompt="A glass train " * 200)
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
        async with SeedanceClient("sk_test", url) as client:
            with pytest.raises(InvalidRequestError, match="too long"):
                await client.submit(long)


@pytest.mark.case(126)
async def test_a_loop_that_was_blocked_loses_no_answer() -> None:
    """The caller's code holds the loop for two minutes while answers lie in the socket: all are collected."""
    loop = asyncio.get_running_loop()
    async with Sandbox(conditions=SECONDS, faults=[SLOW]) as sandbox, client_for(sandbox) as client:

        async def block() -> None:
            await anyio.sleep(5.0)
            loop.jump(120.0)  # type: ignore[attr-defined]  # virtual time: nothing ran meanwhile

        async with anyio.create_task_group() as others:
            others.start_soon(block)
            results = [result async for result in client.as_completed([VIDEO] * 5)]

    assert [None] * 5 == [result.error for result in results]
    assert {result.tasks[0].id for result in results} == {paid.id for paid in sandbox.paid_tasks}
    assert 5 == len(sandbox.paid_tasks)


@pytest.mark.case(123)
async def test_a_loop_body_that_raises_loses_nothing_paid(tmp_path: Path) -> None:
    """What the caller does with a result fails: the error is theirs to see, and the next run collects."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        async with BatchRunner(client, tmp_path) as batch:
            with pytest.raises(LookupError, match="the caller's own"):
                await use_badly(batch.run(pictures(6)))
            paid = len(sandbox.paid_tasks)
        async with BatchRunner(client, tmp_path) as batch:
            results = [result async for result in batch.run(pictures(6))]

    assert ["saved"] * 6 == [str(result.state) for result in results]
    assert paid > 1
    assert 6 == len(sandbox.paid_tasks)


async def use_badly(results: AsyncGenerator[JobResult]) -> None:
    """A caller with a mistake in it."""
    async with aclosing(results):
        async for result in results:
            raise LookupError(f"the caller's own mistake about {result.name}")
