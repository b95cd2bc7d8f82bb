"""Batches on the distributed engine: the same states, errors and rules of paying as on one host."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import anyio
import pytest
import sqlalchemy as sa
from dbos._sys_db import SystemDatabase
from sqlalchemy import event

from seedance_async import (
    ClientStateError,
    ConfigurationError,
    CreditCapError,
    GptImage2,
    InsufficientCreditsError,
    Job,
    ManifestError,
    NanoBananaPro,
    Seedance2Video,
    StaleKeyError,
    TaskFailedError,
    UnauthorizedError,
    UncertainSubmissionError,
)
from seedance_async.batch.states import State
from seedance_async.cli.app import execute
from seedance_async.cli.batch_options import Options
from seedance_async.cli.engine import EngineCommand
from seedance_async.errors import InvalidRequestError
from seedance_async.exit_codes import ExitCode
from seedance_async.integrations.engine import BatchEngine, dbos_records
from seedance_async.integrations.engine.liveness import FileLiveness
from seedance_async.sandbox import Fault, Sandbox
from tests.batch.helpers import PRICE
from tests.engine.helpers import SPEED, client_of, made
from tests.engine.kills import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from seedance_async.integrations.engine.tables import Tables
    from tests.rooms.s3 import Bucket


@pytest.fixture
def anyio_backend() -> str:
    """The real clock: DBOS has threads of its own."""
    return "asyncio"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A fast one."""
    async with Sandbox(speed=SPEED) as sandbox:
        yield sandbox


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database without a server."""
    return f"sqlite:///{tmp_path}/engine.sqlite"


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    """A database of either sort."""
    return str(request.getfixturevalue(request.param))


def picture(name: str, words: str = "") -> Job:
    """A cheap job."""
    return Job(NanoBananaPro(prompt=f"A boat called {name} {words}", output_format="jpeg"), name=name)


async def test_every_job_is_made_once_however_often_it_is_enqueued(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    """Links are resolved, shared names make folders, and the second time all is there already."""
    still = picture("still")
    clip = Job(Seedance2Video(prompt="It sails", image_url=still.link("image"), duration=4), name="clip")
    jobs = [still, clip, Job(GptImage2(prompt="A harbour at dawn"), name="harbour/dawn")]

    first, summary = await made(sandbox, url, jobs, tmp_path / "out")
    again, _ = await made(sandbox, url, jobs, tmp_path / "out")

    assert {State.SAVED} == {result.state for result in first.values()}
    assert (3, ExitCode.OK) == (len(sandbox.paid_tasks), summary.exit_code)
    (sent,) = (record.body for record in sandbox.requests if b"It sails" in record.body)
    assert first["still"].urls[0].encode() in sent, "the URL of the still stands in the link's place"
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert ["clip.mp4", "clip.mp4.json", "harbour/dawn.png", "harbour/dawn.png.json"] == [
        name for name in files if "frame" not in name and "still" not in name
    ]
    assert {name: result.task_ids for name, result in first.items()} == {
        name: result.task_ids for name, result in again.items()
    }
    assert all(result.earlier for result in again.values())


async def test_errors_end_where_they_end_on_one_host(sandbox: Sandbox, url: str, tmp_path: Path) -> None:
    """Failed, refused, uncertain and blocked, with the errors of their classes."""
    failing = picture("failing", "[[sandbox:fail]]")
    jobs = [
        failing,
        Job(Seedance2Video(prompt="It sails", image_url=failing.link("image"), duration=4), name="blocked"),
        picture("refused", "[[fault:invalid_request*9]]"),
        picture("lost", "[[fault:drop*99]]"),
        picture("good"),
    ]

    results, summary = await made(sandbox, url, jobs, tmp_path / "out")

    assert {
        "failing": State.FAILED,
        "blocked": State.BLOCKED,
        "refused": State.REFUSED,
        "lost": State.UNCERTAIN,
        "good": State.SAVED,
    } == {name: result.state for name, result in results.items()}
    assert isinstance(results["failing"].error, TaskFailedError)
    assert isinstance(results["refused"].error, InvalidRequestError)
    assert isinstance(results["lost"].error, UncertainSubmissionError)
    assert results["lost"].error.idempotency_key == results["lost"].idempotency_key is not None
    assert results["blocked"].idempotency_key is None
    assert ExitCode.UNCERTAIN == summary.exit_code


async def test_another_database_does_not_pay_for_what_the_results_tell_of(
    sandbox: Sandbox, sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path relative to another folder, or a file that was deleted: nothing is enqueued there."""
    out, manifest, other = tmp_path / "out", tmp_path / "jobs.jsonl", tmp_path / "other.sqlite"
    manifest.write_text(json.dumps({"name": "boat", "model": "nano-banana-pro", "prompt": "A boat"}))
    words = ["batch", str(manifest), "-o", str(out), "--engine"]
    await made(sandbox, sqlite_url, manifest, out)
    assert ExitCode.OK == await execute([*words, sqlite_url])
    with anyio.fail_after(30):  # else it waits for a worker
        refused = await execute([*words, f"sqlite:///{other}"])
    again = await execute([*words, sqlite_url])

    assert (ExitCode.USAGE, ExitCode.OK) == (refused, again)
    assert "has 'boat', paid under the key" in capsys.readouterr().err
    async with BatchEngine(f"sqlite:///{other}") as engine:
        assert [] == [result async for result in engine.results()]
    assert 1 == len(sandbox.paid_tasks)


async def test_without_credits_it_stops_and_goes_on_under_the_same_key(
    sqlite_url: str, tmp_path: Path
) -> None:
    """402 proves that nothing was charged: the job stays planned, and goes on when it is enqueued again."""
    async with Sandbox(speed=SPEED, credits=0) as sandbox:
        stopped, before = await made(sandbox, sqlite_url, [picture("boat")], tmp_path / "out")
        sandbox.top_up(1000)
        results, after = await made(sandbox, sqlite_url, [picture("boat")], tmp_path / "out")

    assert (State.PLANNED, ExitCode.OUT_OF_CREDITS) == (stopped["boat"].state, before.exit_code)
    assert isinstance(before.stopped, InsufficientCreditsError)
    assert (State.SAVED, ExitCode.OK) == (results["boat"].state, after.exit_code)
    keys = {record.idempotency_key for record in sandbox.requests if record.endpoint == "submit"}
    assert {results["boat"].idempotency_key} == keys


@pytest.mark.case(185)
@pytest.mark.parametrize("stated", [0, 1])
async def test_an_answer_that_states_less_than_its_task_passes_no_cap(
    sandbox: Sandbox, sqlite_url: str, tmp_path: Path, stated: int
) -> None:
    """The first task of a price is asked at once, and each further one after an answer that has hidden it."""
    sandbox.faults.add(Fault(effect="edit", on="submit", count=None, fields={"credits_used": stated}))
    jobs = [picture(f"boat-{number}") for number in range(8)]
    for cap in (30, 30, 50):
        results, summary = await made(sandbox, sqlite_url, jobs, tmp_path / "out", max_credits=cap)

        assert cap // PRICE * PRICE == PRICE * len(sandbox.paid_tasks) == summary.credits_used
        assert {PRICE} == {result.credits_used for result in results.values() if result.task_ids}


async def test_a_cap_holds_and_a_higher_one_lets_the_rest_through(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    """The cap is one row: what is spent and reserved never exceeds it."""
    jobs = [picture(f"boat-{number}") for number in range(4)]

    capped, before = await made(sandbox, url, jobs, tmp_path / "out", max_credits=30)
    paid = len(sandbox.paid_tasks)
    results, after = await made(sandbox, url, jobs, tmp_path / "out", max_credits=100)

    assert (2, ExitCode.OUT_OF_CREDITS) == (paid, before.exit_code)
    left = [result for result in capped.values() if result.state is State.PLANNED]
    assert [True, True] == [isinstance(result.error, CreditCapError) for result in left]
    assert (4, ExitCode.OK, 48) == (len(sandbox.paid_tasks), after.exit_code, after.credits_used)
    assert {State.SAVED} == {result.state for result in results.values()}


async def test_a_lost_answer_is_asked_for_under_its_key_and_a_stale_one_is_not(
    sandbox: Sandbox, sqlite_url: str, tmp_path: Path
) -> None:
    """The rule of twenty hours holds over runs: what is older stays uncertain, and nothing is sent."""
    lost = picture("lost", "[[fault:drop*4]]")
    first, _ = await made(sandbox, sqlite_url, [lost], tmp_path / "out")
    posts = sum(record.endpoint == "submit" for record in sandbox.requests)

    stale, _ = await made(sandbox, sqlite_url, [lost], tmp_path / "out", replay_window=0.0)
    assert posts == sum(record.endpoint == "submit" for record in sandbox.requests)
    collected, _ = await made(sandbox, sqlite_url, [lost], tmp_path / "out")

    assert State.UNCERTAIN == first["lost"].state == stale["lost"].state
    assert isinstance(stale["lost"].error, StaleKeyError)
    assert (State.SAVED, 1) == (collected["lost"].state, len(sandbox.paid_tasks))
    sent = {
        (record.idempotency_key, record.body) for record in sandbox.requests if record.endpoint == "submit"
    }
    assert 1 == len(sent), "the same bytes under the same key, every time"


async def test_a_refused_key_ends_the_worker(sandbox: Sandbox, sqlite_url: str, tmp_path: Path) -> None:
    """401 stops everything; nothing is lost by it."""
    with pytest.RaisesGroup(UnauthorizedError, flatten_subgroups=True):
        await made(sandbox, sqlite_url, [picture("boat")], tmp_path / "out", key="sk_test_another")

    results, _ = await made(sandbox, sqlite_url, [picture("boat")], tmp_path / "out")
    assert State.SAVED == results["boat"].state


async def test_a_worker_that_ends_waits_until_the_outcomes_of_its_jobs_are_stored(
    sandbox: Sandbox, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the job of a refused key is taken for one in hand, and the next run does not send it."""
    store, close = SystemDatabase.update_workflow_outcome, dbos_records.Runner.close
    is_closing = threading.Event()

    def store_late(*values: Any, **named: Any) -> bool:  # noqa: ANN401 - as DBOS calls it
        if is_closing.wait(1.0):
            raise ClientStateError("DBOS has closed its threads, and drops what they have not begun")
        return store(*values, **named)

    def close_first(runner: dbos_records.Runner[Any]) -> None:
        is_closing.set()
        close(runner)

    with monkeypatch.context() as slow:
        slow.setattr(SystemDatabase, "update_workflow_outcome", store_late)
        slow.setattr(dbos_records.Runner, "close", close_first)
        with pytest.RaisesGroup(UnauthorizedError, flatten_subgroups=True):
            await made(sandbox, sqlite_url, [picture("boat")], tmp_path / "out", key="sk_test_another")

    results, _ = await made(sandbox, sqlite_url, [picture("boat")], tmp_path / "out")
    assert State.SAVED == results["boat"].state


async def test_the_jobs_of_one_account_are_not_sent_by_another(sqlite_url: str, tmp_path: Path) -> None:
    """Under another key the server knows none of the idempotency keys: everything would be paid again."""
    async with Sandbox(speed=SPEED) as sandbox:
        await made(sandbox, sqlite_url, [picture("boat")], tmp_path / "out")
    async with Sandbox(speed=SPEED) as other, BatchEngine(sqlite_url) as engine, client_of(other) as client:
        with pytest.raises(ConfigurationError, match="another account"):
            await engine.work(client, tmp_path / "out")

    assert [] == [record for record in other.requests if record.endpoint == "submit"]


async def test_the_key_is_not_in_the_database(sandbox: Sandbox, sqlite_url: str, tmp_path: Path) -> None:
    """Nor in anything beside it."""
    await made(sandbox, sqlite_url, [picture("boat", "[[fault:drop]]")], tmp_path / "out")

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"A boat called boat" in path.read_bytes() for path in files)
    assert [] == [path for path in files if sandbox.api_key.encode() in path.read_bytes()]


async def test_files_go_to_an_object_store(
    sandbox: Sandbox, sqlite_url: str, bucket: Bucket, tmp_path: Path
) -> None:
    """Hosts need no directory in common."""
    results, _ = await made(sandbox, sqlite_url, [picture("in/a/boat")], bucket.url)

    assert ["in/a/boat.jpg"] == [file.as_posix() for file in results["in/a/boat"].files]
    put = [unquote(key).removeprefix("a prefix/") for key in bucket.seen("PUT")]
    assert ["in/a/boat.jpg", "in/a/boat.jpg.json"] == put


async def test_local_files_are_refused_before_anything_is_enqueued(sqlite_url: str, tmp_path: Path) -> None:
    """Another host does not have them."""
    (tmp_path / "still.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text('{"model": "seedance2", "prompt": "It sails", "image_url": "still.png"}\n')

    async with BatchEngine(sqlite_url) as engine:
        with pytest.raises(ManifestError, match="line 1"):
            await engine.enqueue(manifest)
        assert [] == [result async for result in engine.results()]


async def test_a_process_has_one_worker(sandbox: Sandbox, sqlite_url: str, tmp_path: Path) -> None:
    """DBOS is one to a process; the second is told so, and the first goes on."""
    async with (
        BatchEngine(sqlite_url) as engine,
        client_of(sandbox) as client,
        anyio.create_task_group() as working,
    ):
        await working.start(engine.work, client, tmp_path)
        with pytest.raises(ClientStateError, match="one DBOS"):
            await engine.work(client, tmp_path)
        working.cancel_scope.cancel()


async def test_hosts_that_begin_at_the_same_time_do_not_fail(postgres_url: str) -> None:
    """Tables, the batch, its jobs and the account are made by whoever comes first."""
    jobs = [picture(f"boat-{number}") for number in range(3)]
    keys: list[tuple[str, ...]] = []

    async def begin() -> None:
        async with BatchEngine(postgres_url) as engine:
            keys.append(tuple(await engine.enqueue(jobs)))
            tables, _ = engine._parts
            await anyio.to_thread.run_sync(tables.remember, "account", "the same")

    async with anyio.create_task_group() as hosts:
        for _ in range(4):
            hosts.start_soon(begin)

    assert 4 == len(keys)
    assert 1 == len(set(keys))


async def test_a_job_whose_price_all_others_wait_for_is_taken_all_the_same(
    sandbox: Sandbox, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker has died, and the only place of the next one is taken by a job that waits for its price."""
    monkeypatch.setattr(dbos_records, "JOBS_AT_ONCE", 1)
    jobs = [picture("first"), picture("second")]
    async with (
        BatchEngine(sqlite_url, max_credits=100) as engine,
        client_of(sandbox) as client,
        anyio.create_task_group() as working,
    ):
        first, second = await engine.enqueue(jobs)
        tables, records = engine._parts
        (intent,) = [row.intent for row in tables.jobs_of("") if row.intent.key == first]
        assert tables.book("", lambda ledger: ledger.reserve(first, intent.tariff))
        _let_a_worker_have(tables, first, "another")
        liveness = FileLiveness(tmp_path / "engine.sqlite.workers", "another")
        liveness.connect()
        await working.start(engine.work, client, tmp_path / "out")
        await until(lambda: len(records.owners()) > 1)

        liveness.close()
        with anyio.fail_after(20):
            results = [result async for result in engine.results()]
        working.cancel_scope.cancel()

    assert {(first, State.SAVED), (second, State.SAVED)} == {
        (result.idempotency_key, result.state) for result in results
    }
    assert 2 == len(sandbox.paid_tasks)


def _let_a_worker_have(tables: Tables, key: str, worker: str) -> None:
    taken = "UPDATE workflow_status SET status = 'PENDING', executor_id = :worker WHERE workflow_uuid = :key"
    with tables.transaction() as connection:
        assert 1 == connection.execute(sa.text(taken), {"worker": worker, "key": key}).rowcount


async def test_a_job_that_is_set_back_twice_is_back(
    sandbox: Sandbox, sqlite_url: str, tmp_path: Path
) -> None:
    """Whoever is second finds it so."""
    await made(sandbox, sqlite_url, [picture("boat")], tmp_path / "out")
    async with BatchEngine(sqlite_url) as engine:
        (key,) = await engine.enqueue([picture("boat")])
        _, records = engine._parts
        for _ in range(2):
            await anyio.to_thread.run_sync(records.set_back, key, dbos_records.COLLECT)
        assert records.find([key])[key].is_active
        with pytest.raises(Exception, match="nobody"):
            await anyio.to_thread.run_sync(records.set_back, "nobody", dbos_records.COLLECT)


async def test_two_sources_that_end_together_release_what_takes_both(postgres_url: str) -> None:
    """The second of two transactions sees what the first one has written."""
    first, second = picture("first"), picture("second")
    clip = Seedance2Video(
        prompt="It sails", image_url=first.link("image"), end_image_url=second.link("image"), duration=4
    )
    async with BatchEngine(postgres_url) as engine:
        *sources, taker = await engine.enqueue([first, second, Job(clip, name="clip")])
        tables, _ = engine._parts
        released: list[str] = []
        is_done, may_end = threading.Event(), threading.Event()
        ended: list[str] = []

        def commit(_: sa.Connection) -> None:
            if not is_done.is_set():  # the first of the two
                is_done.set()
                may_end.wait(30)

        def end(source: str) -> None:
            released.extend(tables.end_links(source, (), lambda *_: None))
            ended.append(source)

        event.listen(tables.engine, "commit", commit)
        async with anyio.create_task_group() as ends:
            ends.start_soon(anyio.to_thread.run_sync, end, sources[0])
            await until(is_done.is_set)
            ends.start_soon(anyio.to_thread.run_sync, end, sources[1])
            await until(lambda: bool(ended) or _waits_for_a_lock(tables))
            may_end.set()

    assert [taker] == released


def _waits_for_a_lock(tables: Tables) -> bool:
    with tables.transaction() as connection:
        return connection.scalar(sa.text("SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1")) is not None


async def test_the_command_tells_a_program_the_same_events_as_on_one_host(
    sandbox: Sandbox, sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is planned before the first job, and requests as null: the workers send."""
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text('{"model": "nano-banana-pro", "prompt": "A boat", "name": "boat"}\n')
    options = Options(engine=sqlite_url, max_credits=200.0, as_json=True)
    command = EngineCommand(str(manifest), tmp_path / "out", sqlite_url, options)
    async with (
        BatchEngine(sqlite_url) as engine,
        client_of(sandbox) as client,
        anyio.create_task_group() as working,
    ):
        await working.start(engine.work, client, tmp_path / "out")
        with anyio.fail_after(50):
            assert ExitCode.OK == await command.run()
        working.cancel_scope.cancel()

    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [event.pop("event") for event in events]
    assert ["started", "planned", "job", "ended"] == [kind for kind in kinds if kind != "progress"]
    assert {"manifest": str(manifest), "directory": str(tmp_path / "out")} == events[0]
    plan = events[1]
    assert (1, {"planned": 1}, 200.0) == (plan["jobs"], plan["counts"], plan["max_credits"])
    assert (0, {"saved": 1}, None) == tuple(events[-1][name] for name in ("exit_code", "counts", "requests"))
    assert 0 < events[-1]["credits_used"] <= 200.0
