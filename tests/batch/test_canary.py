"""Canaries: of each kind one job goes alone, and what the sandbox was asked to make says whether it did."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import anyio

from seedance_async import CanaryError, GptImage2, Job, NanoBananaPro, Seedance2Video
from seedance_async.batch.states import State
from seedance_async.exit_codes import ExitCode
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.batch.helpers import charged, opened, pictures, results_of, run_once, states, submits

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from seedance_async import Request

SMALL: Final = Fault(effect="deliver", on="media", count=None, fields={"size": "512x512"})
SMALL_PICTURES: Final = Fault(
    effect="deliver", on="media", count=None, fields={"size": "512x512", "instead_of": "1024x1024"}
)
LESS: Final = Fault(
    effect="deliver", on="media", count=None, fields={"size": "720x1280", "instead_of": "1080x1920"}
)


def upright(count: int) -> list[Job]:
    """Clips of one kind, 58 credits each."""
    return [
        Job(
            Seedance2Video(prompt=f"Boat {n}", duration=4, resolution="1080p", aspect_ratio="9:16"),
            name=f"clip-{n}",
        )
        for n in range(count)
    ]


def kinds_of(sandbox: Sandbox) -> list[str]:
    """The model of each task that was paid for."""
    return sorted(task.request.model for task in sandbox.paid_tasks)


async def run_with_canary(
    sandbox: Sandbox,
    directory: Path,
    jobs: list[Job],
    **options: Any,  # noqa: ANN401 - whatever a runner takes
) -> tuple[Any, dict[str, Any]]:
    """A run with canaries, and how it ended."""
    async with opened(sandbox, directory, canary=True, **options) as batch:
        results = await results_of(batch, jobs)
        return batch.summary, results


async def test_a_smaller_delivery_stops_the_batch_after_one_job_a_kind(tmp_path: Path) -> None:
    """720x1280 for 1080x1920: the rest of no kind is paid for, and the message says what it is about."""
    jobs = [*upright(3), *pictures(3)]
    async with Sandbox(faults=[SMALL_PICTURES, LESS]) as sandbox:
        summary, results = await run_with_canary(sandbox, tmp_path, jobs)

        assert ["nano-banana-pro", "seedance2"] == kinds_of(sandbox)

    assert summary.exit_code == 6
    assert isinstance(summary.stopped, CanaryError)
    for words in (
        "2 canaries",
        "720x1280, asked for 1080x1920 (58 credits)",
        "512x512, asked for 1K (12 cre",
    ):
        assert words in summary.stopped.message
    assert {"saved": 2, "planned": 4} == states(results)
    assert isinstance(results["clip-2"].error, CanaryError)


async def test_run_again_it_stops_again_and_goes_on_once_it_is_accepted(tmp_path: Path) -> None:
    """What is saved is what is judged: no second canary is paid for."""
    async with Sandbox(faults=[LESS]) as sandbox:
        await run_with_canary(sandbox, tmp_path, upright(3))
        again, _ = await run_with_canary(sandbox, tmp_path, upright(3))
        assert len(submits(sandbox)) == 1
        last, results = await run_with_canary(sandbox, tmp_path, upright(3), accept_delivery=True)

        assert len(sandbox.paid_tasks) == 3

    assert again.exit_code == ExitCode.CANARY
    assert last.exit_code == ExitCode.OK
    assert all("720x1280, asked for 1080x1920" in result.mismatches for result in results.values())


async def test_the_others_are_sent_once_the_canary_is_saved(tmp_path: Path) -> None:
    """As asked: everything is made, and the second POST of a kind comes after the first one's files."""
    async with Sandbox() as sandbox:
        _, results = await run_with_canary(sandbox, tmp_path, pictures(5))
        first, second, *_ = (record.at for record in sandbox.requests if record.endpoint == "submit")
        fetched = sandbox.media_requests[0].at

    assert {"saved": 5} == states(results)
    assert first < fetched <= second


async def test_kinds_run_beside_each_other(tmp_path: Path) -> None:
    """The canary of one kind waits for no other's."""
    async with Sandbox() as sandbox:
        await run_with_canary(sandbox, tmp_path, [*pictures(2), *upright(1)])
        at = [record.at for record in sandbox.requests if record.endpoint == "submit"]
        fetched = sandbox.media_requests[0].at

    assert at[1] < fetched
    assert at[2] >= fetched


async def test_without_canaries_a_difference_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the credits, stands in the results, and stops nothing."""
    async with Sandbox(faults=[SMALL]) as sandbox:
        results = await run_once(sandbox, tmp_path, pictures(2))

    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {"saved": 2} == states(results)
    assert [[{"width": 512, "height": 512, "seconds": None, "fps": None, "sound": None}]] * 2 == [
        line["delivered"] for line in lines
    ]
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert 2 == sum("came as 512x512, asked for 1K (12 credits)" in message for message in warned)


async def test_a_higher_price_than_estimated_stops_the_batch(tmp_path: Path) -> None:
    """The message names both, and it is judged by the same estimate when it is run again."""
    async with Sandbox(conditions=Conditions(price=lambda _: 20)) as sandbox:
        summary, _ = await run_with_canary(sandbox, tmp_path, pictures(3))
        again, _ = await run_with_canary(sandbox, tmp_path, pictures(3))
        assert len(sandbox.paid_tasks) == 1
        last, _ = await run_with_canary(sandbox, tmp_path, pictures(3), accept_delivery=True)

    for stopped in (summary, again):
        assert stopped.exit_code == ExitCode.CANARY
        assert "cost 20 credits, estimated 12" in stopped.stopped.message
    assert last.exit_code == ExitCode.OK


async def test_a_price_that_the_account_has_seen_is_the_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another batch paid 20: that is expected, and a charge of 30 is not, also after it is on record."""
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(tmp_path / "state"))
    price = [20]
    async with Sandbox(conditions=Conditions(price=lambda _: price[0])) as sandbox:
        await run_once(sandbox, tmp_path / "before", pictures(1))
        as_before, _ = await run_with_canary(sandbox, tmp_path / "one", pictures(2))
        price[0] = 30
        dearer, _ = await run_with_canary(sandbox, tmp_path / "two", pictures(2))
        again, _ = await run_with_canary(sandbox, tmp_path / "two", pictures(2))

    assert as_before.exit_code == ExitCode.OK
    for stopped in (dearer, again):
        assert "cost 30 credits, estimated 20 as the account was charged" in stopped.stopped.message


async def test_a_cheaper_job_stops_nothing(tmp_path: Path) -> None:
    """Less is no harm."""
    async with Sandbox(conditions=Conditions(price=lambda _: 1)) as sandbox:
        summary, _ = await run_with_canary(sandbox, tmp_path, pictures(2))

    assert summary.exit_code == ExitCode.OK


async def test_after_a_canary_that_failed_the_next_job_is_it(tmp_path: Path) -> None:
    """A failure says nothing of what is delivered; one at a time goes, until one is."""
    jobs = pictures(4)
    failing = [Job(NanoBananaPro(prompt=f"Fail {n} [[sandbox:fail]]"), name=f"bad-{n}") for n in range(2)]
    async with Sandbox(faults=[SMALL]) as sandbox:
        summary, results = await run_with_canary(sandbox, tmp_path, [*failing, *jobs])

        assert len(sandbox.tasks) == 3

    assert {"failed": 2, "saved": 1, "planned": 3} == states(results)
    assert summary.exit_code == ExitCode.CANARY


async def test_after_a_canary_that_was_refused_the_next_job_is_it(tmp_path: Path) -> None:
    """As after a failure."""
    refusal = Fault(effect="status", on="submit", moment="before", status=400)
    async with Sandbox(faults=[refusal, SMALL]) as sandbox:
        _, results = await run_with_canary(sandbox, tmp_path, pictures(4))

        assert len(sandbox.tasks) == 1

    assert {"refused": 1, "saved": 1, "planned": 2} == states(results)


async def test_beside_a_canary_of_unknown_outcome_nothing_of_its_kind_is_sent(tmp_path: Path) -> None:
    """It may be paid. The next run asks for it under its key, and goes on: nothing is paid twice."""
    lost = Fault(effect="drop", on="submit", moment="after", count=None)
    async with Sandbox(faults=[lost]) as sandbox:
        summary, results = await run_with_canary(sandbox, tmp_path, pictures(3))
        assert len(sandbox.tasks) == 1
        sandbox.faults.clear()
        last, _ = await run_with_canary(sandbox, tmp_path, pictures(3))

        assert len(sandbox.tasks) == 3

    assert {"uncertain": 1, "planned": 2} == states(results)
    assert summary.exit_code == ExitCode.CANARY
    assert "is not known yet" in summary.stopped.message
    assert last.exit_code == ExitCode.OK


async def test_a_canary_whose_files_do_not_come_holds_the_others(tmp_path: Path) -> None:
    """It could not be measured; the next run fetches it, and judges it then."""
    gone = Fault(effect="status", on="media", status=500, count=None)
    async with Sandbox(faults=[gone]) as sandbox:
        summary, results = await run_with_canary(sandbox, tmp_path, pictures(3))
        sandbox.faults.clear()
        sandbox.faults.add(SMALL)
        again, _ = await run_with_canary(sandbox, tmp_path, pictures(3))

        assert len(sandbox.tasks) == 1

    assert {"completed": 1, "planned": 2} == states(results)
    assert "could not be saved yet" in summary.stopped.message
    assert "512x512" in again.stopped.message


async def test_a_canary_shares_no_post(tmp_path: Path) -> None:
    """Up to four equal pictures go out in one POST, but not the first."""
    same: list[Request] = [GptImage2(prompt="A teapot mountain")] * 4
    async with Sandbox(faults=[SMALL]) as sandbox:
        await run_with_canary(sandbox, tmp_path, [Job(each, name=f"p{n}") for n, each in enumerate(same)])

        assert len(sandbox.tasks) == 1


async def test_what_an_earlier_run_has_made_is_the_canary(tmp_path: Path) -> None:
    """A batch begun without canaries: its first job is judged, and none is paid for to find out."""
    async with Sandbox(faults=[SMALL]) as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        summary, _ = await run_with_canary(sandbox, tmp_path, pictures(3))

        assert len(submits(sandbox)) == 1

    assert "boat-0" in summary.stopped.message


async def test_what_is_accepted_is_collected_all_the_same(tmp_path: Path) -> None:
    """A run that a canary of an earlier one stops polls and saves what is paid."""
    async with Sandbox(faults=[SMALL]) as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        async with opened(sandbox, tmp_path) as batch:
            async for result in batch.run([*pictures(1), *upright(1)]):
                assert result.earlier
                while not batch.summary.counts.get(State.ACCEPTED):  # noqa: ASYNC110 - watched from outside
                    await anyio.sleep(0.1)
                break
        summary, results = await run_with_canary(sandbox, tmp_path, [*pictures(3), *upright(1)])

        assert len(submits(sandbox)) == 2

    assert results["clip-0"].state is State.SAVED
    assert summary.exit_code == ExitCode.CANARY


async def test_links_and_canaries_go_together(tmp_path: Path) -> None:
    """A clip begun with a still is the canary of its kind, once the still's kind is proven."""
    stills = [Job(NanoBananaPro(prompt=f"Still {n}"), name=f"still-{n}") for n in range(2)]
    clips = [
        Job(
            Seedance2Video(prompt=f"It sails {n}", duration=4, image_url=still.link("image")),
            name=f"shot-{n}",
        )
        for n, still in enumerate(stills)
    ]
    async with Sandbox() as sandbox:
        summary, results = await run_with_canary(sandbox, tmp_path, [*stills, *clips], max_credits=200)

        assert charged(sandbox) == 2 * 12 + 2 * 24

    assert {"saved": 4} == states(results)
    assert summary.exit_code == ExitCode.OK


async def test_a_cap_that_is_reached_is_told_as_such(tmp_path: Path) -> None:
    """Proven kinds that the cap holds back are no matter of canaries."""
    async with Sandbox() as sandbox:
        summary, results = await run_with_canary(sandbox, tmp_path, pictures(3), max_credits=24)

    assert summary.exit_code == ExitCode.OUT_OF_CREDITS
    assert {"saved": 2, "planned": 1} == states(results)


async def test_the_seed_that_was_used_is_kept(tmp_path: Path) -> None:
    """In the result, the line, the sidecar and the file; and fed in again, the line is the same job."""
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path, upright(1))
        (task,) = sandbox.paid_tasks
        (line,) = [json.loads(text) for text in (tmp_path / "results.jsonl").read_text().splitlines()]
        again = tmp_path / "again.jsonl"
        again.write_text(json.dumps(line) + "\n")
        table = tmp_path / "again.csv"
        cells = {name: "" if line[name] is None else str(line[name]) for name in ("seed", "asked_seed")}
        cells |= {"name": "clip-0", "model": "seedance2", "prompt": line["prompt"], "duration": "4"}
        cells |= {"resolution": "1080p", "aspect_ratio": "9:16"}
        table.write_text(",".join(cells) + "\n" + ",".join(cells.values()) + "\n")
        for manifest in (again, table):
            await run_once(sandbox, tmp_path, manifest)

        assert len(sandbox.paid_tasks) == 1

    sidecar = json.loads((tmp_path / "clip-0.mp4.json").read_text())
    assert results["clip-0"].seed == task.seed == line["seed"] == sidecar["seed"]
    assert f'"seed":{task.seed}'.encode() in (tmp_path / "clip-0.mp4").read_bytes()


async def test_a_journal_of_before_is_given_its_table(tmp_path: Path) -> None:
    """What was begun with a version that measured nothing goes on with this one."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))
        with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as connection:
            connection.execute("DROP TABLE deliveries")
        summary, results = await run_with_canary(sandbox, tmp_path, pictures(2))

    assert summary.exit_code == ExitCode.OK
    assert [0, 1] == [len(results[f"boat-{n}"].delivered) for n in range(2)]


async def test_what_was_lost_is_not_asked_for_while_a_canary_stops(tmp_path: Path) -> None:
    """A POST without an answer may never have arrived: asking again may pay for more of the same."""
    lost = Fault(effect="drop", on="submit", moment="before", nth=2, count=None)
    async with Sandbox(faults=[SMALL, lost]) as sandbox:
        await run_once(sandbox, tmp_path, pictures(2), max_in_flight=1)
        sandbox.faults.clear()
        sent = len(submits(sandbox))
        stopped, _ = await run_with_canary(sandbox, tmp_path, pictures(2))
        assert sent == len(submits(sandbox))
        last, _ = await run_with_canary(sandbox, tmp_path, pictures(2), accept_delivery=True)

        assert len(sandbox.paid_tasks) == 2

    assert stopped.exit_code == ExitCode.CANARY
    assert last.exit_code == ExitCode.OK
