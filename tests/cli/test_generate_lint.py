"""The prompt rules in `seedance generate`: what is certain is refused unpaid, what is likely is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type


async def test_a_prompt_that_is_certain_to_be_wrong_is_not_paid_for(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """All errors are reported at once, each with the flag that sends the prompt as it is."""
    command = ("generate", "seedance2", "@Image1 waves. 12-15 s: she turns", "-o", tmp_path, "--duration", 5)
    refused = await seedance(*command)
    half = await seedance(*command, "--ignore", "P02")

    assert ExitCode.USAGE == refused.code == half.code
    assert "prompt: P02: '@Image1' is a label of another app" in refused.err
    assert "(or --ignore P02)" in refused.err
    assert "prompt: P06: '12-15' ends at 15 s" in refused.err
    assert "P02" not in half.err
    assert refused.err.endswith("nothing was sent, nothing was charged\n")
    assert [] == seedance_sandbox.requests


async def test_rules_that_are_left_out_refuse_nothing(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The prompt goes out as it was written."""
    ending = await seedance(
        "generate", "nano-banana-pro", "A sign that reads @Image1", "-o", tmp_path, "--ignore", "P02"
    )

    assert ExitCode.OK == ending.code
    assert 1 == len(seedance_sandbox.paid_tasks)


async def test_warnings_are_shown_and_the_job_is_made(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """On stderr, and before anything is sent; notes are for `prompt lint` only."""
    prompt = "Three girls dance on a pier, vertical 9:16"
    ending = await seedance("generate", "seedance2", prompt, "-o", tmp_path, "--aspect-ratio", "16:9")

    assert ExitCode.OK == ending.code
    assert ending.err.index("P07 warning: '9:16'") < ending.err.index("idempotency key")
    assert "P17" not in ending.err
    assert all(line.startswith(str(tmp_path)) for line in ending.lines)
    assert 1 == len(seedance_sandbox.paid_tasks)


async def test_a_mistyped_rule_is_an_error(seedance: Type, seedance_sandbox: Sandbox) -> None:
    """A rule that does not exist would leave nothing out."""
    ending = await seedance("generate", "seedance2", "A paper boat", "--ignore", "P99")

    assert ExitCode.USAGE == ending.code
    assert "P99" in ending.err
    assert [] == seedance_sandbox.requests
