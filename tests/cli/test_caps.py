"""What is said of credits: the command that goes on after a cap, and the same sums in every place."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from seedance_async.credit_format import format_credits
from seedance_async.exit_codes import ExitCode
from seedance_async.sandbox import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type

PICTURE: dict[str, object] = {"model": "nano-banana-pro", "output_format": "jpeg"}  # 12 credits
POSTER: dict[str, object] = {"model": "gpt-image-2"}  # 8 credits
CLIP: dict[str, object] = {"model": "seedance2", "duration": 4}  # 24 credits
UNKNOWN: dict[str, object] = {
    "model": "gpt-image-2",
    "resolution": "4K",
}  # 20 at the sandbox; nobody has reported it


def manifest(directory: Path, *jobs: Mapping[str, object]) -> Path:
    """Jobs that ask for different things."""
    path = directory / "my jobs.jsonl"
    lines = [{"prompt": f"A boat {number}", "name": f"n{number}", **job} for number, job in enumerate(jobs)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def advised(err: str) -> list[str]:
    """The command that goes on, without the name of the program."""
    (line,) = [line for line in err.splitlines() if line.startswith("  seedance batch")]
    return shlex.split(line)[1:]


@pytest.mark.parametrize(
    ("jobs", "cap", "higher"),
    [
        ([PICTURE] * 3, 12, 36),
        ([PICTURE] * 3, 0, 36),
        ([CLIP, PICTURE, POSTER], 24, 44),
        ([CLIP, PICTURE, POSTER], 30.5, 44),
        ([POSTER] * 6, 40, 48),
        ([PICTURE, UNKNOWN], 12, 13),
        ([UNKNOWN, UNKNOWN, PICTURE], 0, 12),
    ],
)
async def test_after_a_cap_the_command_names_a_higher_one(
    jobs: list[dict[str, object]],
    cap: float,
    higher: int,
    seedance: Type,
    tmp_path: Path,
    seedance_sandbox: Sandbox,
) -> None:
    """Enough for all jobs whose price is known; typed again until nothing is left, it ends."""
    path, out = manifest(tmp_path, *jobs), tmp_path / "out"
    ending = await seedance("batch", path, "-o", out, "--max-credits", cap, "--rate-limit", "30/60")
    words = advised(ending.err)

    assert ExitCode.OUT_OF_CREDITS == ending.code
    assert ["batch", str(path), "-o", str(out), "--max-credits", str(higher)] == words[:6]
    assert ["--rate-limit", "30/60"] == words[-2:]
    for _ in range(5):
        ending = await seedance(*words)
        if ending.code == ExitCode.OK:
            break
        words = advised(ending.err)
    assert ExitCode.OK == ending.code
    assert len(jobs) == len(seedance_sandbox.paid_tasks)


async def test_where_no_cap_has_stopped_it_the_cap_stays(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """A key that is refused is no reason to spend more."""
    seedance_sandbox.revoke(seedance_sandbox.api_key)
    ending = await seedance("batch", manifest(tmp_path, PICTURE), "-o", tmp_path / "out", "--max-credits", 50)

    assert ["--max-credits", "50"] == advised(ending.err)[4:6]


@pytest.mark.parametrize("jobs", [1, 4])
async def test_credits_are_the_same_live_at_the_end_and_in_the_gallery(
    jobs: int, seedance: Type, tmp_path: Path
) -> None:
    """What was used, what came back, and what is left of it."""
    failing = {**PICTURE, "prompt": "A boat [[sandbox:fail]]"}
    out, used = tmp_path / "out", 12 * (jobs + 1)
    ending = await seedance("batch", manifest(tmp_path, *[PICTURE] * jobs, failing), "-o", out)
    reported = f"{12 * jobs} credits ({used} used, 12 refunded)"

    assert reported.replace(" credits", "") in next(
        line for line in ending.lines if line.startswith("credits")
    )
    assert reported in (out / "gallery.html").read_text()
    assert f"{12 - 12} credits (12 used, 12 refunded)" in (out / "gallery.html").read_text()


@pytest.mark.parametrize(
    ("used", "refunded", "text"),
    [
        (68, None, "68 credits"),
        (68, 0, "68 credits"),
        (12, 12, "0 credits (12 used, 12 refunded)"),
        (1240.5, 40, "1,200.5 credits (1,240.5 used, 40 refunded)"),
        (0, 0, "0 credits"),
    ],
)
def test_credits_as_text(used: float, refunded: float | None, text: str) -> None:
    """The net first, and where it comes from only if it is another number."""
    assert text == format_credits(used, refunded, with_unit=True)


async def test_the_sidecars_add_up_to_what_was_charged(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """A clip has two files and is paid once; so are pictures of one POST, each for itself."""
    out = tmp_path / "out"
    jobs = [CLIP, PICTURE, {**POSTER, "batch_count": 3}, {**POSTER, "repeat": 2, "prompt": "Two of a kind"}]
    ending = await seedance("batch", manifest(tmp_path, *jobs), "-o", out)
    sidecars = [json.loads(path.read_text()) for path in out.glob("*.*.json")]

    charged = sum(entry.credits for entry in seedance_sandbox.ledger if entry.kind == "charge")
    assert ExitCode.OK == ending.code
    assert charged == sum(each["credits_used"] for each in sidecars)
    assert len(seedance_sandbox.paid_tasks) + 1 == len(sidecars)
    frame = next(each for each in sidecars if "last-frame" in each["file"])
    assert (0, frame["file"].replace("-last-frame.png", ".mp4")) == (
        frame["credits_used"],
        frame["main_file"],
    )


@pytest.mark.parametrize("command", ["wait", "download"])
async def test_the_command_that_collects_keeps_the_flags(
    command: str, seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """Without the address it would go to the vendor, and without the directory elsewhere."""
    where = ["--base-url", seedance_sandbox.base_url, "--rate-limit", "30/60"]
    ending = await seedance(
        "generate", "nano-banana-pro", "A boat", "--timeout", 0, "-o", tmp_path / "new", *where
    )
    (task_id,) = seedance_sandbox.tasks
    if command == "download":
        await seedance("wait", task_id, *where)
        seedance_sandbox.faults.add(Fault(effect="status", on="media", status=500, count=None))
        ending = await seedance("download", task_id, "-o", tmp_path / "new", *where)
        where = ["-o", str(tmp_path / "new"), *where]

    (words,) = re.findall(rf"seedance {command} .*", ending.err)
    then = ["&&", "seedance", "download", task_id, "-o", str(tmp_path / "new"), *where]
    expected = ["seedance", command, task_id, *where, *(then if command == "wait" else [])]
    assert expected == shlex.split(words)
