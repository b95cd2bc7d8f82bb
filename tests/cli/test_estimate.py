"""`seedance estimate`: what it will take, told before anything is sent, and by whom it is known."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type


def manifest(directory: Path, *jobs: dict[str, object]) -> Path:
    """A manifest of these jobs."""
    path = directory / "jobs.jsonl"
    path.write_text("".join(json.dumps({"prompt": "A boat", **job}) + "\n" for job in jobs))
    return path


CLIP: dict[str, object] = {"model": "seedance2"}
PICTURE: dict[str, object] = {"model": "nano-banana-pro", "output_format": "jpeg"}
SECRET: dict[str, object] = {"model": "seedance2", "quality_tier": "pro", "resolution": "4k"}


async def test_an_estimate_says_what_it_rests_on(seedance: Type, tmp_path: Path) -> None:
    """Requests, time and credits as ranges; each price with its source, and what nobody knows as unknown."""
    ending = await seedance("estimate", manifest(tmp_path, CLIP, {**CLIP, "name": "b"}, PICTURE, SECRET))

    reported = {line[:9].strip(): line[10:] for line in ending.lines[:4]}
    assert ExitCode.OK == ending.code
    assert "4 to send" == reported["jobs"]
    assert reported["requests"].startswith("8 needed; ")
    assert "at most 30 in 60 s" in reported["requests"]
    assert "by a guess: 19 clips that a user reported" in reported["time"]
    assert "68 to 72 and the unknown price of 1 job" == reported["credits"]
    assert {
        "2 of seedance2 720p 5 s 30 each (an example of the vendor's)",
        "1 of seedance2 pro 4k 5 s price unknown",
        "1 of nano-banana-pro 1K 8 to 12 each (8 seen by users, 12 an example of the vendor's)",
    } == {" ".join(line.split()) for line in ending.lines[4:]}


async def test_takes_of_a_picture_share_their_requests(seedance: Type, tmp_path: Path) -> None:
    """Told beforehand as it will be: up to four in a POST, unless they are not to be."""
    takes = manifest(tmp_path, {"model": "gpt-image-2", "repeat": 400})
    out = tmp_path / "out"
    reported = {
        flag: json.loads((await seedance("batch", takes, "-o", out, "--dry-run", "--json", *flag)).out)
        for flag in [(), ("--no-share-posts",), ("--max-in-flight", "9")]
    }

    shared, *alone = reported.values()
    assert {400} == {each["jobs"] for each in reported.values()}
    assert 500 <= shared["requests"][0]
    assert all(shared["requests"][1] < 800 <= each["requests"][0] for each in alone)


async def test_what_is_to_be_made_anew_is_estimated_too(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """Only on trial: the journal keeps the job as it is."""
    jobs, out = manifest(tmp_path, {**PICTURE, "prompt": "A boat [[sandbox:fail]]"}), tmp_path / "out"
    await seedance("batch", jobs, "-o", out)
    trials = [
        json.loads((await seedance("batch", jobs, "-o", out, "--dry-run", "--json", *flag)).out)
        for flag in [(), ("--retry-failed",), ()]
    ]

    assert [0, 1, 0] == [trial["jobs"] for trial in trials]
    assert 1 == len(seedance_sandbox.tasks)


async def test_another_allowance_is_no_other_clock(
    seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rate in smaller portions takes as long, as does a real 30 in 10; a sandbox says its speed."""
    jobs = manifest(tmp_path, CLIP)

    async def most(limit: str) -> float:
        reported = json.loads((await seedance("estimate", jobs, "--json", "--rate-limit", limit)).out)
        return float(reported["seconds"][1])

    usual, portions, real = [await most(limit) for limit in ("30/60", "5/10", "30/10")]
    monkeypatch.setenv("SEEDANCE_TIME_SCALE", str(1 / 6))
    fast = await most("30/10")

    assert 0.9 <= usual / portions <= 1.1
    assert 0.9 <= usual / real <= 1.1
    assert 6 * 0.9 <= usual / fast


async def test_for_programs_it_is_one_object(seedance: Type, tmp_path: Path) -> None:
    """Numbers as numbers, and the sources as words."""
    ending = await seedance("estimate", manifest(tmp_path, CLIP, SECRET), "--json", "--rate-limit", "60/60")

    reported = json.loads(ending.out)
    assert ("60/60", 2, 1, None, [30, 30], "prior") == (
        reported["rate_limit"],
        reported["jobs"],
        reported["jobs_without_price"],
        reported["credits"],
        reported["credits_of_priced_jobs"],
        reported["seconds_source"],
    )
    assert 4 <= reported["requests"][0] <= reported["requests"][1]
    assert 60 < reported["seconds"][0] <= reported["seconds"][1] < 1200
    assert {"documented", "unknown"} == {cost["source"] for cost in reported["costs"]}
    assert {None, 30} == {cost["credits_each"] and cost["credits_each"][0] for cost in reported["costs"]}


async def test_what_nobody_knows_is_null(seedance: Type, tmp_path: Path) -> None:
    """A program that adds up takes 0 for free."""
    reported = json.loads((await seedance("estimate", manifest(tmp_path, SECRET), "--json")).out)
    ending = await seedance("estimate", manifest(tmp_path, SECRET))

    assert (None, [0, 0], 1) == (
        reported["credits"],
        reported["credits_of_priced_jobs"],
        reported["jobs_without_price"],
    )
    assert [None, None] == [reported["costs"][0][name] for name in ("credits_each", "sources")]
    assert "unknown: no price of such jobs has been reported" in ending.out


@pytest.mark.parametrize(
    ("job", "line"),
    [
        ({"model": "gpt-image-2"}, "1 of gpt-image-2 1K 8 each (an example of the vendor's)"),
        (
            {"model": "gpt-image-2", "batch_count": 3},
            "1 of gpt-image-2 1K, 3 at once 24 each (an example of the vendor's: 8 for one)",
        ),
        (PICTURE, "1 of nano-banana-pro 1K 8 to 12 each (8 seen by users, 12 an example of the vendor's)"),
        ({**CLIP, "duration": 4}, "1 of seedance2 720p 4 s 24 each (an example of the vendor's: 30 for 5 s)"),
        (CLIP, "1 of seedance2 720p 5 s 30 each (an example of the vendor's)"),
        (
            {**CLIP, "quality_tier": "mini"},
            "1 of seedance2 mini 720p 5 s 11 each (seen by users: 2.2 a second)",
        ),
    ],
)
async def test_each_price_has_its_own_source(
    job: dict[str, object], line: str, seedance: Type, tmp_path: Path
) -> None:
    """The vendor's examples, what users saw, and what is calculated from them are told apart."""
    ending = await seedance("estimate", manifest(tmp_path, job))

    assert line == " ".join(ending.lines[-1].split())


@pytest.mark.parametrize(
    ("jobs", "named"),
    [
        ([CLIP], {"clips"}),
        ([PICTURE], {"pictures"}),
        ([{"model": "gpt-image-2"}], {"pictures"}),
        ([CLIP, PICTURE], {"clips", "pictures"}),
        ([PICTURE, {"model": "gpt-image-2"}], {"pictures"}),
    ],
)
async def test_pictures_are_not_timed_by_clips(
    jobs: list[dict[str, object]], named: set[str], seedance: Type, tmp_path: Path
) -> None:
    """The guess names what is known of such work, once, and nothing of other work."""
    ending = await seedance("estimate", manifest(tmp_path, *jobs))

    assert ("clips" in named) == ending.out.count("19 clips that a user reported")
    assert ("pictures" in named) == ending.out.count("pictures in two examples of the vendor's")


async def test_clips_that_have_finished_say_nothing_of_pictures(seedance: Type, tmp_path: Path) -> None:
    """What was learned counts for the models that learned it."""
    out, clip, picture = tmp_path / "out", {**CLIP, "name": "a"}, {**PICTURE, "name": "c"}
    await seedance("batch", manifest(tmp_path, clip), "-o", out)
    both = manifest(tmp_path, clip, {**CLIP, "name": "b"}, picture)
    ending = await seedance("estimate", both, "-o", out)
    reported = json.loads((await seedance("estimate", both, "-o", out, "--json")).out)
    pictures = await seedance("estimate", manifest(tmp_path, clip, picture), "-o", out)

    assert "by what 1 task of this batch took and a guess: pictures" in ending.out
    assert "learned and prior" == reported["seconds_source"]
    assert "by a guess: pictures" in pictures.out


@pytest.mark.parametrize(
    ("cap", "jobs", "said", "fits"),
    [
        (60, [CLIP, CLIP], "60 over all runs, enough for all jobs", True),
        (59, [CLIP, CLIP], "too little for all jobs, which cost up to 60", False),
        (0, [PICTURE], "too little for all jobs, which cost up to 12", False),
        (10, [PICTURE], "maybe too little for all jobs, which cost up to 12", None),
        (500, [SECRET], "maybe too little for all jobs", None),
        (29, [CLIP, SECRET], "cost up to 30 and the unknown price of 1 job", False),
    ],
)
async def test_a_dry_run_says_whether_the_cap_is_enough(
    cap: int, jobs: list[dict[str, object]], said: str, fits: bool | None, seedance: Type, tmp_path: Path
) -> None:
    """Before it stops in the middle; where nobody knows, neither yes nor no."""
    path = manifest(tmp_path, *[{**job, "name": f"n{number}"} for number, job in enumerate(jobs)])
    ending = await seedance("batch", path, "--dry-run", "--max-credits", cap)
    reported = json.loads((await seedance("batch", path, "--dry-run", "--max-credits", cap, "--json")).out)

    (line,) = [line for line in ending.lines if line.startswith("cap ")]
    assert said in line
    assert (cap, fits) == (reported["max_credits"], reported["fits_cap"])


async def test_what_is_spent_already_counts_against_the_cap(seedance: Type, tmp_path: Path) -> None:
    """The cap is over all runs."""
    out, jobs = tmp_path / "out", [{**PICTURE, "name": f"boat-{number}"} for number in range(3)]
    await seedance("batch", manifest(tmp_path, *jobs[:2]), "-o", out)
    path = manifest(tmp_path, *jobs)
    dry_run = ["batch", path, "-o", out, "--dry-run", "--json", "--max-credits"]
    reported = [json.loads((await seedance(*dry_run, cap)).out) for cap in (35, 36)]

    assert [False, True] == [each["fits_cap"] for each in reported]


async def test_the_requests_that_are_needed_are_told_apart(seedance: Type, tmp_path: Path) -> None:
    """A POST for each of what shares one, and a poll for each task; free slots go to early polls."""
    path = manifest(tmp_path, CLIP, {"model": "gpt-image-2", "repeat": 4, "name": "b"})
    reported = json.loads((await seedance("batch", path, "--dry-run", "--json")).out)

    assert 1 + 1 + 1 + 4 == reported["requests_needed"] <= reported["requests"][0]


async def test_a_batch_that_has_begun_teaches_it(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """What is done is left out; what was charged and how long it took is known now. Nothing is touched."""
    out = tmp_path / "out"
    jobs = [{**PICTURE, "name": f"boat-{number}"} for number in range(6)]
    await seedance("batch", manifest(tmp_path, *jobs[:4]), "-o", out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    sent = len(seedance_sandbox.requests)

    ending = await seedance("estimate", manifest(tmp_path, *jobs), "-o", out, "--json")
    reported = json.loads(ending.out)
    trial = await seedance("batch", manifest(tmp_path, *jobs), "-o", out, "--dry-run")

    assert ({"planned": 2, "saved": 4}, 2, [24, 24], 48) == (
        reported["counts"],
        reported["jobs"],
        reported["credits"],
        reported["credits_spent"],
    )
    assert ("learned", "learned") == (reported["seconds_source"], reported["costs"][0]["source"])
    assert "2 to send of 6; 4 saved" in trial.out
    assert "what 4 tasks of this batch took" in trial.out
    assert "in addition to 48 spent" in trial.out
    assert sent == len(seedance_sandbox.requests)
    assert before == {path: path.stat().st_mtime_ns for path in out.iterdir()}


async def test_a_finished_batch_needs_nothing_more(seedance: Type, tmp_path: Path) -> None:
    """One line says so."""
    path = manifest(tmp_path, PICTURE)
    await seedance("batch", path, "-o", tmp_path / "out")

    ending = await seedance("estimate", path, "-o", tmp_path / "out")

    assert ["jobs      0 to send of 1; 1 saved"] == ending.lines


async def test_a_wrong_manifest_ends_with_2(seedance: Type, tmp_path: Path) -> None:
    """With every mistake, as a run would tell them."""
    ending = await seedance("estimate", manifest(tmp_path, {**CLIP, "duration": 99}, {"model": "x"}))

    assert ExitCode.USAGE == ending.code
    assert ["line 1, duration", "line 2, model"] == [
        line.split(":")[0].strip() for line in ending.err.splitlines() if line.startswith("  line")
    ]


def test_it_needs_neither_the_network_nor_the_library_for_it(tmp_path: Path) -> None:
    """An estimate is wanted before there is a key, and at once."""
    code = (
        "import sys; from seedance_async.cli import app; code = app.run(sys.argv[1:]); "
        "print(code, 'aiohttp' in sys.modules, 'yarl' in sys.modules)"
    )
    path = manifest(tmp_path, CLIP)
    ended = subprocess.run(
        [sys.executable, "-c", code, "estimate", str(path)], capture_output=True, text=True, check=True
    )

    assert "0 False False" == ended.stdout.splitlines()[-1]
