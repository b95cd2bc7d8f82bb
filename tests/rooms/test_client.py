"""The client as its callers meet it: one loop, one life, every documented answer by its class."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from attrs import evolve

from seedance_async import (
    ApiError,
    ClientStateError,
    ConfigurationError,
    ConnectionFailedError,
    Forecast,
    GptImage2,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    RateLimit,
    RateLimitedError,
    RetryPolicy,
    Seedance2Video,
    SeedanceClient,
    SeedanceError,
    ServiceBusyError,
    Task,
    TaskFailedError,
    UnauthorizedError,
    UncertainSubmissionError,
    UnexpectedReplyError,
    ValidationError,
    VideoOutput,
    WaitTimeoutError,
)
from seedance_async.downloads import Downloads
from seedance_async.sandbox import Behaviour, Conditions, Fault, Sandbox
from seedance_async.sandbox.faults import NAMED
from seedance_async.scheduling.dispatcher import Dispatcher
from tests.rooms.raw_server import Exchange, answer, raw_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from pathlib import Path

    from seedance_async.models import Request
    from seedance_async.sandbox.validation import GenerationRequest

VIDEO = Seedance2Video(prompt="A glass train crosses a snowy bridge")
SECONDS = Conditions(duration=lambda _order, _chance: 100.0)


def client_for(sandbox: Sandbox, **options: object) -> SeedanceClient:
    """A client of this sandbox's account."""
    settings = {"api_key": sandbox.api_key, "base_url": sandbox.base_url, **options}
    return SeedanceClient(**settings)  # type: ignore[arg-type]  # each test names real options


def client_at(url: str) -> SeedanceClient:
    """A client of a server that is not the sandbox."""
    return SeedanceClient("sk_test", url)


async def test_one_job_from_prompt_to_urls() -> None:
    """The main job: submit, wait, and there are the files; two credits entries agree."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

        assert task.is_completed
        assert isinstance(task.output, VideoOutput)
        assert task.urls[0] == task.output.video_url
        assert client.usage.credits_used == sandbox.ledger[-1].credits == 30
        assert client.usage.requests == len(sandbox.requests)


async def test_every_task_of_a_batch_count_is_returned() -> None:
    """Four pictures of one POST are four tasks."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        tasks = await client.generate_all(GptImage2(prompt="A shoe on chrome", batch_count=4))

    assert [task.is_completed for task in tasks] == [True] * 4
    assert len({task.id for task in tasks}) == 4
    assert [record.method for record in sandbox.requests].count("POST") == 1


async def test_generate_refuses_what_would_lose_paid_tasks() -> None:
    """It returns one task, so several are refused before anything is spent."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        with pytest.raises(ValidationError, match="generate_all"):
            await client.generate(GptImage2(prompt="A shoe on chrome", batch_count=2))

    assert sandbox.requests == []


async def test_a_timeout_is_one_for_all_tasks_of_a_post() -> None:
    """Not one for each in turn."""
    seconds = iter([40.0, 90.0, 130.0, 170.0])
    one_by_one = Conditions(duration=lambda _order, _chance: next(seconds))
    async with Sandbox(conditions=one_by_one) as sandbox, client_for(sandbox) as client:
        began = anyio.current_time()
        with pytest.raises(WaitTimeoutError) as caught:
            await client.generate_all(GptImage2(prompt="A shoe on chrome", batch_count=4), timeout=60.0)

    assert anyio.current_time() - began < 65.0
    assert caught.value.idempotency_key == sandbox.paid_tasks[0].idempotency_key


async def test_the_tasks_of_a_post_are_looked_at_side_by_side() -> None:
    """The slow first one does not hide the others until it ends."""
    seconds = iter([300.0, 60.0, 60.0, 60.0])
    one_slow = Conditions(duration=lambda _order, _chance: next(seconds))
    async with Sandbox(conditions=one_slow) as sandbox, client_for(sandbox) as client:
        tasks = await client.generate_all(GptImage2(prompt="A shoe on chrome", batch_count=4))

        first_look = {
            record.path: record.at for record in reversed(sandbox.requests) if record.endpoint == "task"
        }
        began = sandbox.requests[0].at

    assert [task.id for task in tasks] == [paid.id for paid in sandbox.paid_tasks]
    assert all(at - began < 200.0 for at in first_look.values())


async def test_the_first_error_ends_the_wait_for_all_tasks_of_a_post() -> None:
    """A task that has vanished is told while its neighbours run, with the key of them all."""

    async def serve(exchange: Exchange) -> None:
        lost = exchange.seen.path.endswith("gpt2_a")
        missing = answer(404, {"error": {"code": "not_found", "message": "no such task"}})
        running = answer(200, {"id": exchange.seen.path.rpartition("/")[2], "status": "processing"})
        await (missing if lost else running)(exchange)

    ids = {"task_ids": ["gpt2_a", "gpt2_b"], "batch_task_ids": ["gpt2_a", "gpt2_b"]}
    accepted = answer(202, {"id": "gpt2_a", "status": "processing", **ids})
    async with raw_server(accepted, serve) as server, client_at(server.url) as client:
        began = anyio.current_time()
        with pytest.raises(NotFoundError, match="vanished") as caught:
            await client.generate_all(GptImage2(prompt="A shoe on chrome", batch_count=2))

        assert anyio.current_time() - began < 1000.0
    assert "gpt2_a" == caught.value.task_id
    assert server.seen[0].headers["idempotency-key"] == caught.value.idempotency_key


async def test_waiting_for_leave_to_send_is_no_failed_attempt() -> None:
    """The seventieth request leaves after two minutes, and has all its patience still."""
    busy = Fault(effect="status", status=503, on="submit", moment="before", nth=70)
    patient = RetryPolicy(max_elapsed=60.0)
    async with (
        Sandbox(faults=[busy]) as sandbox,
        client_for(sandbox, retry=patient) as client,
        anyio.create_task_group() as callers,
    ):
        for _ in range(70):
            callers.start_soon(client.submit, VIDEO)

    assert 70 == len(sandbox.paid_tasks)


async def test_a_failed_task_is_told_with_its_refund() -> None:
    """The exception has the whole task, and what is needed to look at it again."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        with pytest.raises(TaskFailedError, match="30 credits refunded") as caught:
            await client.generate(Seedance2Video(prompt="A kite [[sandbox:fail]]"))

        assert caught.value.task.is_failed
        assert caught.value.task_id == caught.value.task.id
        assert caught.value.idempotency_key is not None
        assert client.usage.credits_refunded == 30


async def test_unauthorized() -> None:
    """401."""
    async with Sandbox() as sandbox, client_for(sandbox, api_key="sk_other") as client:
        with pytest.raises(UnauthorizedError):
            await client.submit(VIDEO)


async def test_insufficient_credits() -> None:
    """402, with the amounts."""
    async with Sandbox(credits=29) as sandbox, client_for(sandbox) as client:
        with pytest.raises(InsufficientCreditsError) as caught:
            await client.submit(VIDEO)

    assert (caught.value.required_credits, caught.value.available_credits) == (30, 29)
    assert sandbox.paid_tasks == []


async def test_not_found() -> None:
    """404, from ``get_task`` and from ``wait``."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        with pytest.raises(NotFoundError):
            await client.get_task("sd2_nobody")
        with pytest.raises(NotFoundError):
            await client.wait("sd2_nobody")


async def test_idempotency_conflict_between_two_programs() -> None:
    """409: another program sent another body under this key."""
    async with Sandbox() as sandbox, client_for(sandbox) as one, client_for(sandbox) as other:
        await one.submit(VIDEO, idempotency_key="order-17")
        began = anyio.current_time()
        with pytest.raises(IdempotencyConflictError) as caught:
            await other.submit(evolve(VIDEO, prompt="Another prompt"), idempotency_key="order-17")
        assert anyio.current_time() - began < 30.0  # a key of our own would be waited for much longer

    assert caught.value.idempotency_key == "order-17"
    assert len(sandbox.paid_tasks) == 1


async def test_idempotency_conflict_is_seen_before_it_is_sent() -> None:
    """The client remembers what it sent under a key, so its own mistake costs no request."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        await client.submit(VIDEO, idempotency_key="order-17")
        with pytest.raises(IdempotencyConflictError):
            await client.submit(evolve(VIDEO, prompt="Another prompt"), idempotency_key="order-17")

    assert len(sandbox.requests) == 1


async def test_the_same_request_under_its_key_is_answered_again_and_not_charged() -> None:
    """What the key is for."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        first = await client.submit(VIDEO, idempotency_key="order-17")
        second = await client.submit(VIDEO, idempotency_key="order-17")

    assert first.id == second.id
    assert len(sandbox.paid_tasks) == 1


async def test_rate_limited_beyond_patience() -> None:
    """429: the job fails only when the policy's patience ends."""
    limited = Fault(effect="status", moment="before", status=429, on="any", count=None)
    impatient = RetryPolicy(max_elapsed=30.0)
    async with Sandbox(faults=[limited]) as sandbox, client_for(sandbox, retry=impatient) as client:
        with pytest.raises(RateLimitedError):
            await client.submit(VIDEO)

    assert sandbox.paid_tasks == []


async def test_invalid_request_from_the_server() -> None:
    """400: a rule that the documents do not tell, such as a picture of a real person."""
    refusal = Fault(effect="status", moment="before", status=400, on="submit")
    async with Sandbox(faults=[refusal]) as sandbox, client_for(sandbox) as client:
        with pytest.raises(InvalidRequestError):
            await client.submit(VIDEO)


@pytest.mark.parametrize(("status", "family"), [(500, InternalServerError), (503, ServiceBusyError)])
async def test_a_server_that_stays_broken(status: int, family: type[ApiError]) -> None:
    """500 and 503 to a poll are what they are; to a POST they leave the money open and say so."""
    broken = Fault(effect="status", moment="before", status=status, on="any", count=None)
    impatient = RetryPolicy(max_elapsed=30.0)
    async with Sandbox(faults=[broken]) as sandbox, client_for(sandbox, retry=impatient) as client:
        with pytest.raises(family) as posted:
            await client.submit(VIDEO)
        with pytest.raises(family) as polled:
            await client.get_task("sd2_a")

    assert isinstance(posted.value, UncertainSubmissionError)
    assert not isinstance(polled.value, UncertainSubmissionError)


@pytest.mark.case(11, 12, 14, 27, 31, 34, 35)
@pytest.mark.parametrize(
    "fault", ["drop", "reset", "garbage", "truncate", "busy-after", "bad-gateway", "duplicate"]
)
async def test_what_was_charged_and_not_answered_is_collected(fault: str) -> None:
    """The only moment at which money can be lost: after the charge, before the answer."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        task = await client.generate(Seedance2Video(prompt=f"A red kite [[fault:{fault}]]"))

    assert task.is_completed
    assert [task.id] == [paid.id for paid in sandbox.paid_tasks]


@pytest.mark.case(72)
async def test_a_conflict_of_a_still_running_request_is_waited_out() -> None:
    """U2 read the other way: the key is taken as long as the generation runs, minutes not seconds."""
    running = Behaviour(still_running="task")
    async with Sandbox(behaviour=running, conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        task = await client.generate(Seedance2Video(prompt="A red kite [[fault:drop]]"))

    assert task.is_completed
    assert len(sandbox.paid_tasks) == 1


@pytest.mark.case(90)
async def test_waiting_ends_in_time_and_can_go_on() -> None:
    """A timeout costs nothing: the task runs on and can be waited for by its id."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        submission = await client.submit(VIDEO)
        with pytest.raises(WaitTimeoutError) as caught:
            await client.wait(submission, timeout=20.0)
        task = await client.wait(str(caught.value.task_id))

    assert isinstance(caught.value, TimeoutError)
    assert task.is_completed


@pytest.mark.parametrize("hasty_first", [True, False])
async def test_each_waiter_of_a_task_has_its_own_patience(hasty_first: bool) -> None:
    """Whoever came first lends nobody its deadline."""
    slow = Conditions(duration=lambda _order, _chance: 5000.0)
    outcomes: dict[str, Task | SeedanceError] = {}

    async def wait(name: str, client: SeedanceClient, after: float) -> None:
        await anyio.sleep(after)
        poller = client.running_engine().poller
        patience = 1000.0 if name == "hasty" else None
        outcomes[name] = await poller.follow(sandbox.paid_tasks[0].id, patience=patience).outcome()

    async with Sandbox(conditions=slow) as sandbox, client_for(sandbox) as client:
        await client.submit(VIDEO)
        async with anyio.create_task_group() as waiters:
            waiters.start_soon(wait, "hasty", client, 0.0 if hasty_first else 60.0)
            waiters.start_soon(wait, "patient", client, 60.0 if hasty_first else 0.0)

    assert isinstance(outcomes["hasty"], WaitTimeoutError)
    assert isinstance(outcomes["patient"], Task)


async def test_a_hundred_waiters_of_one_task_share_its_polls() -> None:
    """A web backend may have many listeners for one job; the account pays for one poller."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        submission = await client.submit(VIDEO)
        async with anyio.create_task_group() as listeners:
            for _ in range(100):
                listeners.start_soon(client.wait, submission)

    assert len(sandbox.requests) < 15


async def test_waiting_for_a_task_of_another_program_starts_from_its_age() -> None:
    """A task that is nearly done is not treated as new."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as one:
        submission = await one.submit(VIDEO)
        await anyio.sleep(99.0)
        async with client_for(sandbox) as other:
            began = anyio.current_time()
            await other.wait(submission.id)

            assert anyio.current_time() - began < 15.0


async def test_results_come_from_an_async_source_as_they_complete() -> None:
    """Indices tell where a result belongs; the fast kind comes before the slow one."""

    async def source() -> AsyncIterator[Request]:
        yield VIDEO
        await anyio.sleep(5.0)
        yield GptImage2(prompt="A shoe on chrome")

    def duration(order: GenerationRequest, _chance: object) -> float:
        return 400.0 if order.model == "seedance2" else 30.0

    async with Sandbox(conditions=Conditions(duration=duration)) as sandbox, client_for(sandbox) as client:
        indices = [result.index async for result in client.as_completed(source())]

    assert indices == [1, 0]


async def test_no_more_jobs_are_in_flight_than_asked_for() -> None:
    """The caller's bound holds at the server."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        async for _ in client.as_completed([VIDEO] * 6, max_in_flight=2):
            pass

    starts = sorted(paid.accepted_at for paid in sandbox.paid_tasks)
    assert all(later - earlier >= 100.0 for earlier, later in zip(starts, starts[2:], strict=False))


@pytest.mark.case(97)
async def test_an_empty_account_stops_submitting_and_collects_what_is_paid() -> None:
    """402 in the middle: no further 402s are provoked, every job gets its result."""
    async with Sandbox(credits=65, conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results = [result async for result in client.as_completed([VIDEO] * 20)]

    completed = [result for result in results if result.error is None]
    broke = [result for result in results if isinstance(result.error, InsufficientCreditsError)]
    assert (2, 18) == (len(completed), len(broke))
    assert len([record for record in sandbox.requests if record.status == 402]) <= 6


async def test_a_source_that_raises_is_told_after_everything_paid() -> None:
    """The caller's own error arrives, and no result is lost to it."""

    def source() -> Iterator[Request]:
        yield VIDEO
        raise LookupError("row 2 of the sheet is gone")

    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results = client.as_completed(source())
        first = await anext(results)
        with pytest.raises(LookupError, match="row 2"):
            await anext(results)

    assert first.error is None


async def test_leaving_early_submits_nothing_more() -> None:
    """A ``break`` is obeyed: what is not sent is never paid."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results: AsyncGenerator[object] = client.as_completed([VIDEO] * 300)
        async for _ in results:
            break
        await results.aclose()
        paid = len(sandbox.paid_tasks)
        await anyio.sleep(600.0)

        assert paid == len(sandbox.paid_tasks) < 300


async def test_leaving_early_lets_go_of_a_source_that_waits() -> None:
    """Else it would wait for ever, and the schedule for what it might still bring."""
    let_go = []

    async def endless() -> AsyncIterator[Request]:
        yield VIDEO
        try:
            await anyio.sleep_forever()
        finally:
            let_go.append("let go")

    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results: AsyncGenerator[object] = client.as_completed(endless())
        await anext(results)
        await results.aclose()
        await anyio.sleep(1.0)

        assert ["let go"] == let_go


async def test_a_post_that_fails_after_leaving_makes_room_for_no_other() -> None:
    """Two in flight and the caller gone: the refusal of one must not send, and pay, the next."""
    slow = Fault(effect="delay", on="submit", nth=2, seconds=30.0, moment="before")
    refused = Fault(effect="status", status=400, on="submit", nth=2, moment="before")
    async with Sandbox(conditions=SECONDS, faults=[slow, refused]) as sandbox, client_for(sandbox) as client:
        results: AsyncGenerator[object] = client.as_completed([VIDEO] * 10, max_in_flight=2)
        with anyio.move_on_after(5.0):
            await anext(results)
        await results.aclose()
        await anyio.sleep(600.0)

    assert [record.method for record in sandbox.requests].count("POST") == 2
    assert len(sandbox.paid_tasks) == 1


@pytest.mark.parametrize("way", ["break", "cancel"])
async def test_leaving_names_what_is_paid_and_goes_on(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Without a journal, the ids and keys in one warning are all there is to collect it with."""
    notes: list[str] = []

    async def use(client: SeedanceClient) -> None:
        async for _ in client.as_completed([GptImage2(prompt="A shoe"), *[VIDEO] * 5]):
            if way == "break":
                break

    quick = Conditions(duration=lambda order, _chance: 200.0 if order.model == "seedance2" else 20.0)
    async with Sandbox(conditions=quick) as sandbox, client_for(sandbox) as client:
        worker = asyncio.create_task(use(client))
        await anyio.sleep(100.0)
        worker.cancel()
        try:
            await worker
        except asyncio.CancelledError as cancelled:
            notes += cancelled.__notes__
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        videos = [paid for paid in sandbox.paid_tasks if paid.request.model == "seedance2"]

    assert len(warnings) == 1
    assert len(videos) == 5
    assert all(f"{paid.id} (idempotency_key={paid.idempotency_key})" in warnings[0] for paid in videos)
    assert notes == (warnings if way == "cancel" else [])


async def test_a_post_whose_answer_is_lost_after_leaving_tells_its_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody is there to be told the error, and the job is paid."""
    lost = Fault(effect="drop", on="submit", count=None)
    impatient = RetryPolicy(max_elapsed=30.0)
    async with Sandbox(faults=[lost]) as sandbox, client_for(sandbox, retry=impatient) as client:
        results: AsyncGenerator[object] = client.as_completed([VIDEO])
        with anyio.move_on_after(3.0):
            await anext(results)
        await results.aclose()
        await anyio.sleep(600.0)
        (paid,) = sandbox.paid_tasks
        reported = [
            record.getMessage() for record in caplog.records if "idempotency_key" in record.getMessage()
        ]

    assert len(reported) == 1
    assert f"idempotency_key={paid.idempotency_key}" in reported[0]


async def test_the_rest_of_a_shared_post_is_named_when_its_caller_leaves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Four pictures came at once, the caller took one: the other three are paid as well."""
    caplog.set_level(logging.WARNING)
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results = client.as_completed([GptImage2(prompt="A shoe on chrome")] * 4, share_posts=True)
        first = await anext(results)
        await results.aclose()

    reported = {paid.id for paid in sandbox.paid_tasks if paid.id in caplog.text}
    assert reported == {paid.id for paid in sandbox.paid_tasks} - {first.tasks[0].id}


async def test_a_run_that_is_heard_to_its_end_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Neither does one whose caller stops at the last result."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        async for _ in client.as_completed([VIDEO] * 3):
            pass
        last: AsyncGenerator[object] = client.as_completed([VIDEO])
        await anext(last)
        await last.aclose()

    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_foreign_object_among_the_requests_is_named() -> None:
    """A dict from a JSON file is the likely mistake."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        with pytest.raises(ValidationError, match=r"requests\[0\]: expected Seedance2Video"):
            async for _ in client.as_completed([{"prompt": "A kite"}]):  # type: ignore[list-item]  # on purpose
                pass

    assert sandbox.requests == []


async def test_what_is_no_request_is_named_before_anything_is_sent() -> None:
    """A prompt alone, for one."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        for call in (client.submit, client.generate, client.generate_all):
            with pytest.raises(ValidationError, match="expected Seedance2Video"):
                await call("A fox")  # type: ignore[arg-type]  # what people write

    assert [] == sandbox.requests


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ({"rate_limit": "30/60"}, "RateLimit"),
        ({"timeouts": 30}, "Timeouts"),
        ({"retry": 3}, "RetryPolicy"),
        ({"forecasts": {}}, "Forecast"),
        ({"credit_limits": 500}, "CreditLimits"),
    ],
)
def test_an_option_of_another_type_says_which_is_wanted(option: dict[str, object], kind: str) -> None:
    """Before it is used, in words that show one."""
    with pytest.raises(ConfigurationError, match=rf"{next(iter(option))} must be a {kind}, such as {kind}\("):
        SeedanceClient("sk_test", **option)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": 5},
        {"base_url": b"https://seedance2ai.io"},
        {"session": "aiohttp"},
        {"proxy": 3128},
        {"download_networks": 10},
        {"record": "all"},
        {"project": 5},
    ],
    ids=str,
)
def test_an_argument_of_another_type_is_named(wrong: dict[str, object]) -> None:
    """Also where a text was expected."""
    with pytest.raises((ConfigurationError, ValidationError), match=rf"{next(iter(wrong))}:? must be"):
        SeedanceClient(**{"api_key": "sk_test", **wrong})  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("fields", [5, "A boat", ["prompt"], None])
def test_fields_that_are_no_mapping_are_named(fields: object) -> None:
    """What a file or a form held."""
    with pytest.raises(ValidationError, match="fields: must be a mapping"):
        GptImage2.from_dict(fields)  # type: ignore[arg-type]  # the mistake


async def test_the_files_of_a_submission_can_be_fetched(tmp_path: Path) -> None:
    """As it can be waited for."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        submission = await client.submit(GptImage2(prompt="A shoe on chrome"))
        await client.wait(submission)
        (path,) = await client.download(submission, tmp_path)

    assert path.stem == submission.id


async def test_a_wait_that_a_timeout_ends_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The TimeoutError of asyncio has no room for what is paid, and a web framework shows nobody its own."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.generate(VIDEO), 30.0)

    assert any(sandbox.paid_tasks[0].id in record.message for record in caplog.records)


async def test_a_caller_who_left_before_anything_left_is_told_of_no_payment(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing can be paid where every connection was refused."""
    async with raw_server(answer(200, {})) as server:
        closed = server.url
    async with client_at(closed) as client:
        worker = asyncio.create_task(client.submit(VIDEO))
        await anyio.sleep(20.0)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await worker

    assert not hasattr(caught.value, "idempotency_key")
    assert not any("idempotency key" in record.getMessage() for record in caplog.records)


async def test_a_client_that_is_not_open_says_how() -> None:
    """Forgotten ``async with``."""
    with pytest.raises(ClientStateError, match="async with"):
        await SeedanceClient("sk_test").get_task("sd2_a")


class Told:
    """How a call of a client that was closed ended.

    Attributes:
        error: it alone.
        seconds: after the beginning.
    """

    error: SeedanceError
    seconds: float


@contextmanager
def closing_under(kind: type[SeedanceError]) -> Iterator[Told]:
    """A task group in which one call is ended by an error of this kind."""
    told, began = Told(), anyio.current_time()
    with pytest.raises(ExceptionGroup) as ended:
        yield told
    (error,) = ended.value.exceptions
    assert isinstance(error, kind)
    told.error, told.seconds = error, anyio.current_time() - began


async def test_a_closed_client_refuses_and_ends_those_who_wait() -> None:
    """Nobody hangs: neither later calls nor those under way."""
    async with Sandbox(conditions=SECONDS) as sandbox:
        client = client_for(sandbox)
        async with client, anyio.create_task_group() as others:
            submission = await client.submit(VIDEO)

            async def waiter() -> None:
                with pytest.raises(ClientStateError, match="closed"):
                    await client.wait(submission)

            others.start_soon(waiter)
            await anyio.sleep(1.0)
            await client.aclose()
        with pytest.raises(ClientStateError, match="closed"):
            await client.get_task(submission.id)
        await client.aclose()


async def test_nobody_queues_for_a_slot_of_a_closed_client() -> None:
    """A call that comes back from its pause finds the lane shut."""
    async with raw_server(answer(500, {"error": {"code": "internal_error", "message": "oops"}})) as server:
        client = client_at(server.url)
        errors: list[SeedanceError] = []

        async def caller() -> None:
            try:
                await client.get_task("sd2_a")
            except SeedanceError as error:
                errors.append(error)

        async with client, anyio.create_task_group() as callers:
            callers.start_soon(caller)
            await anyio.sleep(0.2)  # less than its pause
            await client.aclose()
    assert ["the client is closed; make a new one"] == [error.message for error in errors]


async def test_closing_ends_the_pause_before_a_retry() -> None:
    """However long the server has asked for."""
    busy = Fault(effect="status", on="task", status=503, headers={"Retry-After": "100"})
    async with Sandbox(faults=[busy]) as sandbox, client_for(sandbox) as client:
        with closing_under(ClientStateError) as told:
            async with anyio.create_task_group() as callers:
                callers.start_soon(client.get_task, "sd2_a")
                await anyio.sleep(5.0)
                await client.aclose()

    assert told.seconds < 10.0
    assert 1 == len(sandbox.requests)


async def test_closing_ends_the_wait_for_a_check_of_media() -> None:
    """The second clip would wait for a minute."""
    limit = RateLimit(requests=1, period=60.0)
    async with (
        Sandbox() as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url, reference_limit=limit) as client,
    ):
        clip = Seedance2Video(prompt="A boat", image_url="https://example.com/a.png")
        await client.submit(clip)
        with closing_under(ClientStateError) as told:
            async with anyio.create_task_group() as callers:
                callers.start_soon(client.submit, clip)
                await anyio.sleep(5.0)
                await client.aclose()

    assert told.seconds < 10.0
    assert 1 == len(sandbox.paid_tasks)


async def test_who_begins_to_wait_while_the_client_closes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another client's task, the first answer comes when nobody polls any more."""

    async def slowly(_: object) -> None:
        await anyio.sleep(30.0)

    monkeypatch.setattr(Downloads, "close", slowly)
    slow = Fault(effect="delay", on="task", moment="before", seconds=10.0)
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as other:
        task_id = (await other.submit(VIDEO)).id
        sandbox.faults.add(slow)
        async with client_for(sandbox) as client:
            with closing_under(ClientStateError) as told:
                async with anyio.create_task_group() as callers:
                    callers.start_soon(client.wait, task_id)
                    await anyio.sleep(5.0)
                    await client.aclose()

    assert task_id == told.error.task_id


async def test_a_client_that_broke_down_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not that somebody had closed it."""

    async def crash(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Dispatcher, "run", crash)
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        await anyio.sleep(1.0)
        with pytest.raises(ClientStateError, match="broke down") as caught:
            await client.get_task("sd2_a")

    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert 1 == sum(record.levelname == "CRITICAL" for record in caplog.records)


async def test_a_client_that_closes_under_a_run_ends_it() -> None:
    """The loop over the results is told; it does not wait for ever."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results = client.as_completed([VIDEO] * 40)
        await anext(results)
        await client.aclose()
        with pytest.raises(ClientStateError, match="closed"):
            async for _ in results:
                pass


async def test_a_client_may_be_opened_in_one_task_and_closed_in_another() -> None:
    """Web frameworks do so."""
    async with Sandbox() as sandbox:
        client = client_for(sandbox)
        await asyncio.create_task(client.__aenter__())
        await asyncio.create_task(client.submit(VIDEO))
        await asyncio.create_task(client.aclose())

    assert len(sandbox.paid_tasks) == 1


async def test_a_client_is_opened_without_a_block_and_once() -> None:
    """In a notebook it is open from one cell to another, each of them a task of its own."""
    async with Sandbox() as sandbox:
        unopened = client_for(sandbox)
        with pytest.raises(ClientStateError, match=r"SeedanceClient\(\)\.open\(\)"):
            await unopened.submit(VIDEO)
        client = await asyncio.create_task(unopened.open())
        await asyncio.create_task(client.submit(VIDEO))
        with pytest.raises(ClientStateError, match="opened once"):
            await client.open()
        await client.aclose()
        with pytest.raises(ClientStateError, match="opened once"):
            await client.open()

    assert client is unopened
    assert len(sandbox.paid_tasks) == 1


@pytest.mark.case(119)
def test_a_client_refuses_a_second_loop() -> None:
    """Case 119."""

    async def open_it(client: SeedanceClient) -> None:
        await client.__aenter__()

    client = SeedanceClient("sk_test", "http://127.0.0.1:9/api")
    with asyncio.Runner() as first:
        first.run(open_it(client))
        with asyncio.Runner() as second, pytest.raises(ClientStateError, match="another event loop"):
            second.run(client.get_task("sd2_a"))
        first.run(client.aclose())


@pytest.mark.case(120)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_a_client_refuses_after_a_fork() -> None:
    """Case 120: parent and child would share sockets and spend the budget twice."""
    async with SeedanceClient("sk_test", "http://127.0.0.1:9/api") as client:
        child = os.fork()
        if child == 0:
            refused = False
            try:
                client.get_task("sd2_a").send(None)
            except ClientStateError:
                refused = True
            os._exit(0 if refused else 1)
        _, status = await anyio.to_thread.run_sync(os.waitpid, child, 0)

    assert os.waitstatus_to_exitcode(status) == 0


def test_without_a_key_it_says_where_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing a newcomer meets."""
    monkeypatch.delenv("SEEDANCE_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match=r"SEEDANCE_API_KEY.*https://seedance2ai.io/app/api"):
        SeedanceClient()


async def test_the_environment_configures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, URL and limit; arguments go before them."""
    async with Sandbox() as sandbox:
        monkeypatch.setenv("SEEDANCE_API_KEY", sandbox.api_key)
        monkeypatch.setenv("SEEDANCE_BASE_URL", sandbox.base_url)
        async with SeedanceClient() as client:
            await client.submit(VIDEO)
        monkeypatch.setenv("SEEDANCE_RATE_LIMIT", "a lot")
        with pytest.raises(ConfigurationError, match="SEEDANCE_RATE_LIMIT"):
            SeedanceClient()
        SeedanceClient(rate_limit=RateLimit(requests=5, period=10.0))
        monkeypatch.delenv("SEEDANCE_RATE_LIMIT")
        monkeypatch.setenv("SEEDANCE_TIME_SCALE", "0.05")
        assert SeedanceClient().forecast(VIDEO).quantile(0.5) == pytest.approx(184 / 20, rel=0.05)
        monkeypatch.setenv("SEEDANCE_TIME_SCALE", "fast")
        with pytest.raises(ConfigurationError, match="SEEDANCE_TIME_SCALE"):
            SeedanceClient()

    assert len(sandbox.paid_tasks) == 1


async def test_a_cancelled_generate_names_the_task_and_leaves_nobody_behind() -> None:
    """What was paid can be collected, and no further poll is sent."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        worker = asyncio.create_task(client.generate(VIDEO))
        await anyio.sleep(5.0)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await worker
        seen = len(sandbox.requests)
        await anyio.sleep(600.0)

        assert [caught.value.task_id] == [paid.id for paid in sandbox.paid_tasks]  # type: ignore[attr-defined]  # added on purpose
        assert seen == len(sandbox.requests)


@pytest.mark.case(91)
async def test_a_poll_that_fails_never_fails_the_job() -> None:
    """Case 91: for a minute every poll is answered 500 or cut; the job is done all the same."""
    broken = [
        Fault(effect="status", moment="before", status=500, on="task", nth=1, count=3),
        Fault(effect="drop", moment="before", on="task", nth=4, count=3),
    ]
    async with Sandbox(conditions=SECONDS, faults=broken) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert task.is_completed


@pytest.mark.case(87)
async def test_a_404_about_a_paid_task_is_lag_at_first() -> None:
    """Case 87: a replica that has not heard of the task yet."""
    accepted = answer(202, {"id": "sd2_a", "status": "processing", "model": "seedance2"})
    missing = answer(404, {"error": {"code": "not_found", "message": "no such task"}})
    done = answer(200, {"id": "sd2_a", "status": "completed", "output": {"video_url": "https://x.example/a"}})
    async with raw_server(accepted, missing, missing, done) as server, client_at(server.url) as client:
        task = await client.generate(VIDEO)

    assert task.is_completed


@pytest.mark.case(88)
async def test_a_404_that_lasts_ends_the_waiting_with_the_id() -> None:
    """Case 88: the task has vanished; nothing is submitted in its place."""
    accepted = answer(202, {"id": "sd2_a", "status": "processing", "model": "seedance2"})
    missing = answer(404, {"error": {"code": "not_found", "message": "no such task"}})
    async with raw_server(accepted, missing) as server, client_at(server.url) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.generate(VIDEO)

    assert caught.value.task_id == "sd2_a"
    assert [seen.method for seen in server.seen].count("POST") == 1


@pytest.mark.case(91)
async def test_a_redirect_of_a_look_ends_nothing_at_once() -> None:
    """A captive portal, for two minutes; nothing is sent to where it points."""
    portal = evolve(NAMED["redirect"], on="task", count=None, lasts=220.0)
    async with Sandbox(conditions=SECONDS, faults=[portal]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert task.is_completed
    assert 1 == len(sandbox.paid_tasks)


async def test_a_redirect_of_every_look_is_told_at_last() -> None:
    """Ten minutes of it are not a moment's portal; the error names the task."""
    portal = evolve(NAMED["redirect"], on="task", count=None)
    async with Sandbox(conditions=SECONDS, faults=[portal]) as sandbox, client_for(sandbox) as client:
        with pytest.raises(UnexpectedReplyError, match="redirects") as caught:
            await client.generate(VIDEO)

    assert caught.value.task_id == sandbox.paid_tasks[0].id


@pytest.mark.case(36)
async def test_a_look_waits_as_long_as_the_server_asked_for() -> None:
    """Retry-After holds for polls as it does for POSTs."""
    busy = Fault(effect="status", moment="before", status=503, on="task", headers={"Retry-After": "300"})
    async with Sandbox(conditions=SECONDS, faults=[busy]) as sandbox, client_for(sandbox) as client:
        await client.generate(VIDEO)
        first, second = [record.at for record in sandbox.requests if record.endpoint == "task"]

    assert second - first >= 300.0


async def test_errors_of_a_look_name_the_task() -> None:
    """Whoever asked for many at a time has to know which."""
    async with raw_server(answer(200, {})) as server:
        closed = server.url
    async with SeedanceClient("sk_test", closed, retry=RetryPolicy(max_elapsed=5.0)) as client:
        for ask in (client.get_task, client.wait):
            with pytest.raises(ConnectionFailedError) as caught:
                await ask("sd2_a")
            assert "sd2_a" == caught.value.task_id


async def test_what_was_learned_about_durations_outlives_the_client() -> None:
    """The next run starts warm: the first look comes when the task is done, not when a prior thinks so."""
    async with Sandbox(conditions=Conditions(duration=lambda _order, _chance: 20.0)) as sandbox:
        async with client_for(sandbox) as first:
            cold = first.forecast(VIDEO).quantile(0.5)
            async for _ in first.as_completed([VIDEO] * 8):
                pass
            learned = json.loads(json.dumps(first.forecasts.dump()))
        async with client_for(sandbox, forecasts=Forecast.load(learned)) as second:
            warm = second.forecast(VIDEO)
            await second.generate(VIDEO)

    assert cold == pytest.approx(184.0, rel=0.05)
    assert warm.quantile(0.5) < 25.0


async def test_usage_tells_how_well_the_allowance_was_spent() -> None:
    """The requests against the two that every job needs."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        async for _ in client.as_completed([VIDEO] * 60):
            pass

        assert client.usage.finished_tasks == 60
        assert client.usage.requests == len(sandbox.requests)
        assert client.usage.share_of_bound == pytest.approx(120 / len(sandbox.requests))


async def test_equal_pictures_may_share_a_post_and_stay_jobs_of_their_own() -> None:
    """Six takes of one prompt and a lone one: three POSTs, seven results, each with its task and credits."""
    takes = [GptImage2(prompt="A shoe on chrome")] * 6 + [GptImage2(prompt="A shoe on moss")]
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results = [result async for result in client.as_completed(takes, share_posts=True)]

    posts = [record for record in sandbox.requests if record.method == "POST"]
    assert len(posts) == 3
    assert sorted(result.index for result in results) == list(range(7))
    assert [result.error for result in results] == [None] * 7
    assert {result.tasks[0].id for result in results} == {paid.id for paid in sandbox.paid_tasks}
    assert [result.submission.credits_used for result in results if result.submission] == [8] * 7


async def test_posts_are_not_shared_where_jobs_in_flight_are_counted() -> None:
    """Four jobs in one POST would be four in flight at once."""
    takes = [GptImage2(prompt="A shoe on chrome")] * 4
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        async for _ in client.as_completed(takes, share_posts=True, max_in_flight=1):
            pass

    begun = sorted(task.accepted_at for task in sandbox.paid_tasks)
    assert all(later - earlier >= 100.0 for earlier, later in pairwise(begun))
    assert 4 == len(begun)


async def test_a_shared_post_whose_answer_was_lost_is_collected_by_what_was_posted() -> None:
    """The key belongs to the body with the batch_count; each request by itself would be refused under it."""
    lost = Fault(effect="drop", on="submit", count=None)
    impatient = RetryPolicy(max_elapsed=30.0)
    takes = [GptImage2(prompt="A hat")] * 3
    async with Sandbox(faults=[lost]) as sandbox, client_for(sandbox, retry=impatient) as client:
        results = [result async for result in client.as_completed(takes, share_posts=True)]
        sandbox.faults.clear()
        error = results[0].error
        assert isinstance(error, UncertainSubmissionError)
        collected = await client.submit(results[0].posted, idempotency_key=error.idempotency_key)

    assert str(error).count("batch_count=3") == 1
    assert {result.posted for result in results} == {GptImage2(prompt="A hat", batch_count=3)}
    assert set(collected.task_ids) == {paid.id for paid in sandbox.paid_tasks}
    assert len(sandbox.paid_tasks) == 3


async def test_a_failed_picture_is_not_its_neighbours_failure() -> None:
    """Two of four were not started: two results, two errors, and only two are paid."""
    takes = [GptImage2(prompt="A shoe [[sandbox:batch-failed=2]]")] * 4
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results = [result async for result in client.as_completed(takes, share_posts=True)]

    assert [result.error is None for result in sorted(results, key=lambda r: r.index)] == [
        True,
        True,
        False,
        False,
    ]
    assert len(sandbox.paid_tasks) == 2


async def test_posts_are_not_shared_unless_asked_for() -> None:
    """A POST each is what a caller who says nothing gets."""
    takes = [GptImage2(prompt="A shoe on chrome")] * 3
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        async for _ in client.as_completed(takes):
            pass

    assert [record.method for record in sandbox.requests].count("POST") == 3


async def test_the_repr_tells_origin_state_and_limit() -> None:
    """And nothing of the key."""
    async with Sandbox(api_key="sk_test_of_the_repr") as sandbox:
        origin = sandbox.base_url.removesuffix("/api/v1")
        client = client_for(sandbox, rate_limit=RateLimit(requests=10, period=2.5))
        before = repr(client)
        async with client:
            during = repr(client)
        after = repr(client)

    assert f"<SeedanceClient {origin}, not open, rate limit 10/2.5>" == before
    assert f"<SeedanceClient {origin}, open, rate limit 10/2.5>" == during
    assert f"<SeedanceClient {origin}, closed, rate limit 10/2.5>" == after
    assert sandbox.api_key not in before + during + after
