"""Jobs that share a POST: fewer requests, and nothing else is another than if each had gone alone."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from seedance_async import GptImage2, Job, JournalError, Submission
from seedance_async.batch.journal import drafts
from seedance_async.batch.states import State
from seedance_async.sandbox import Behaviour, Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, charged, opened, results_of, run_once, states, submits
from tests.batch.stores import opened_store, plan

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.batch.journal import Draft
    from seedance_async.sandbox.validation import GenerationRequest

ONE_PRICE = Conditions(price=lambda _: PRICE)


def hats(count: int, *, prompt: str = "A hat for a cat") -> list[Job]:
    """So many takes of one picture."""
    return [Job(GptImage2(prompt=prompt), name="hat", repeat=count)]


def takes(count: int, *, first: int = 1) -> list[Draft]:
    """What a manifest of equal pictures asks for."""
    asked = [Job(GptImage2(prompt="A hat"), name=f"hat-{number}") for number in range(first, first + count)]
    return [draft for line, job in enumerate(asked, start=1) for draft in drafts(job, line=line, place=line)]


def answer(*task_ids: str, failed: int = 0) -> Submission:
    """The API's answer to a shared POST, at twelve credits a picture."""
    used = PRICE * len(task_ids)
    return Submission(
        id=task_ids[0],
        task_ids=task_ids,
        credits_used=used,
        batch_success=len(task_ids),
        batch_failed=failed,
    )


# --- whole batches


async def test_takes_of_a_picture_share_posts_and_stay_jobs_of_their_own(tmp_path: Path) -> None:
    """Four for one request, once the price is known; each has its own name, task, file, price and line."""
    async with Sandbox(conditions=ONE_PRICE) as sandbox, opened(sandbox, tmp_path) as batch:
        results = await results_of(batch, hats(10))

        assert {"saved": 10} == states(results)
        assert 10 == len({result.task_ids for result in results.values()}) == len(sandbox.paid_tasks)
        assert 10 == len({result.files for result in results.values()})
        assert {PRICE} == {result.credits_used for result in results.values()}
        first, *others = Counter(task.idempotency_key for task in sandbox.paid_tasks).values()
        assert (1, [1, 4, 4]) == (
            first,
            sorted(others),
        )  # the others leave at once
        assert (10 * PRICE, 0) == (batch.summary.credits_used, batch.summary.credits_reserved)


async def test_jobs_that_were_refused_together_are_asked_for_together(tmp_path: Path) -> None:
    """A proxy delivered their POST twice, and the first took the last credits: its own key collects it."""
    twice = Fault(effect="duplicate", on="submit", moment="before", nth=2)
    early = Behaviour(before_key=frozenset({"balance"}))
    async with Sandbox(credits=5 * PRICE, conditions=ONE_PRICE, behaviour=early, faults=[twice]) as sandbox:
        for _ in range(3):
            results = await run_once(sandbox, tmp_path, hats(6))
            assert {"saved": 1, "planned": 5} == states(results)
        sandbox.top_up(1000)
        results = await run_once(sandbox, tmp_path, hats(6))

        assert {"saved": 6} == states(results)
        assert 6 == len(sandbox.paid_tasks)


async def test_a_job_that_was_left_out_and_then_lost_is_told_once(tmp_path: Path) -> None:
    """It went its own way after the shared POST, and its outcome is unknown before the others end."""
    slow = evolve(ONE_PRICE, duration=lambda _order, _rng: 400.0)
    warm = [Job(GptImage2(prompt="A warm-up"), name="warm-up")]
    async with Sandbox(conditions=slow) as sandbox:
        await run_once(sandbox, tmp_path, warm)
        sandbox.faults.add(Fault(effect="drop", on="submit", nth=2, count=None))
        results = await run_once(sandbox, tmp_path, warm + hats(4, prompt="Cats [[sandbox:batch-failed=2]]"))

        assert {"saved": 3, "uncertain": 2} == states(results)


@pytest.mark.parametrize("option", [{"share_posts": False}, {"max_in_flight": 3}])
async def test_posts_are_not_shared_where_that_is_not_wanted(option: dict[str, int], tmp_path: Path) -> None:
    """Whoever bounds the jobs in flight means jobs, not POSTs."""
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path, hats(6), **option)

        assert {"saved": 6} == states(results)
        assert 6 == len(submits(sandbox))


async def test_only_what_is_equal_in_every_field_goes_together(tmp_path: Path) -> None:
    """Another prompt, or a ``batch_count`` of its own, is another request."""
    jobs = [*hats(3), Job(GptImage2(prompt="Cats")), *(Job(GptImage2(prompt="Dogs", batch_count=2)),) * 2]
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path, jobs)

        together = Counter((task.idempotency_key, task.request.prompt) for task in sandbox.paid_tasks)
        assert {"saved": 6} == states(results)
        assert 5 == len(submits(sandbox)) == len(together)
        assert [1, 1, 2, 2, 2] == sorted(together.values())


@pytest.mark.parametrize("affordable", range(1, 7))
async def test_the_cap_is_kept_to_the_job(affordable: int, tmp_path: Path) -> None:
    """Each job of a shared POST is reserved for, so as many go together as there are credits for."""
    cap = affordable * PRICE + PRICE - 1
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        results = await run_once(sandbox, tmp_path, hats(6), max_credits=cap)

        assert min(6, affordable) == len(sandbox.paid_tasks) == states(results)["saved"]
        assert charged(sandbox) <= cap


async def test_pictures_that_the_server_did_not_start_are_asked_for_again(tmp_path: Path) -> None:
    """They were not charged, and the answer says so: under a new key each is made and paid once."""
    async with Sandbox(conditions=ONE_PRICE) as sandbox, opened(sandbox, tmp_path) as batch:
        results = await results_of(batch, hats(5, prompt="Cats [[sandbox:batch-failed=2]]"))

        assert {"saved": 5} == states(results)
        assert 5 == len({result.task_ids for result in results.values()}) == len(sandbox.paid_tasks)
        assert (5 * PRICE, 0) == (batch.summary.credits_used, batch.summary.credits_reserved)
        assert len(submits(sandbox)) == len(set(submits(sandbox))) == 4


async def test_each_job_is_told_its_own_failure(tmp_path: Path) -> None:
    """A neighbour's failed task is not one's own, and its refund is not either."""
    conditions = evolve(ONE_PRICE, failure_rate=0.4)
    async with Sandbox(conditions=conditions) as sandbox, opened(sandbox, tmp_path) as batch:
        results = await results_of(batch, hats(13))

        failed = {task.id for task in sandbox.tasks.values() if task.outcome == "failed"}
        assert {"saved", "failed"} == set(states(results))
        assert failed == {result.task_ids[0] for result in results.values() if result.error}
        assert len(failed) * PRICE == batch.summary.credits_refunded
        assert all(result.idempotency_key for result in results.values())


async def test_a_shared_post_without_an_answer_is_sent_again_byte_for_byte(tmp_path: Path) -> None:
    """All its jobs are uncertain together, keep their reservations, and are brought in together."""
    lost = Fault(effect="drop", on="submit", nth=2, count=None)
    async with Sandbox(conditions=ONE_PRICE, faults=[lost]) as sandbox:
        async with opened(sandbox, tmp_path, max_credits=1000) as batch:
            results = await results_of(batch, hats(5))
            assert {"saved": 1, "uncertain": 4} == states(results)
            assert 4 * PRICE == batch.summary.credits_reserved
        sandbox.faults.clear()
        results = await run_once(sandbox, tmp_path, hats(5))

        assert {"saved": 5} == states(results)
        assert 5 == len(sandbox.paid_tasks)
        assert 2 == len(set(submits(sandbox)))


async def test_what_was_edited_meanwhile_is_still_brought_in_with_the_others(tmp_path: Path) -> None:
    """It may be paid: it stays in its place of the shared POST, and is kept under another name."""
    lost = Fault(effect="drop", on="submit", nth=2, count=None)
    first = [Job(GptImage2(prompt="A hat"), name=f"hat-{number}") for number in range(5)]
    second = [*first[:2], Job(GptImage2(prompt="A cap"), name="hat-2"), *first[3:]]
    async with Sandbox(conditions=ONE_PRICE, faults=[lost]) as sandbox:
        await run_once(sandbox, tmp_path, first)
        sandbox.faults.clear()
        async with opened(sandbox, tmp_path) as batch:
            results = await results_of(batch, second)
            assert {State.SAVED: 5} == batch.summary.counts
            assert {State.SAVED: 1} == batch.summary.others  # brought in, and edited since

        assert {"saved"} == set(states(results))
        assert 6 == len(sandbox.paid_tasks)


async def test_a_429_to_a_shared_post_fails_none_of_its_jobs(tmp_path: Path) -> None:
    """Proven unpaid, they wait for their turn again."""
    busy = Fault(
        effect="status",
        on="submit",
        moment="before",
        nth=2,
        status=429,
        count=6,
        headers={"Retry-After": "30"},
    )
    async with Sandbox(conditions=ONE_PRICE, faults=[busy]) as sandbox:
        results = await run_once(sandbox, tmp_path, hats(5), max_credits=50 * PRICE)

        assert {"saved": 5} == states(results)
        assert 5 == len(sandbox.paid_tasks)


async def test_a_refused_shared_post_refuses_its_jobs(tmp_path: Path) -> None:
    """They ask for the same, so each would be answered alike."""
    wrong = Fault(effect="status", on="submit", moment="before", nth=2, status=400)
    async with Sandbox(conditions=ONE_PRICE, faults=[wrong]) as sandbox, opened(sandbox, tmp_path) as batch:
        results = await results_of(batch, hats(6))

        assert {"saved": 2, "refused": 4} == states(results)
        assert 0 == batch.summary.credits_reserved


async def test_a_price_that_rises_keeps_a_shared_post_back(tmp_path: Path) -> None:
    """What was reserved at the old price is judged anew, all jobs of the POST together."""
    prices = iter([12, *[40] * 99])

    def price(_: GenerationRequest) -> int:
        return next(prices)

    async with Sandbox(conditions=Conditions(price=price)) as sandbox:
        jobs = [*hats(2), Job(GptImage2(prompt="Cats"), name="cats"), *hats(4, prompt="Dogs")]
        jobs = [Job(job.request, name=f"{place}", repeat=job.repeat) for place, job in enumerate(jobs)]
        results = await run_once(sandbox, tmp_path, jobs, max_credits=12 + 5 * 40)

        assert charged(sandbox) <= 12 + 5 * 40
        assert 7 == len(results)
        assert states(results)["saved"] == len(sandbox.paid_tasks)


# --- the journal


def test_an_intent_holds_for_all_that_share_it(tmp_path: Path) -> None:
    """Whichever of them is asked about after a crash, the call is the one that may have left."""
    with opened_store(tmp_path) as store:
        plan(store, takes(3))
        call = store.intend(1, 2, 3, now=1.0)

    assert b'"batch_count":3' in (call.body or b"")
    for number in (1, 2, 3):
        with opened_store(tmp_path) as store:
            assert call == store.intend(number, now=2.0)
            assert [1, 2, 3] == [job.number for job in store.members(number)]


def test_what_does_not_ask_for_the_same_cannot_share(tmp_path: Path) -> None:
    """One of them would get the other's picture; nothing is written then."""
    with opened_store(tmp_path) as store:
        plan(store, [*takes(1), *drafts(Job(GptImage2(prompt="Cats")), line=2, place=2)])

        with pytest.raises(JournalError, match="same"):
            store.intend(1, 2, now=1.0)
        assert {State.PLANNED: 2} == {state: count for state, count in store.counts.items() if count}


def test_the_same_leader_with_other_mates_has_another_key(tmp_path: Path) -> None:
    """Else the server would give the first four pictures again, as somebody else's."""
    with opened_store(tmp_path) as store:
        plan(store, takes(5))
        keys = set()
        for mates in [(2, 3), (2, 4), (3, 2), (2, 3, 4)]:
            key = store.intend(1, *mates, now=1.0).idempotency_key
            keys.add(key)
            store.postpone(1, "could not connect", key=key)
        assert 4 == len(keys)

        again = store.intend(1, 2, 3, now=1.0).idempotency_key
        store.postpone(1, "no credits", key=None)
        assert again in keys
        assert store.intend(1, 2, 3, now=1.0).idempotency_key not in keys


def test_an_answer_is_divided_by_seats(tmp_path: Path) -> None:
    """Also when only some of the jobs are still waiting for it."""
    with opened_store(tmp_path) as store:
        plan(store, takes(3))
        store.intend(3, 1, 2, now=1.0)
        parts = store.accept(1, answer("gpt2_a", "gpt2_b", "gpt2_c"), now=2.0)

        assert {3: ("gpt2_a",), 1: ("gpt2_b",), 2: ("gpt2_c",)} == {
            number: part.task_ids for number, part in parts.items() if part
        }
        assert [PRICE] * 3 == [store.entry(number).credits_used for number in (1, 2, 3)]
        assert 3 * PRICE == store.credits_used


@pytest.mark.parametrize(("failed", "state"), [(1, State.PLANNED), (0, State.UNCERTAIN)])
def test_a_job_without_a_task_is_planned_again_only_on_the_servers_word(
    failed: int, state: State, tmp_path: Path
) -> None:
    """An answer that is short of a task and does not say why may hide a charge."""
    with opened_store(tmp_path) as store:
        plan(store, takes(3))
        first = store.intend(1, 2, 3, now=1.0)
        parts = store.accept(1, answer("gpt2_a", "gpt2_b", failed=failed), now=2.0)

        assert parts[3] is None
        assert state is store.entry(3).state
        assert 2 * PRICE == store.credits_used
        if state is State.PLANNED:
            assert first.idempotency_key != store.intend(3, now=3.0).idempotency_key


def test_a_run_that_dies_asking_for_the_rest_of_an_answer_leaves_a_sound_journal(tmp_path: Path) -> None:
    """Two jobs of the POST are accepted, and the third is asked for again under its key."""
    with opened_store(tmp_path / "batch") as store:
        plan(store, takes(3))
        store.begin_run(replayable_since=0.0, now=1.0)
        key = store.intend(1, 2, 3, now=1.0).idempotency_key
        store.accept(1, answer("gpt2_a", "gpt2_b"), now=2.0)
        store.begin_run(replayable_since=0.0, now=3.0)
        assert [State.ACCEPTED, State.ACCEPTED, State.SUBMITTING] == [
            store.entry(number).state for number in (1, 2, 3)
        ]
        shutil.copytree(tmp_path / "batch", tmp_path / "died")

    with opened_store(tmp_path / "died") as store:
        store.begin_run(replayable_since=0.0, now=4.0)
        assert key == store.intend(3, now=4.0).idempotency_key
        store.accept(3, answer("gpt2_a", "gpt2_b", "gpt2_c"), now=5.0)
        assert ("gpt2_c",) == store.entry(3).task_ids
