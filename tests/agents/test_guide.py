"""The guide for agents: its program runs, its configuration can be read, its tables are those of the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from seedance_async.integrations.mcp import settings
from seedance_async.integrations.mcp.tools import TOOLS
from tests.canary import clean
from tests.examples.processes import SANDBOX

TEXT = (Path(__file__).parents[2] / "examples" / "agents" / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.timeout(180)
def test_the_program_runs_against_the_sandbox(tmp_path: Path) -> None:
    """As it stands there."""
    (source,) = blocks("python")
    program = tmp_path / "boats.py"
    program.write_text(source, "utf-8")
    (tmp_path / "work").mkdir()
    ending = subprocess.run(
        [*SANDBOX, str(program)], cwd=tmp_path / "work", timeout=170, check=False,
        capture_output=True, text=True,
        env={**os.environ, "SEEDANCE_STATE_DIR": str(tmp_path / "state")},
    )  # fmt: skip
    lines = clean(ending.stdout).splitlines()

    assert 0 == ending.returncode, clean(ending.stderr)
    assert "2 jobs, at most 24 credits" == lines[0]
    names = sorted(line.split()[0] for line in lines[1:])
    assert ["boat-1", "boat-2"] == names
    assert all((tmp_path / "work" / line.split()[1]).is_file() for line in lines[1:])


def test_the_configuration_starts_the_server_with_what_it_reads() -> None:
    """A variable that nobody reads would be no limit."""
    (source,) = blocks("json")
    server = json.loads(source)["mcpServers"]["seedance"]

    assert ["mcp", "--workspace"] == server["args"][:2]
    assert {settings.UNASKED, "SEEDANCE_API_KEY", "SEEDANCE_MAX_CREDITS_MONTH"} == set(server["env"])
    assert {settings.UNASKED, settings.WORKSPACE, settings.TOKEN} <= set(re.findall(r"SEEDANCE_\w+", TEXT))


def test_every_tool_is_in_the_table() -> None:
    """In the order in which they are listed."""
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)

    assert [tool.__name__ for tool, _ in TOOLS] == [row for row in rows if not row.startswith("SEEDANCE")]
