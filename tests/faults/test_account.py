"""Tests of section G: credits that run out, keys that are refused, prices that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from seedance_async import (
    BatchRunner,
    CreditCapError,
    GptImage2,
    InsufficientCreditsError,
    Job,
    UnauthorizedError,
)
from seedance_async.sandbox import AccountSpec, Conditions, Fault, Sandbox
from tests.batch.helpers import charged, pictures
from tests.faults.helpers import PRICE, SECONDS, VIDEO, client_for, polls, posts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.case(97)
async def test_credits_that_end_stop_the_submits_and_not_the_collecting() -> None:
    """Of twenty jobs three are paid and delivered; each of the others says that it was not sent."""
    async with Sandbox(credits=3 * PRICE, conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results = [result async for result in client.as_completed([VIDEO] * 20)]

    short = [result.error for result in results if isinstance(result.error, InsufficientCreditsError)]
    assert 17 == len(short)
    assert 3 == len(sandbox.paid_tasks)
    assert {result.tasks[0].id for result in results if result.error is None} == {
        paid.id for paid in sandbox.paid_tasks
    }


@pytest.mark.case(100)
async def test_credits_spent_elsewhere_meanwhile_are_met_as_a_402() -> None:
    """Another program takes the rest; what this one was told before is no promise."""
    async with (
        Sandbox(credits=3 * PRICE, conditions=SECONDS) as sandbox,
        client_for(sandbox) as client,
        client_for(sandbox) as other,
    ):
        first = await client.submit(VIDEO)
        for _ in range(2):
            await other.submit(VIDEO)
        with pytest.raises(InsufficientCreditsError):
            await client.submit(VIDEO)

        assert (await client.wait(first)).is_completed


@pytest.mark.case(101)
async def test_a_key_revoked_in_the_middle_ends_submits_and_polls() -> None:
    """Every job is told, those that are paid with their ids; and no hundred further 401s are provoked."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results = client.as_completed([VIDEO] * 60)
        first = await anext(results)
        sandbox.revoke(sandbox.api_key)
        seen = len(sandbox.requests)
        rest = [result async for result in results]

    refused = [result for result in rest if isinstance(result.error, UnauthorizedError)]
    reported = {result.submission.id for result in [first, *rest] if result.submission}
    assert 60 == 1 + len(rest)
    assert {paid.id for paid in sandbox.paid_tasks} == reported
    assert refused
    assert 60 > len(sandbox.requests) - seen


@pytest.mark.case(103)
async def test_a_key_of_somewhere_else_is_refused_and_spends_nothing() -> None:
    """A live key at the sandbox: its one account has one key, and the error does not repeat the other."""
    async with Sandbox() as sandbox, client_for(sandbox, api_key="sk_live_0123456789") as client:
        with pytest.raises(UnauthorizedError) as caught:
            await client.submit(VIDEO)

    assert "sk_live_0123456789" not in str(caught.value)
    assert [] == sandbox.paid_tasks
    assert [] == polls(sandbox)


@pytest.mark.case(103)
def test_a_sandbox_takes_no_live_key() -> None:
    """Its clients would send the key about; the refusal does not repeat it."""
    with pytest.raises(ValueError, match="begins with sk_live_") as alone:
        Sandbox(api_key="sk_live_0123456789")
    with pytest.raises(ValueError, match="begins with sk_live_") as among:
        AccountSpec(keys=("sk_test_one", " sk_live_0123456789"))

    assert "0123456789" not in f"{alone.value}{among.value}"


@pytest.mark.case(104)
async def test_a_price_that_rises_stops_before_the_cap_is_passed(tmp_path: Path) -> None:
    """Jobs that had reserved the old price are judged again: 12, 12, 40 are paid, a further 40 is not."""
    rising = Conditions(price=lambda _: 12 if len(sandbox.tasks) < 2 else 40)
    async with (
        Sandbox(conditions=rising) as sandbox,
        client_for(sandbox) as client,
        BatchRunner(client, tmp_path, max_credits=100, max_in_flight=1) as batch,
    ):
        results = [result async for result in batch.run(pictures(10))]

        assert isinstance(batch.summary.stopped, CreditCapError)
        assert 64 == batch.summary.credits_used == charged(sandbox)

    assert ["saved"] * 3 + ["planned"] * 7 == sorted((str(result.state) for result in results), reverse=True)


@pytest.mark.case(104)
async def test_what_a_job_cost_is_what_its_answer_says() -> None:
    """Not what a table says."""
    dear = Fault.read({"effect": "edit", "on": "submit", "fields": {"credits_used": 77.5}})
    async with Sandbox(conditions=SECONDS, faults=[dear]) as sandbox, client_for(sandbox) as client:
        submission = await client.submit(VIDEO)

        assert 77.5 == submission.credits_used == client.usage.credits_used
    assert 1 == len(posts(sandbox))


@pytest.mark.case(101)
async def test_a_job_in_doubt_when_the_key_is_refused_is_told_like_any_other(tmp_path: Path) -> None:
    """Its answer is lost; before it can be asked again the others are refused, and end the run."""
    jobs = [*pictures(1), Job(VIDEO, name="clip"), Job(GptImage2(prompt="A shoe"), name="shoe")]
    lost = Fault(effect="drop", on="submit")
    refused = Fault(effect="status", moment="before", status=401, nth=2, count=None)
    async with (
        Sandbox(faults=[lost, refused]) as sandbox,
        client_for(sandbox) as client,
        BatchRunner(client, tmp_path) as batch,
    ):
        results = [result async for result in batch.run(jobs)]

    assert ["planned", "planned", "uncertain"] == sorted(str(result.state) for result in results)
    assert 3 == len({result.name for result in results})
