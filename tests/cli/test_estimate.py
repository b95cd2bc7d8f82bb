"""`seedance estimate`: what it will take, told before anything is sent, and by whom it is known."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from seedance_async.cli.exits import OK, USAGE

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

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

    told = {line[:9].strip(): line[10:] for line in ending.lines[:4]}
    assert OK == ending.code
    assert "4 to send" == told["jobs"]
    assert "at most 30 in 60 s" in told["requests"]
    assert "by a guess: 19 clips that a user reported" in told["time"]
    assert "68 to 72 and the price of 1 jobs that nobody has told" == told["credits"]
    assert {
        "2 of seedance2 720p 5 s 30 each (an example of the vendor's)",
        "1 of seedance2 pro 4k 5 s price unknown",
        "1 of nano-banana-pro 1K 8 to 12 each (an example of the vendor's)",
    } == {" ".join(line.split()) for line in ending.lines[4:]}


async def test_takes_of_a_picture_share_their_requests(seedance: Type, tmp_path: Path) -> None:
    """Told beforehand as it will be: up to four in a POST, unless they are not to be."""
    takes = manifest(tmp_path, {"model": "gpt-image-2", "repeat": 400})
    out = tmp_path / "out"
    told = {
        flag: json.loads((await seedance("batch", takes, "-o", out, "--dry-run", "--json", *flag)).out)
        for flag in [(), ("--no-share-posts",), ("--max-in-flight", "9")]
    }

    shared, *alone = told.values()
    assert {400} == {each["jobs"] for each in told.values()}
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
    """Any allowance leaves a clip as long as it is; a sandbox that runs six times as fast does not."""
    jobs = manifest(tmp_path, CLIP)

    async def longest(limit: str) -> float:
        told = json.loads((await seedance("estimate", jobs, "--json", "--rate-limit", limit)).out)
        return float(told["seconds"][1])

    usual, portions, generous = [await longest(limit) for limit in ("30/60", "5/10", "30/10")]
    monkeypatch.setenv("SEEDANCE_TIME_SCALE", f"{1 / 6:.9f}")
    fast = await longest("30/10")

    assert 6 * 0.9 <= usual / fast
    assert 0.9 <= usual / portions <= 1.1
    assert 0.9 <= usual / generous <= 1.1


async def test_for_programs_it_is_one_object(seedance: Type, tmp_path: Path) -> None:
    """Numbers as numbers, and the sources as words."""
    ending = await seedance("estimate", manifest(tmp_path, CLIP, SECRET), "--json", "--rate-limit", "60/60")

    told = json.loads(ending.out)
    assert ("60/60", 2, 1, [30, 30], "prior") == (
        told["rate_limit"],
        told["jobs"],
        told["jobs_without_price"],
        told["credits"],
        told["seconds_source"],
    )
    assert 4 <= told["requests"][0] <= told["requests"][1]
    assert 60 < told["seconds"][0] <= told["seconds"][1] < 1200
    assert {"documented", "unknown"} == {cost["source"] for cost in told["costs"]}


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
    told = json.loads(ending.out)
    trial = await seedance("batch", manifest(tmp_path, *jobs), "-o", out, "--dry-run")

    assert ({"planned": 2, "saved": 4}, 2, [24, 24], 48) == (
        told["counts"],
        told["jobs"],
        told["credits"],
        told["credits_spent"],
    )
    assert ("learned", "learned") == (told["seconds_source"], told["costs"][0]["source"])
    assert "2 to send of 6; 4 saved" in trial.out
    assert "what 4 tasks of this batch took" in trial.out
    assert "beside 48 spent" in trial.out
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

    assert USAGE == ending.code
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
