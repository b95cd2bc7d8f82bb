"""The steps of one worker without DBOS around them: what a second one finds, sends, and reserves.

A worker that has died is one whose steps were asked for and went no further; another ``JobSteps`` on the same
tables is the worker that takes over.
"""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import anyio
import pytest
from anyio import to_thread
from attrs import define, evolve, field
from sqlalchemy.exc import InternalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from seedance_async import GptImage2, Job, NanoBananaPro, Seedance2Video, Submission
from seedance_async.batch.ledger import Ledger
from seedance_async.batch.names import DEFAULT, Template
from seedance_async.batch.states import State
from seedance_async.batch.verdicts import UNCERTAIN_IN_A_ROW
from seedance_async.errors import (
    ClientStateError,
    ConfigurationError,
    ConnectionFailedError,
    DownloadError,
    SeedanceError,
    StandingLimitError,
)
from seedance_async.integrations.engine import BatchEngine
from seedance_async.integrations.engine.addresses import EngineAddress, engine_address
from seedance_async.integrations.engine.database import EngineAwayError, patiently
from seedance_async.integrations.engine.dbos_records import QUEUE, RETURNED, JobRecord, Records
from seedance_async.integrations.engine.ends import end_job
from seedance_async.integrations.engine.enqueuing import enqueue, read_jobs
from seedance_async.integrations.engine.files import PlacedFiles
from seedance_async.integrations.engine.outcomes import Outcome
from seedance_async.integrations.engine.places import read_place
from seedance_async.integrations.engine.tables import Tables
from seedance_async.integrations.engine.worker import JobSteps
from seedance_async.sandbox import Sandbox
from tests.engine.helpers import SPEED, client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from seedance_async import SeedanceClient
    from seedance_async.integrations.engine.intents import Intent
    from tests.rooms.s3 import Bucket

STILL = NanoBananaPro(prompt="A boat", output_format="jpeg")
PRICE = 12.0


@pytest.fixture
def anyio_backend() -> str:
    """The real clock: there is a database in threads."""
    return "asyncio"


@define
class Queue:
    """The records of DBOS, as far as planning asks for them."""

    known: dict[str, JobRecord] = field(factory=dict)
    enqueued: list[str] = field(factory=list)
    set_back_to: dict[str, int] = field(factory=dict)
    into: dict[str, str] = field(factory=dict)

    def enqueue(self, _: sa.Connection, intent: Intent) -> None:
        """Keep that it was."""
        self.enqueued.append(intent.key)

    def find(self, keys: Sequence[str]) -> dict[str, JobRecord]:
        """What the test has said of them."""
        return {key: self.known[key] for key in keys if key in self.known}

    def set_back(self, key: str, step: int, *, queue: str = QUEUE) -> None:
        """Keep that it was."""
        self.set_back_to[key] = step
        self.into[key] = queue

    def next_step(self, _: str) -> int:
        """Nothing is on record."""
        return 1


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    """Of an engine on a SQLite file."""
    address = engine_address(f"sqlite:///{tmp_path}/engine.sqlite")
    assert isinstance(address, EngineAddress)
    tables = Tables(address)
    tables.create()
    yield tables
    tables.close()


@pytest.fixture
def queue() -> Queue:
    """An empty one."""
    return Queue()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A fast one."""
    async with Sandbox(speed=SPEED) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[SeedanceClient]:
    """Of the sandbox."""
    async with client_of(sandbox) as client:
        yield client


def worker(client: SeedanceClient, tables: Tables, *, replay_window: float = 72_000.0) -> JobSteps:
    """The steps of a worker that saves nothing."""
    unused = cast("Any", None)
    return JobSteps(client, tables, unused, unused, replay_window=replay_window)


@asynccontextmanager
async def in_hand(steps: JobSteps, intent: Intent) -> AsyncIterator[None]:
    """A job that a worker has, as its workflow has it."""
    steps.enter(intent.key)
    try:
        yield
    finally:
        await steps.leave(intent.key)


async def planned(
    tables: Tables, queue: Queue, jobs: Sequence[Job], *, batch: str = "", cap: float | None = None
) -> list[Intent]:
    """Jobs as ``enqueue`` puts them down."""
    entries = await read_jobs(jobs)
    put = partial(enqueue, tables, cast("Records", queue), batch, entries, cap=cap)
    return [*(await to_thread.run_sync(put)).intents]


def account_of(client: SeedanceClient) -> str:
    """Whose key a client has."""
    return client.running_engine().account


def posts(sandbox: Sandbox) -> int:
    """How many POSTs there were."""
    return sum(record.endpoint == "submit" for record in sandbox.requests)


def ledger(tables: Tables) -> dict[str, Any]:
    """How the batch's ledger stands."""
    return tables.book("", Ledger.dump)


# --- an edited source


@pytest.mark.parametrize(
    ("state", "step"), [("saved", None), ("uncertain", None), ("planned", 1), ("blocked", 1)]
)
async def test_an_edited_source_sets_back_only_what_was_never_paid(
    tables: Tables, queue: Queue, state: str, step: int | None
) -> None:
    """The old body of a paid job would be paid again once its key is forgotten."""

    def jobs(words: str) -> list[Job]:
        still = Job(NanoBananaPro(prompt=words), name="still")
        return [
            still,
            Job(Seedance2Video(prompt="It sails", image_url=still.link("image"), duration=4), name="clip"),
        ]

    before = await planned(tables, queue, jobs("A boat"))
    clip = before[1].key
    end_job(tables, cast("Records", queue), before[0].key, Outcome(state=State.FAILED))
    queue.known[clip] = JobRecord(is_active=False, output=Outcome(state=State(state)).dump())

    edited = await planned(tables, queue, jobs("A ship"))
    queue.set_back_to.clear()
    end_job(tables, cast("Records", queue), edited[0].key, Outcome(state=State.FAILED))

    assert (clip, True) == (edited[1].key, edited[0].key != before[0].key)
    assert step == queue.set_back_to.get(clip)


async def test_a_second_reservation_of_a_settled_job_is_given_back(tables: Tables, queue: Queue) -> None:
    """Two workers that say the same leave the ledger as one does."""
    (intent,) = await planned(tables, queue, [Job(STILL, name="boat")], cap=100)
    tables.book("", lambda ledger: ledger.reserve(intent.key, intent.tariff))
    tables.settle(intent.key, "", intent.tariff, PRICE, ["task-1"])
    tables.book("", lambda ledger: ledger.reserve(intent.key, intent.tariff))

    tables.settle(intent.key, "", intent.tariff, PRICE, ["task-1"])

    assert ([], [], PRICE) == (
        ledger(tables)["reserved"],
        ledger(tables)["awaited"],
        ledger(tables)["spent"],
    )


async def test_a_charge_that_nobody_stated_stays_reserved_however_often_it_is_said(
    tables: Tables, queue: Queue
) -> None:
    """Its tasks tell later what it cost."""
    (intent,) = await planned(tables, queue, [Job(STILL, name="boat")], cap=100)
    tables.book("", lambda ledger: ledger.reserve(intent.key, intent.tariff))
    for _ in range(2):
        tables.settle(intent.key, "", intent.tariff, None, ["task-1"])

    assert 1 == len(ledger(tables)["reserved"])


# --- a worker that takes over


async def test_a_limit_that_stops_a_second_worker_does_not_prove_the_first_post_unpaid(
    sandbox: Sandbox,
    client: SeedanceClient,
    tables: Tables,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The job stays submitting, and what it may cost stays reserved."""
    (intent,) = await planned(tables, queue, [Job(STILL, name="boat")], cap=100)
    first = worker(client, tables)
    async with in_hand(first, intent):
        begun = await first.begin(intent.dump())

    async def send(*_: object, **given: Any) -> Submission:  # noqa: ANN401 - what the engine takes
        given["slot"].cancel()
        raise StandingLimitError("a day's limit is reached")

    monkeypatch.setattr(client.running_engine(), "send", send)
    second = worker(client, tables)
    async with in_hand(second, intent):
        outcome = Outcome.load(await second.post(intent.dump(), begun))

    assert (State.SUBMITTING, 0) == (outcome.state, posts(sandbox))
    assert "may be paid already" in str(outcome.error)
    assert [intent.key] == [job for job, *_ in ledger(tables)["reserved"]]
    assert tables.stopped("") is None


async def test_ids_that_are_kept_are_collected_however_old_the_key_is(
    sandbox: Sandbox, client: SeedanceClient, tables: Tables, queue: Queue
) -> None:
    """All of them; nothing is sent, and nothing is said to be uncertain."""
    job = Job(GptImage2(prompt="A boat", batch_count=3), name="boat")
    (intent,) = await planned(tables, queue, [job])
    first, second = worker(client, tables), worker(client, tables, replay_window=0.0)
    async with in_hand(first, intent):
        begun = await first.begin(intent.dump())
        posted = Outcome.load(await first.post(intent.dump(), begun))
    async with in_hand(second, intent):
        found = Outcome.load(await second.post(intent.dump(), {**begun, "at": begun["at"] - 90_000.0}))

    assert (State.ACCEPTED, posted.task_ids, 3) == (found.state, found.task_ids, len(found.task_ids))
    assert (1, [posted.task_ids[0]]) == (posts(sandbox), tables.accepted_ids(limit=3))


async def test_a_reservation_of_a_worker_that_died_is_asked_of_the_cap_again(
    sandbox: Sandbox, client: SeedanceClient, tables: Tables, queue: Queue
) -> None:
    """The cap may be lower by now, and nothing was sent."""
    job = Job(STILL, name="boat")
    (intent,) = await planned(tables, queue, [job], cap=100)
    tables.book("", lambda ledger: ledger.reserve(intent.key, intent.tariff))
    await planned(tables, queue, [job], cap=1)
    tables.book("", partial(_learn, intent=intent))

    steps = worker(client, tables)
    async with in_hand(steps, intent):
        outcome = Outcome.load(await steps.begin(intent.dump()))

    assert (State.PLANNED, 0, []) == (outcome.state, posts(sandbox), ledger(tables)["reserved"])
    assert "cap" in str(outcome.error)


def _learn(ledger: Ledger, intent: Intent) -> None:
    ledger.prices[intent.tariff] = PRICE


@pytest.mark.parametrize(("cap", "state", "sent"), [(20, State.SUBMITTING, 0), (30, State.ACCEPTED, 1)])
async def test_what_a_refusal_gave_up_is_reserved_again_before_it_is_sent_again(
    sandbox: Sandbox,
    client: SeedanceClient,
    tables: Tables,
    queue: Queue,
    cap: float,
    state: State,
    sent: int,
) -> None:
    """The worker died between its refusal and the record of it, and another job has the credits now."""
    boat, other = await planned(tables, queue, [Job(STILL, name="boat"), Job(STILL, name="other")], cap=cap)
    tables.book("", partial(_learn, intent=boat))
    first = worker(client, tables)
    async with in_hand(first, boat):
        begun = await first.begin(boat.dump())
    tables.release(boat.key, "")
    assert tables.book("", lambda ledger: ledger.reserve(other.key, other.tariff))
    tables.settle(other.key, "", other.tariff, PRICE, ["task-of-another"])

    second = worker(client, tables)
    async with in_hand(second, boat):
        outcome = Outcome.load(await second.post(boat.dump(), begun))

    assert (state, sent) == (outcome.state, posts(sandbox))
    assert ledger(tables)["spent"] <= cap


# --- answers that were lost


async def test_answers_that_were_lost_to_others_hold_nobody_up(
    sandbox: Sandbox, client: SeedanceClient, tables: Tables, queue: Queue
) -> None:
    """Stale keys say nothing about present prices, nor whether the next POST is worth sending."""
    jobs = [Job(STILL, name=f"boat-{number}") for number in range(UNCERTAIN_IN_A_ROW + 1)]
    *lost, new = await planned(tables, queue, jobs, cap=100)
    tables.book("", partial(_learn, intent=new))
    second = worker(client, tables, replay_window=0.0)
    for intent in lost:
        tables.book("", partial(_hold, intent=intent))
        begun = {"body": intent.body, "at": tables.now() - 90_000.0, "account": account_of(client)}
        async with in_hand(second, intent):
            outcome = Outcome.load(await second.post(intent.dump(), begun))
        assert (State.UNCERTAIN, 0) == (outcome.state, posts(sandbox))

    assert [] == ledger(tables)["in_doubt"]
    assert tables.stopped("") is None
    async with in_hand(second, new):
        assert "state" not in await second.begin(new.dump())


def _hold(ledger: Ledger, intent: Intent) -> None:
    ledger.hold(intent.key, intent.tariff)


async def test_another_run_is_not_held_up_by_what_the_last_one_lost(tables: Tables, queue: Queue) -> None:
    """As on one host, whose ledger begins anew."""
    jobs = [Job(STILL, name=f"boat-{number}") for number in range(3)]
    *lost, new = await planned(tables, queue, jobs, cap=100)
    for intent in lost:
        tables.book("", partial(_learn, intent=intent))
        tables.book("", partial(_lose, intent=intent))
    assert not tables.book("", lambda ledger: ledger.affords(new.tariff))

    await planned(tables, queue, jobs, cap=100)

    assert tables.book("", lambda ledger: ledger.affords(new.tariff))
    assert 2 == len(ledger(tables)["reserved"])


def _lose(ledger: Ledger, intent: Intent) -> None:
    ledger.hold(intent.key, intent.tariff)
    ledger.lost(intent.key)


async def test_who_enqueues_without_a_cap_leaves_that_of_the_batch(tables: Tables, queue: Queue) -> None:
    """Two programs share a batch; one of them knows of no cap."""
    jobs = [Job(STILL, name="boat")]
    caps = []
    for cap in (100, None, 200):
        await planned(tables, queue, jobs, cap=cap)
        caps.append(tables.ledger("").cap)

    assert [100, 100, 200] == caps


# --- a batch that is stopped


async def test_what_waited_for_its_turn_is_not_sent_once_the_batch_is_stopped(
    sandbox: Sandbox, client: SeedanceClient, tables: Tables, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn and its credits are given back."""
    (intent,) = await planned(tables, queue, [Job(STILL, name="boat")], cap=100)
    steps = worker(client, tables)
    take, why = steps._turn, {"type": "InsufficientCreditsError", "message": "no credits"}

    async def turn(intent: Intent, body: str) -> Any:  # noqa: ANN401 - as it is
        taken = await take(intent, body)
        await to_thread.run_sync(tables.stop, "", why)
        return taken

    monkeypatch.setattr(steps, "_turn", turn)
    async with in_hand(steps, intent):
        outcome = Outcome.load(await steps.begin(intent.dump()))

    assert (State.PLANNED, why) == (outcome.state, outcome.error)
    assert [] == ledger(tables)["reserved"]
    assert (None, 0) == (tables.body(intent.key), posts(sandbox))
    with anyio.fail_after(10):
        assert (await client.submit(STILL)).id, "the turn is free again"


async def test_a_post_of_the_future_has_no_known_age(
    sandbox: Sandbox, client: SeedanceClient, tables: Tables, queue: Queue
) -> None:
    """A clock was wrong: the key may be forgotten, so nothing is sent."""
    (intent,) = await planned(tables, queue, [Job(STILL, name="boat")])
    steps = worker(client, tables)
    begun = {"body": intent.body, "at": tables.now() + 3600.0, "account": account_of(client)}
    async with in_hand(steps, intent):
        outcome = Outcome.load(await steps.post(intent.dump(), begun))

    assert (State.UNCERTAIN, 0) == (outcome.state, posts(sandbox))
    assert outcome.error is not None
    assert "StaleKeyError" == outcome.error["type"]


async def test_a_refusal_is_counted_once_however_often_it_is_said(tables: Tables, queue: Queue) -> None:
    """The answer to the transaction may be lost, and two refusals close a key."""
    (intent,) = await planned(tables, queue, [Job(STILL, name="boat")])
    counts = []
    for _ in range(2):
        tables.begin(intent.key, intent.body, "an account")
        tables.refused(intent.key)
        tables.refused(intent.key)
        counts += [row.refusals for row in tables.jobs_of("")]

    assert [1, 2] == counts


async def test_a_job_that_broke_down_and_is_waited_for_goes_into_the_queue_without_a_limit(
    tables: Tables, queue: Queue
) -> None:
    """All places may be taken by those that wait to learn its price."""
    jobs = [Job(STILL, name="boat"), Job(STILL, name="other")]
    awaited, other = await planned(tables, queue, jobs, cap=100)
    assert tables.book("", lambda ledger: ledger.reserve(awaited.key, awaited.tariff))
    queue.known = dict.fromkeys((awaited.key, other.key), JobRecord(is_active=False, output=None))

    await planned(tables, queue, jobs, cap=100)

    assert {awaited.key: RETURNED, other.key: QUEUE} == queue.into


# --- what ends, and what is waited for


async def test_a_closed_client_leaves_a_job_to_another_worker(
    client: SeedanceClient, tables: Tables, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tasks have come to no end: the step does not return, and nothing is put down."""
    (intent,) = await planned(tables, queue, [Job(STILL, name="boat")])
    steps = worker(client, tables)
    asked = anyio.Event()

    async def outcomes(followers: Sequence[Any]) -> list[SeedanceError]:
        asked.set()
        return [ClientStateError("the client is closed") for _ in followers]

    async with in_hand(steps, intent):
        posted = await steps.post(intent.dump(), await steps.begin(intent.dump()))
        monkeypatch.setattr(steps._turns, "outcomes", outcomes)
        ended: list[Outcome] = []

        async def end(_: Intent, outcome: Outcome) -> dict[str, Any]:
            ended.append(outcome)
            return {}

        monkeypatch.setattr(steps, "_ended", end)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(steps.collect, intent.dump(), posted)
            await asked.wait()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

    assert [] == ended
    assert {intent.key: State.ACCEPTED} == tables.states([intent.key])


@pytest.mark.parametrize(
    "problem",
    [
        InternalError("UPDATE", {}, Exception("cannot execute UPDATE in a read-only transaction")),
        PoolTimeoutError("no connection is free"),
    ],
)
async def test_a_database_that_fails_over_is_waited_for(tables: Tables, problem: Exception) -> None:
    """What would end a job's workflow is a database that is away."""
    attempts: list[int] = []

    def fact() -> str:
        attempts.append(1)
        with tables.reached():
            if len(attempts) == 1:
                raise problem
        return "found"

    assert "found" == await patiently(fact)
    assert 2 == len(attempts)


async def test_a_database_that_goes_away_while_jobs_are_enqueued_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is enqueued twice."""
    async with BatchEngine(f"sqlite:///{tmp_path}/other.sqlite") as engine:
        tables, _ = engine._parts
        end, has_failed = tables.open_links, threading.Event()

        def open_links(keys: Sequence[str]) -> dict[str, set[str]]:
            if not has_failed.is_set():  # some are in the queue already
                has_failed.set()
                raise EngineAwayError("it is away")
            return end(keys)

        monkeypatch.setattr(tables, "open_links", open_links)
        keys = await engine.enqueue([Job(STILL, name="boat"), Job(STILL, name="other")])

        assert has_failed.is_set()
        assert list(keys) == [row.intent.key for row in tables.jobs_of("")]


# --- two accounts


async def test_what_another_account_may_have_sent_is_not_sent_again(
    sandbox: Sandbox, client: SeedanceClient, tables: Tables, queue: Queue
) -> None:
    """Under the second key the server knows nothing of the first POST; the worker ends, and says why."""
    (intent,) = await planned(tables, queue, [Job(STILL, name="boat")])
    first = worker(client, tables)
    async with in_hand(first, intent):
        begun = await first.begin(intent.dump())

    async with Sandbox(speed=SPEED) as other, client_of(other) as theirs:
        second = worker(theirs, tables)
        async with in_hand(second, intent), anyio.create_task_group() as tasks:
            tasks.start_soon(second.post, intent.dump(), begun)
            with anyio.fail_after(10):
                await second.ended.wait()
            tasks.cancel_scope.cancel()
        assert isinstance(second.fatal, ConfigurationError)
        assert "another account" in second.fatal.message
        assert (0, 0) == (posts(other), posts(sandbox))
    assert {intent.key: State.SUBMITTING} == tables.states([intent.key])


@pytest.mark.parametrize("is_away", [False, True])
async def test_another_key_of_the_same_account_goes_on_once_a_task_shows_it(
    sandbox: Sandbox,
    client: SeedanceClient,
    tables: Tables,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_away: bool,
) -> None:
    """Where the API cannot be asked for one, nothing is proven: the job stays as it is."""
    done, boat = await planned(tables, queue, [Job(STILL, name="done"), Job(STILL, name="boat")])
    first, second = worker(client, tables), worker(client, tables)
    async with in_hand(first, done):
        await first.post(done.dump(), await first.begin(done.dump()))
    async with in_hand(first, boat):
        begun = await first.begin(boat.dump())
    monkeypatch.setattr(type(client.running_engine()), "account", f"{account_of(client)}0")
    if is_away:
        monkeypatch.setattr(client, "get_task", _unreachable)

    async with in_hand(second, boat):
        outcome = Outcome.load(await second.post(boat.dump(), begun))

    expected = (State.SUBMITTING, 1) if is_away else (State.ACCEPTED, 2)
    assert expected == (outcome.state, posts(sandbox))
    assert (second.fatal is None, tables.stopped("")) == (True, None)


async def _unreachable(_: str) -> None:
    raise ConnectionFailedError("it is away")


# --- files


async def test_jobs_of_the_same_name_in_two_batches_have_files_of_their_own(
    client: SeedanceClient, tables: Tables, queue: Queue, bucket: Bucket
) -> None:
    """An object store has no names that are taken: the second file would replace the first."""
    files = PlacedFiles(client, read_place(bucket.url), Template(DEFAULT), embed=False)
    saved: list[str] = []
    for batch in ("", "spring", "../autumn"):
        (intent,) = await planned(tables, queue, [Job(STILL, name="boat")], batch=batch)
        task = await client.wait(await client.submit(STILL))
        outcome = Outcome(state=State.COMPLETED, tasks=(task.raw,), task_ids=(task.id,))
        saved += (await files.save(outcome.entry(intent))).names

    assert ["boat.jpg", "spring/boat.jpg", "5ec1f7/autumn/boat.jpg"] == saved
    put = {unquote(key).removeprefix("a prefix/") for key in bucket.seen("PUT")}
    assert {*saved, *(f"{name}.json" for name in saved)} <= put


async def test_a_file_of_another_job_is_not_replaced_in_a_store(
    client: SeedanceClient, tables: Tables, queue: Queue, bucket: Bucket
) -> None:
    """Two databases may have jobs of one name and one place; the same file again is no other one."""
    files = PlacedFiles(client, read_place(bucket.url), Template(DEFAULT), embed=False)
    (intent,) = await planned(tables, queue, [Job(STILL, name="boat")])
    entries = []
    for prompt in ("A boat", "A whale"):
        task = await client.wait(await client.submit(evolve(STILL, prompt=prompt)))
        outcome = Outcome(state=State.COMPLETED, tasks=(task.raw,), task_ids=(task.id,))
        entries.append(outcome.entry(intent))
    boat, whale = entries

    await files.save(boat)
    with pytest.raises(DownloadError, match="another file named"):
        await files.save(whale)
    assert ("boat.jpg",) == (await files.save(boat)).names

    assert 1 == [unquote(key) for key in bucket.seen("PUT")].count("a prefix/boat.jpg")
