"""The example of two hosts: it runs as its first lines say, against a fast sandbox and a real PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.canary import clean

WORKERS = Path(__file__).parents[2] / "examples" / "workers"
SANDBOX = [sys.executable, "-m", "seedance_async", "sandbox", "--speed", "200", "--", sys.executable]


@pytest.mark.timeout(150)
def test_two_hosts_make_one_batch_though_one_is_killed(postgres_url: str, tmp_path: Path) -> None:
    """The second finishes what the first had in hand; no job is paid twice."""
    ending = subprocess.run(
        [*SANDBOX, str(WORKERS / "two_hosts.py"), postgres_url],
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
        cwd=tmp_path,
    )

    clean(ending.stdout + ending.stderr)
    assert 0 == ending.returncode, ending.stderr
    *lines, last = ending.stdout.splitlines()
    assert "{'saved': 6}, 68 credits" == last
    assert 6 == sum(line.startswith("saved ") for line in lines)
    assert "received" in ending.stderr
    assert "and made 6 tasks" in ending.stderr
    assert {"clip.mp4", "still.png", "results.jsonl", "gallery.html"} <= {
        path.name for path in (tmp_path / "workers-out").iterdir()
    }
