"""Tests of the examples: each runs as its first lines say, as a process against a fast sandbox."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

import pytest

from tests.examples.processes import ask, run, serving

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVERS = ["fastapi_app.py", "aiohttp_app.py"]


def test_every_example_is_tested_here() -> None:
    """A new one cannot be forgotten."""
    assert {"quickstart.py", "bulk_script.py", *SERVERS} == {path.name for path in EXAMPLES.glob("*.py")}


def test_the_quickstart_saves_a_clip(tmp_path: Path) -> None:
    """Ten lines, from a prompt to a file on disk."""
    paths = [tmp_path / line for line in run(EXAMPLES / "quickstart.py", directory=tmp_path)]

    assert [".mp4", ".png"] == [path.suffix for path in paths]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_the_bulk_script_tells_every_picture_once_and_what_it_took(tmp_path: Path) -> None:
    """No job is lost, and the requests stay near two a job."""
    *lines, last = run(EXAMPLES / "bulk_script.py", "60", directory=tmp_path)

    requests = int(last.split()[0])
    assert list(range(60)) == sorted(int(line.split()[0]) for line in lines)
    assert all("http://127.0.0.1" in line for line in lines)
    assert 120 <= requests <= 240


@pytest.mark.parametrize("name", SERVERS)
def test_a_backend_submits_waits_and_tells(name: str) -> None:
    """The client lives as long as the application, and its errors become the backend's own answers."""
    prompt = urllib.parse.quote("A paper boat crosses a pond")
    with serving(EXAMPLES / name) as origin:
        accepted, submitted = ask("POST", f"{origin}/clips?prompt={prompt}")
        clip = f"{origin}/clips/{submitted['id']}"
        _, waited = ask("GET", f"{clip}?wait=true")
        polled, status = ask("GET", clip)
        unknown, _ = ask("GET", f"{origin}/clips/sd2_nobody")
        invalid, _ = ask("POST", f"{origin}/clips?prompt=a")

    assert (202, 200, 404, 422) == (accepted, polled, unknown, invalid)
    assert "completed" == waited["status"] == status["status"]
    assert isinstance(waited["urls"], list)
    assert 2 == len(waited["urls"])
