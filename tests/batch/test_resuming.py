"""A batch that is run again: whatever ended the last run, nothing is paid twice and nothing paid is lost."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
import pytest

from seedance_async import (
    BatchRunner,
    ClientStateError,
    Job,
    JournalError,
    ManifestError,
    NanoBananaPro,
    SeedanceClient,
    SeedanceError,
    StaleKeyError,
    UnauthorizedError,
    UncertainSubmissionError,
    clocks,
)
from seedance_async.batch.journal import disk
from seedance_async.batch.run import Run
from seedance_async.batch.states import State
from seedance_async.sandbox import AccountSpec, Behaviour, Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, charged, opened, pictures, results_of, run_once, states, submits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from seedance_async.batch.journal import JobEntry


class Wall:
    """A wall clock that a test can move."""

    def __init__(self) -> None:
        self.hours = 0.0

    def __call__(self) -> float:
        """Seconds of it."""
        return 1.8e9 + self.hours * 3600.0


FAILED = {"status": "failed", "output": None, "error": "the reef"}


async def test_a_second_run_of_a_finished_batch_sends_nothing(tmp_path: Path) -> None:
    """Running again is free, and tells every job all the same."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(3))
        before = len(sandbox.requests)
        results = await run_once(sandbox, tmp_path, pictures(3))

        assert before == len(sandbox.requests)
        assert all(
            result.earlier and result.state is State.SAVED and result.files for result in results.values()
        )


async def test_a_run_that_stops_while_a_program_is_read_tells_what_ended_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs were read with the first one, so each has its result, whatever stops the run meanwhile."""
    deliver = Run.deliver_earlier

    async def deliver_and_stop(run: Run, entry: JobEntry) -> None:
        run.stop(SeedanceError("enough"))
        await anyio.wait_all_tasks_blocked()  # the reading is ended now
        await deliver(run, entry)

    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(3))
        monkeypatch.setattr(Run, "deliver_earlier", deliver_and_stop)
        results = await run_once(sandbox, tmp_path, pictures(4))

        assert {"saved": 3, "planned": 1} == states(results)
        assert 3 == len(sandbox.paid_tasks)


@pytest.mark.case(98)
async def test_after_a_top_up_the_batch_goes_on_even_if_the_server_stores_its_402(tmp_path: Path) -> None:
    """Catalogue 98: a refusal may stand under its key for ever, so a job proven unpaid gets a new one."""
    behaviour = Behaviour(stored=frozenset({"2xx", "4xx"}))
    async with Sandbox(credits=3 * PRICE - 1, behaviour=behaviour) as sandbox:
        for _ in range(3):  # every key that it tries meanwhile is spent
            await run_once(sandbox, tmp_path, pictures(4))
        sandbox.top_up(1000)
        results = await run_once(sandbox, tmp_path, pictures(4))

        assert {"saved": 4} == states(results)
        assert 4 == len(sandbox.paid_tasks)


async def test_a_refusal_may_be_the_answer_to_a_copy_of_a_paid_post(tmp_path: Path) -> None:
    """A proxy delivers twice, and the first took the last credits: after a top-up the old key collects it."""
    behaviour = Behaviour(before_key=frozenset({"balance"}))
    twice = Fault(effect="duplicate", on="submit", moment="before")
    async with Sandbox(credits=PRICE, behaviour=behaviour, faults=[twice]) as sandbox:
        for _ in range(3):  # running it again without a top-up changes nothing
            results = await run_once(sandbox, tmp_path, pictures(1))
            assert State.PLANNED is results["boat-0"].state
        sandbox.top_up(1000)
        results = await run_once(sandbox, tmp_path, pictures(1))

        assert State.SAVED is results["boat-0"].state
        assert 1 == len(sandbox.paid_tasks)


async def test_a_key_that_is_only_known_is_given_up_when_told_to(tmp_path: Path) -> None:
    """Where repeated keys are rejected, a lost answer cannot be had again: somebody has to decide."""
    behaviour = Behaviour(repeated_key="reject")
    lost = Fault(effect="drop", on="submit", moment="after")
    async with Sandbox(behaviour=behaviour, faults=[lost]) as sandbox:
        for _ in range(2):
            results = await run_once(sandbox, tmp_path, pictures(1))
            assert State.UNCERTAIN is results["boat-0"].state
            assert 1 == len(sandbox.paid_tasks)
        results = await run_once(sandbox, tmp_path, pictures(1), resubmit_uncertain=True)

        assert State.SAVED is results["boat-0"].state
        assert 2 == len(sandbox.paid_tasks)


async def test_nothing_of_a_manifest_with_a_mistake_is_ever_sent(tmp_path: Path) -> None:
    """Neither then nor by the next run of the manifest before it, whose bytes are known already."""
    manifest = tmp_path / "jobs.jsonl"
    lines = [
        {"name": f"boat-{n}", "model": "nano-banana-pro", "prompt": f"A boat on pond {n}"} for n in range(3)
    ]
    good = json.dumps(lines[0]) + "\n"
    async with Sandbox() as sandbox:
        manifest.write_text(good)
        await run_once(sandbox, tmp_path / "out", manifest)
        edited = [{**lines[0], "prompt": "A better boat"}, *lines[1:], {**lines[2], "prompt": ""}]
        manifest.write_text("".join(json.dumps(line) + "\n" for line in edited))
        with pytest.raises(ManifestError):
            await run_once(sandbox, tmp_path / "out", manifest)
        manifest.write_text(good)
        results = await run_once(sandbox, tmp_path / "out", manifest)

        assert ["boat-0"] == list(results)
        assert 1 == len(sandbox.tasks)


async def test_a_suspect_that_was_accepted_holds_nobody_up(tmp_path: Path) -> None:
    """Runs died while it was sent, the last one after its answer: nobody needs to be careful any more."""
    async with Sandbox() as sandbox:
        async with opened(sandbox, tmp_path) as batch:
            with anyio.move_on_after(1.0):
                await results_of(batch, pictures(1))
        with closing(sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)) as connection:
            connection.execute("UPDATE posts SET crashes = 2 WHERE state = 'accepted'")
        results = await run_once(sandbox, tmp_path, pictures(3))

        assert {"saved": 3} == states(results)
        assert 3 == len(sandbox.paid_tasks)


async def test_two_runs_at_a_time_are_refused(tmp_path: Path) -> None:
    """Also before the first one has come as far as its first job."""
    refused: list[ClientStateError] = []

    async def one() -> None:
        try:
            await results_of(batch, pictures(2))
        except ClientStateError as error:
            refused.append(error)

    async with Sandbox() as sandbox, opened(sandbox, tmp_path) as batch, anyio.create_task_group() as callers:
        callers.start_soon(one)
        callers.start_soon(one)
    assert 1 == len(refused)
    assert 2 == len(sandbox.paid_tasks)


async def test_a_refund_of_what_was_never_told_makes_no_room(tmp_path: Path) -> None:
    """Else a failed job whose price nobody said would let others through that the cap does not allow."""
    untold = [
        Fault(effect="edit", on="submit", without=("credits_used",)),
        Fault(effect="edit", on="task", without=("credits_used",), count=None),
    ]
    jobs = [Job(NanoBananaPro(prompt="A boat [[sandbox:fail]]"), name="sinks"), *pictures(4)]
    async with Sandbox(faults=untold) as sandbox:
        for _ in range(2):
            async with opened(sandbox, tmp_path, max_credits=2 * PRICE) as batch:
                await results_of(batch, jobs)
                assert 2 * PRICE == batch.summary.credits_used - batch.summary.credits_refunded
        assert 2 == len(sandbox.paid_tasks)


async def test_a_source_that_breaks_cuts_nothing_off_that_is_paid(tmp_path: Path) -> None:
    """Its error comes when every paid job is told, downloads included."""
    reported: list[State] = []

    async def listen() -> None:
        async for result in batch.run(broken()):
            reported.append(result.state)  # noqa: PERF401 - what comes before the error counts

    async def broken() -> AsyncIterator[Job]:
        for job in pictures(3):
            yield job
        await anyio.sleep(1.0)
        raise KeyError("the list has ended in the middle")

    slow = Fault(effect="delay", on="media", moment="before", seconds=5.0, count=None)
    async with Sandbox(faults=[slow]) as sandbox, opened(sandbox, tmp_path) as batch:
        with pytest.raises(KeyError):
            await listen()

        assert [State.SAVED] * 3 == reported
        assert 3 == len(sandbox.paid_tasks)


async def test_what_is_paid_and_cannot_be_recorded_is_told_with_id_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last words of a failing disk: it can be collected by hand, and the next run asks by its key."""
    full = JournalError("no room")

    def fail(*_: object, **__: object) -> NoReturn:
        raise full

    async with Sandbox() as sandbox:
        async with opened(sandbox, tmp_path) as batch:
            monkeypatch.setattr(batch.journal.store, "accept", fail)
            with pytest.raises(JournalError):
                await results_of(batch, pictures(1))
            assert 5 == batch.summary.exit_code
        (paid,) = sandbox.paid_tasks
        assert (paid.id, paid.idempotency_key) == (full.task_id, full.idempotency_key)
        results = await run_once(sandbox, tmp_path, pictures(1))

        assert {"saved": 1} == states(results)
        assert 1 == len(sandbox.tasks)


async def test_what_may_have_been_paid_counts_against_the_cap(tmp_path: Path) -> None:
    """Another attempt needs its price once more, in this run and in all that follow."""
    behaviour = Behaviour(repeated_key="reject")
    lost = Fault(effect="drop", on="submit", moment="after", nth=2)
    jobs = pictures(5)
    async with Sandbox(behaviour=behaviour, faults=[lost]) as sandbox:
        await run_once(sandbox, tmp_path, jobs[:2], max_credits=2 * PRICE)
        results = await run_once(sandbox, tmp_path, jobs[:2], max_credits=2 * PRICE, resubmit_uncertain=True)
        assert {"saved": 1, "uncertain": 1} == states(results)

        for again in (True, False):
            await run_once(sandbox, tmp_path, jobs, max_credits=4 * PRICE, resubmit_uncertain=again)
        assert 4 * PRICE == charged(sandbox)
        assert 4 == len(sandbox.paid_tasks)


@pytest.mark.parametrize("status", [402, 500])
async def test_a_stored_answer_that_hides_the_outcome_is_given_up_when_told_to(
    status: int, tmp_path: Path
) -> None:
    """It is given for ever under its key, whatever became of the job."""
    stored = Behaviour(stored=frozenset({"2xx", "4xx", "5xx"}))
    faults = [
        Fault(effect="drop", on="submit", moment="before"),
        Fault(effect="status", on="submit", moment="before", status=status, nth=2),
    ]
    async with Sandbox(behaviour=stored, faults=faults) as sandbox:
        for _ in range(2):
            results = await run_once(sandbox, tmp_path, pictures(1))
            assert {"uncertain": 1} == states(results)
        results = await run_once(sandbox, tmp_path, pictures(1), resubmit_uncertain=True)

        assert {"saved": 1} == states(results)
        assert 1 == len(sandbox.paid_tasks)


async def test_a_job_that_is_sent_under_a_new_key_is_not_handed_out_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its keys it stands on record as planned, and the source may name it just then."""
    faults = [
        Fault(effect="drop", on="submit", moment="before"),
        Fault(effect="status", on="submit", moment="before", status=402, nth=2),
    ]
    given_up = anyio.Event()

    async def late() -> AsyncIterator[Job]:
        await given_up.wait()
        for job in pictures(1):
            yield job

    async with Sandbox(behaviour=Behaviour(stored=frozenset({"4xx"})), faults=faults) as sandbox:
        assert {"uncertain": 1} == states(await run_once(sandbox, tmp_path, pictures(1)))
        async with opened(sandbox, tmp_path, resubmit_uncertain=True) as batch:
            store, do = batch.journal.store, batch.journal.do

            async def slowly(work: Callable[..., Any], *args: object, **options: object) -> object:
                done = await do(work, *args, **options)
                if getattr(work, "func", None) == store.postpone:
                    given_up.set()
                    await anyio.sleep(1.0)
                return done

            monkeypatch.setattr(batch.journal, "do", slowly)
            results = await results_of(batch, late())

        assert {"saved": 1} == states(results)
        assert 4 == len(submits(sandbox))
        assert 1 == len(sandbox.paid_tasks)


async def test_a_caller_who_leaves_pays_for_nothing_new(tmp_path: Path) -> None:
    """Also not within the grace that POSTs on the wire are given."""
    lost = Fault(effect="drop", on="submit", moment="after")
    async with Sandbox(behaviour=Behaviour(repeated_key="reject"), faults=[lost]) as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        with anyio.move_on_after(58.0):  # the old key is given up after a minute
            await run_once(sandbox, tmp_path, pictures(1), resubmit_uncertain=True)
        assert 1 == len(sandbox.paid_tasks)


async def test_what_failed_is_made_anew_only_when_asked(tmp_path: Path) -> None:
    """Each attempt is paid under a key of its own, and the sums know all of them."""
    jobs = [*pictures(2), Job(NanoBananaPro(prompt="A boat sinks"), name="sinks")]
    async with Sandbox() as sandbox:
        sandbox.faults.add(Fault(effect="edit", on="task", count=None, fields=FAILED))
        first = await run_once(sandbox, tmp_path, jobs)
        sandbox.faults.clear()
        again = await run_once(sandbox, tmp_path, jobs)
        assert {"failed": 3} == states(first) == states(again)
        assert 3 == len(sandbox.paid_tasks)

        async with opened(sandbox, tmp_path, retry_failed=True) as batch:
            results = await results_of(batch, jobs)
            assert charged(sandbox) == 6 * PRICE == batch.summary.credits_used
        assert {"saved": 3} == states(results)
        assert 6 == len(sandbox.paid_tasks) == len({key for key, _ in submits(sandbox)})

        await run_once(sandbox, tmp_path, jobs, retry_failed=True)
        assert 6 == len(sandbox.paid_tasks)


async def test_what_was_refused_is_asked_again_when_told_to(tmp_path: Path) -> None:
    """The rule that refused it may be another one today."""
    async with Sandbox(faults=[Fault(effect="status", on="submit", moment="before", status=400)]) as sandbox:
        refused = await run_once(sandbox, tmp_path, pictures(1))
        results = await run_once(sandbox, tmp_path, pictures(1), retry_failed=True)

        assert {"refused": 1} == states(refused)
        assert {"saved": 1} == states(results)
        assert 2 == len({key for key, _ in submits(sandbox)})


async def test_what_an_earlier_run_could_not_finish_is_told_with_its_handles(tmp_path: Path) -> None:
    """By its key and its task id it can be looked into; a run that tells it again knows both."""
    job = Job(NanoBananaPro(prompt="A boat sinks [[sandbox:fail]]"), name="boat")
    async with Sandbox() as sandbox, opened(sandbox, tmp_path) as batch:
        await results_of(batch, [job])
        error = (await results_of(batch, [job]))["boat"].error

        (paid,) = sandbox.tasks.values()
        assert error is not None
        assert (paid.id, paid.idempotency_key) == (error.task_id, error.idempotency_key)


async def test_a_batch_that_cannot_be_opened_for_damage_lets_go_of_its_journal(tmp_path: Path) -> None:
    """Mended in place, it can be opened by the same process."""

    def change(sql: str, *values: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as file, file:
            file.execute("PRAGMA ignore_check_constraints = ON")
            return file.execute(sql, values).fetchall()

    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        ((tasks,),) = change("SELECT tasks FROM jobs")
        change("UPDATE jobs SET tasks = '{'")
        with pytest.raises(JournalError, match="damaged"):
            await run_once(sandbox, tmp_path, pictures(1))
        change("UPDATE jobs SET tasks = ?", tasks)
        results = await run_once(sandbox, tmp_path, pictures(1))

    assert {"saved": 1} == states(results)
    assert 1 == len(sandbox.paid_tasks)


async def test_a_batch_that_is_opened_again_tells_how_it_stands_now(tmp_path: Path) -> None:
    """Not how it stood when it was closed."""
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        batch = BatchRunner(client, tmp_path)
        async with batch:
            await results_of(batch, pictures(1))
        async with batch:
            await results_of(batch, pictures(3))
            assert 3 == batch.summary.counts[State.SAVED]


async def test_a_batch_that_is_opened_again_knows_how_long_its_jobs_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a journal knows of durations, the next run's client need not learn anew."""
    began = clocks.wall_now()
    monkeypatch.setattr(clocks, "wall_now", lambda: began + anyio.current_time())
    slow = Conditions(duration=lambda _order, _chance: 700.0)
    request = pictures(1)[0].request
    async with Sandbox(conditions=slow) as sandbox:
        await run_once(sandbox, tmp_path, pictures(8))
        async with SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
            before = client.forecast(request).mean
            async with BatchRunner(client, tmp_path):
                assert before < 400.0 < client.forecast(request).mean


async def test_a_key_in_doubt_grows_old_over_all_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent in one run, and again nineteen hours later in another: two hours more, and it is left alone."""
    wall = Wall()
    monkeypatch.setattr(clocks, "wall_now", wall)
    lost = Fault(effect="drop", on="submit", moment="before", count=None)

    async def sleep() -> None:
        await anyio.sleep(30.0)
        wall.hours += 2.0

    async with Sandbox(faults=[lost]) as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        wall.hours += 19.0
        before = len(sandbox.requests)
        async with anyio.create_task_group() as machine:
            machine.start_soon(sleep)
            results = await run_once(sandbox, tmp_path, pictures(1))

        again = [record.at for record in sandbox.requests[before:]]
        assert again
        assert max(again) - min(again) <= 30.0
    assert isinstance(results["boat-0"].error, StaleKeyError)


async def test_keys_that_are_closed_for_ever_keep_nobody_from_being_collected(tmp_path: Path) -> None:
    """Six jobs never get an answer; the two behind them are paid, and would have one."""
    closed = [Job(NanoBananaPro(prompt=f"A wreck {n} [[fault:drop@submit*9999]]")) for n in range(6)]
    lost = Fault(effect="drop", on="submit", count=None)
    async with Sandbox(faults=[lost]) as sandbox:
        await run_once(sandbox, tmp_path, [*closed, *pictures(2)])
        sandbox.faults.clear()
        results = await run_once(sandbox, tmp_path, [*closed, *pictures(2)], max_in_flight=1)

    assert {"uncertain": 6, "saved": 2} == states(results)
    assert 8 == len(sandbox.paid_tasks)


@pytest.mark.case(101)
async def test_a_401_stops_everything_and_a_new_key_goes_on(tmp_path: Path) -> None:
    """Catalogue 101: no submits and polls under a revoked key; its tasks are collected under the next."""
    account = AccountSpec(keys=("sk_test_first", "sk_test_second"))
    async with Sandbox(accounts=[account]) as sandbox:
        async with opened(sandbox, tmp_path) as batch:
            reported = []
            async for result in batch.run(pictures(60)):
                reported.append(result)
                sandbox.revoke("sk_test_first")
            assert 4 == batch.summary.exit_code
            assert isinstance(batch.summary.stopped, UnauthorizedError)
            assert 60 == len({result.name for result in reported}) == len(reported)
        async with opened(sandbox, tmp_path, key="sk_test_second") as batch:
            results = await results_of(batch, pictures(60))

        refused = [record for record in sandbox.requests if record.status == 401]
        assert {"saved": 60} == states(results)
        assert 60 == len(sandbox.paid_tasks)
        assert 40 > len(refused)


@pytest.mark.case(101)
async def test_a_job_between_two_attempts_is_told_when_the_key_is_refused(tmp_path: Path) -> None:
    """It is not waited for beyond a grace, and stays under way for the next run."""
    busy = Fault(effect="status", on="submit", status=503, nth=2, headers={"Retry-After": "40"})
    refused = Fault(effect="status", on="submit", status=401, nth=3, count=None)
    async with Sandbox(faults=[busy, refused]) as sandbox:
        async with opened(sandbox, tmp_path) as batch:
            results = await results_of(batch, pictures(3))
            assert isinstance(batch.summary.stopped, UnauthorizedError)
        assert 3 == len(results)
        assert Counter(planned=1, submitting=1) <= states(results)
        sandbox.faults.clear()
        results = await run_once(sandbox, tmp_path, pictures(3))

        assert {"saved": 3} == states(results)
        assert 3 == len(sandbox.paid_tasks)


@pytest.mark.case(102)
async def test_another_accounts_key_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """Catalogue 102: under another owner every task is unknown, and every intent would be paid again."""
    accounts = [AccountSpec(name="a", keys=("sk_test_a",)), AccountSpec(name="b", keys=("sk_test_b",))]
    async with Sandbox(accounts=accounts) as sandbox:
        await run_once(sandbox, tmp_path, pictures(2))
        async with opened(sandbox, tmp_path, key="sk_test_b") as batch:
            with pytest.raises(JournalError, match="account"):
                await results_of(batch, pictures(3))

        assert 2 == len(submits(sandbox))


@pytest.mark.case(102)
async def test_what_may_be_paid_under_another_account_is_not_sent_under_this_one(tmp_path: Path) -> None:
    """Nothing was accepted that would show whose batch it is, however often it is tried."""
    accounts = [AccountSpec(name="a", keys=("sk_test_a",)), AccountSpec(name="b", keys=("sk_test_b",))]
    lost = Fault(effect="drop", on="submit", count=None)
    async with Sandbox(accounts=accounts, faults=[lost]) as sandbox:
        await run_once(sandbox, tmp_path, pictures(1), key="sk_test_a")
        sandbox.faults.clear()
        for _ in range(2):
            with pytest.raises(JournalError, match="may be paid under another API key"):
                await run_once(sandbox, tmp_path, pictures(1), key="sk_test_b")
        results = await run_once(sandbox, tmp_path, pictures(1), key="sk_test_a")

        assert {"saved": 1} == states(results)
        assert ["a"] == [task.account for task in sandbox.paid_tasks]


@pytest.mark.case(102)
async def test_a_renewed_key_leaves_what_was_lost_to_the_old_one(tmp_path: Path) -> None:
    """U5: the server may keep idempotency keys apart by API key, and would be paid twice."""
    accounts = [AccountSpec(keys=("sk_test_a", "sk_test_b"))]
    lost = Fault(effect="drop", on="submit", nth=2, count=None)
    async with Sandbox(accounts=accounts, faults=[lost], behaviour=Behaviour(key_scope="key")) as sandbox:
        await run_once(sandbox, tmp_path, pictures(2), key="sk_test_a")
        sandbox.faults.clear()
        for _ in range(2):
            results = await run_once(sandbox, tmp_path, pictures(2), key="sk_test_b")
            assert {"saved": 1, "uncertain": 1} == states(results)
        results = await run_once(sandbox, tmp_path, pictures(2), key="sk_test_a")

        assert {"saved": 2} == states(results)
        assert 2 == len(sandbox.paid_tasks)


@pytest.mark.case(11, 25)
async def test_a_lost_answer_ends_uncertain_and_is_collected_by_the_next_run(tmp_path: Path) -> None:
    """Catalogue 11, 25: the job is paid; the same bytes under the same key bring it in."""
    async with Sandbox() as sandbox:
        sandbox.faults.add(Fault(effect="drop", on="submit", count=None))
        async with opened(sandbox, tmp_path, max_credits=100) as batch:
            results = await results_of(batch, pictures(1))
            assert isinstance(results["boat-0"].error, UncertainSubmissionError)
            assert State.UNCERTAIN is results["boat-0"].state
            assert 100 == batch.summary.credits_reserved
            assert 5 == batch.summary.exit_code
        sandbox.faults.clear()
        results = await run_once(sandbox, tmp_path, pictures(1))

        assert State.SAVED is results["boat-0"].state
        assert 1 == len(sandbox.paid_tasks)
        assert 1 == len(set(submits(sandbox)))


@pytest.mark.case(78, 95)
async def test_an_uncertain_job_older_than_the_replay_window_waits_to_be_asked(tmp_path: Path) -> None:
    """Catalogue 78: the server may have forgotten the key, and would make a second paid task."""
    async with Sandbox() as sandbox:
        sandbox.faults.add(Fault(effect="drop", on="submit", count=None))
        await run_once(sandbox, tmp_path, pictures(1))
        sandbox.faults.clear()
        with sqlite3.connect(tmp_path / "journal.sqlite") as journal:
            journal.execute("UPDATE posts SET intended_at = intended_at - 21 * 3600")
        journal.close()
        sent = len(submits(sandbox))

        waiting = await run_once(sandbox, tmp_path, pictures(1))
        assert State.UNCERTAIN is waiting["boat-0"].state
        assert sent == len(submits(sandbox))

        asked = await run_once(sandbox, tmp_path, pictures(1), resubmit_uncertain=True)
        assert State.SAVED is asked["boat-0"].state
        assert 1 == len(set(submits(sandbox)))


@pytest.mark.case(99)
async def test_a_refusal_of_a_retry_proves_nothing_about_the_first_attempt(tmp_path: Path) -> None:
    """Promise 7, catalogue 99: the first attempt took the last credits, so the 402 is its own echo."""
    lost = Fault(effect="drop", on="submit")
    behaviour = Behaviour(before_key=frozenset({"auth", "limit", "balance"}))
    async with Sandbox(credits=PRICE, behaviour=behaviour, faults=[lost]) as sandbox:
        results = await run_once(sandbox, tmp_path, pictures(1))

        assert State.UNCERTAIN is results["boat-0"].state
        sandbox.top_up(PRICE)
        results = await run_once(sandbox, tmp_path, pictures(1))
        assert State.SAVED is results["boat-0"].state
        assert 1 == len(sandbox.paid_tasks)


async def test_a_failed_download_keeps_the_finished_task(tmp_path: Path) -> None:
    """Promise 10: the next run fetches the files, and neither pays nor polls again."""
    async with Sandbox() as sandbox:
        sandbox.faults.add(Fault(effect="drop", on="media", moment="before", count=None))
        results = await run_once(sandbox, tmp_path, pictures(1))
        assert State.COMPLETED is results["boat-0"].state
        assert results["boat-0"].error
        sandbox.faults.clear()
        before = len(sandbox.requests)
        results = await run_once(sandbox, tmp_path, pictures(1))

        assert State.SAVED is results["boat-0"].state
        assert None is results["boat-0"].error
        assert before == len(sandbox.requests)


@pytest.mark.case(105)
async def test_an_expired_url_is_renewed_by_one_poll(tmp_path: Path) -> None:
    """Catalogue 105."""
    async with Sandbox(behaviour=Behaviour(url_life=100.0)) as sandbox:
        sandbox.faults.add(Fault(effect="drop", on="media", moment="before", count=None))
        await run_once(sandbox, tmp_path, pictures(1))
        sandbox.faults.clear()
        await anyio.sleep(200.0)
        before = len(sandbox.requests)
        results = await run_once(sandbox, tmp_path, pictures(1))

        assert State.SAVED is results["boat-0"].state
        assert before + 1 == len(sandbox.requests)


async def test_a_batch_that_is_cancelled_loses_no_accepted_task(tmp_path: Path) -> None:
    """Promise 9: what was on the wire is answered and recorded, and the next run collects it."""
    async with Sandbox(conditions=Conditions(latency=(0.5, 0.5))) as sandbox:
        with anyio.move_on_after(3.0):
            await run_once(sandbox, tmp_path, pictures(40))
        accepted = len(sandbox.tasks)
        assert accepted
        with sqlite3.connect(tmp_path / "journal.sqlite") as journal:
            recorded = journal.execute("SELECT count(*) FROM jobs WHERE state = 'accepted'").fetchone()
        journal.close()

        results = await run_once(sandbox, tmp_path, pictures(40))
        assert (accepted,) == recorded
        assert {"saved": 40} == states(results)
        assert 40 == len(sandbox.paid_tasks) == len(set(submits(sandbox)))


async def test_leaving_the_loop_early_is_a_tidy_end(tmp_path: Path) -> None:
    """A caller may stop listening; what is paid is collected by the next run."""
    async with Sandbox() as sandbox:
        async with opened(sandbox, tmp_path) as batch:
            async for _ in batch.run(pictures(10)):
                break
        results = await run_once(sandbox, tmp_path, pictures(10))

        assert {"saved": 10} == states(results)
        assert 10 == len(sandbox.paid_tasks)


@pytest.mark.case(82, 139)
async def test_a_changed_manifest_is_told_and_pays_for_the_changes_only(tmp_path: Path) -> None:
    """Catalogue 82, 139: matched by name and request; what was paid under an old request is kept."""
    first = pictures(4)
    second = [*first[:2], Job(NanoBananaPro(prompt="A whale"), name="boat-2"), *pictures(1, word="swan")]
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, first)
        async with opened(sandbox, tmp_path) as batch:
            results = await results_of(batch, second)
            changes = batch.summary.changes

        lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
        assert (1, 1, 1) == (changes.added, changes.removed, changes.edited)
        assert {"saved": 4} == states(results)
        assert 6 == len(sandbox.paid_tasks)
        assert {"boat-2", "boat-2-before-edit", "boat-3"} <= {line["name"] for line in lines}
        assert 6 == len({file for line in lines for file in line["files"]})


async def test_a_line_put_in_on_top_does_not_pay_for_unnamed_jobs_again(tmp_path: Path) -> None:
    """Jobs without a name are recognised by what they ask for, not by where they stand."""
    requests = [NanoBananaPro(prompt=f"A boat crosses pond {number}") for number in range(3)]
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, requests)
        results = await run_once(sandbox, tmp_path, [NanoBananaPro(prompt="A swan"), *requests, requests[0]])

        assert 5 == len(results)
        assert 5 == len(sandbox.paid_tasks)


async def test_what_a_run_wrote_can_be_fed_in_again(tmp_path: Path) -> None:
    """A results file is a manifest: in its own directory it changes nothing, in another it is a new batch."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "one", pictures(2))
        again = await run_once(sandbox, tmp_path / "one", tmp_path / "one" / "results.jsonl")
        assert 2 == len(sandbox.paid_tasks)
        assert all(result.earlier for result in again.values())

        await run_once(sandbox, tmp_path / "two", tmp_path / "one" / "results.jsonl")
        assert 4 == len(sandbox.paid_tasks)
        assert 4 == len({key for key, _ in submits(sandbox)})
        assert 2 == len({body for _, body in submits(sandbox)})


async def test_a_full_disk_sends_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catalogue 130: every job is told as planned, and then the reason is raised."""
    monkeypatch.setattr(disk, "LEAST_FREE_BYTES", 2**62)
    async with Sandbox() as sandbox, opened(sandbox, tmp_path) as batch:
        run = batch.run(pictures(3))

        assert [State.PLANNED] * 3 == [(await anext(run)).state for _ in range(3)]
        with pytest.raises(JournalError, match="make room"):
            await anext(run)
        assert [] == sandbox.requests


async def test_a_client_that_closes_first_is_an_error_not_an_end(tmp_path: Path) -> None:
    """Jobs that nobody worked on must not look like a batch that is over."""
    async with Sandbox() as sandbox:
        client = SeedanceClient(sandbox.api_key, sandbox.base_url)
        async with client, BatchRunner(client, tmp_path) as batch:
            run = batch.run(pictures(3))
            await anext(run)
            await client.aclose()
            with pytest.raises(ClientStateError):
                async for _ in run:
                    pass


@pytest.mark.case(83, 132)
async def test_a_second_runner_is_refused_with_the_holders_process(tmp_path: Path) -> None:
    """Catalogue 83: two runners on one journal would send the same job twice."""
    async with Sandbox() as sandbox, opened(sandbox, tmp_path):
        with pytest.raises(JournalError, match=r"process \d+"):
            await run_once(sandbox, tmp_path, pictures(1))

        assert [] == sandbox.requests
