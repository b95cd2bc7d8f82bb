"""`seedance prompt build`: flags and questions make a prompt, and a line of a manifest."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type

PNG = "https://cdn.example/mira.png"
MP4 = "https://cdn.example/walk.mp4"


class Terminal(io.StringIO):
    """Standard input of somebody who types these lines."""

    def isatty(self) -> bool:
        """A person sits there."""
        return True


async def test_a_prompt_goes_to_stdout(seedance: Type) -> None:
    """By the guide's forms, in one paragraph."""
    ending = await seedance(
        "prompt", "build", "She rides home", "--reference", f"character: the lead, in red={PNG}", "--camera",
        "slow push in", "--no-safeguards",
    )  # fmt: skip

    assert (ExitCode.OK, "") == (ending.code, ending.err)
    assert [
        "Use the supplied character reference as the lead, in red. She rides home. Slow push in."
    ] == ending.lines


async def test_a_line_of_a_manifest_that_a_batch_makes(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The prompt with the request that fits it, clean by the linter."""
    built = await seedance(
        "prompt", "build", "A duel at dawn", "--person", "left=the knight in red", "--person",
        "right=the knight in black", "--shot", "they bow", "--shot", "they draw", "--style", "anime",
        "--locked", "--sign", "the gate=NORTH", "--set", "duration=8", "--name", "duel", "--json",
    )  # fmt: skip
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(built.out)

    linted = await seedance("prompt", "lint", manifest)
    ran = await seedance("batch", manifest, "-o", tmp_path / "out")

    line = json.loads(built.out)
    assert ["duel", "8", True, "text-to-video"] == [
        line[name] for name in ("name", "duration", "fixed_lens", "mode")
    ]
    assert "Shot 2: They draw." in line["prompt"]
    assert (ExitCode.OK, "") == (linted.code, linted.out)
    assert (ExitCode.OK, 1) == (ran.code, len(seedance_sandbox.paid_tasks))


async def test_an_edit_with_a_style_is_the_combination(seedance: Type) -> None:
    """One task wording for both."""
    ending = await seedance(
        "prompt", "build", "--edit", MP4, "--replace", "the car=a horse", "--keep", "the light",
        "--reference", f"style={PNG}", "--no-safeguards", "--json",
    )  # fmt: skip

    line = json.loads(ending.out)
    assert line["prompt"] == (
        "Use the supplied style reference while strictly editing the supplied source video; "
        "replace the car with a horse while preserving the light."
    )
    assert ("media-to-video", {PNG, MP4}) == (line["mode"], set(line["media_urls"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "describe the scene"),
        (["A street", "--reference", PNG], "--reference"),
        (["A street", "--camera", "push in", "--locked"], "--locked"),
        (["A street", "--keep", "the light"], "--edit URL"),
        (["A street", "--person", "above=a bird"], "above"),
        (["A street", "--opening", PNG, "--extend", MP4], "image_url"),
        (["A street", "--camera", "push in", "--set", "fixed_lens=true"], "fixed_lens"),
        (["A street", "--set", "duration=40"], "duration"),
    ],
)
async def test_mistakes_are_usage(words: list[str], said: str, seedance: Type) -> None:
    """Exit code 2, and nothing on stdout."""
    ending = await seedance("prompt", "build", *words)

    assert (ExitCode.USAGE, "") == (ending.code, ending.out)
    assert said in ending.err


async def test_at_a_terminal_it_asks_for_each_part(seedance: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left empty is left out; the questions go to stderr."""
    answers = [
        "A duel at dawn",
        "they bow",
        "they draw",
        "",
        "",
        f"style={PNG}",
        "",
        "",
        "left=a knight",
        "",
        "",
        "",
    ]
    monkeypatch.setattr(sys, "stdin", Terminal("\n".join(answers)))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    ending = await seedance("prompt", "build", "--json")

    line = json.loads(ending.out)
    assert line["prompt"].startswith(
        "Use the supplied style reference throughout. Exactly one person: a knight on the left"
    )
    assert "Shot 2: They draw." in line["prompt"]
    assert [PNG] == line["media_urls"]
    assert "What is seen, and what happens?" in ending.err


async def test_a_frame_at_a_terminal_asks_for_the_other_and_for_no_reference(
    seedance: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip has frames, or references."""
    monkeypatch.setattr(sys, "stdin", Terminal(f"It rains\n\n{PNG}\n\n"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    ending = await seedance("prompt", "build", "--json")

    line = json.loads(ending.out)
    assert ("image-to-video", PNG) == (line["mode"], line["image_url"])
    assert "References?" not in ending.err
