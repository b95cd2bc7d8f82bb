"""The account's record: what is written when, who may read it, and what becomes of a file that fails."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest
from attrs import evolve

from seedance_async import (
    ClientStateError,
    ConfigurationError,
    CreditCapError,
    CreditLimits,
    GptImage2,
    InvalidRequestError,
    Kind,
    NanoBananaPro,
    RetryPolicy,
    SeedanceClient,
    SeedanceError,
    StandingLimitError,
    SubmissionAccepted,
    UncertainSubmissionError,
    clocks,
)
from seedance_async.record import Asked, Reader, account
from seedance_async.record.limits import DAY
from seedance_async.record.store import Store
from seedance_async.sandbox import Conditions, Fault, Sandbox
from seedance_async.sandbox.faults import NAMED
from tests.batch.helpers import PRICE, pictures, run_once
from tests.canary import KEYS
from tests.faults.helpers import client_for
from tests.rooms.records import BOAT, SINKS, keep_record, refunded, spent_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from seedance_async import ClientEvent, JobResult, Submission
    from seedance_async.record.store import Answer, Opened

DELAY = Fault(effect="delay", on="submit", moment="before", seconds=20)
HASTY = RetryPolicy(max_elapsed=30.0, max_server_errors=1, conflict_wait=30.0)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    return keep_record(tmp_path, monkeypatch)


# --- what is written


async def test_the_intent_is_written_before_a_byte_leaves(sandbox: Sandbox, reader: Reader) -> None:
    """While the POST is on the wire, another process can read what was asked for."""
    sandbox.faults.add(DELAY)
    async with client_for(sandbox) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.submit, BOAT)
        await anyio.sleep(10)
        (sent,) = reader.posts()
    (answered,) = reader.posts()

    assert ("submitting", (), None) == (sent.state, sent.tasks, sent.credits_used)
    assert ("accepted", 12.0, sent.key) == (answered.state, answered.credits_used, answered.key)


async def test_what_was_paid_is_written_before_a_hook_is_told(sandbox: Sandbox, reader: Reader) -> None:
    """It may end the process, as a handler of a signal does that is called in it."""

    class EndedError(BaseException):
        """Nothing that is caught on the way."""

    def end(event: ClientEvent) -> None:
        if isinstance(event, SubmissionAccepted):
            raise EndedError

    async with SeedanceClient(sandbox.api_key, sandbox.base_url, on_event=end) as client:
        with pytest.raises(EndedError):
            await client.submit(BOAT)
    (post,) = reader.posts()

    assert ("accepted", (sandbox.paid_tasks[0].id,)) == (post.state, tuple(task.id for task in post.tasks))


async def test_tasks_ids_and_ends_are_those_of_the_sandbox(sandbox: Sandbox, reader: Reader) -> None:
    """Several tasks of one POST, one of them refunded."""
    async with client_for(sandbox) as client:
        await client.generate_all(GptImage2(prompt="Two cats in hats", batch_count=3))
        with pytest.raises(SeedanceError):
            await client.generate(SINKS)

    posts = list(reader.posts())
    assert [task.id for task in sandbox.tasks.values()] == [task.id for post in posts for task in post.tasks]
    ends = [[task.status for task in post.tasks] for post in posts]
    assert [["completed"] * 3, ["failed"]] == ends
    assert spent_in(sandbox) == sum(each.credits_spent for each in reader.spending("model"))
    assert PRICE == refunded(sandbox) == posts[1].credits_refunded


@pytest.mark.parametrize("by", ["wait", "get_task", "another client", "batch", "as_completed"])
async def test_a_refund_is_booked_once_whoever_sees_it(
    sandbox: Sandbox, reader: Reader, tmp_path: Path, by: str
) -> None:
    """And asked for again, it is the same refund."""
    async with client_for(sandbox) as client:
        if by == "batch":
            await run_once(sandbox, tmp_path / "out", [SINKS])
        elif by == "as_completed":
            assert [result async for result in client.as_completed([SINKS])]
        else:
            submission = await client.submit(SINKS)
            await anyio.sleep(1000)
            async with client_for(sandbox) as other:
                seen_by = other if by == "another client" else client
                ask = seen_by.get_task if by == "get_task" else seen_by.wait
                for _ in range(3):
                    assert (await ask(submission.id)).is_failed

    (sums,) = reader.spending("day")
    assert (PRICE, PRICE, 0) == (sums.credits_used, sums.credits_refunded, sums.credits_spent)


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("drop-after-charge", "uncertain"),
        ("internal-error", "uncertain"),
        ("bad-gateway", "uncertain"),
        ("no-id", "uncertain"),
        ("rate-limited", "refused"),
        ("redirect", "uncertain"),
    ],
)
async def test_what_a_failure_proves_is_what_is_written(
    sandbox: Sandbox, reader: Reader, fault: str, state: str
) -> None:
    """Only what was surely not charged is called refused."""
    rule = NanoBananaPro(prompt=f"A boat [[fault:{fault}*99]]")
    async with client_for(sandbox, retry=HASTY) as client:
        with pytest.raises(SeedanceError) as caught:
            await client.submit(rule)

    (post,) = reader.posts()
    assert (state, caught.value.idempotency_key) == (post.state, post.key)
    assert isinstance(caught.value, UncertainSubmissionError) == (state == "uncertain")
    assert (state == "uncertain") == (sum(each.uncertain for each in reader.spending("day")) == 1)


async def test_an_uncertain_post_that_is_collected_is_one_post(sandbox: Sandbox, reader: Reader) -> None:
    """Under its key, by another process; nothing is counted twice, nothing is in doubt any more."""
    lost = NanoBananaPro(prompt="A boat [[fault:drop-after-charge*2]]")
    async with client_for(sandbox, retry=RetryPolicy(max_elapsed=0.5)) as client:
        with pytest.raises(UncertainSubmissionError) as caught:
            await client.submit(lost)
    async with client_for(sandbox) as client:
        for _ in range(3):
            await client.submit(lost, idempotency_key=caught.value.idempotency_key)

    (post,) = reader.posts()
    assert ("accepted", 12.0) == (post.state, post.credits_used)
    assert spent_in(sandbox) == sum(each.credits_spent for each in reader.spending("day"))


async def test_a_refusal_of_a_replay_leaves_the_first_attempt_in_doubt(
    sandbox: Sandbox, reader: Reader
) -> None:
    """A 402 may be caused by our own first charge."""
    lost = NanoBananaPro(prompt="A boat [[fault:drop-after-charge*2]]")
    async with client_for(sandbox, retry=RetryPolicy(max_elapsed=0.5)) as client:
        with pytest.raises(UncertainSubmissionError) as caught:
            await client.submit(lost)
        body = '{"error":{"code":"invalid_request","message":"no"}}'
        sandbox.faults.add(Fault(effect="status", on="submit", moment="before", status=400, body=body))
        with pytest.raises(InvalidRequestError):
            await client.submit(lost, idempotency_key=caught.value.idempotency_key)

    (post,) = reader.posts()
    assert "uncertain" == post.state


async def test_a_post_that_is_cancelled_on_the_wire_is_uncertain(sandbox: Sandbox, reader: Reader) -> None:
    """It may be paid, and its key is on record."""
    sandbox.faults.add(DELAY)
    async with client_for(sandbox) as client:
        with anyio.move_on_after(5):
            await client.submit(BOAT)

    assert ["uncertain"] == [post.state for post in reader.posts()]


@pytest.mark.parametrize("limits", [CreditLimits(), CreditLimits(day=100)])
async def test_a_caller_who_leaves_while_the_intent_is_written_sends_nothing_and_holds_nothing(
    sandbox: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch, limits: CreditLimits
) -> None:
    """A cancellation of asyncio's own, which no scope of anyio's holds back."""
    loop, write = asyncio.get_running_loop(), Store.intend

    def leave(store: Store, asked: Asked) -> Answer:
        loop.call_soon_threadsafe(submitting.cancel)
        return write(store, asked)

    async with client_for(sandbox, credit_limits=limits) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "intend", leave)
            submitting = asyncio.create_task(client.submit(BOAT))
            with pytest.raises(asyncio.CancelledError):
                await submitting
        assert [] == sandbox.requests
        await client.submit(BOAT)

    assert ["refused", "accepted"] == [post.state for post in reader.posts()][-2:]
    assert 0 == sum(each.uncertain for each in reader.spending("day"))


async def test_a_caller_who_leaves_while_the_ids_are_written_is_told_them(
    sandbox: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task is paid by then: the cancellation carries its id and key, and the record has them."""
    loop, write = asyncio.get_running_loop(), Store.accept

    def leave(
        store: Store, asked: Asked, opened: Opened | None, submission: Submission, *, to_confirm: bool
    ) -> None:
        loop.call_soon_threadsafe(submitting.cancel)
        write(store, asked, opened, submission, to_confirm=to_confirm)

    monkeypatch.setattr(Store, "accept", leave)
    async with client_for(sandbox) as client:
        submitting = asyncio.create_task(client.submit(BOAT))
        with pytest.raises(asyncio.CancelledError) as caught:
            await submitting

    (post,), (task,) = reader.posts(), sandbox.paid_tasks
    assert task.id == caught.value.task_id == post.tasks[0].id  # type: ignore[attr-defined]


async def test_shared_posts_and_projects_of_a_batch(sandbox: Sandbox, reader: Reader, tmp_path: Path) -> None:
    """A batch's POSTs belong to its project, else to its directory's name."""
    await run_once(sandbox, tmp_path / "october", pictures(2))
    await run_once(sandbox, tmp_path / "other", pictures(1, word="kite"), project="client A")
    cats = [GptImage2(prompt="A cat in a hat") for _ in range(3)]
    async with client_for(sandbox, project="cats") as client:
        assert [result async for result in client.as_completed(cats, share_posts=True)]

    spent = {each.group: each.credits_spent for each in reader.spending("project")}
    assert {"october": 2 * PRICE, "client A": PRICE, "cats": spent_in(sandbox) - 3 * PRICE} == spent


async def test_jobs_have_projects_of_their_own(sandbox: Sandbox, reader: Reader, tmp_path: Path) -> None:
    """To change one pays nothing again; equal pictures of two projects are two POSTs."""
    line = {"model": "gpt-image-2", "prompt": "A cat in a hat"}
    manifest = tmp_path / "jobs.jsonl"

    async def run(*projects: str | None) -> dict[str, JobResult]:
        jobs = [{**line, "name": f"cat-{n}", "project": project} for n, project in enumerate(projects)]
        manifest.write_text("\n".join(map(json.dumps, jobs)))
        return await run_once(sandbox, tmp_path / "october", manifest)

    await run("client A", "client B", None, "client A")
    spent = {each.group: each.credits_spent for each in reader.spending("project")}
    price = spent["october"]
    assert {"client A": 2 * price, "client B": price, "october": price} == spent
    assert 4 * price == spent_in(sandbox)

    tasks = dict(sandbox.tasks)
    results = await run("client C", "client B", "client B", None)
    assert tasks == sandbox.tasks
    assert {"saved"} == {result.state for result in results.values()}
    lines = (tmp_path / "october" / "results.jsonl").read_text().splitlines()
    assert ["client C", "client B", "client B", None] == [json.loads(each)["project"] for each in lines]


# --- what is not written


@pytest.mark.parametrize("recording", [None, True, "prompts"])
async def test_prompts_are_written_only_if_that_is_asked_for(
    sandbox: Sandbox, reader: Reader, directory: Path, recording: bool | str | None
) -> None:
    """No key and no URL in any case; and nobody else can read it."""
    async with client_for(sandbox, record=recording) as client:
        await client.generate(BOAT)
        files = list(directory.glob("record-*"))
        assert 3 == len(files)  # with its log
        assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in files}
        content = b"".join(file.read_bytes() for file in files)
    (post,) = reader.posts()

    assert (BOAT.prompt if recording == "prompts" else None) == post.prompt
    assert (recording == "prompts") == (BOAT.prompt.encode() in content)
    assert not any(key.encode() in content for key in KEYS)
    assert b"http" not in content
    assert 0o700 == stat.S_IMODE(directory.stat().st_mode)


async def test_a_mode_that_is_too_open_is_mended(sandbox: Sandbox, reader: Reader) -> None:
    """A file that was copied, say, with another mask."""
    reader.path.parent.mkdir(parents=True)
    reader.path.touch(0o644)
    async with client_for(sandbox) as client:
        await client.submit(BOAT)
        modes = {stat.S_IMODE(file.stat().st_mode) for file in reader.path.parent.glob("record-*")}

    assert {0o600} == modes


@pytest.mark.parametrize("turned_off", ["argument", "off", "0", "no", "False"])
async def test_a_record_that_is_off_writes_nothing(
    sandbox: Sandbox, directory: Path, monkeypatch: pytest.MonkeyPatch, turned_off: str
) -> None:
    """Not even a file."""
    options: dict[str, object] = {"record": False} if turned_off == "argument" else {}
    if not options:
        monkeypatch.setenv("SEEDANCE_RECORD", turned_off)
    async with client_for(sandbox, **options) as client:
        await client.generate(BOAT)

    assert [] == list(directory.glob("record-*"))


async def test_a_sandbox_at_loopback_is_not_recorded_by_default(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the request budget of it is not remembered; but a limit is counted wherever it is set."""
    monkeypatch.delenv("SEEDANCE_RECORD")
    async with client_for(sandbox) as client:
        await client.submit(BOAT)
    assert [] == list(tmp_path.rglob("record-*"))

    async with client_for(sandbox, credit_limits=CreditLimits(day=PRICE)) as client:
        await client.submit(BOAT)
        with pytest.raises(CreditCapError):
            await client.submit(BOAT)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SEEDANCE_RECORD", "perhaps"),
        ("SEEDANCE_MAX_CREDITS_DAY", "much"),
        ("SEEDANCE_MAX_CREDITS_MONTH", "-1"),
        ("SEEDANCE_MAX_CREDITS_DAY", "nan"),
        ("SEEDANCE_MAX_CREDITS_DAY", "inf"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """By its name, before anything is sent."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable):
        client_for_nobody()


def test_a_limit_without_a_record_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would count nothing, and look as if it did."""
    monkeypatch.setenv("SEEDANCE_MAX_CREDITS_DAY", "100")
    monkeypatch.setenv("SEEDANCE_RECORD", "off")
    with pytest.raises(ConfigurationError, match="turned off"):
        client_for_nobody()


def client_for_nobody() -> None:
    """Make a client of the vendor's API, which is never opened."""
    from seedance_async import SeedanceClient

    SeedanceClient("sk_test_sandbox", "https://seedance2ai.io/api/v1")


# --- a file that fails


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, whatever its name says" * 100)


def _truncated(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 100)
        connection.commit()
    os.truncate(path, 5000)


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE somebody_elses (x)")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE posts (x)")
        connection.execute("PRAGMA application_id = 1592634055")
        connection.execute("PRAGMA user_version = 99")


def _a_directory(path: Path) -> None:
    path.mkdir()


def _a_link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.write_bytes(b"")
    path.symlink_to(target)


def _locked(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    _kept.append(connection)


_kept: list[sqlite3.Connection] = []


@pytest.fixture
def letting_go() -> Iterator[None]:
    """Close what a test has kept locked."""
    yield
    while _kept:
        _kept.pop().close()


@pytest.mark.usefixtures("letting_go")
@pytest.mark.parametrize("damage", [_garbage, _truncated, _foreign, _newer, _a_directory, _a_link, _locked])
@pytest.mark.parametrize("limits", [CreditLimits(), CreditLimits(day=1000)])
async def test_a_record_that_fails_is_told_once_and_stops_no_post_without_a_limit(
    sandbox: Sandbox,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    damage: object,
    limits: CreditLimits,
) -> None:
    """With a limit nothing leaves, and the error says what to do."""
    monkeypatch.setattr(account, "PATIENCE", 0.4)
    monkeypatch.setattr(account, "PATIENCE_UNDER_LIMITS", 0.4)
    reader.path.parent.mkdir(parents=True)
    damage(reader.path)  # type: ignore[operator]
    async with client_for(sandbox, credit_limits=limits) as client:
        for _ in range(2):
            if limits.are_set:
                with pytest.raises(CreditCapError, match="cannot be used") as caught:
                    await client.submit(BOAT)
                assert str(reader.path) in str(caught.value)
            else:
                await client.submit(BOAT)

    assert (0 if limits.are_set else 2) == len(sandbox.paid_tasks)
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert (0 if limits.are_set else 1) == sum("account's record" in each.getMessage() for each in warnings)
    if damage is _a_link:
        assert b"" == reader.path.with_name("elsewhere").read_bytes()


async def test_answers_that_could_not_be_written_are_written_when_the_file_works_again(
    sandbox: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody kept it locked while the ids and the refund came; nobody is left waiting for that POST."""
    monkeypatch.setattr(account, "PATIENCE", 0.2)
    async with client_for(sandbox, credit_limits=CreditLimits()) as client:
        sandbox.faults.add(DELAY)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.submit, SINKS)
            await anyio.sleep(10)
            with closing(sqlite3.connect(reader.path, isolation_level=None)) as somebody:
                somebody.execute("BEGIN IMMEDIATE")
                await anyio.sleep(1000)
                (task_id,) = sandbox.tasks
                await client.get_task(task_id)
        assert ["submitting"] == [post.state for post in reader.posts()]
        await client.get_task(task_id)

    (post,) = reader.posts()
    assert ("accepted", PRICE, [task_id]) == (
        post.state, post.credits_refunded, [task.id for task in post.tasks],
    )  # fmt: skip


async def test_a_lost_answer_to_a_post_whose_intent_could_not_be_written_is_written_as_uncertain(
    sandbox: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be paid, and nobody could find its key; one that was surely not charged is left out."""
    monkeypatch.setattr(account, "PATIENCE", 0.2)
    async with client_for(sandbox, retry=RetryPolicy(max_elapsed=0.5)) as client:
        await client.submit(BOAT)
        with closing(sqlite3.connect(reader.path, isolation_level=None)) as somebody:
            somebody.execute("BEGIN IMMEDIATE")
            with pytest.raises(UncertainSubmissionError) as lost:
                await client.submit(NanoBananaPro(prompt="A boat [[fault:drop-after-charge*99]]"))
            with pytest.raises(InvalidRequestError):
                await client.submit(NanoBananaPro(prompt="A boat [[fault:invalid-request]]"))
        await client.submit(BOAT)

    posts = list(reader.posts())
    assert ["accepted", "uncertain", "accepted"] == [post.state for post in posts]
    assert lost.value.idempotency_key == posts[1].key
    assert PRICE == posts[1].credits_held


async def test_a_limit_that_stops_a_post_in_doubt_leaves_it_in_doubt(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be paid by its first attempt: it is not planned anew under another key."""
    job = [NanoBananaPro(prompt="A boat [[fault:drop-after-charge*3]]")]
    monkeypatch.setenv("SEEDANCE_RECORD", "off")
    monkeypatch.setattr("tests.batch.helpers.PATIENCE", RetryPolicy(max_elapsed=0.5))
    (lost,) = (await run_once(sandbox, tmp_path / "out", job)).values()
    monkeypatch.setenv("SEEDANCE_RECORD", "on")
    monkeypatch.setenv("SEEDANCE_MAX_CREDITS_DAY", "0")
    (stopped,) = (await run_once(sandbox, tmp_path / "out", job)).values()
    monkeypatch.delenv("SEEDANCE_MAX_CREDITS_DAY")
    monkeypatch.setattr("tests.batch.helpers.PATIENCE", RetryPolicy())
    (saved,) = (await run_once(sandbox, tmp_path / "out", job)).values()

    assert isinstance(stopped.error, CreditCapError)
    assert lost.idempotency_key == stopped.idempotency_key == saved.idempotency_key
    assert ("saved", 1) == (str(saved.state), len(sandbox.paid_tasks))


async def test_a_record_that_works_again_is_written_again(sandbox: Sandbox, reader: Reader) -> None:
    """A disk gets room, or somebody moves the damaged file away."""
    reader.path.parent.mkdir(parents=True)
    _garbage(reader.path)
    async with client_for(sandbox) as client:
        await client.submit(BOAT)
        reader.path.rename(reader.path.with_name("damaged"))
        submission = await client.submit(BOAT)

        assert [submission.id] == [task.id for post in reader.posts() for task in post.tasks]


async def test_a_record_that_is_deleted_meanwhile_is_begun_anew(sandbox: Sandbox, reader: Reader) -> None:
    """What would be written into a file without a name would be lost."""
    async with client_for(sandbox) as client:
        await client.submit(BOAT)
        for file in reader.path.parent.glob("record-*"):
            file.unlink()
        submission = await client.submit(BOAT)

        assert [submission.id] == [task.id for post in reader.posts() for task in post.tasks]


def test_many_processes_may_be_the_first(tmp_path: Path) -> None:
    """Each finds the file empty; one makes the tables, and none of them takes that for a failure."""
    threads = 8
    for turn in range(10):
        together = threading.Barrier(threads)

        def write(
            number: int, path: Path = tmp_path / f"{turn}.sqlite", start: threading.Barrier = together
        ) -> None:
            store = Store(path, CreditLimits(), patience=5)
            start.wait()
            store.intend(Asked(key=str(number), kind=Kind(model="nano-banana-pro")))
            store.close()

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(write, range(threads)))
        assert threads == len(list(Reader(tmp_path / f"{turn}.sqlite").posts()))


# --- standing limits


@pytest.mark.parametrize("request_count", [1, 3])
async def test_a_limit_is_checked_where_the_post_leaves(
    sandbox: Sandbox, reader: Reader, request_count: int
) -> None:
    """For single POSTs and streams alike; nothing beyond it is sent, and nothing is left in doubt."""
    async with client_for(sandbox, credit_limits=CreditLimits(day=2 * PRICE)) as client:
        results = [result async for result in client.as_completed([BOAT] * 2)]
        refused = [result async for result in client.as_completed([BOAT] * request_count)]
        with pytest.raises(CreditCapError, match="SEEDANCE_MAX_CREDITS_DAY") as caught:
            await client.submit(BOAT)

    assert [None, None] == [result.error for result in results]
    assert all(isinstance(result.error, CreditCapError) for result in refused)
    assert isinstance(caught.value, StandingLimitError)
    assert caught.value.idempotency_key is None
    assert 2 * PRICE == spent_in(sandbox)
    assert 2 == len(list(reader.posts()))


async def test_an_unknown_price_is_learned_by_one_post_alone(sandbox: Sandbox) -> None:
    """It holds all that is left, and the others wait for its answer instead of giving up."""
    clip = GptImage2(prompt="A cat in a hat", resolution="4K")
    limits = CreditLimits(month=1000)
    sandbox.faults.add(DELAY)
    async with client_for(sandbox, credit_limits=limits) as client:
        results = [result async for result in client.as_completed([clip] * 5)]

    assert [None] * 5 == [result.error for result in results]
    first, *others = [record.at for record in sandbox.requests if record.method == "POST"]
    assert 4 == len(others)
    assert min(others) >= first + 20


@pytest.mark.parametrize("fault", ["drop-before", "rate-limited", "busy", "internal-error"])
async def test_who_waits_for_a_limit_keeps_no_slot_from_the_post_it_waits_for(
    sandbox: Sandbox, fault: str
) -> None:
    """Else its retry would wait for a slot, and all others for its answer."""
    async with client_for(sandbox, credit_limits=CreditLimits(day=2.5 * PRICE)) as client:
        await client.submit(BOAT)
        sandbox.faults.add(evolve(NAMED[fault], on="submit", count=2))
        with anyio.fail_after(300):
            results = [result async for result in client.as_completed([BOAT] * 20)]

    assert 19 == sum(isinstance(result.error, CreditCapError) for result in results)
    assert 2 * PRICE == spent_in(sandbox)


async def test_what_fails_gives_its_credits_back_to_the_limit(sandbox: Sandbox) -> None:
    """A refund makes room on the day of its POST."""
    async with client_for(sandbox, credit_limits=CreditLimits(day=PRICE)) as client:
        for _ in range(3):
            with pytest.raises(SeedanceError, match="task failed"):
                await client.generate(SINKS)
        await client.submit(BOAT)
        with pytest.raises(CreditCapError):
            await client.submit(BOAT)


@pytest.mark.parametrize("jump", [-400 * DAY, -DAY, -3600.0, DAY, 40 * DAY])
async def test_a_clock_that_jumps_breaks_no_sum(
    sandbox: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """Back and forth: every POST is counted once, and each end finds its POST."""
    real = clocks.wall_now
    async with client_for(sandbox) as client:
        for offset in (0.0, jump, 0.0):
            monkeypatch.setattr(clocks, "wall_now", lambda offset=offset: real() + offset)
            await client.submit(BOAT)
            with pytest.raises(SeedanceError):
                await client.generate(SINKS)
            monkeypatch.setattr(clocks, "wall_now", lambda offset=offset: real() - offset)
            await client.generate(BOAT)

    for by in ("day", "month", "model", "project"):
        sums = reader.spending(by)
        assert spent_in(sandbox) == sum(each.credits_spent for each in sums)
        assert refunded(sandbox) == sum(each.credits_refunded for each in sums)
    with closing(sqlite3.connect(reader.path)) as connection:
        (total,) = connection.execute("SELECT sum(used - refunded) FROM days").fetchone()
    assert spent_in(sandbox) == total


async def test_a_limit_counts_what_a_wrong_clock_put_into_the_future(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is the careful side."""
    real = clocks.wall_now
    monkeypatch.setattr(clocks, "wall_now", lambda: real() + 3 * DAY)
    async with client_for(sandbox, credit_limits=CreditLimits(day=PRICE)) as client:
        await client.submit(BOAT)
        monkeypatch.setattr(clocks, "wall_now", real)
        with pytest.raises(CreditCapError):
            await client.submit(BOAT)


async def test_a_key_of_the_future_is_not_one_that_the_server_remembers(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows how old it is: sent again, it may be charged again, so the limit has to allow it."""
    real = clocks.wall_now
    monkeypatch.setattr(clocks, "wall_now", lambda: real() + 3 * DAY)
    async with client_for(sandbox, credit_limits=CreditLimits(day=PRICE)) as client:
        first = await client.submit(BOAT)
        monkeypatch.setattr(clocks, "wall_now", real)
        with pytest.raises(CreditCapError):
            await client.submit(BOAT, idempotency_key=first.idempotency_key)


async def test_a_new_day_has_its_own_limit(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the month goes on counting."""
    real = clocks.wall_now
    monkeypatch.setattr(clocks, "wall_now", lambda: 20_620 * DAY + 43_200)  # the 16th of a month
    limits = CreditLimits(day=PRICE, month=2 * PRICE)
    async with client_for(sandbox, credit_limits=limits) as client:
        await client.submit(BOAT)
        with pytest.raises(CreditCapError, match="a day"):
            await client.submit(BOAT)
        monkeypatch.setattr(clocks, "wall_now", lambda: 20_621 * DAY)
        await client.submit(BOAT)
        monkeypatch.setattr(clocks, "wall_now", lambda: 20_622 * DAY)
        with pytest.raises(CreditCapError, match="a month"):
            await client.submit(BOAT)
    monkeypatch.setattr(clocks, "wall_now", real)

    assert 2 * PRICE == spent_in(sandbox)


async def test_old_posts_are_forgotten_and_sums_of_the_month_stay(
    sandbox: Sandbox, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What grows can be trimmed; prices stay, and so does what may be paid."""
    real = clocks.wall_now
    monkeypatch.setattr(clocks, "wall_now", lambda: real() - 70 * DAY)
    lost = NanoBananaPro(prompt="A boat [[fault:drop-after-charge*9]]")
    async with client_for(sandbox, retry=RetryPolicy(max_elapsed=0.5)) as client:
        await client.submit(BOAT)
        with pytest.raises(UncertainSubmissionError):
            await client.submit(lost)
    monkeypatch.setattr(clocks, "wall_now", real)
    async with client_for(sandbox) as client:
        await client.submit(BOAT)
    posts = list(reader.posts())

    assert 1 == reader.forget(before=posts[-1].sent_at)
    assert ["uncertain", "accepted"] == [post.state for post in reader.posts()]
    assert [PRICE] == list(reader.prices().values())


async def test_a_closed_client_writes_nothing_more(sandbox: Sandbox, reader: Reader) -> None:
    """Its thread is gone, and the log is copied into the file."""
    async with client_for(sandbox) as client:
        await client.submit(BOAT)
    with pytest.raises(ClientStateError):
        await client.submit(BOAT)

    assert [reader.path] == list(reader.path.parent.glob("record-*"))


async def test_a_limit_of_conditions_is_met_by_several_tasks_at_once() -> None:
    """A POST of four pictures holds the price of four."""
    async with Sandbox(conditions=Conditions(price=lambda _: 10)) as sandbox:
        async with client_for(sandbox, credit_limits=CreditLimits(day=60)) as client:
            await client.submit(GptImage2(prompt="A cat in a hat"))
            await client.submit(GptImage2(prompt="A cat in a hat", batch_count=4))
            with pytest.raises(CreditCapError):
                await client.submit(GptImage2(prompt="A cat in a hat", batch_count=2))
            await client.submit(GptImage2(prompt="A cat in a hat"))

        assert 60 == spent_in(sandbox)
