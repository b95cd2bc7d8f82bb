"""What reaches the terminal, and what happens when nobody reads any more."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from seedance_async import GptImage2
from seedance_async.cli.output import without_controls
from seedance_async.exit_codes import ExitCode
from seedance_async.sandbox import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async import SeedanceClient
    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type

HOSTILE = "\x1b]0;another title\x07\x1b[2J\x9btold\u202e"
CONTROLS = re.compile(r"[^\n\t -~\u00a0-\u200d\u2010-\u2029\u202f-\u2065\u206a-\uffff]")


@pytest.mark.case(124, 148)
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a paper boat\tcrosses\na pond", "a paper boat\tcrosses\na pond"),
        ("紙の舟 🛶 é", "紙の舟 🛶 é"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;another title\x07told", "told"),
        ("\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("back\x08\x08\x7f\x00\x9b31m", "back31m"),
        ("over\rwritten", "overwritten"),
        ("gpj\u202e.exe", "gpj.exe"),
    ],
)
def test_foreign_text_cannot_command_the_terminal(text: str, shown: str) -> None:
    """Prompts and servers' messages may hold escape sequences; none gets through, the words do."""
    assert shown == without_controls(text)


async def test_what_the_server_says_of_a_task_reaches_stdout_harmless(
    seedance: Type, seedance_sandbox: Sandbox, seedance_client: SeedanceClient
) -> None:
    """Status and model are its words; a line of data is often shown by a terminal, too."""
    submission = await seedance_client.submit(GptImage2(prompt="a paper boat"))
    fields = {"status": HOSTILE, "model": HOSTILE}
    seedance_sandbox.faults.add(Fault.read({"effect": "edit", "on": "task", "fields": fields, "count": None}))
    ending = await seedance("status", submission.id)

    assert ExitCode.OK == ending.code
    assert f"{submission.id}\ttold\ttold\n" == ending.out
    assert not CONTROLS.search(ending.err)


async def test_what_the_server_refuses_with_reaches_stderr_harmless(
    seedance: Type, seedance_sandbox: Sandbox
) -> None:
    """A message of an error is the server's text, and so is the reason for which a task failed."""
    body = json.dumps({"error": {"code": "invalid_request", "message": HOSTILE}})
    seedance_sandbox.faults.add(Fault(effect="status", on="submit", status=400, body=body))
    refused = await seedance("generate", "gpt-image-2", "a paper boat")
    fields = {"status": "failed", "error": HOSTILE}
    seedance_sandbox.faults.add(Fault.read({"effect": "edit", "on": "task", "fields": fields, "count": None}))
    failed = await seedance("generate", "gpt-image-2", "a paper boat")

    assert (ExitCode.FAILED, ExitCode.FAILED) == (refused.code, failed.code)
    for ending in (refused, failed):
        assert "told" in ending.err
        assert not CONTROLS.search(ending.out + ending.err)


async def test_what_a_manifest_holds_reaches_the_terminal_harmless(seedance: Type, tmp_path: Path) -> None:
    """A manifest may come from anywhere; its mistakes are told by quoting it."""
    manifest = tmp_path / "jobs.jsonl"
    jobs: list[dict[str, object]] = [
        {"model": HOSTILE, "prompt": "a boat"},
        {"model": "gpt-image-2", "prompt": "a boat", "aspect_ratio": HOSTILE},
        {"model": "gpt-image-2", "prompt": "a boat", HOSTILE: 1},
        {"model": "gpt-image-2", "prompt": "a boat", "name": HOSTILE},
    ]
    manifest.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    ending = await seedance("batch", manifest, "-o", tmp_path / "out", "--dry-run")

    assert ExitCode.USAGE == ending.code
    assert "told" in ending.err
    assert not CONTROLS.search(ending.out + ending.err)
