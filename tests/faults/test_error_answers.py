"""Tests of section C: what each error reply proves about the money, and how long the client then waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pytest

from seedance_async import (
    ApiError,
    BatchRunner,
    GptImage2,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    SeedanceClient,
    SeedanceError,
    UncertainSubmissionError,
)
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.batch.helpers import pictures
from tests.faults.helpers import IMPATIENT, SECONDS, VIDEO, client_for, posts
from tests.rooms.raw_server import accepted, answer, raw_server

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.case(36)
async def test_a_429_holds_up_the_whole_account_for_as_long_as_it_says() -> None:
    """Not the request that met it alone: nothing at all arrives in the 36 s."""
    refused = Fault(
        effect="status", moment="before", on="submit", status=429, headers={"Retry-After": "36"}, nth=3
    )
    async with (
        Sandbox(faults=[refused]) as sandbox,
        client_for(sandbox) as client,
        anyio.create_task_group() as callers,
    ):
        for _ in range(8):
            callers.start_soon(client.submit, VIDEO)

    at = next(record.at for record in sandbox.requests if record.status == 429)
    later = [record.at for record in sandbox.requests if record.at > at + 0.5]
    assert min(later) >= at + 36
    assert 8 == len(sandbox.paid_tasks)


@pytest.mark.case(37)
async def test_a_date_to_retry_after_is_read_by_the_servers_own_clock() -> None:
    """The server says half past; our own clock may show another year."""
    until = format_datetime(EPOCH + timedelta(seconds=40), usegmt=True)
    refused = Fault(effect="status", moment="before", status=429, headers={"Retry-After": until})
    async with Sandbox(faults=[refused], epoch=EPOCH) as sandbox, client_for(sandbox) as client:
        await client.submit(VIDEO)

    first, second = sandbox.requests
    assert 39 <= second.at - first.at < 50


@pytest.mark.case(38, 40)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "hint", ["0", "-3", "Thu, 01 Jan 1970 00:00:00 GMT", "", "5, 10", "soon", "1_0", "nan", "inf", "-0"]
)
async def test_a_hint_that_is_none_is_never_a_tight_loop(status: int, hint: str) -> None:
    """Three refusals in a row: the waits grow by themselves."""
    refused = Fault(
        effect="status", moment="before", status=status, headers={"Retry-After": hint}, count=3, on="submit"
    )
    async with Sandbox(faults=[refused]) as sandbox, client_for(sandbox) as client:
        await client.submit(VIDEO)

    at = [record.at for record in sandbox.requests]
    assert 4 == len(at)
    assert all(later - earlier >= 0.4 for earlier, later in pairwise(at))


@pytest.mark.case(39)
@pytest.mark.parametrize("hint", ["99999999999", "601", "1000000000.5"])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_wait_of_years_is_told_and_not_slept(hint: str, status: int) -> None:
    """The caller decides; and the client is of use again within an hour."""
    refused = Fault(effect="status", moment="before", status=status, headers={"Retry-After": hint})
    async with Sandbox(faults=[refused]) as sandbox, client_for(sandbox) as client:
        began = anyio.current_time()
        with pytest.raises(SeedanceError) as caught:
            await client.submit(VIDEO)
        assert anyio.current_time() - began < 1.0
        await client.submit(VIDEO)

        assert anyio.current_time() - began < 3600.0

    assert isinstance(caught.value, RateLimitedError | UncertainSubmissionError)


@pytest.mark.case(41)
async def test_another_program_that_spends_the_account_fails_no_job() -> None:
    """It hammers for five minutes without looking at answers; every job of ours is done all the same."""
    async with (
        Sandbox(conditions=SECONDS) as sandbox,
        client_for(sandbox) as client,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {sandbox.api_key}"}) as other,
    ):

        async def hammer() -> None:
            for _ in range(300):
                async with other.get(f"{sandbox.base_url}/tasks/sd2_nobody") as response:
                    await response.read()
                await anyio.sleep(1.0)

        async with anyio.create_task_group() as programs:
            programs.start_soon(hammer)
            results = [result async for result in client.as_completed([VIDEO] * 10)]

    assert [None] * 10 == [result.error for result in results]
    assert 10 == len(sandbox.paid_tasks)
    assert client.usage.refusals > 0


@pytest.mark.case(41)
async def test_a_batch_that_is_refused_for_an_hour_ends_and_can_go_on(tmp_path: Path) -> None:
    """No job fails of it; they stay planned, and the next run sends them."""
    storm = Fault(effect="status", moment="before", on="submit", status=429, count=None)
    states = []
    async with Sandbox(faults=[storm]) as sandbox, client_for(sandbox) as client:
        for _ in range(2):
            async with BatchRunner(client, tmp_path) as batch:
                states.append(sorted([str(result.state) async for result in batch.run(pictures(3))]))
            assert anyio.current_time() < 3 * 3600.0
            sandbox.faults.clear()

    assert [["planned"] * 3, ["saved"] * 3] == states
    assert 3 == len(sandbox.paid_tasks)


@pytest.mark.case(43)
async def test_a_base_url_that_leads_elsewhere_stops_a_batch_at_once(tmp_path: Path) -> None:
    """404 for the endpoint itself meets every job alike, so no second one is sent."""
    async with Sandbox() as sandbox:
        url = sandbox.base_url + "/v2"
        async with (
            SeedanceClient(sandbox.api_key, url) as client,
            BatchRunner(client, tmp_path, max_in_flight=1) as batch,
        ):
            results = [result async for result in batch.run([VIDEO, GptImage2(prompt="A shoe")])]

            assert isinstance(batch.summary.stopped, NotFoundError)

    assert ["planned", "planned"] == [str(result.state) for result in results]
    assert 1 == len(posts(sandbox))


@pytest.mark.case(44)
@pytest.mark.parametrize(
    "status", [400, 403, 405, 408, 410, 413, 418, 421, 425, 426, 431, 451, 499, 520, 599]
)
async def test_somebody_elses_refusal_proves_nothing(status: int) -> None:
    """A proxy's page after the charge: asked again, and collected."""
    page = Fault(effect="status", on="submit", status=status, body="<html>no</html>", count=2)
    async with Sandbox(conditions=SECONDS, faults=[page]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert [task.id] == [paid.id for paid in sandbox.paid_tasks]


@pytest.mark.case(45)
async def test_an_error_under_a_200_is_an_error() -> None:
    """A definitive code refuses, any other leaves the money open."""
    refusal = {"error": {"code": "invalid_request", "message": "aspect_ratio is wrong"}}
    busy = {"error": {"code": "service_busy", "message": "come again"}}
    async with raw_server(answer(200, refusal)) as server, SeedanceClient("sk_test", server.url) as client:
        with pytest.raises(InvalidRequestError):
            await client.submit(VIDEO)
    async with (
        raw_server(answer(202, busy), accepted()) as server,
        SeedanceClient("sk_test", server.url) as client,
    ):
        await client.submit(VIDEO)

    assert 2 == len(server.seen)


@pytest.mark.case(46, 47)
@pytest.mark.parametrize("status", [400, 401, 402, 404, 409, 422, 429, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        b"", b'"no"', b"[]", b'["no"]', b'{"detail":"no"}', b'{"error":null}', b'{"error":"no"}', b"null",
        b'{"error":{}}', b'{"error":{"code":7}}', b'{"error":{"code":"made_up"}}', b"\xff\xfe", b"{", b"7",
        b'{"error":{"code":"made_up","message":["no"]}}', b'{"error":{"code":"made_up","message":7}}',
    ],
)  # fmt: skip
async def test_no_error_body_makes_the_client_stumble(status: int, body: bytes) -> None:
    """It ends in an error of the tree that keeps the key, whatever stands in the body."""
    async with (
        raw_server(answer(status, body)) as server,
        SeedanceClient("sk_test", server.url, retry=IMPATIENT) as client,
    ):
        with pytest.raises(SeedanceError) as caught:
            await client.submit(VIDEO)

    assert caught.value.idempotency_key == server.seen[0].headers["idempotency-key"]
    shown = caught.value.__cause__ or caught.value
    assert str(status) in str(shown)
    assert len(str(shown)) < 1000


@pytest.mark.case(42)
async def test_a_code_nobody_documented_is_a_plain_api_error() -> None:
    """With the server's own words, and not asked again."""
    unknown = Fault(effect="status", moment="before", status=400, code="content_policy")
    async with Sandbox(faults=[unknown], conditions=Conditions()) as sandbox, client_for(sandbox) as client:
        with pytest.raises(ApiError, match="content_policy") as caught:
            await client.submit(VIDEO)

    assert type(caught.value) is ApiError
    assert [] == sandbox.paid_tasks
