"""`seedance tasks` and `spend`: the account's record, and the prices that an estimate takes from it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from seedance_async import NanoBananaPro, RetryPolicy, SeedanceClient, SeedanceError, clocks
from seedance_async.cli.record import parse_instant
from seedance_async.exit_codes import ExitCode
from seedance_async.record.limits import DAY
from tests.rooms.records import keep_record

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type

NOW = datetime(2026, 6, 3, 10, 30, tzinfo=timezone(timedelta(hours=2)))


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own, and a record of a sandbox's account in it."""
    return keep_record(tmp_path, monkeypatch)


@pytest.fixture
async def lost_key(seedance_sandbox: Sandbox) -> str:
    """The key of a POST whose answer was lost, beside one that was refunded and two that worked."""
    async with SeedanceClient(
        seedance_sandbox.api_key, seedance_sandbox.base_url, retry=RetryPolicy(max_elapsed=0.5), project="P"
    ) as client:
        for words in ("a boat", "a train", "a kite [[sandbox:fail]]"):
            await client.wait(await client.submit(NanoBananaPro(prompt=words)))
        with pytest.raises(SeedanceError) as caught:
            await client.submit(NanoBananaPro(prompt="a cart [[fault:drop-after-charge*9]]"))
    return str(caught.value.idempotency_key)


async def test_tasks_lists_what_was_asked_for(
    seedance: Type, seedance_sandbox: Sandbox, lost_key: str
) -> None:
    """A line a task; what is uncertain has the key that collects it."""
    ending = await seedance("tasks", "--since", "yesterday")

    assert ExitCode.OK == ending.code
    rows = [line.split("\t") for line in ending.lines]
    assert [*seedance_sandbox.tasks][:3] == [row[0] for row in rows[:3]]
    assert ["completed", "completed", "failed", "uncertain"] == [row[1] for row in rows]
    assert [["nano-banana-pro", "12", "P"]] * 3 == [[row[2], row[4], row[5]] for row in rows[:3]]
    assert ["-", lost_key] == [rows[3][0], rows[3][-1]]
    assert lost_key not in [row[-1] for row in rows[:3]]


async def test_tasks_as_json_has_every_field(seedance: Type, lost_key: str) -> None:
    """One object a POST; no prompt unless prompts are recorded."""
    ending = await seedance("tasks", "--json")

    posts = [json.loads(line) for line in ending.lines]
    assert [12, 12, 12, None] == [post["credits_used"] for post in posts]
    assert [0, 0, 12, 0] == [post["credits_refunded"] for post in posts]
    assert (lost_key, 12, None) == (posts[3]["key"], posts[3]["credits_held"], posts[3]["prompt"])
    assert datetime.fromisoformat(posts[0]["sent_at"]).tzinfo is not None


@pytest.mark.parametrize("by", ["day", "month", "model", "project"])
async def test_spend_adds_up(seedance: Type, seedance_sandbox: Sandbox, lost_key: str, by: str) -> None:
    """Spent, charged, refunded, and what is uncertain; with the total last."""
    assert lost_key
    ending = await seedance("spend", "--by", by)
    document = json.loads((await seedance("spend", "--by", by, "--json")).out)

    group, total = [line.split("\t") for line in ending.lines]
    assert ["24", "36", "12", "1", "12"] == group[1:] == total[1:]
    assert "total" == total[0]
    assert group[0] == document["groups"][0][by]
    assert {
        "credits_spent": 24,
        "credits_used": 36,
        "credits_refunded": 12,
        "posts": 3,
        "uncertain": 1,
        "credits_uncertain": 12,
    } == document["total"]


async def test_without_a_record_nothing_is_listed_and_the_reason_is_told(
    seedance: Type, seedance_sandbox: Sandbox
) -> None:
    """And no file is made."""
    listed, added_up = await seedance("tasks"), await seedance("spend")

    for ending in (listed, added_up):
        assert (ExitCode.OK, True) == (ending.code, "does not exist" in ending.err)
    assert ([], ["total\t0\t0\t0\t0\t0"]) == (listed.lines, added_up.lines)


async def test_a_damaged_record_is_an_error_in_one_line(
    seedance: Type, seedance_sandbox: Sandbox, directory: Path, lost_key: str
) -> None:
    """Not a traceback, and not an empty list, which would look like nothing spent."""
    assert lost_key
    (path,) = directory.glob("record-*")
    path.write_bytes(b"x" * 5000)
    for command in ("tasks", "spend"):
        ending = await seedance(command)
        assert ExitCode.FAILED == ending.code
        assert "cannot be read" in ending.err
        assert [] == ending.lines


async def test_a_command_tells_once_that_the_record_fails_and_goes_on(
    seedance: Type, seedance_sandbox: Sandbox, directory: Path, lost_key: str, tmp_path: Path
) -> None:
    """What is asked for is made, and its exit code is that of the job."""
    assert lost_key
    (path,) = directory.glob("record-*")
    path.write_bytes(b"x" * 5000)
    ending = await seedance("generate", "nano-banana-pro", "a boat", "-o", tmp_path / "out")

    assert ExitCode.OK == ending.code
    assert 1 == ending.err.count("the account's record")


@pytest.mark.usefixtures("lost_key")
async def test_a_limit_ends_a_command_as_a_cap_does(
    seedance: Type, seedance_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before a byte leaves: 24 credits are spent and 12 uncertain."""
    monkeypatch.setenv("SEEDANCE_MAX_CREDITS_DAY", "40")
    before = len(seedance_sandbox.requests)
    ending = await seedance("generate", "nano-banana-pro", "a boat", "-o", tmp_path / "out")

    assert ExitCode.OUT_OF_CREDITS == ending.code
    assert "SEEDANCE_MAX_CREDITS_DAY" in ending.err
    assert before == len(seedance_sandbox.requests)


async def test_since_and_forget_before_take_times(
    seedance: Type, lost_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is forgotten is gone; what is uncertain stays."""
    assert lost_key
    assert [] == (await seedance("tasks", "--since", "2999-01-01")).lines
    real = clocks.wall_now
    monkeypatch.setattr(clocks, "wall_now", lambda: real() + 62 * DAY)
    ending = await seedance("tasks", "--forget-before", "2999-01-01")

    assert "3 POSTs" in ending.err
    assert ["uncertain"] == [line.split("\t")[1] for line in (await seedance("tasks")).lines]


@pytest.mark.parametrize("words", [("tasks", "--since", "noon"), ("spend", "--by", "hour")])
async def test_a_mistake_is_a_usage_error(seedance: Type, words: tuple[str, ...]) -> None:
    """It says what may be written."""
    ending = await seedance(*words)

    assert ExitCode.USAGE == ending.code
    assert ending.err.startswith("error: ")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("today", NOW.replace(hour=0, minute=0)),
        ("3h", NOW - timedelta(hours=3)),
        ("90m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
        ("2026-06-01T08:00+02:00", datetime(2026, 6, 1, 6, tzinfo=timezone(timedelta(0)))),
    ],
)
def test_an_instant_is_what_people_write(text: str, wanted: datetime) -> None:
    """By the clock of whoever writes it."""
    assert wanted == parse_instant(text, NOW)


def test_yesterday_began_a_day_before_today() -> None:
    """In local time, also where a day has 23 or 25 hours."""
    now = datetime.now().astimezone()
    began = parse_instant("yesterday", now)
    assert (now - timedelta(days=1)).date() == began.date()
    assert (0, 0) == (began.hour, began.minute)


@pytest.mark.parametrize("text", ["", "noon", "3", "h", "-3h", "2026-13-01", "9" * 30 + "d"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    """With what may be written."""
    with pytest.raises(ValueError, match="write today"):
        parse_instant(text, NOW)


async def test_an_estimate_uses_the_prices_that_were_charged(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Of whatever the account did before, in a script or another batch."""
    manifest = tmp_path / "jobs.jsonl"
    job = {"model": "nano-banana-pro", "prompt": "A boat", "resolution": "4K"}
    manifest.write_text(json.dumps(job) + "\n")
    before = json.loads((await seedance("estimate", manifest, "--json")).out)
    async with SeedanceClient(seedance_sandbox.api_key, seedance_sandbox.base_url) as client:
        submission = await client.submit(NanoBananaPro(prompt="A boat", resolution="4K"))
    after = json.loads((await seedance("estimate", manifest, "--json")).out)
    dry = json.loads((await seedance("batch", manifest, "--dry-run", "--json")).out)

    assert ["unknown", "recorded"] == [reported["costs"][0]["source"] for reported in (before, after)]
    assert [submission.credits_used] * 2 == after["credits"] == dry["credits"]
    assert 0 == after["jobs_without_price"]
