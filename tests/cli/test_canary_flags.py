"""``seedance batch --canary``: what it says, how it ends, and the command that goes on."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from seedance_async.sandbox import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type

CLIP: dict[str, object] = {"model": "seedance2", "duration": 4, "resolution": "1080p", "aspect_ratio": "9:16"}
PICTURE: dict[str, object] = {"model": "nano-banana-pro", "output_format": "jpeg"}


def manifest(directory: Path) -> Path:
    """Two clips and two pictures."""
    path = directory / "jobs.jsonl"
    lines = [
        {"name": f"n{number}", "prompt": f"A boat {number}", **job}
        for number, job in enumerate([CLIP, CLIP, PICTURE, PICTURE])
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def test_less_than_asked_stops_with_6_and_names_sizes_and_credits(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """720x1280 for 1080x1920; then again; then with the command that is advised."""
    fields = {"size": "720x1280", "instead_of": "1080x1920"}
    seedance_sandbox.faults.add(Fault(effect="deliver", on="media", count=None, fields=fields))
    jobs, out = manifest(tmp_path), tmp_path / "out"

    first = await seedance("batch", jobs, "-o", out, "--canary")
    made = len(seedance_sandbox.tasks)
    again = await seedance("batch", jobs, "-o", out, "--canary")
    for ending in (first, again):
        assert ending.code == 6
        (told,) = [line for line in ending.err.splitlines() if line.startswith("stopped after")]
        assert "n0 (seedance2 1080p 4 s 9:16) came as 720x1280, asked for 1080x1920 (58 credits)" in told
    assert [task.request.model for task in seedance_sandbox.paid_tasks].count("seedance2") == 1
    assert made == len(seedance_sandbox.tasks)

    (line,) = [line for line in again.err.splitlines() if line.startswith("  seedance batch")]
    assert "--accept-delivery" in line
    last = await seedance(*shlex.split(line)[1:])
    page = (out / "gallery.html").read_text()

    assert last.code == 0
    assert len(seedance_sandbox.tasks) == 4
    assert "720x1280, asked for 1080x1920" in page
    assert "<dt>seed</dt>" in page
    assert "<dt>delivered</dt>" in page


async def test_events_tell_what_was_measured(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """For programs: seed, measures, and the reason."""
    seedance_sandbox.faults.add(Fault(effect="deliver", on="media", count=None, fields={"scale": 0.5}))
    ending = await seedance("batch", manifest(tmp_path), "-o", tmp_path / "out", "--canary", "--json")
    events = [json.loads(line) for line in ending.lines]
    saved = [event for event in events if event.get("state") == "saved"]

    assert events[-1]["exit_code"] == 6
    assert events[-1]["reason"].startswith("after 2 canaries: ")
    assert {(540, 960), (512, 512)} == {
        (event["delivered"][0]["width"], event["delivered"][0]["height"]) for event in saved
    }
    assert all(event["mismatches"] for event in saved)
