"""Tests of section E: idempotency under every reading of the documents; the client never pays twice."""

from __future__ import annotations

import anyio
import pytest
from attrs import evolve

from seedance_async import (
    IdempotencyConflictError,
    InsufficientCreditsError,
    RateLimitedError,
    RetryPolicy,
    UnauthorizedError,
    UncertainSubmissionError,
)
from seedance_async.sandbox import Behaviour, Fault, Sandbox
from tests.faults.helpers import IMPATIENT, PRICE, SECONDS, VIDEO, client_for, posts

LOST = Fault(effect="drop", on="submit")


def refusal(status: int, *, nth: int = 1, count: int | None = 1, code: str = "") -> Fault:
    """An answer before any work is done."""
    return Fault(
        effect="status", moment="before", on="submit", status=status, nth=nth, count=count, code=code
    )


@pytest.mark.case(72, 77)
@pytest.mark.parametrize("still_running", ["request", "task"])
async def test_a_conflict_after_a_lost_answer_is_waited_out(still_running: str) -> None:
    """Seconds or minutes, as the server reads "still running"; then the first answer comes again."""
    behaviour = Behaviour(still_running=still_running)  # type: ignore[arg-type]  # from the list above
    slow = Fault(effect="delay", on="submit", seconds=90.0)
    async with (
        Sandbox(conditions=SECONDS, behaviour=behaviour, faults=[slow]) as sandbox,
        client_for(sandbox) as client,
    ):
        task = await client.generate(VIDEO)

    assert 409 in [record.status for record in sandbox.requests]
    assert [task.id] == [paid.id for paid in sandbox.paid_tasks]
    assert 1 == len(set(posts(sandbox)))


@pytest.mark.case(73, 80)
@pytest.mark.parametrize("same_body", ["bytes", "values", "ignored"])
async def test_under_one_key_there_is_one_body(same_body: str) -> None:
    """However the server compares: a second one is refused before it is sent."""
    behaviour = Behaviour(same_body=same_body)  # type: ignore[arg-type]  # from the list above
    async with Sandbox(behaviour=behaviour, faults=[LOST]) as sandbox, client_for(sandbox) as client:
        await client.submit(VIDEO, idempotency_key="order-17")
        with pytest.raises(IdempotencyConflictError):
            await client.submit(evolve(VIDEO, prompt="Another"), idempotency_key="order-17")

    assert 1 == len(set(posts(sandbox)))
    assert 1 == len(sandbox.paid_tasks)


@pytest.mark.case(74, 76)
@pytest.mark.parametrize(
    ("status", "code"), [(409, ""), (422, "idempotency_key_reuse"), (409, "idempotency_key_in_use")]
)
async def test_a_conflict_at_the_first_attempt_is_waited_out(status: int, code: str) -> None:
    """A proxy sent it twice; under a key of ours no other body can stand."""
    async with (
        Sandbox(conditions=SECONDS, faults=[refusal(status, code=code, count=2)]) as sandbox,
        client_for(sandbox) as client,
    ):
        task = await client.generate(VIDEO)

    assert [task.id] == [paid.id for paid in sandbox.paid_tasks]


@pytest.mark.case(27)
async def test_a_request_that_a_proxy_delivers_twice_is_paid_once() -> None:
    """The answer that comes back is the second delivery's: a conflict with the first."""
    twice = Fault(effect="duplicate", moment="before", on="submit")
    async with Sandbox(conditions=SECONDS, faults=[twice]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert [202, 409] == [record.status for record in sandbox.requests if record.method == "POST"][:2]
    assert [task.id] == [paid.id for paid in sandbox.paid_tasks]


@pytest.mark.case(75)
async def test_a_copy_that_was_paid_before_ours_is_not_given_up() -> None:
    """A proxy delivers twice, and this server repeats no answer: the key stays the way to what is paid."""
    rejecting = Behaviour(repeated_key="reject")
    twice = Fault(effect="duplicate", on="submit", moment="before")
    async with (
        Sandbox(behaviour=rejecting, faults=[twice]) as sandbox,
        client_for(sandbox, retry=RetryPolicy(conflict_wait=30.0)) as client,
    ):
        with pytest.raises(UncertainSubmissionError) as caught:
            await client.submit(VIDEO)

    assert [caught.value.idempotency_key] == [paid.idempotency_key for paid in sandbox.paid_tasks]


async def test_a_key_that_is_rejected_for_ever_ends_in_doubt() -> None:
    """The server does not replay: the task was probably made, and the error says so, with the key."""
    rejecting = Behaviour(repeated_key="reject")
    async with (
        Sandbox(behaviour=rejecting, faults=[LOST]) as sandbox,
        client_for(sandbox, retry=IMPATIENT) as client,
    ):
        with pytest.raises(
            UncertainSubmissionError, match="not known whether the job was accepted"
        ) as caught:
            await client.submit(VIDEO)

    assert caught.value.idempotency_key == sandbox.paid_tasks[0].idempotency_key
    assert 1 == len(sandbox.paid_tasks)


@pytest.mark.case(77)
async def test_a_replayed_answer_may_be_older_than_the_truth() -> None:
    """It still says ``processing``, of a task that is done: what counts is the next look."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        first = await client.submit(VIDEO, idempotency_key="order-17")
        await anyio.sleep(500.0)
        again = await client.submit(VIDEO, idempotency_key="order-17")
        began = anyio.current_time()
        task = await client.wait(again)

        assert anyio.current_time() - began < 300.0

    assert ("processing", first.id) == (again.status, again.id)
    assert task.is_completed
    assert 1 == len(sandbox.paid_tasks)


@pytest.mark.case(79)
async def test_a_server_that_forgets_its_keys_can_be_shown_its_own_mistake() -> None:
    """No client can prevent it; but both tasks were made under one key, which the caller holds."""
    forgetful = Behaviour(key_life=0.1)
    async with (
        Sandbox(conditions=SECONDS, behaviour=forgetful, faults=[LOST]) as sandbox,
        client_for(sandbox) as client,
    ):
        submission = await client.submit(VIDEO)

    assert 2 == len(sandbox.paid_tasks)
    assert {submission.idempotency_key} == {paid.idempotency_key for paid in sandbox.paid_tasks}
    assert 1 == len(set(posts(sandbox)))


@pytest.mark.case(81)
async def test_equal_requests_are_two_jobs_under_two_keys() -> None:
    """Whoever lists one twice wants it twice."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results = [result async for result in client.as_completed([VIDEO, VIDEO])]

    assert 2 == len(sandbox.paid_tasks) == len({key for key, _ in posts(sandbox)})
    assert 2 == len({result.tasks[0].id for result in results})


@pytest.mark.case(86, 99)
@pytest.mark.parametrize("status", [400, 401, 402, 404, 429])
@pytest.mark.parametrize("stored", [frozenset({"2xx"}), frozenset({"2xx", "4xx", "5xx"})], ids=["2xx", "all"])
async def test_a_refusal_of_a_retry_does_not_undo_the_doubt(status: int, stored: frozenset[str]) -> None:
    """The first attempt was charged and its answer lost: whatever is said later, it may be paid."""
    faults = [LOST, refusal(status, nth=2, count=None)]
    behaviour = Behaviour(stored=stored)  # type: ignore[arg-type]  # from the list above
    async with (
        Sandbox(behaviour=behaviour, faults=faults) as sandbox,
        client_for(sandbox, retry=IMPATIENT) as client,
    ):
        with pytest.raises(UncertainSubmissionError) as caught:
            await client.submit(VIDEO)

    assert [caught.value.idempotency_key] == [paid.idempotency_key for paid in sandbox.paid_tasks]


@pytest.mark.case(99)
async def test_a_402_that_is_the_echo_of_our_own_charge_is_no_402() -> None:
    """The last credits went to the lost attempt; the balance is checked before the key is looked at."""
    early = Behaviour(before_key=frozenset({"auth", "limit", "validation", "balance"}))
    async with (
        Sandbox(credits=PRICE, behaviour=early, faults=[LOST]) as sandbox,
        client_for(sandbox, retry=IMPATIENT) as client,
    ):
        with pytest.raises(UncertainSubmissionError) as caught:
            await client.submit(VIDEO)

    assert isinstance(caught.value.__cause__, InsufficientCreditsError)
    assert 1 == len(sandbox.paid_tasks)


@pytest.mark.case(33)
async def test_a_500_that_is_stored_under_its_key_ends_in_doubt() -> None:
    """It is answered for ever; asking on cannot help, and a new key might pay twice."""
    storing = Behaviour(stored=frozenset({"2xx", "5xx"}))
    broken = Fault(effect="status", on="submit", status=500)
    async with Sandbox(behaviour=storing, faults=[broken]) as sandbox, client_for(sandbox) as client:
        with pytest.raises(UncertainSubmissionError) as caught:
            await client.submit(VIDEO)

    assert 10 > len(posts(sandbox))
    assert 1 == len(set(posts(sandbox)))
    assert caught.value.idempotency_key == posts(sandbox)[0][0]


@pytest.mark.case(36, 86)
@pytest.mark.parametrize(
    ("status", "family"),
    [(401, UnauthorizedError), (402, InsufficientCreditsError), (429, RateLimitedError)],
)
async def test_a_refusal_of_an_untainted_attempt_is_certain(status: int, family: type[Exception]) -> None:
    """Nothing was charged, and the error does not pretend otherwise."""
    async with (
        Sandbox(faults=[refusal(status, count=None)]) as sandbox,
        client_for(sandbox, retry=IMPATIENT) as client,
    ):
        with pytest.raises(family) as caught:
            await client.submit(VIDEO)

    assert not isinstance(caught.value, UncertainSubmissionError)
    assert [] == sandbox.paid_tasks
