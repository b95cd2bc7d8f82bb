"""Tests of an application that spends credits: they spend none and wait for nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from poster_app import app

from seedance_async import SeedanceClient
from seedance_async.integrations.fastapi import get_client
from seedance_async.sandbox import Fault, Sandbox
from seedance_async.sandbox.virtual_time import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def browser(seedance_client: SeedanceClient) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who uses the application, whose client is the fixture's."""
    app.dependency_overrides[get_client] = lambda: seedance_client
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://app") as opened:
        yield opened
    app.dependency_overrides.clear()


async def test_a_poster_is_made_and_paid(
    browser: httpx2.AsyncClient, seedance_sandbox: Sandbox, seedance_clock: Clock
) -> None:
    """The minutes of a generation pass at once: the clock is virtual."""
    answer = await browser.post("/posters", json={"title": "Lima"})

    assert answer.status_code == 200
    assert len(seedance_sandbox.paid_tasks) == 1
    assert seedance_clock.now > 30


@pytest.mark.seedance_sandbox(credits=5)
async def test_without_credits_the_user_is_told_so(
    browser: httpx2.AsyncClient, seedance_sandbox: Sandbox
) -> None:
    """And nothing is paid."""
    answer = await browser.post("/posters", json={"title": "Lima"})

    assert (answer.status_code, answer.json()["title"]) == (402, "InsufficientCreditsError")
    assert seedance_sandbox.paid_tasks == []


async def test_a_lost_answer_is_not_paid_twice(
    browser: httpx2.AsyncClient, seedance_sandbox: Sandbox
) -> None:
    """The POST is charged and its answer never comes: the client asks again under the same key."""
    seedance_sandbox.faults.add(Fault(effect="drop", on="submit", moment="after"))
    answer = await browser.post("/posters", json={"title": "Lima"})

    assert answer.status_code == 200
    assert len(seedance_sandbox.paid_tasks) == 1


async def test_what_the_api_would_refuse_is_not_sent(
    browser: httpx2.AsyncClient, seedance_sandbox: Sandbox
) -> None:
    """The rules of the request are checked before."""
    answer = await browser.post("/posters", json={"title": "x" * 20_000})

    assert answer.status_code == 422
    assert seedance_sandbox.requests == []
