"""Tests of the examples: each runs as its first lines say, as a process against a fast sandbox."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.examples.processes import ask, run, serving

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_every_example_is_tested_here() -> None:
    """A new one cannot be forgotten."""
    tested = {"quickstart.py", "bulk_script.py", "notebook.py", "aiohttp_backend.py"}
    assert tested == {path.name for path in EXAMPLES.glob("*.py")}


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


def test_the_notebook_runs_cell_by_cell(tmp_path: Path) -> None:
    """In a loop that runs already, with one client from the first cell to the last."""
    runner = tmp_path / "cells.py"
    runner.write_text(CELLS)
    clip, pictures, usage = run(runner, EXAMPLES / "notebook.py", directory=tmp_path)

    assert [".mp4", ".png"] == [Path(path).suffix for path in clip.split()]
    assert "completed completed completed" == pictures
    assert usage.endswith(("60.0 credits", "60 credits"))


CELLS = """
import ast, asyncio, inspect, pathlib, sys

async def cells(names):
    for cell in pathlib.Path(sys.argv[1]).read_text().split("# %%")[1:]:
        code = compile(cell.partition("\\n")[2], "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)
        if inspect.isawaitable(result):
            await result

asyncio.run(cells({}))
"""


def test_a_backend_submits_waits_and_tells() -> None:
    """The client lives as long as the application, and its errors become the backend's own answers."""
    prompt = {"prompt": "A paper boat crosses a pond"}
    with serving(EXAMPLES / "aiohttp_backend.py") as origin:
        accepted, submitted = ask("POST", f"{origin}/clips", prompt)
        clip = f"{origin}/clips/{submitted['id']}"
        _, waited = ask("GET", f"{clip}?wait=true")
        polled, status = ask("GET", clip)
        unknown, _ = ask("GET", f"{origin}/clips/sd2_nobody")
        invalid, _ = ask("POST", f"{origin}/clips", {"prompt": "a"})
        with urllib.request.urlopen(f"{clip}/events", timeout=30) as events:
            told = events.read().decode()

    assert (202, 200, 404, 422) == (accepted, polled, unknown, invalid)
    assert "completed" == waited["status"] == status["status"]
    assert isinstance(waited["output"], dict)
    assert waited["output"]["video_url"]
    assert ["event: task", "event: end"] == [line for line in told.splitlines() if line.startswith("event")]


def test_the_studio_is_one_command(tmp_path: Path) -> None:
    """As its first lines say; tests/browser works with its page."""
    with serving(EXAMPLES / "fastapi_studio" / "studio.py", STUDIO_DIRECTORY=str(tmp_path)) as origin:
        with urllib.request.urlopen(origin, timeout=30) as page:
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        with urllib.request.urlopen(f"{origin}/metrics", timeout=30) as metrics:
            assert b"seedance_requests_free " in metrics.read()


def test_the_suite_of_an_application_passes(tmp_path: Path) -> None:
    """With nothing but the package's own plugin and anyio's, warnings being errors."""
    suite = shutil.copytree(EXAMPLES / "testing_your_app", tmp_path / "suite")
    plugins = ["-p", "no:asyncio", "-p", "no:schemathesis", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugins]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    ending = subprocess.run(
        command, cwd=suite, env=environment, capture_output=True, text=True, timeout=55, check=False
    )

    assert 0 == ending.returncode, ending.stdout
    assert "4 passed" in ending.stdout
