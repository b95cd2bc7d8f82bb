"""Whole batches through a real socket in virtual time; what the sandbox saw is what counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import (
    BatchRunner,
    CreditCapError,
    GptImage2,
    InsufficientCreditsError,
    Job,
    ManifestError,
    NanoBananaPro,
    Seedance2Video,
    ValidationError,
)
from seedance_async.batch.states import State
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.batch.helpers import PRICE, charged, opened, pictures, results_of, run_once, states, submits
from tests.batch.soak import soak

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from seedance_async.models import Request

BOAT = NanoBananaPro(prompt="A boat", output_format="jpeg")


async def test_every_job_is_paid_once_and_saved(tmp_path: Path) -> None:
    """The main way: each job's files lie in the directory, described, and the line says what it cost."""
    jobs = [
        *pictures(2),
        Job(Seedance2Video(prompt="A red hat"), name="hat"),
        Job(GptImage2(prompt="Cats", batch_count=2)),
    ]
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path, jobs)

    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {"saved": 4} == states(results)
    assert 5 == len(sandbox.paid_tasks)
    assert ["boat-0", "boat-1", "hat", "job-000004"] == [line["name"] for line in lines]
    assert charged(sandbox) == sum(line["credits_used"] for line in lines)
    assert all(
        (tmp_path / f"{name}.json").exists() and (tmp_path / name).exists()
        for line in lines
        for name in line["files"]
    )


async def test_a_post_arrives_only_after_its_intent_is_on_record(tmp_path: Path) -> None:
    """Promise 1: at the instant of the charge, the journal already holds the job as submitting."""
    seen: list[int] = []
    runner: list[BatchRunner] = []

    def price(_: object) -> int:
        seen.append(runner[0].summary.counts.get(State.SUBMITTING, 0))
        return PRICE

    async with Sandbox(conditions=Conditions(price=price)) as sandbox, opened(sandbox, tmp_path) as batch:
        runner.append(batch)
        await results_of(batch, pictures(5))

    assert seen
    assert min(seen) >= 1


@pytest.mark.case(97)
async def test_a_402_stops_submitting_and_collects_what_is_paid(tmp_path: Path) -> None:
    """Catalogue 97: no thousand further 402s, and the paid jobs are saved."""
    async with Sandbox(credits=4 * PRICE - 1) as sandbox, opened(sandbox, tmp_path) as batch:
        results = await results_of(batch, pictures(50))

        assert {"saved": 3, "planned": 47} == states(results)
        assert 3 == batch.summary.exit_code
        assert isinstance(batch.summary.stopped, InsufficientCreditsError)
        assert 3 == len(sandbox.paid_tasks)
        assert 40 > len(submits(sandbox))
        for unsent in (result for result in results.values() if result.state is State.PLANNED):
            assert isinstance(unsent.error, InsufficientCreditsError)
            assert (unsent.idempotency_key, None) == (unsent.error.idempotency_key, unsent.error.task_id)


@pytest.mark.case(42)
async def test_a_400_refuses_one_job_only(tmp_path: Path) -> None:
    """Catalogue 42."""
    wrong = Fault(effect="status", moment="before", on="submit", status=400, nth=2)
    async with Sandbox(faults=[wrong]) as sandbox, opened(sandbox, tmp_path) as batch:
        results = await results_of(batch, pictures(4))

        assert {"saved": 3, "refused": 1} == states(results)
        assert 1 == batch.summary.exit_code
        assert 3 == len(sandbox.paid_tasks)


@pytest.mark.case(93)
async def test_a_failed_task_is_refunded_in_the_batchs_own_ledger(tmp_path: Path) -> None:
    """Catalogue 93: what the answer gives back may be spent again under the cap."""
    failing = Job(NanoBananaPro(prompt="A boat sinks [[sandbox:fail]]"), name="failing")
    async with Sandbox() as sandbox, opened(sandbox, tmp_path, max_credits=2 * PRICE) as batch:
        results = await results_of(batch, [failing, *pictures(2)])

        assert {"saved": 2, "failed": 1} == states(results)
        assert (3 * PRICE, PRICE) == (batch.summary.credits_used, batch.summary.credits_refunded)


@pytest.mark.parametrize("cap", [0, PRICE, 3 * PRICE - 1, 5 * PRICE - 1, 5 * PRICE])
async def test_the_cap_is_never_passed(cap: int, tmp_path: Path) -> None:
    """Promise 4, judged by what the account was charged."""
    async with Sandbox() as sandbox, opened(sandbox, tmp_path, max_credits=cap) as batch:
        await results_of(batch, pictures(5))

        assert charged(sandbox) <= cap
        assert cap // PRICE == len(sandbox.paid_tasks)
        if cap < 5 * PRICE:
            assert isinstance(batch.summary.stopped, CreditCapError)
            assert 3 == batch.summary.exit_code


async def test_a_kind_without_a_price_has_one_job_under_way_until_its_first_answer(tmp_path: Path) -> None:
    """Promise 4: a surprise is met once; other kinds need not wait for it."""
    jobs = [*pictures(4), *(Job(GptImage2(prompt=f"A hat {number}")) for number in range(4))]
    async with Sandbox(conditions=Conditions(latency=(0.2, 0.2))) as sandbox:
        await run_once(sandbox, tmp_path, jobs)

        posts = [record for record in sandbox.requests if record.endpoint == "submit"]
        for path in ("/image/gpt-image-2", "/image/nano-banana-pro"):
            first, *others = [record for record in posts if record.path == path]
            assert first.answered_at is not None
            assert min(record.at for record in others) >= first.answered_at
        assert abs(posts[0].at - posts[1].at) < 0.1


async def test_a_429_alone_fails_no_job(tmp_path: Path) -> None:
    """Catalogue 41: somebody else spends the account's allowance for minutes; the batch waits."""
    busy = Fault(
        effect="status", on="submit", moment="before", status=429, count=6, headers={"Retry-After": "30"}
    )
    async with Sandbox(faults=[busy]) as sandbox:
        results = await run_once(sandbox, tmp_path, pictures(2))

        assert {"saved": 2} == states(results)
        assert 2 == len(sandbox.paid_tasks)


async def test_a_full_server_slows_the_batch_and_leaves_no_job_uncertain(tmp_path: Path) -> None:
    """Catalogue 34: jobs wait here for their turn, instead of running into 503 until their patience ends."""
    async with Sandbox(conditions=Conditions(busy_above=4, latency=(0.1, 1.0))) as sandbox:
        results = await run_once(sandbox, tmp_path, pictures(40))

        assert {"saved": 40} == states(results)
        assert 40 == len(sandbox.paid_tasks)
        assert len(submits(sandbox)) <= 64


async def test_when_nothing_gets_through_the_batch_stops_instead_of_losing_every_answer(
    tmp_path: Path,
) -> None:
    """A thousand uncertain jobs would be a thousand questions; five in a row are an outage."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))  # its price is known now, so the others go together
        sandbox.faults.add(Fault(effect="drop", on="submit", count=None))
        async with opened(sandbox, tmp_path, max_in_flight=2) as batch:
            results = await results_of(batch, pictures(20))
            assert batch.summary.stopped is not None
        sandbox.faults.clear()
        assert states(results)["planned"] >= 12
        assert {"saved": 20} == states(await run_once(sandbox, tmp_path, pictures(20)))
        assert 20 == len(sandbox.paid_tasks)


async def test_takes_and_templates_name_the_files(tmp_path: Path) -> None:
    """Each take is a job of its own, and the template says where its files go."""
    jobs = [Job(NanoBananaPro(prompt="A hat"), name="hat", repeat=2)]
    async with Sandbox() as sandbox:
        results = await run_once(
            sandbox, tmp_path, jobs, output_name="{model}/{index} {name} take {take}.{ext}"
        )

    assert ["hat", "hat-2"] == sorted(results)
    files = [
        file.relative_to(tmp_path).as_posix() for name in sorted(results) for file in results[name].files
    ]
    assert ["nano-banana-pro/000001 hat take 1.png", "nano-banana-pro/000002 hat-2 take 2.png"] == files
    assert 2 == len({key for key, _ in submits(sandbox)})


async def test_a_closed_batch_still_tells_how_it_stands(tmp_path: Path) -> None:
    """Whoever reports on a batch does so when it is over."""
    async with Sandbox() as sandbox, opened(sandbox, tmp_path, max_credits=100) as batch:
        running = batch.run(pictures(1))
        async for _ in running:
            assert 1 == batch.summary.total

    assert {State.SAVED: 1} == batch.summary.counts
    assert (0, PRICE, 0) == (
        batch.summary.exit_code,
        batch.summary.credits_used,
        batch.summary.credits_reserved,
    )


async def test_jobs_may_come_while_others_are_made(tmp_path: Path) -> None:
    """An async source may wait for results: the first job must not wait for the last."""
    answered = anyio.Event()

    async def source() -> AsyncIterator[Job]:
        yield pictures(1)[0]
        await answered.wait()
        yield pictures(2)[1]

    async with Sandbox() as sandbox, opened(sandbox, tmp_path) as batch:
        names = []
        async for result in batch.run(source()):
            names.append(result.name)
            answered.set()

    assert ["boat-0", "boat-1"] == names


async def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    """Files are named after jobs, and some file systems are blind to case."""
    manifest = tmp_path / "jobs.jsonl"
    lines = [{"model": "seedance2", "prompt": "A boat", "name": name} for name in ("boat", "BOAT")]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with Sandbox() as sandbox, opened(sandbox, tmp_path / "out") as batch:
        with pytest.raises(ManifestError, match="line 2, name: 'BOAT'"):
            await results_of(batch, manifest)

        assert [] == sandbox.requests


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        (
            [Job(BOAT, name="boat"), Job(BOAT, name="Boat")],
            r"jobs\[1\], name: 'Boat' is the name of the job at jobs\[0\] too, as 'boat' \(other letter",
        ),
        ([Job(BOAT, name="boat"), BOAT, Job(BOAT, name="boat")], r"jobs\[2\], name: 'boat' is the name of"),
        ([BOAT, "A boat"], r"jobs\[1\]: expected a Job or a request, got str"),
        (
            [Job(BOAT, name="a"), Job(Seedance2Video(prompt="It sails", image_url="$b.image"), name="c")],
            r"jobs\[1\], image_url: '\$b.image' names a job that is not there",
        ),
    ],
)
@pytest.mark.parametrize("kind", [list, iter])
async def test_jobs_of_a_program_that_are_refused_leave_nothing_behind(
    kind: Callable[[list[Job | Request]], Iterable[Job | Request]],
    jobs: list[Job | Request],
    said: str,
    tmp_path: Path,
) -> None:
    """As a manifest does not; the job is named as the program writes it, from 0."""
    async with Sandbox() as sandbox:
        with pytest.raises((ManifestError, ValidationError), match=said):
            async with opened(sandbox, tmp_path / "new" / "out") as batch:
                await results_of(batch, kind(jobs))

        assert not sandbox.paid_tasks
    assert [] == list(tmp_path.iterdir())


async def test_a_refusal_after_something_was_sent_keeps_the_journal(tmp_path: Path) -> None:
    """It knows what is paid; what came before the refused job is not lost."""

    async def jobs() -> AsyncIterator[Job | Request]:
        yield Job(BOAT, name="boat")
        while not sandbox.paid_tasks:  # noqa: ASYNC110 - virtual time
            await anyio.sleep(1)
        yield Job(BOAT, name="boat")

    async with Sandbox() as sandbox:
        with pytest.raises(ManifestError, match=r"jobs\[1\]"):
            async with opened(sandbox, tmp_path / "out") as batch:
                await results_of(batch, jobs())

        assert {"saved": 1} == states(await run_once(sandbox, tmp_path / "out", [Job(BOAT, name="boat")]))
        assert 1 == len(sandbox.paid_tasks)


async def test_everything_wrong_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """All errors of all lines, in the order of the lines; the mended manifest then runs."""
    manifest = tmp_path / "jobs.jsonl"
    good = json.dumps({"model": "seedance2", "prompt": "A boat", "name": "boat"})
    manifest.write_text(f'{good}\n{{"model": "sedance2"}}\n{good}\n{{"model": "seedance2", "prompt": "x"}}\n')
    async with Sandbox() as sandbox, opened(sandbox, tmp_path / "out") as batch:
        with pytest.raises(ManifestError) as caught:
            await results_of(batch, manifest)
        assert [(2, "model"), (3, "name"), (4, "prompt")] == [
            problem[:2] for problem in caught.value.problems
        ]
        assert [] == sandbox.requests

        manifest.write_text(good)
        assert {"saved": 1} == states(await results_of(batch, manifest))


@pytest.mark.parametrize("seed", [3, 4])
async def test_a_soak_in_faults_settles_every_job_to_the_credit(seed: int, tmp_path: Path) -> None:
    """Lost answers, 500, 503, 429 and failures: each job paid once, both ledgers equal, no window overrun."""
    found = await soak(100, tmp_path, rate=0.05, seed=seed)

    assert () == found.problems
    assert min(found.answers_lost, found.answers_500, found.answers_503, found.answers_429) > 0


async def test_the_repr_tells_directory_state_and_cap(tmp_path: Path) -> None:
    """Before, during and after a run."""
    shown = []
    async with Sandbox() as sandbox:
        async with opened(sandbox, tmp_path, max_credits=100) as batch:
            shown.append(repr(batch))
            shown += [repr(batch) async for _ in batch.run(pictures(1))]
        shown.append(repr(batch))

    cap = f"<BatchRunner {str(tmp_path)!r}, {{}}, at most 100 credits>"
    assert [cap.format(state) for state in ("open", "running", "not open")] == shown
