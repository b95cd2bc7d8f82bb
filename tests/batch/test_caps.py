"""Caps against prices that answers hide: tasks that cost more than their POSTs say, and groups that do."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from seedance_async import GptImage2, Job, NanoBananaPro, Seedance2Video
from seedance_async.batch.run_plan import run_plan
from seedance_async.batch.states import State
from seedance_async.models import Kind
from seedance_async.prices import Tariff
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, charged, opened, pictures, results_of, run_once, states, submits
from tests.faults.proxy import proxy

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox.validation import GenerationRequest

ONE_PRICE = Conditions(price=lambda _: PRICE)
CAP = 100


def understated(**fields: object) -> Fault:
    """Answers to POSTs that say less than what is charged."""
    return Fault(effect="edit", on="submit", count=None, fields=fields)


async def test_a_price_that_rises_from_next_to_nothing_passes_no_cap(tmp_path: Path) -> None:
    """One credit where twelve are documented is no price to plan with; the message says what it takes."""
    sandbox = Sandbox(conditions=Conditions(price=lambda _: 1 if len(sandbox.paid_tasks) < 3 else 500))
    async with sandbox:
        async with opened(sandbox, tmp_path, max_credits=CAP) as batch:
            results = await results_of(batch, pictures(20))
        assert 1 == charged(sandbox) == batch.summary.credits_used
        waiting = next(each for each in results.values() if not each.task_ids)
        assert (
            "the next job costs 1, far below the documented 12; to trust it, raise the cap until 120 are left"
            in (str(waiting.error))
        )

        await run_once(sandbox, tmp_path, pictures(20), max_credits=CAP)
        assert 1 == charged(sandbox)


def test_a_plan_does_not_say_that_jobs_of_a_price_in_doubt_fit_the_cap() -> None:
    """The run would stop; without a cap their price is the charged one."""
    picture = Tariff(Kind(model="nano-banana-pro", resolution="1K"))
    tally = {(picture, State.PLANNED): 19}

    capped = run_plan(tally, prices={picture: 1.0}, max_credits=CAP)
    assert (19, None) == (capped.unpriced, capped.fits_cap)
    assert (0, 19) == ((free := run_plan(tally, prices={picture: 1.0})).unpriced, free.credits_high)


@pytest.mark.case(185)
@pytest.mark.parametrize("stated", [0, 1, PRICE - 1])
async def test_an_answer_that_states_less_than_its_task_passes_no_cap(stated: int, tmp_path: Path) -> None:
    """The first task of a tariff is asked at once; cap, ledger, results and totals go by what it says."""
    async with Sandbox(conditions=ONE_PRICE, faults=[understated(credits_used=stated)]) as sandbox:
        async with opened(sandbox, tmp_path, max_credits=CAP) as batch:
            results = await results_of(batch, pictures(20))
            assert charged(sandbox) == batch.summary.credits_used <= CAP
        assert {PRICE} == {each.credits_used for each in results.values() if each.task_ids}
        assert CAP // PRICE == states(results)["saved"]

        await run_once(sandbox, tmp_path, pictures(20), max_credits=CAP)
        assert charged(sandbox) <= CAP


@pytest.mark.case(185)
@pytest.mark.parametrize("stated", [0, 1, None])
@pytest.mark.parametrize(
    "caps", [(CAP, CAP, CAP), (None, 1000, CAP)], ids=["one cap", "caps that are lowered"]
)
async def test_runs_that_end_before_their_tasks_do_pass_no_cap(
    caps: tuple[float | None, ...], stated: int | None, tmp_path: Path
) -> None:
    """What an earlier run has sent, and whose price is still hidden, is asked for before anything is sent."""
    slow = Conditions(price=lambda _: PRICE, duration=lambda _order, _chance: 600.0)
    async with Sandbox(conditions=slow, faults=[understated(credits_used=stated)]) as sandbox:
        before = 0
        for cap in caps:
            with anyio.move_on_after(1.0 if cap is None else 40.0):
                await run_once(sandbox, tmp_path, pictures(60), max_credits=cap)
            assert charged(sandbox) <= max(before, cap or inf)
            before = charged(sandbox)
        results = await run_once(sandbox, tmp_path, pictures(60), max_credits=CAP)

        assert charged(sandbox) == before == sum(each.credits_used or 0 for each in results.values())


async def test_a_job_is_asked_for_whatever_others_have_said_before(tmp_path: Path) -> None:
    """The first one was asked in the run before: it says nothing about those that were not."""
    slow = Conditions(price=lambda _: PRICE, duration=lambda _order, _chance: 600.0)
    async with Sandbox(conditions=slow, faults=[understated(credits_used=1)]) as sandbox:
        for jobs in (1, 5, 5, 7):
            with anyio.move_on_after(40.0):
                await run_once(sandbox, tmp_path, pictures(60), max_credits=jobs * PRICE)

            assert jobs * PRICE == charged(sandbox)


@pytest.mark.case(185)
async def test_a_look_that_fails_is_made_at_the_next_job(tmp_path: Path) -> None:
    """Otherwise all the others would be counted at what the answers say."""
    lost = Fault(effect="status", on="task", moment="before", status=404, count=1)
    slow = Conditions(price=lambda _: PRICE, duration=lambda _order, _chance: 600.0)
    async with Sandbox(conditions=slow, faults=[understated(credits_used=1), lost]) as sandbox:
        await run_once(sandbox, tmp_path, pictures(60), max_credits=CAP)

        assert charged(sandbox) <= CAP


async def test_each_kind_of_job_has_its_price_confirmed(tmp_path: Path) -> None:
    """That of one says nothing of the other's."""
    prices = {"seedance2": 30, "nano-banana-pro": PRICE}
    conditions = Conditions(price=lambda request: prices[request.model])
    clips = [Job(Seedance2Video(prompt=f"A boat {n}", duration=4), name=f"clip-{n}") for n in range(6)]
    async with Sandbox(conditions=conditions, faults=[understated(credits_used=1)]) as sandbox:
        await run_once(sandbox, tmp_path, [*pictures(6), *clips], max_credits=120)

        assert charged(sandbox) <= 120


@pytest.mark.parametrize(
    ("cap", "first"),
    [(None, ["submit"] * 6), (1000, ["submit", "task", *["submit"] * 5])],
)
async def test_a_price_is_confirmed_once_and_only_under_a_cap(
    cap: int | None, first: list[str], tmp_path: Path
) -> None:
    """One request more for a tariff and run, before the others leave."""
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        results = await run_once(sandbox, tmp_path, pictures(6), max_credits=cap)

        assert {"saved": 6} == states(results)
        assert first == [record.endpoint for record in sandbox.requests][: len(first)]


@pytest.mark.parametrize("effect", ["drop", "reset", "not-found"])
async def test_a_price_that_cannot_be_confirmed_holds_nobody_up(effect: str, tmp_path: Path) -> None:
    """The answer's is as good as any then."""
    lost = (
        Fault(effect="status", on="task", moment="before", status=404, count=1)
        if effect == "not-found"
        else Fault(effect=effect, on="task", count=2)
    )
    async with Sandbox(conditions=ONE_PRICE, faults=[lost]) as sandbox:
        results = await run_once(sandbox, tmp_path, pictures(5), max_credits=CAP)

        assert {"saved": 5} == states(results)


@pytest.mark.case(185)
async def test_a_price_that_rises_behind_answers_that_hide_it_passes_the_cap_once(tmp_path: Path) -> None:
    """Once an answer has hidden a price, each further one is compared before the next POST is sent."""
    cheap = {job.request.prompt for job in pictures(4)}

    def price(request: GenerationRequest) -> int:
        return PRICE if request.prompt in cheap else 5 * PRICE

    slow = Conditions(price=price, duration=lambda _order, _chance: 600.0)
    async with Sandbox(conditions=slow, faults=[understated(credits_used=1)]) as sandbox:
        await run_once(sandbox, tmp_path, pictures(60), max_credits=CAP)

        assert 4 * PRICE + 5 * PRICE == charged(sandbox)


@pytest.mark.case(185)
async def test_all_tasks_of_a_job_are_asked(tmp_path: Path) -> None:
    """One of four says less than what the four cost."""
    sets = [Job(GptImage2(prompt=f"Hat {n}", batch_count=4), name=f"set-{n}") for n in range(30)]
    slow = Conditions(price=lambda _: PRICE, duration=lambda _order, _chance: 600.0)
    async with Sandbox(conditions=slow, faults=[understated(credits_used=4)]) as sandbox:
        await run_once(sandbox, tmp_path, sets, max_credits=400)

        assert 400 // (4 * PRICE) * 4 * PRICE == charged(sandbox)


@pytest.mark.case(185, 186)
@pytest.mark.parametrize("count", [1, 4])
async def test_an_answer_that_states_the_price_of_one_of_its_tasks_passes_no_cap(
    count: int, tmp_path: Path
) -> None:
    """Each of its tasks states as much, so it cannot be what all of them cost: one costs that much alone."""
    hats = [
        Job(GptImage2(prompt=f"Hat {n}", batch_count=count), name=f"hat-{n}", repeat=10) for n in range(10)
    ]
    slow = Conditions(price=lambda _: 8, duration=lambda _order, _chance: 600.0)
    async with Sandbox(conditions=slow, faults=[understated(credits_used=8)]) as sandbox:
        for _ in range(2):
            async with opened(sandbox, tmp_path, max_credits=400) as batch:
                await results_of(batch, hats)

                assert 300 < charged(sandbox) == batch.summary.credits_used <= 400


@pytest.mark.case(186)
@pytest.mark.parametrize("each", [25, 33])
async def test_a_shared_post_whose_answer_hides_that_it_is_dearer_passes_no_cap(
    each: int, tmp_path: Path
) -> None:
    """Its first task is asked, too; 25 is less than the four are said to cost together."""

    def price(request: GenerationRequest) -> int:
        return each if request.batch_count > 1 else 8

    def eight_for_each(asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "credits_used": 8 * asked.get("batch_count", 1)}

    hats = [Job(GptImage2(prompt="A hat for a cat"), name="hat", repeat=60)]
    slow = Conditions(price=price, duration=lambda _order, _chance: 600.0)
    async with Sandbox(conditions=slow) as sandbox, proxy(sandbox.base_url, eight_for_each) as url:
        for _ in range(2):
            async with opened(sandbox, tmp_path, url=url, max_credits=400) as batch:
                await results_of(batch, hats)

                assert 4 * each < charged(sandbox) == batch.summary.credits_used <= 400


@pytest.mark.case(186)
@pytest.mark.parametrize(("each", "cap"), [(25, 100), (60, 100), (80, 100), (79, 400), (25, 400)])
async def test_jobs_that_are_dearer_together_pass_no_cap(each: int, cap: int, tmp_path: Path) -> None:
    """They share a POST only where the cap has room for ten times what they cost singly."""

    def price(request: GenerationRequest) -> int:
        return each if request.batch_count > 1 else 8

    hats = [Job(GptImage2(prompt="A hat for a cat"), name="hat", repeat=40)]
    async with Sandbox(conditions=Conditions(price=price)) as sandbox:
        for _ in range(2):
            await run_once(sandbox, tmp_path, hats, max_credits=cap)

        assert 8 < charged(sandbox) <= cap


async def test_jobs_share_posts_under_a_cap_with_room(tmp_path: Path) -> None:
    """Once an answer has priced a group, its price is known as any other's."""
    hats = [Job(GptImage2(prompt="A hat for a cat"), name="hat", repeat=37)]
    async with Sandbox(conditions=ONE_PRICE) as sandbox:
        results = await run_once(sandbox, tmp_path, hats, max_credits=50 * PRICE)

        assert {"saved": 37} == states(results)
        assert 10 == len(submits(sandbox))


async def test_a_still_that_was_under_way_keeps_the_credits_of_its_clip(tmp_path: Path) -> None:
    """Its price is not known when the next run begins, so it has reserved all that is left."""
    still = Job(NanoBananaPro(prompt="A still"), name="still")
    clip = Job(Seedance2Video(prompt="It sails", image_url=still.link("image"), duration=5), name="clip")
    jobs = [still, clip, *pictures(10)]
    cut = Fault(effect="hang", on="submit", moment="before", count=1, seconds=1000.0)
    async with Sandbox(faults=[cut]) as sandbox:
        with anyio.move_on_after(5.0):
            await run_once(sandbox, tmp_path, jobs, max_credits=60)
        results = await run_once(sandbox, tmp_path, jobs, max_credits=60)

        assert {"still", "clip", "boat-0"} == {name for name, each in results.items() if each.files}
        assert 2 * PRICE + 30 == charged(sandbox)
