"""A server that checks the reference media of three submits a minute, beside its limit of all requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import (
    BatchRunner,
    ConfigurationError,
    Job,
    NanoBananaPro,
    RateLimit,
    Seedance2Video,
    SeedanceClient,
)
from seedance_async.sandbox import Conditions, Sandbox
from seedance_async.sandbox.recorder import worst_window

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Record

CHECKS = 3
KEPT = RateLimit(requests=CHECKS, period=60.0)
QUICK = Conditions(reference_checks=CHECKS, duration=lambda _order, _chance: 20.0)


def clips(count: int) -> list[Seedance2Video]:
    """Requests that bring a picture."""
    return [
        Seedance2Video(prompt=f"Boat {n}", image_url=f"https://example.com/{n}.png") for n in range(count)
    ]


def pictures(count: int) -> list[NanoBananaPro]:
    """Requests that bring none."""
    return [NanoBananaPro(prompt=f"A pond, {n}") for n in range(count)]


def submits_with_media(sandbox: Sandbox) -> list[Record]:
    """Those that arrived."""
    return [record for record in submits(sandbox) if b"_url" in record.body]


def submits(sandbox: Sandbox) -> list[Record]:
    """Those that arrived, of all kinds."""
    return [record for record in sandbox.requests if record.endpoint == "submit"]


def refused(sandbox: Sandbox) -> int:
    """Requests that were answered 429."""
    return sum(record.status == 429 for record in sandbox.requests)


async def test_a_limit_that_is_told_is_kept_and_holds_nobody_else_up() -> None:
    """A stream of clips with pictures, and pictures beside them."""
    async with (
        Sandbox(conditions=QUICK) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url, reference_limit=KEPT) as client,
    ):
        done = [each async for each in client.as_completed([*clips(9), *pictures(12)])]

        assert {None} == {each.error for each in done}
        assert 0 == refused(sandbox)
        assert CHECKS >= worst_window(submits_with_media(sandbox), seconds=60.0).arrivals
        last_picture = max(
            record.at
            for record in sandbox.requests
            if record.endpoint == "submit" and b"_url" not in record.body
        )
        assert last_picture < submits_with_media(sandbox)[-1].at


async def test_single_calls_keep_it_too() -> None:
    """As a web application sends them."""
    async with (
        Sandbox(conditions=QUICK) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url, reference_limit=KEPT) as client,
    ):
        async with anyio.create_task_group() as callers:
            for request in clips(7):
                callers.start_soon(client.generate, request)

        assert 7 == len(sandbox.tasks)
        assert 0 == refused(sandbox)


async def test_the_environment_says_it_to_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command has no flag of its own for it."""
    monkeypatch.setenv("SEEDANCE_REFERENCE_LIMIT", "3/60")
    async with (
        Sandbox(conditions=QUICK) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
        BatchRunner(client, tmp_path) as batch,
    ):
        results = [result async for result in batch.run([Job(request) for request in clips(7)])]

        assert {"saved"} == {result.state for result in results}
        assert 0 == refused(sandbox)


async def test_it_is_learned_from_refusals_that_nothing_else_explains() -> None:
    """One or two clips are refused, and none of all that follow in the next half hour."""
    async with (
        Sandbox(conditions=QUICK) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
    ):
        done = [each async for each in client.as_completed(clips(30))]

        assert {None} == {each.error for each in done}
        assert 30 == len(sandbox.tasks)
        seen = submits_with_media(sandbox)
        learned = max(place for place, record in enumerate(seen) if record.status == 429)
        assert learned < 2 * CHECKS + 6


async def test_a_limit_of_all_requests_is_not_taken_for_it() -> None:
    """Another program spends the account: it is refused as often, whatever its requests bring."""
    async with (
        Sandbox(conditions=Conditions(requests=10, duration=lambda _order, _chance: 20.0)) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
    ):
        done = [each async for each in client.as_completed([*pictures(20), *clips(20)])]

        assert {None} == {each.error for each in done}
        assert (
            CHECKS
            < worst_window(
                [record for record in submits_with_media(sandbox) if record.status == 202], seconds=60.0
            ).arrivals
        )


async def test_a_batch_that_is_stopped_does_not_wait_for_it(tmp_path: Path) -> None:
    """What waits for its turn to be checked was not sent, and is told so at once."""
    async with (
        Sandbox(conditions=QUICK, credits=100) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url, reference_limit=KEPT) as client,
        BatchRunner(client, tmp_path) as batch,
    ):
        results = [result async for result in batch.run([Job(request) for request in clips(40)])]

        assert len(sandbox.tasks) == sum(result.state == "saved" for result in results)
        assert 40 == len(results)
        assert anyio.current_time() < 400.0


def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of its variable."""
    monkeypatch.setenv("SEEDANCE_REFERENCE_LIMIT", "three")
    with pytest.raises(ConfigurationError, match="SEEDANCE_REFERENCE_LIMIT"):
        SeedanceClient("sk_test_x", "http://127.0.0.1:1/api/v1")
