"""What a batch is and where it is: by the file and directory themselves, not by a log, path or flag."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Literal

import anyio
import pytest

from seedance_async import GptImage2, Job, JournalError, NanoBananaPro, SeedanceClient, clocks, wire
from seedance_async.batch.journal.remains import JOURNAL
from seedance_async.batch.states import State
from seedance_async.retry import KEY_TRUSTED
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, charged, opened, pictures, results_of, run_once, states, submits
from tests.batch.stores import ACCEPTED, draft, opened_store, plan
from tests.rooms.raw_server import answer, raw_server

if TYPE_CHECKING:
    from pathlib import Path


def fact(path: Path, name: str) -> object:
    """A fact that the file itself holds, without its log."""
    with sqlite3.connect(path) as file:
        row = file.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    file.close()
    return None if row is None else row[0]


# --- the file


@pytest.mark.case(170)
def test_what_a_batch_is_stands_in_the_file_from_the_first_moment(tmp_path: Path) -> None:
    """Keys are made of the nonce: lost with the log, every job would be paid again under another key."""
    with opened_store(tmp_path / "batch") as store:
        copy = tmp_path / "copy.sqlite"
        shutil.copy(tmp_path / "batch" / "journal.sqlite", copy)
        nonce = store.file.row("SELECT value FROM meta WHERE name = 'nonce'")

    assert nonce is not None
    assert nonce[0] == fact(copy, "nonce")


def test_whose_a_batch_is_stands_in_the_file_before_its_first_intent(tmp_path: Path) -> None:
    """And that a run is open: a copy of the file alone says that its log is missing."""
    with opened_store(tmp_path / "batch") as store:
        plan(store, [draft("boat")])
        store.begin_run(replayable_since=0.0, account="account", now=1.0)
        copy = tmp_path / "copy.sqlite"
        shutil.copy(tmp_path / "batch" / "journal.sqlite", copy)

    assert "account" == fact(copy, "account")
    assert 1 == fact(copy, "open_run")


@pytest.mark.case(170)
@pytest.mark.parametrize("how", ["copied alone", "log deleted", "log emptied", "log cut", "log zeroed"])
def test_a_run_that_did_not_end_needs_its_log(how: str, tmp_path: Path) -> None:
    """What it sent and paid is recorded there only."""
    batch, remains = tmp_path / "batch", tmp_path / "remains"
    with opened_store(batch) as store:
        plan(store, [draft("boat")])
        store.begin_run(replayable_since=0.0, now=1.0)
        store.intend(1, now=1.0)
        shutil.copytree(batch, remains)
    log = remains / "journal.sqlite-wal"
    assert log.stat().st_size > 0
    if how == "copied alone":
        for path in remains.iterdir():
            if path.name != "journal.sqlite":
                path.unlink()
    elif how == "log deleted":
        log.unlink()
    elif how == "log cut":
        os.truncate(log, 32)
    elif how == "log zeroed":
        log.write_bytes(bytes(log.stat().st_size))
    else:
        log.write_bytes(b"")

    with pytest.raises(JournalError, match="Put the file back"), opened_store(remains):
        pass


def test_a_run_that_ended_needs_no_log(tmp_path: Path) -> None:
    """Everything is in the one file, which may be copied as it is."""
    with opened_store(tmp_path / "batch") as store:
        plan(store, [draft("boat")])
        store.begin_run(replayable_since=0.0, now=1.0)
        store.end_run()
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "batch" / "journal.sqlite", tmp_path / "copy")

    with opened_store(tmp_path / "copy") as store:
        assert State.PLANNED is store.entry(1).state


@pytest.mark.case(171)
@pytest.mark.parametrize(
    "left",
    [
        "results.jsonl",
        "boat-0.jpg.json",
        "boat-0.jpg",
        "journal.sqlite-wal",
        "journal.pid",
        "journal.reserve",
    ],
)
@pytest.mark.parametrize("emptied", [True, False])
async def test_a_directory_that_a_batch_has_worked_in_is_never_taken_for_new(
    left: str, emptied: bool, tmp_path: Path
) -> None:
    """Its journal is gone, and with it what is paid: nothing is sent."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        keep = tmp_path / left
        keep.touch()
        for path in list(tmp_path.iterdir()):
            if path != keep:
                path.unlink()
        if keep.stat().st_size == 0:
            keep.write_bytes(b"a log")
        if emptied:
            (tmp_path / "journal.sqlite").touch()

        with pytest.raises(JournalError, match="would be paid again"):
            await run_once(sandbox, tmp_path, pictures(1))
        assert 1 == len(sandbox.paid_tasks)


@pytest.mark.parametrize("harm", ["empty line", "cut line", "in a folder", "renamed"])
async def test_remains_are_recognised_where_they_are_damaged_or_moved(harm: str, tmp_path: Path) -> None:
    """One line that can be read, one sidecar below, or the journal under another name is enough."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(2))
        results, journal = tmp_path / "results.jsonl", tmp_path / "journal.sqlite"
        lines = results.read_bytes()
        sidecar = (tmp_path / "boat-0.jpg.json").read_bytes()
        old = journal.read_bytes()
        for path in tmp_path.iterdir():
            path.unlink()
        if harm == "in a folder":
            (tmp_path / "pictures" / "boats").mkdir(parents=True)
            (tmp_path / "pictures" / "boats" / "boat-0.jpg.json").write_bytes(sidecar)
        elif harm == "renamed":
            (tmp_path / "journal.sqlite.bak").write_bytes(old)
        else:
            results.write_bytes(b"\n" + lines if harm == "empty line" else lines[40:])

        with pytest.raises(JournalError, match="would be paid again"):
            await run_once(sandbox, tmp_path, pictures(2))
        assert 2 == len(sandbox.paid_tasks)


async def test_another_batch_below_a_directory_is_not_of_it(tmp_path: Path) -> None:
    """It has a journal of its own."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path / "boats", pictures(1))
        await run_once(sandbox, tmp_path, pictures(1))

        assert 2 == len(sandbox.paid_tasks)


async def test_a_journal_that_is_older_than_the_results_is_refused(tmp_path: Path) -> None:
    """It would send again what was paid after the copy was made, once the server has forgotten the keys."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        older = (tmp_path / "journal.sqlite").read_bytes()
        await run_once(sandbox, tmp_path, pictures(3))
        newer = (tmp_path / "journal.sqlite").read_bytes()
        (tmp_path / "journal.sqlite").write_bytes(older)

        with pytest.raises(JournalError, match="is an older copy"):
            await run_once(sandbox, tmp_path, pictures(3))
        assert 3 == len(sandbox.paid_tasks)
        (tmp_path / "journal.sqlite").write_bytes(newer)
        await run_once(sandbox, tmp_path, pictures(3))
        assert 3 == len(sandbox.paid_tasks)


def test_files_of_others_do_not_keep_a_batch_from_beginning(tmp_path: Path) -> None:
    """JSON of any kind, and an empty list of results, say nothing of a batch."""
    (tmp_path / "package.json").write_text(json.dumps({"name": "mine", "sha256": "x"}))
    (tmp_path / "list.json").write_text("[[[[")
    (tmp_path / "results.jsonl").write_text("")

    with opened_store(tmp_path) as store:
        assert 0 == store.counts.total()


# --- the directory


@pytest.mark.case(172)
@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
async def test_a_directory_that_is_taken_away_ends_the_run(how: str, tmp_path: Path) -> None:
    """Nothing is called saved that is not in the batch, and nothing is paid twice where it is found again."""
    out, moved = tmp_path / "out", tmp_path / "moved"
    async with Sandbox(conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        async with opened(sandbox, out) as batch:
            run = batch.run(pictures(8))
            await anext(run)
            out.rename(moved)
            if how == "replaced":
                out.mkdir()
            with pytest.raises(JournalError, match="was moved, replaced or removed"):
                _ = [result async for result in run]
        sent = len(sandbox.paid_tasks)
        if how == "removed":
            shutil.rmtree(out, ignore_errors=True)
        results = await run_once(sandbox, moved, pictures(8))

        assert sent <= 8
        assert {"saved": 8} == states(results)
        assert 8 == len(sandbox.paid_tasks)
        assert all((moved / path.name).exists() for result in results.values() for path in result.files)


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_a_journal_that_is_taken_away_ends_the_run(how: str, tmp_path: Path) -> None:
    """SQLite goes on writing into a file that has no name any more, and nothing of it would be left."""
    out, kept = tmp_path / "out", tmp_path / "kept"
    async with Sandbox(conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        async with opened(sandbox, out) as batch:
            run = batch.run(pictures(8))
            await anext(run)
            (out / JOURNAL).rename(kept)
            if how == "replaced":
                (out / JOURNAL).write_bytes(kept.read_bytes())
            with pytest.raises(JournalError, match=r"journal\.sqlite was removed or replaced"):
                _ = [result async for result in run]
        kept.replace(out / JOURNAL)
        results = await run_once(sandbox, out, pictures(8))

        assert {"saved": 8} == states(results)
        assert 8 == len(sandbox.paid_tasks)


async def test_a_link_that_is_turned_elsewhere_ends_the_run(tmp_path: Path) -> None:
    """The directory is still there, and the path that the next run will be given does not lead to it."""
    out, ours, other = (tmp_path / name for name in ("out", "ours", "other"))
    ours.mkdir()
    other.mkdir()
    out.symlink_to(ours)
    async with Sandbox(conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        async with opened(sandbox, out) as batch:
            run = batch.run(pictures(8))
            await anext(run)
            out.unlink()
            out.symlink_to(other)
            with pytest.raises(JournalError, match="was moved, replaced or removed"):
                _ = [result async for result in run]
        assert [] == list(other.iterdir())
        assert {"saved": 8} == states(await run_once(sandbox, ours, pictures(8)))
        assert 8 == len(sandbox.paid_tasks)


@pytest.mark.case(172)
async def test_a_directory_that_is_taken_away_is_told_whatever_has_stopped_the_run_before(
    tmp_path: Path,
) -> None:
    """The account is empty first; then the paid jobs cannot be saved, and are not passed over."""
    out, moved = tmp_path / "out", tmp_path / "moved"
    slow = Conditions(price=lambda _: PRICE, duration=lambda _order, _chance: 100.0)
    async with Sandbox(conditions=slow, credits=2 * PRICE) as sandbox:
        async with opened(sandbox, out) as batch, anyio.create_task_group() as others:
            others.start_soon(_move_later, out, moved)
            with pytest.raises(JournalError, match="was moved, replaced or removed"):
                await results_of(batch, pictures(4))
        sandbox.top_up(100)
        results = await run_once(sandbox, moved, pictures(4))

        assert {"saved": 4} == states(results)
        assert 4 == len(sandbox.paid_tasks)


async def _move_later(out: Path, moved: Path) -> None:
    await anyio.sleep(50.0)
    out.rename(moved)


@pytest.mark.case(173)
async def test_a_relative_directory_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program may change its working directory while a batch runs."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    async with Sandbox() as sandbox, opened(sandbox, "out") as batch:  # type: ignore[arg-type]  # a str is taken
        async for _ in batch.run(pictures(3)):
            monkeypatch.chdir(elsewhere)

    assert 3 == len(list((tmp_path / "out").glob("boat-*.jpg")))
    assert [] == list(elsewhere.iterdir())


# --- the clock


@pytest.mark.case(175)
@pytest.mark.parametrize(("ahead", "state"), [(60.0, State.SUBMITTING), (3600.0, State.UNCERTAIN)])
def test_an_intent_of_the_future_is_of_unknown_age(ahead: float, state: State, tmp_path: Path) -> None:
    """A clock was wrong in one of two runs: nobody knows whether the server still remembers the key."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        store.begin_run(replayable_since=0.0, now=1000.0)
        store.intend(1, now=1000.0 + ahead)
        store.begin_run(replayable_since=0.0, now=1000.0)

        assert state is store.entry(1).state


HOUR = 3600.0


@pytest.mark.case(175)
@pytest.mark.parametrize(
    ("hours", "state"),
    [
        (0.0, State.SUBMITTING),
        (-19.0, State.SUBMITTING),
        (-21.0, State.UNCERTAIN),
        (0.1, State.UNCERTAIN),
        (25.0, State.UNCERTAIN),
        (24 * 365.0, State.UNCERTAIN),
        (1e9, State.UNCERTAIN),
        (-499_000.0, State.UNCERTAIN),
    ],
)
def test_an_intent_at_any_instant_is_sent_again_only_while_its_key_is_young(
    hours: float, state: State, tmp_path: Path
) -> None:
    """Hours from now, by a clock that may have been wrong in the run that wrote it, or is in this one."""
    now = 1.8e9
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        store.begin_run(replayable_since=0.0, now=now)
        store.intend(1, now=now + hours * HOUR)
        for _ in range(2):  # it stays so
            store.begin_run(replayable_since=now - KEY_TRUSTED, now=now)
            assert state is store.entry(1).state

        store.begin_run(replayable_since=-inf, now=now)  # told to, it is asked for again
        assert State.SUBMITTING is store.entry(1).state


@pytest.mark.parametrize("later", [49.0, 60.0, 24 * 365.0])
def test_an_instant_of_the_future_that_has_come_is_not_believed(later: float, tmp_path: Path) -> None:
    """The clock was two days ahead; a run has seen that, and a later one runs when that instant has come."""
    now = 1.8e9
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        store.begin_run(replayable_since=0.0, now=now)
        store.intend(1, now=now + 48 * HOUR)
        for hours in (1.0, later):
            at = now + hours * HOUR
            store.begin_run(replayable_since=at - KEY_TRUSTED, now=at)
            assert State.UNCERTAIN is store.entry(1).state
            assert [None] == [job.intended_at for job in store.course(after=0, limit=9)]


@pytest.mark.parametrize(("passed", "state"), [(19.0, State.SUBMITTING), (25.0, State.UNCERTAIN)])
def test_a_wall_clock_that_was_set_back_makes_no_key_young(
    passed: float, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time since boot is never set. It is only of use in the same boot."""
    now, boot = 1.8e9, clocks.boot_time()
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        store.begin_run(replayable_since=0.0, now=now)
        store.intend(1, now=now)
        monkeypatch.setattr(clocks, "boot_time", lambda: boot + passed * HOUR)
        monkeypatch.setattr(clocks, "boot_id", lambda: "another")
        store.begin_run(replayable_since=now + HOUR - KEY_TRUSTED, now=now + HOUR)
        assert State.SUBMITTING is store.entry(1).state
        monkeypatch.undo()
        if not clocks.boot_id():
            return
        monkeypatch.setattr(clocks, "boot_time", lambda: boot + passed * HOUR)
        store.begin_run(replayable_since=now + HOUR - KEY_TRUSTED, now=now + HOUR)

        assert state is store.entry(1).state


@pytest.mark.parametrize("seconds", [-1e12, -1.0, 0.0, 1e13, inf])
def test_a_wall_clock_that_cannot_be_is_bounded(
    seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 1970, or so late that no date can be written: the age of what is sent is not known."""
    monkeypatch.setattr("time.time", lambda: seconds)
    now = clocks.wall_now()
    assert 1970 <= datetime.fromtimestamp(now, UTC).year <= 9999
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        store.begin_run(replayable_since=now - KEY_TRUSTED, now=now)
        store.intend(1, now=now)
        store.begin_run(replayable_since=1.8e9 - KEY_TRUSTED, now=1.8e9)

        assert State.UNCERTAIN is store.entry(1).state


def test_durations_of_a_wrong_clock_are_not_learned(tmp_path: Path) -> None:
    """A task that we waited for ten seconds cannot have taken hours."""
    stamps = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T03:59:00Z"}
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        store.begin_run(replayable_since=0.0, now=1.0)
        store.intend(1, now=1.0)
        store.accept(1, ACCEPTED, now=2.0)
        store.finish(1, [wire.task({"id": "nbp_a", "status": "completed", **stamps})], None, now=12.0)

        assert [] == store.durations(limit=9)


# --- recognition


@pytest.mark.case(174)
def test_what_was_paid_is_recognised_whatever_the_manifest_lists(tmp_path: Path) -> None:
    """Edited, fed back from results.jsonl with the name it was set aside under, and edited back."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("hat", "A hat")])
        store.intend(1, now=1.0)
        plan(store, [draft("hat", "A cap")])
        plan(store, [draft("hat", "A cap"), draft("hat-before-edit", "A hat", line=2)])
        plan(store, [draft("hat", "A hat")])

        assert [] == store.to_send(after=0, limit=9)
        assert "hat" == store.entry(1).name


def test_one_paid_job_stands_for_two_lines_that_ask_for_it_under_both_its_names(tmp_path: Path) -> None:
    """A list of results that was edited back names it twice."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("hat", "A hat")])
        store.intend(1, now=1.0)
        plan(store, [draft("hat", "A cap")])
        plan(store, [draft("hat", "A hat"), draft("hat-before-edit", "A hat", line=2)])

        assert [] == store.to_send(after=0, limit=9)


@pytest.mark.case(174)
def test_an_edit_and_back_over_three_versions_pays_each_once(tmp_path: Path) -> None:
    """Whatever is asked for again is found, as long as the name is one that it had."""
    with opened_store(tmp_path) as store:
        for prompt in ("A hat", "A cap", "A bow", "A cap", "A hat", "A bow"):
            plan(store, [draft("hat", prompt)])
            for job in store.to_send(after=0, limit=9):
                store.intend(job.number, now=1.0)

        assert 3 == len(store.entries(after=0, limit=9))


def test_another_name_with_the_same_request_is_another_job(tmp_path: Path) -> None:
    """Two equal requests under two names are wanted twice."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("hat", "A hat")])
        store.intend(1, now=1.0)
        plan(store, [draft("hat", "A hat"), draft("cap", "A hat", line=2)])

        assert ["cap"] == [job.name for job in store.to_send(after=0, limit=9)]


# --- the cap


@pytest.mark.case(181, 184)
@pytest.mark.parametrize(("first", "then", "at", "cap"), [(10, 100, 5, 300), (0, 30, 1, 100), (5, 40, 2, 90)])
async def test_a_price_that_rises_never_passes_the_cap(
    first: int, then: int, at: int, cap: int, tmp_path: Path
) -> None:
    """Only one POST is on the wire whose price is not known, and what it costs is booked before the next."""
    prices = iter([first] * at + [then] * 99)
    slow = Conditions(price=lambda _: next(prices), latency=(0.2, 0.6))
    async with Sandbox(conditions=slow) as sandbox:
        for _ in range(2):
            await run_once(sandbox, tmp_path, pictures(20), max_credits=cap)

        assert sum(entry.credits for entry in sandbox.ledger if entry.kind == "charge") <= cap


@pytest.mark.case(182)
async def test_a_cap_that_was_lowered_holds_for_what_is_sent_again(tmp_path: Path) -> None:
    """POSTs that never reached the server are charged when they are sent again."""
    one_price = Conditions(price=lambda _: PRICE)
    async with Sandbox(conditions=one_price) as sandbox:
        await run_once(sandbox, tmp_path, pictures(1), max_credits=PRICE)
        sandbox.faults.add(Fault(effect="drop", on="submit", moment="before", count=None))
        with anyio.move_on_after(30.0):
            await run_once(sandbox, tmp_path, pictures(6))
        sandbox.faults.clear()
        results = await run_once(sandbox, tmp_path, pictures(6), max_credits=PRICE)
        assert 1 == len(sandbox.paid_tasks)
        assert {"saved"} < set(states(results))

        results = await run_once(sandbox, tmp_path, pictures(6), max_credits=6 * PRICE)
        assert {"saved": 6} == states(results)
        assert 6 == len(sandbox.paid_tasks)


async def test_a_lost_answer_holds_nobody_up_under_a_cap(tmp_path: Path) -> None:
    """Its job keeps its reservation; the others go on once nobody waits for its price any more."""
    lost = Fault(effect="drop", on="submit", nth=2, count=None)
    jobs = [Job(NanoBananaPro(prompt=f"A boat {n}"), name=f"{n}") for n in range(4)]
    async with Sandbox(conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        await run_once(sandbox, tmp_path, jobs[:1], max_credits=100)
        sandbox.faults.add(lost)
        async with opened(sandbox, tmp_path, max_credits=100) as batch:
            results = await results_of(batch, jobs)

        assert "uncertain" in states(results)
        assert len(set(submits(sandbox))) > 2


@pytest.mark.case(181)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("effect", ["drop", "half-json", "reset"])
async def test_of_prices_that_rise_while_answers_are_lost_two_pass_a_cap(
    effect: str, moment: Literal["before", "after"], tmp_path: Path
) -> None:
    """Nobody knows what a lost answer says: beside two of them nothing new leaves, in this run."""
    dear = 1000
    rising = Conditions(price=lambda _: PRICE if anyio.current_time() < 100.0 else dear)
    lost = Fault(effect=effect, on="submit", moment=moment, count=None)
    async with Sandbox(conditions=rising) as sandbox:
        await run_once(sandbox, tmp_path, pictures(1), max_credits=100)
        await anyio.sleep(1000.0)
        sandbox.faults.add(lost)
        results = await run_once(sandbox, tmp_path, pictures(9), max_credits=100)

        assert 1 + 2 >= len({key for key, _ in submits(sandbox)})
        assert charged(sandbox) <= PRICE + 2 * dear
        assert {"saved": 1, "planned": 6} == {
            state: count for state, count in states(results).items() if state in {"saved", "planned"}
        }

        sandbox.faults.clear()
        await run_once(sandbox, tmp_path, pictures(9), max_credits=100)
        assert charged(sandbox) <= PRICE + 2 * dear


# --- answers


@pytest.mark.case(177)
async def test_an_answer_that_is_of_another_post_is_in_doubt(tmp_path: Path) -> None:
    """A task id belongs to one POST, also of an earlier run: its own key brings the truth."""
    async with Sandbox(conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        with opened_store(tmp_path) as store:
            plan(store, [draft("next", "Another boat")])
            store.begin_run(replayable_since=0.0, now=1.0)
            theirs = store.entry(1).submission
            assert theirs is not None
            number = next(job.number for job in store.to_send(after=0, limit=9))
            store.intend(number, now=1.0)
            parts = store.accept(number, theirs, now=2.0)

            assert {number: None} == parts
            assert State.UNCERTAIN is store.entry(number).state
            assert theirs.id in (store.entry(number).error or "")
            store.end_run()


async def test_answers_that_were_swapped_between_two_models_are_asked_for_again(tmp_path: Path) -> None:
    """The prefix of an id names its model: a proxy that mixes two answers up does not mix two jobs up."""
    clip = {"id": "sd2_a1", "status": "processing", "model": "seedance2", "credits_used": 30}
    picture = {"id": "nbp_a1", "status": "processing", "model": "nano-banana-pro", "credits_used": 12}
    async with (
        raw_server(answer(202, clip), answer(202, picture)) as server,
        SeedanceClient("sk_test", server.url) as client,
    ):
        submission = await client.submit(NanoBananaPro(prompt="A boat on a pond"))

    assert "nbp_a1" == submission.id
    first, second = server.seen
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


@pytest.mark.case(178)
async def test_fewer_tasks_than_asked_for_are_told(tmp_path: Path) -> None:
    """The server says that it started fewer: those are not charged, and the job says so."""
    job = Job(GptImage2(prompt="Cats [[sandbox:batch-failed=2]]", batch_count=4), name="cats")
    async with Sandbox(conditions=Conditions(price=lambda _: PRICE)) as sandbox:
        results = await run_once(sandbox, tmp_path, [job])

    assert State.SAVED is results["cats"].state
    assert 2 == len(results["cats"].files) == len(sandbox.paid_tasks)
    assert "2 of 4" in str(results["cats"].error)
