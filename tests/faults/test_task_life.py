"""Sections D and F: what polls tell of a task, however odd, ends in the truth or in an error with its id."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import (
    BatchRunner,
    GptImage2,
    Job,
    NanoBananaPro,
    NotFoundError,
    OutputMissingError,
    Seedance2Video,
    TaskFailedError,
    Timeouts,
    WaitTimeoutError,
)
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.faults.helpers import PRICE, SECONDS, VIDEO, client_for, polls, posts

if TYPE_CHECKING:
    from pathlib import Path

SHORT = Timeouts(wait=400.0)


def edit(
    *, on: str = "task", count: int | None = None, nth: int = 1, without: str = "", **fields: object
) -> Fault:
    """A change of an answer's fields."""
    document = {"effect": "edit", "on": on, "count": count, "nth": nth, "fields": fields}
    return Fault.read({**document, "without": [without] if without else []})


# --- section D, fields


@pytest.mark.case(63)
async def test_fields_nobody_documented_are_kept_and_change_nothing() -> None:
    """In ``raw``, for whoever knows them."""
    more = edit(on="any", queue={"position": 3}, eta="soon")
    async with Sandbox(conditions=SECONDS, faults=[more]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert task.is_completed
    assert {"position": 3} == task.raw["queue"]


@pytest.mark.case(64, 65)
@pytest.mark.parametrize(
    "status", ["queued", "cancelled", "COMPLETED", "Failed", "", 7, None, True, ["completed"]]
)
async def test_a_status_nobody_documented_ends_nothing(status: object) -> None:
    """Neither done nor failed: looked at again, until a word comes that is known."""
    odd = edit(status=status, count=4)
    async with Sandbox(conditions=SECONDS, faults=[odd]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert task.is_completed
    assert len(polls(sandbox)) > 4


@pytest.mark.case(64, 65, 90)
async def test_a_status_that_stays_unknown_is_told_with_the_id() -> None:
    """Whoever reads the error learns the word."""
    odd = edit(status="cancelled")
    async with (
        Sandbox(conditions=SECONDS, faults=[odd]) as sandbox,
        client_for(sandbox, timeouts=SHORT) as client,
    ):
        (result,) = [result async for result in client.as_completed([VIDEO])]

    assert isinstance(result.error, WaitTimeoutError)
    assert "cancelled" in result.error.message
    assert [result.error.task_id] == [paid.id for paid in sandbox.paid_tasks]


@pytest.mark.case(66)
@pytest.mark.parametrize(
    "task_id", ["../../admin", "..", "a b", "x" * 2_000, "?x=1", "a/b", "#", "%2e%2e", "é"]
)
async def test_an_odd_id_stays_in_its_place_in_the_path(task_id: str) -> None:
    """It may be the one name of what is paid, so it is asked for, quoted, and told at last."""
    odd = edit(on="submit", id=task_id)
    async with Sandbox(conditions=SECONDS, faults=[odd]) as sandbox, client_for(sandbox) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.generate(VIDEO)

    assert task_id == caught.value.task_id
    assert caught.value.idempotency_key == posts(sandbox)[0][0]
    asked = {record.path for record in sandbox.requests if record.method == "GET"}
    assert all(path.startswith("/tasks/") and path.count("/") == 2 for path in asked)


@pytest.mark.case(66)
@pytest.mark.parametrize("task_id", [None, "", "  ", 7, ["sd2_a"], {"id": "sd2_a"}, True])
async def test_an_unusable_id_is_no_answer(task_id: object) -> None:
    """The repeat under the same key brings the usable one."""
    odd = edit(on="submit", id=task_id, count=1)
    async with Sandbox(conditions=SECONDS, faults=[odd]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert [task.id] == [paid.id for paid in sandbox.paid_tasks]
    assert 1 == len(set(posts(sandbox)))


@pytest.mark.case(67)
@pytest.mark.parametrize("odd", ["30", None, True, -1, 1e300, [30], {"amount": 30}])
async def test_accounting_of_the_wrong_type_costs_no_result(odd: object) -> None:
    """What cannot be read is unknown, and not guessed."""
    fault = edit(on="any", credits_used=odd, credits_refunded=odd, remaining_credits=odd)
    async with Sandbox(conditions=SECONDS, faults=[fault]) as sandbox, client_for(sandbox) as client:
        (result,) = [result async for result in client.as_completed([VIDEO])]

    assert result.error is None
    assert result.submission is not None
    assert (None, None) == (result.submission.credits_used, result.tasks[0].credits_refunded)


@pytest.mark.case(68)
@pytest.mark.parametrize(
    "output", [None, [], {}, "https://example.com/a.mp4", {"video_url": None}, {"images": []}, [None, 7], 7]
)
async def test_completed_without_output_is_looked_at_again(output: object) -> None:
    """A replica that lags: the files are told a moment later."""
    empty = edit(output=output, nth=2, count=3, status="completed")
    async with Sandbox(conditions=SECONDS, faults=[empty]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert task.urls


@pytest.mark.case(68)
async def test_completed_without_output_for_good_is_no_success() -> None:
    """An error of its own, with the id; by itself, from a run, and from a wait for a foreign id."""
    empty = edit(output=None)
    async with Sandbox(conditions=SECONDS, faults=[empty]) as sandbox, client_for(sandbox) as client:
        with pytest.raises(OutputMissingError) as caught:
            await client.generate(VIDEO)
        (result,) = [result async for result in client.as_completed([VIDEO])]
        async with client_for(sandbox) as other:
            with pytest.raises(OutputMissingError):
                await other.wait(str(caught.value.task_id))
        sandbox.faults.clear()
        task = await client.wait(str(caught.value.task_id))

    assert task.urls
    assert isinstance(result.error, OutputMissingError)
    assert [caught.value.task_id, result.error.task_id] == [paid.id for paid in sandbox.paid_tasks]
    assert caught.value.idempotency_key == posts(sandbox)[0][0]


@pytest.mark.case(68)
async def test_a_batch_keeps_a_task_without_output_and_collects_it_next_time(tmp_path: Path) -> None:
    """It stays accepted, neither failed nor finished, and is not paid again."""
    job = Job(NanoBananaPro(prompt="A boat"), name="boat")
    states = []
    async with Sandbox(faults=[edit(output=None)]) as sandbox:
        for _ in range(2):
            async with client_for(sandbox) as client, BatchRunner(client, tmp_path) as batch:
                states += [str(result.state) async for result in batch.run([job])]
            sandbox.faults.clear()

    assert ["accepted", "saved"] == states
    assert 1 == len(sandbox.paid_tasks) == len(posts(sandbox))


@pytest.mark.case(69)
@pytest.mark.parametrize("shape", ["object", "list", "images"])
@pytest.mark.parametrize(
    "request_", [VIDEO, GptImage2(prompt="A shoe"), NanoBananaPro(prompt="A shoe")], ids=str
)
async def test_every_shape_of_output_is_read_for_every_model(shape: str, request_: Seedance2Video) -> None:
    """A result that is paid for is not lost to another family's shape."""
    url = "https://example.com/a.mp4"
    output = {"object": {"video_url": url}, "list": [url], "images": {"images": [{"url": url}]}}[shape]
    async with Sandbox(faults=[edit(output=output)]) as sandbox, client_for(sandbox) as client:
        await client.submit(request_)
        await anyio.sleep(3600.0)
        task = await client.get_task(sandbox.paid_tasks[0].id)

    assert (url,) == task.urls


@pytest.mark.case(70)
async def test_an_answer_about_another_task_finishes_nobodys_job() -> None:
    """A cache mixed up: refused, and asked again."""
    other = edit(
        id="sd2_another", status="completed", output={"video_url": "https://example.com/no.mp4"}, count=3
    )
    async with Sandbox(conditions=SECONDS, faults=[other]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert [task.id] == [paid.id for paid in sandbox.paid_tasks]
    assert "no.mp4" not in task.urls[0]


@pytest.mark.case(71)
@pytest.mark.parametrize(
    "created", ["soon", None, 7, "2026-01-01", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"]
)
@pytest.mark.parametrize("updated", ["never", "2000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999999-23:59"])
async def test_timestamps_that_make_no_sense_change_nothing(created: object, updated: object) -> None:
    """Done is done; and the forecast learns no nonsense from it."""
    odd = edit(created_at=created, updated_at=updated)
    async with Sandbox(conditions=SECONDS, faults=[odd]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)
        async with client_for(sandbox) as other:
            again = await other.wait(task.id)

        assert 20.0 < client.forecast(VIDEO).quantile(0.5) < 2000.0

    assert task.is_completed
    assert again.is_completed


# --- section F


@pytest.mark.case(87)
@pytest.mark.parametrize(
    "lag",
    [
        Fault.read({"effect": "status", "moment": "before", "on": "task", "status": 404, **how})
        for how in ({"count": 4}, {"count": None, "lasts": 45.0})
    ],
    ids=["polls", "seconds"],
)
async def test_a_404_about_a_new_task_is_a_replica_that_lags(lag: Fault) -> None:
    """For four polls, or for 45 s."""
    async with Sandbox(conditions=SECONDS, faults=[lag]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert task.is_completed
    assert 1 == len(posts(sandbox))


@pytest.mark.case(88)
async def test_a_task_that_vanishes_is_told_and_not_submitted_again() -> None:
    """Seen once, then 404 for ever: the id is in the error, and nothing is paid in its place."""
    prompt = "A train [[fault:never@task*1]] [[fault:vanish]]"
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.generate(Seedance2Video(prompt=prompt))

    assert [caught.value.task_id] == [paid.id for paid in sandbox.paid_tasks]
    assert 1 == len(posts(sandbox))


@pytest.mark.case(89)
async def test_the_first_final_word_is_the_last(tmp_path: Path) -> None:
    """After it nobody looks again, so a replica that still says ``processing`` takes nothing back."""
    jobs = [Job(NanoBananaPro(prompt="A boat"), name="boat")]
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        async with BatchRunner(client, tmp_path) as batch:
            first = [result async for result in batch.run(jobs)]
        seen = len(sandbox.requests)
        sandbox.faults.add(edit(on="any", status="processing", output=None))
        async with BatchRunner(client, tmp_path) as batch:
            second = [result async for result in batch.run(jobs)]

        assert seen == len(sandbox.requests)

    assert ["saved", "saved"] == [str(result.state) for result in first + second]


@pytest.mark.case(89)
async def test_a_status_that_goes_backwards_before_anybody_saw_the_end_is_waited_out() -> None:
    """Two stale answers after the end delay the result, no more."""
    stale = edit(status="processing", output=None, nth=2, count=2)
    async with Sandbox(conditions=SECONDS, faults=[stale]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert task.is_completed


@pytest.mark.case(90)
async def test_a_task_that_never_ends_can_be_waited_for_again() -> None:
    """The error has id and key; nothing is submitted in its place."""
    async with (
        Sandbox(conditions=SECONDS) as sandbox,
        client_for(sandbox, timeouts=SHORT) as client,
    ):
        with pytest.raises(WaitTimeoutError) as caught:
            await client.generate(Seedance2Video(prompt="A train [[fault:never@task]]"))

    assert [caught.value.task_id] == [paid.id for paid in sandbox.paid_tasks]
    assert 1 == len(posts(sandbox))


@pytest.mark.case(92)
async def test_sixty_tasks_that_end_together_are_polled_within_the_limit() -> None:
    """One queue of looks for all of them: no minute sees too many, and none is refused."""
    async with Sandbox(conditions=SECONDS) as sandbox, client_for(sandbox) as client:
        results = [result async for result in client.as_completed([VIDEO] * 60)]

    assert [None] * 60 == [result.error for result in results]
    assert 30 >= sandbox.worst_window().arrivals
    assert [] == [record for record in sandbox.requests if record.status == 429]


@pytest.mark.case(93)
@pytest.mark.parametrize("refund", [0, 7, PRICE, 10 * PRICE])
async def test_a_refund_is_what_the_answer_says(refund: int) -> None:
    """Nothing, a part, or more than was paid: booked as told, and shown."""
    odd = edit(credits_refunded=refund)
    async with Sandbox(conditions=SECONDS, faults=[odd]) as sandbox, client_for(sandbox) as client:
        with pytest.raises(TaskFailedError) as caught:
            await client.generate(Seedance2Video(prompt="A train [[sandbox:fail]]"))

        assert (PRICE, refund) == (client.usage.credits_used, client.usage.credits_refunded)

    assert f"{refund} credits refunded" in caught.value.message


@pytest.mark.case(94)
async def test_a_batch_of_which_one_was_not_started_is_three_tasks() -> None:
    """One POST, three results, and the account pays for three."""
    request = GptImage2(prompt="Shoes [[sandbox:batch-failed=1]]", batch_count=4)
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        (result,) = [result async for result in client.as_completed([request])]

    assert result.submission is not None
    assert (3, 1) == (result.submission.batch_success, result.submission.batch_failed)
    assert {task.id for task in result.tasks} == {paid.id for paid in sandbox.paid_tasks}
    assert 3 == len(result.tasks)


@pytest.mark.case(96)
@pytest.mark.parametrize("days", [-1, 1])
async def test_a_wall_clock_that_jumps_moves_no_wait(days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day forwards or backwards in the middle of a task: it is collected when it is done."""
    real = time.time
    epoch = datetime(2026, 1, 1, tzinfo=UTC)
    async with Sandbox(conditions=SECONDS, epoch=epoch) as sandbox, client_for(sandbox) as client:
        submission = await client.submit(VIDEO)
        monkeypatch.setattr(time, "time", lambda: real() + days * 86400.0)
        began = anyio.current_time()
        await client.wait(submission)

        assert anyio.current_time() - began < 200.0

    assert 30 >= sandbox.worst_window().arrivals


@pytest.mark.case(95)
async def test_a_machine_that_slept_finds_its_tasks_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's clock stood still for hours, the others went on: one look finds all, nothing timed out."""
    asleep = 0.0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + asleep)
    hours = Conditions(duration=lambda _order, _chance: 7 * 3600.0)
    async with Sandbox(conditions=hours) as sandbox, client_for(sandbox, timeouts=SHORT) as client:
        state = sandbox.world.state
        settle = state.settle
        monkeypatch.setattr(state, "settle", lambda now: settle(now + asleep))  # the server's clock
        working = asyncio.create_task(client.generate(VIDEO))
        await anyio.sleep(5.0)
        asleep = 8 * 3600.0
        task = await working

    assert task.is_completed
    assert [task.id] == [paid.id for paid in sandbox.paid_tasks]
    assert 1 == len(polls(sandbox))
