"""Every example runs as its first lines say, as a process of its own against a fast sandbox."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
SANDBOX = [sys.executable, "-m", "seedance_async", "sandbox", "--speed", "200", "--", sys.executable]
SERVERS = ["fastapi_app.py", "aiohttp_app.py"]


def run(name: str, *arguments: str, directory: Path) -> list[str]:
    """Run an example to its end in a directory, and return the lines it wrote."""
    ending = subprocess.run(
        [*SANDBOX, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=directory,
    )
    assert (0, "") == (ending.returncode, re.sub(r"(?m)^sandbox: .*\n", "", ending.stderr))
    return ending.stdout.splitlines()


@contextmanager
def serving(name: str) -> Iterator[str]:
    """Run an example that serves, as long as it is needed; yields where it is."""
    with subprocess.Popen(
        [*SANDBOX, str(EXAMPLES / name)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PORT": "0", "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            said = iter(process.stdout.readline, "")
            yield next(found[1] for line in said if (found := re.search(r"unning on (http://\S+?)/? ", line)))
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=20)


def ask(method: str, url: str) -> tuple[int, dict[str, object]]:
    """One HTTP exchange: its status and its JSON, or no JSON."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, {}


def test_every_example_is_tested_here() -> None:
    """A new one cannot be forgotten."""
    assert {"quickstart.py", "bulk_script.py", *SERVERS} == {path.name for path in EXAMPLES.glob("*.py")}


def test_the_quickstart_saves_a_clip(tmp_path: Path) -> None:
    """Ten lines, from a prompt to a file on disk."""
    paths = [tmp_path / line for line in run("quickstart.py", directory=tmp_path)]

    assert [".mp4", ".png"] == [path.suffix for path in paths]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_the_bulk_script_tells_every_picture_once_and_what_it_took(tmp_path: Path) -> None:
    """No job is lost, and the requests stay near two a job."""
    *lines, last = run("bulk_script.py", "60", directory=tmp_path)

    requests = int(last.split()[0])
    assert list(range(60)) == sorted(int(line.split()[0]) for line in lines)
    assert all("http://127.0.0.1" in line for line in lines)
    assert 120 <= requests <= 240


@pytest.mark.parametrize("name", SERVERS)
def test_a_backend_submits_waits_and_tells(name: str) -> None:
    """The client lives as long as the application, and its errors become the backend's own answers."""
    prompt = urllib.parse.quote("A paper boat crosses a pond")
    with serving(name) as origin:
        accepted, submitted = ask("POST", f"{origin}/clips?prompt={prompt}")
        clip = f"{origin}/clips/{submitted['id']}"
        _, waited = ask("GET", f"{clip}?wait=true")
        told, status = ask("GET", clip)
        unknown, _ = ask("GET", f"{origin}/clips/sd2_nobody")
        invalid, _ = ask("POST", f"{origin}/clips?prompt=a")

    assert (202, 200, 404, 422) == (accepted, told, unknown, invalid)
    assert "completed" == waited["status"] == status["status"]
    assert isinstance(waited["urls"], list)
    assert 2 == len(waited["urls"])
