"""Tests of answers that cannot be: of another POST, at odds with themselves, or not to be stored.

A raw socket server stands between client and sandbox and changes the answers to POSTs; the sandbox says what
was paid.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from seedance_async import (
    BatchRunner,
    GptImage2,
    Job,
    NanoBananaPro,
    Seedance2Video,
    SeedanceClient,
    UncertainSubmissionError,
)
from seedance_async.batch.states import State
from seedance_async.sandbox import Conditions, Sandbox
from tests.batch.helpers import PATIENCE, results_of
from tests.faults.judge import without_drawing
from tests.faults.proxy import proxy

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async import JobResult
    from tests.faults.proxy import Answer, Change

QUICK = Conditions(duration=lambda _order, _chance: 20.0)
TAKES = 4


@pytest.fixture(autouse=True)
def sketches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is not what is tested here."""
    without_drawing(monkeypatch.setattr)


def mixed(word: str, count: int = 6) -> list[Job]:
    """Jobs of all three models."""
    kinds = (Seedance2Video, GptImage2, NanoBananaPro)
    return [Job(kinds[n % 3](prompt=f"A {word} on pond {n}"), name=f"{word}-{n}") for n in range(count)]


def takes() -> list[Job]:
    """Four takes of a picture, which share a POST."""
    return [Job(GptImage2(prompt="Cats"), name="cats", repeat=TAKES)]


async def run_through(url: str, key: str, directory: Path, jobs: list[Job]) -> dict[str, JobResult]:
    """Run a batch through a proxy, with a client of its own."""
    async with (
        SeedanceClient(key, url, retry=PATIENCE) as client,
        BatchRunner(client, directory) as batch,
    ):
        return await results_of(batch, jobs)


def paid_as_asked(sandbox: Sandbox, results: dict[str, JobResult]) -> bool:
    """Whether each job is paid once, no two share a task, and what is paid is named by its id or its key."""
    named = Counter(task_id for result in results.values() for task_id in result.task_ids)
    ids, keys = set(named), {result.idempotency_key for result in results.values()}
    paid = sandbox.tasks.values()
    return (
        len(paid) == len(results)
        and set(named.values()) <= {1}
        and all(task.id in ids or task.idempotency_key in keys for task in paid)
    )


class Repeating:
    """A proxy's cache gone wrong: it gives the answer to an earlier POST, at so many of those that follow.

    The last answer is that to a POST of another model: nothing shows that an answer belongs to another
    request of the same model before that request has named the same task.
    """

    def __init__(self, which: str) -> None:
        self.which = which
        self.seen: list[Answer] = []
        self.repeated = 0

    def __call__(self, _: Answer, answer: Answer) -> Answer:
        """The answer to give."""
        if "id" not in answer:
            return answer
        self.seen.append(answer)
        if len(self.seen) == 1:
            return answer
        due = {
            "the second": len(self.seen) == 2,
            "every other": len(self.seen) % 2 == 0,
            "all the first": True,
            "all the last": True,
        }[self.which]
        self.repeated += due
        return self._earlier() if due else answer

    def _earlier(self) -> Answer:
        if self.which != "all the last":
            return self.seen[0]
        prefix = self.seen[-1]["id"].partition("_")[0]
        return next(
            (answer for answer in reversed(self.seen) if not answer["id"].startswith(prefix)), self.seen[0]
        )


@pytest.mark.case(177)
@pytest.mark.parametrize("which", ["the second", "every other", "all the first", "all the last"])
async def test_an_answer_that_a_proxy_repeats_gives_no_job_anothers_task(which: str, tmp_path: Path) -> None:
    """Each is asked for again under its own key; what stays unclear is uncertain, and paid once."""
    change = Repeating(which)
    async with Sandbox(conditions=QUICK) as sandbox, proxy(sandbox.base_url, change) as url:
        results = await run_through(url, sandbox.api_key, tmp_path, mixed("boat"))
        assert paid_as_asked(sandbox, results)
        assert {State.SAVED, State.UNCERTAIN} >= {result.state for result in results.values()}
        assert change.repeated

        change.which = "the second"  # which is over
        results = await run_through(url, sandbox.api_key, tmp_path, mixed("boat"))
        assert {State.SAVED} == {result.state for result in results.values()}
        assert paid_as_asked(sandbox, results)


@pytest.mark.case(177)
async def test_an_answer_of_an_earlier_run_gives_no_job_its_task(tmp_path: Path) -> None:
    """A client of its own knows nothing of it; the journal does."""
    change = Repeating("the second")
    async with Sandbox(conditions=QUICK) as sandbox, proxy(sandbox.base_url, change) as url:
        await run_through(url, sandbox.api_key, tmp_path, mixed("boat", 1))
        results = await run_through(url, sandbox.api_key, tmp_path, mixed("boat", 2))
        assert 1 == change.repeated
        results = await run_through(url, sandbox.api_key, tmp_path, mixed("boat", 2))

        assert paid_as_asked(sandbox, results)
        assert {State.SAVED} == {result.state for result in results.values()}


@pytest.mark.case(177)
@pytest.mark.parametrize("which", ["the second", "every other", "all the first"])
async def test_as_completed_gives_no_request_anothers_task(which: str) -> None:
    """Nor does it call one not charged."""
    requests = [job.request for job in mixed("boat")]
    async with Sandbox(conditions=QUICK) as sandbox, proxy(sandbox.base_url, Repeating(which)) as url:
        async with SeedanceClient(sandbox.api_key, url, retry=PATIENCE) as client:
            completions = [completion async for completion in client.as_completed(requests)]

        keys = {task.request.prompt: task.idempotency_key for task in sandbox.tasks.values()}
        assert len(requests) == len(sandbox.tasks)
        for completion in completions:
            own = {
                task.id for task in sandbox.tasks.values() if task.request.prompt == completion.request.prompt
            }
            if completion.submission is not None:
                assert own == set(completion.submission.task_ids)
            else:
                assert isinstance(completion.error, UncertainSubmissionError)
                assert keys[completion.request.prompt] == completion.error.idempotency_key


def shape(**fields: object) -> Change:
    """A change of the answers for four takes; a callable makes its field of the true ids."""

    def change(asked: Answer, answer: Answer) -> Answer:
        if asked.get("batch_count", 1) == 1:
            return answer
        ids = answer["batch_task_ids"]
        return {**answer, **{name: make(ids) if callable(make) else make for name, make in fields.items()}}

    return change


CONTRADICTIONS = {
    "one left out": shape(batch_task_ids=lambda ids: ids[:-1]),
    "the first left out": shape(batch_task_ids=lambda ids: ids[1:]),
    "one named twice": shape(batch_task_ids=lambda ids: [*ids[:-1], ids[0]]),
    "one that is none": shape(batch_task_ids=lambda ids: [*ids[:-1], ids[-1] + "\0"]),
    "one that is no text": shape(batch_task_ids=lambda ids: [*ids[:-1], 7]),
    "no list": shape(batch_task_ids=",".join),
    "counted and not named": shape(batch_task_ids=lambda ids: ids[:2], batch_success=4, batch_failed=0),
    "named and not counted": shape(batch_success=2, batch_failed=2),
    "failed and named": shape(batch_failed=1),
    "failures below zero": shape(batch_task_ids=lambda ids: ids[:3], batch_success=5, batch_failed=-1),
    "too many failures": shape(batch_task_ids=lambda ids: ids[:3], batch_success=3, batch_failed=2),
}


@pytest.mark.case(176)
@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
async def test_takes_whose_answer_contradicts_itself_are_paid_once(change: Change, tmp_path: Path) -> None:
    """What it does not name may be paid: it is never asked for under another key."""
    async with Sandbox(conditions=QUICK) as sandbox, proxy(sandbox.base_url, change) as url:
        await run_through(url, sandbox.api_key, tmp_path, takes())
        results = await run_through(url, sandbox.api_key, tmp_path, takes())

        assert TAKES == len(results) == len(sandbox.tasks)
        assert {State.SAVED, State.UNCERTAIN} >= {result.state for result in results.values()}
        assert {task.idempotency_key for task in sandbox.tasks.values()} == {
            result.idempotency_key for result in results.values()
        }


@pytest.mark.case(177)
@pytest.mark.parametrize("place", range(TAKES))
async def test_takes_among_whose_ids_is_one_of_another_model_are_asked_for_again(
    place: int, tmp_path: Path
) -> None:
    """It is not known which picture it stands for: once accepted under it, that would never be fetched."""
    wrong: list[Answer] = []

    def change(asked: Answer, answer: Answer) -> Answer:
        if asked.get("batch_count", 1) == 1 or wrong:
            return answer
        ids = answer["batch_task_ids"]
        wrong.append({**answer, "batch_task_ids": [*ids[:place], "nbp_7f3a", *ids[place + 1 :]]})
        return wrong[0]

    async with Sandbox(conditions=QUICK) as sandbox, proxy(sandbox.base_url, change) as url:
        results = await run_through(url, sandbox.api_key, tmp_path, takes())

        assert wrong
        assert {State.SAVED} == {result.state for result in results.values()}
        assert paid_as_asked(sandbox, results)


@pytest.mark.case(176)
@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
async def test_as_completed_calls_nothing_not_charged_that_an_answer_hides(change: Change) -> None:
    """Its error has the key, under which what was posted brings all ids."""
    async with Sandbox(conditions=QUICK) as sandbox, proxy(sandbox.base_url, change) as url:
        async with SeedanceClient(sandbox.api_key, url, retry=PATIENCE) as client:
            requests = [GptImage2(prompt="Cats")] * TAKES
            completions = [each async for each in client.as_completed(requests, share_posts=True)]
            known = {
                task_id for each in completions if each.submission for task_id in each.submission.task_ids
            }
            hidden = [each for each in completions if each.submission is None]
        async with SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
            for each in hidden:
                assert isinstance(each.error, UncertainSubmissionError)
                again = await client.submit(each.posted, idempotency_key=each.error.idempotency_key)
                known |= set(again.task_ids)

        assert set(sandbox.tasks) == known
        assert TAKES == len(known)


ODD: dict[str, dict[str, Any]] = {
    "NUL": {"id": "nbp_a\0b"},
    "blank": {"id": "  "},
    "half a character": {"id": "nbp_\ud83d"},
    "a line": {"id": "nbp_a\nb"},
    "a right-to-left mark": {"id": "nbp_\u202ea"},
    "very long": {"id": "n" * 70_000},
    "ten thousand ids": {"batch_task_ids": [f"nbp_{n}" for n in range(10_000)]},
    "forty thousand ids": {"batch_task_ids": [f"nbp_{n}" for n in range(40_000)]},
}


@pytest.mark.case(179)
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
async def test_an_id_that_cannot_be_costs_its_own_job_only(odd: dict[str, Any], tmp_path: Path) -> None:
    """The journal stays sound, the neighbours are saved, and its own key brings the truth later."""
    lies = defaultdict(dict[str, Any], {"A boat on pond 2": odd})
    async with (
        Sandbox(conditions=QUICK) as sandbox,
        proxy(sandbox.base_url, lambda asked, answer: {**answer, **lies[asked["prompt"]]}) as url,
    ):
        results = await run_through(url, sandbox.api_key, tmp_path, mixed("boat"))
        assert Counter({State.SAVED: 5, State.UNCERTAIN: 1}) == Counter(
            result.state for result in results.values()
        )
        lies.clear()
        results = await run_through(url, sandbox.api_key, tmp_path, mixed("boat"))

        assert {State.SAVED} == {result.state for result in results.values()}
        assert paid_as_asked(sandbox, results)


@pytest.mark.case(180)
@pytest.mark.parametrize("amount", [2**53, 2**53 - 1, 10**18, 10**60, 1e300, -1, -0.5, "8", True, None, [8]])
async def test_an_amount_that_cannot_be_costs_no_result(amount: object, tmp_path: Path) -> None:
    """Whatever is said of credits, the files are saved, and the journal can be opened again."""
    async with (
        Sandbox(conditions=QUICK) as sandbox,
        proxy(sandbox.base_url, lambda _, answer: {**answer, "credits_used": amount}) as url,
    ):
        for _ in range(2):
            results = await run_through(url, sandbox.api_key, tmp_path, mixed("boat"))
            assert {State.SAVED} == {result.state for result in results.values()}
            assert paid_as_asked(sandbox, results)
