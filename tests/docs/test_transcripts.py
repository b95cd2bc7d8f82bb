"""Tests of the README's transcripts: typed into a shell, they end as shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
VARYING = {
    "time": r"[\d.]+ s",
    "requests": r"\d+",
    "gallery": r"file:///\S+/pond/gallery\.html",
}
"""What another run tells otherwise."""


def transcript(naming: str) -> list[tuple[str, list[str]]]:
    """The commands of the one transcript with this in it, each with the lines it wrote."""
    (text,) = [text for text in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if naming in text]
    commands = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(lines[0], lines[1:]) for lines in (command.splitlines() for command in commands)]


def typed(command: str, directory: Path) -> list[str]:
    """What a shell writes to stdout for a command."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ending = subprocess.run(
        ["bash", "-c", command], cwd=directory, env={**os.environ, "PATH": path}, timeout=50, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    return ending.stdout.splitlines()


def expected(line: str) -> str:
    """The line as a pattern."""
    subject = line.split(" ", maxsplit=1)[0]
    return f"{subject} +{VARYING[subject]}" if subject in VARYING else re.escape(line)


def manifest(directory: Path) -> None:
    """The README's own."""
    (jobs,) = [text for text in re.findall(r"```json\n(.*?)```", README, re.DOTALL) if '"repeat"' in text]
    (directory / "jobs.jsonl").write_text(jobs, encoding="utf-8")


def test_a_batch_survives_kill_9_as_the_readme_shows(tmp_path: Path) -> None:
    """Killed, gone on with, and run once more: every credit is the one that is told."""
    manifest(tmp_path)

    for command, lines in transcript("kill -9"):
        printed = typed(command, tmp_path)

        assert len(lines) == len(printed), printed
        for line, said in zip(lines, printed, strict=True):
            assert re.fullmatch(expected(line), said), (line, said)


def test_an_estimate_tells_what_the_readme_shows(tmp_path: Path) -> None:
    """The ranges are those of today's schedule, give or take; jobs, credits and sources are to the letter."""
    manifest(tmp_path)
    ((command, lines),) = transcript("seedance estimate")

    printed = typed(command, tmp_path)

    assert len(lines) == len(printed)
    for line, said in zip(lines, printed, strict=True):
        if line.startswith(("requests", "time")):
            assert re.sub(r"[\d.]+ to [\d.]+", "A to B", line) == re.sub(
                r"[\d.]+ to [\d.]+", "A to B", said, count=0
            )
        else:
            assert line == said
