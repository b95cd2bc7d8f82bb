"""`seedance prompt lint`, and what a dry run and a batch say about prompts."""

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

LINES = [
    {"name": "kite", "model": "seedance2", "prompt": "Prompt: A kite over the beach"},
    {
        "name": "wave",
        "model": "seedance2",
        "prompt": "@Image1 waves",
        "media_urls": ["https://cdn.example/a.png"],
    },
    {"name": "late", "model": "seedance2", "prompt": "12-15 s: she waves", "lint": "-P06"},
]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three lines: a warning that can be fixed, an error that can be, and an error that is left out."""
    path = tmp_path / "jobs.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in LINES))
    return path


async def test_a_text_is_told_what_is_wrong_and_the_fix(seedance: Type) -> None:
    """An error is exit code 1; nothing needs a network."""
    ending = await seedance("prompt", "lint", "@Image1 turns around")

    assert ExitCode.FAILED == ending.code
    assert ending.lines[0].startswith("P02 error: '@Image1' is a label of another app, unknown to the API")
    assert ending.lines[0].endswith("(fix: 'the first supplied picture')")


async def test_a_text_is_compared_with_the_fields_that_are_set(seedance: Type) -> None:
    """And with none that is not."""
    late = "12-15 s: she waves"
    alone = await seedance("prompt", "lint", late)
    short = await seedance("prompt", "lint", late, "--set", "duration=5", "--json")
    long = await seedance("prompt", "lint", late, "--set", "duration=15")

    assert (ExitCode.OK, ExitCode.FAILED, ExitCode.OK) == (alone.code, short.code, long.code)
    assert ["P06"] == [finding["code"] for finding in json.loads(short.out)["findings"]]
    assert "no findings" in alone.err


async def test_a_manifest_is_told_a_line_a_rule(seedance: Type, manifest: Path) -> None:
    """The line that leaves a rule out is not held to it."""
    ending = await seedance("prompt", "lint", manifest)

    assert ExitCode.FAILED == ending.code
    assert [("P02 error in 1 of 3, first wave"), ("P11 warning in 1 of 3, first kite")] == [
        line.split(":")[0] for line in ending.lines
    ]


async def test_details_and_shares(seedance: Type, manifest: Path) -> None:
    """On request: every finding with its line, and how often each rule fires."""
    details = await seedance("prompt", "lint", manifest, "--details")
    table = await seedance("prompt", "lint", manifest, "--table")
    document = json.loads((await seedance("prompt", "lint", manifest, "--json", "--details")).out)

    assert ["line 1, kite", "line 2, wave"] == [line.split(":")[0] for line in details.lines]
    assert "P02  error     33.3 %  label of another app" in table.lines
    assert 22 == len(table.lines) == len(document["shares"])
    assert (3, 0.3333) == (document["jobs"], document["shares"]["P11"])
    assert [("kite", 1), ("wave", 2)] == [(found["name"], found["line"]) for found in document["findings"]]


async def test_a_fixed_manifest_is_a_new_file_that_runs(
    seedance: Type, seedance_sandbox: Sandbox, manifest: Path, tmp_path: Path
) -> None:
    """What was left out stays left out; no file is written over."""
    fixed = tmp_path / "fixed.jsonl"
    ending = await seedance("prompt", "lint", manifest, "--fix", fixed)
    again = await seedance("prompt", "lint", manifest, "--fix", fixed)
    csv = await seedance("prompt", "lint", manifest, "--fix", tmp_path / "fixed.csv")
    ran = await seedance("batch", fixed, "--dry-run")

    jobs = [json.loads(line) for line in fixed.read_text().splitlines()]
    assert (ExitCode.OK, ExitCode.USAGE, ExitCode.USAGE) == (ending.code, again.code, csv.code)
    assert ["A kite over the beach", "the supplied picture waves", "12-15 s: she waves"] == [
        job["prompt"] for job in jobs
    ]
    assert ["kite", "wave", "late"] == [job["name"] for job in jobs]
    assert "-P06" == jobs[2]["lint"]
    assert ExitCode.OK == ran.code, ran.err
    assert "2 of 3 prompts fixed" in ending.err


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("@Image1 waves\n", "P02 error: "),
        ('{"shot": "a kite"}', "P11 warning: "),
        (json.dumps(LINES[1]), "P02 error in 1 of 1, first wave: "),
        (json.dumps(LINES), "P02 error in 1 of 3, first wave: "),
        ("model,prompt\nseedance2,@Image1 waves\n", "P02 error in 1 of 1, first job-000001: "),
        (
            '[[jobs]]\nmodel = "seedance2"\nprompt = "@Image1 waves"\n',
            "P02 error in 1 of 1, first job-000001: ",
        ),
    ],
)
async def test_standard_input_is_a_text_or_a_manifest(
    text: str, found: str, seedance: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told apart by how it begins."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    ending = await seedance("prompt", "lint", "-")

    assert ending.lines[0].startswith(found), ending


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["A boat", "--ignore", "P21"], "P21"),
        (["A boat", "--set", "duraton=5"], "duration"),
        (["missing.jsonl"], "no such file"),
        (["A boat", "--model", "sora"], "sora"),
    ],
)
async def test_mistakes_are_usage(words: list[str], said: str, seedance: Type) -> None:
    """Exit code 2, and what was meant."""
    ending = await seedance("prompt", "lint", *words)

    assert ExitCode.USAGE == ending.code
    assert said in ending.err


async def test_what_is_no_matter_of_a_prompt_is_told_as_a_batch_tells_it(
    seedance: Type, tmp_path: Path
) -> None:
    """Line and field."""
    path = tmp_path / "jobs.jsonl"
    path.write_text('{"model": "seedance2", "prompt": "A boat", "duration": 40}\n')

    ending = await seedance("prompt", "lint", path)

    assert (ExitCode.USAGE, "") == (ending.code, ending.out)
    assert "line 1, duration: " in ending.err


async def test_an_error_refuses_the_line_of_a_batch_before_anything_is_sent(
    seedance: Type, seedance_sandbox: Sandbox, manifest: Path, tmp_path: Path
) -> None:
    """Like any other broken rule, by line and field, unless it is left out."""
    refused = await seedance("batch", manifest, "-o", tmp_path / "out")
    assert (ExitCode.USAGE, []) == (refused.code, seedance_sandbox.paid_tasks)
    assert "line 2, prompt: P02: '@Image1' is a label of another app" in refused.err
    assert "P06" not in refused.err

    sent = await seedance("batch", manifest, "-o", tmp_path / "out", "--ignore", "P02")
    assert (ExitCode.OK, 3) == (sent.code, len(seedance_sandbox.paid_tasks)), sent.err


async def test_a_dry_run_and_an_estimate_show_warnings(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """One line a rule; no notes; and again where the batch has begun and its manifest is known."""
    path, out = tmp_path / "jobs.jsonl", tmp_path / "out"
    path.write_text(
        f"{json.dumps(LINES[0])}\n" + '{"model": "nano-banana-pro", "prompt": "Two boxers, anime"}\n'
    )
    said = "prompts   P11 warning in 1 of 2, first kite: 'Prompt:' is a leftover of copying"

    dry = await seedance("batch", path, "--dry-run")
    estimated = await seedance("estimate", path)
    document = json.loads((await seedance("estimate", path, "--json")).out)
    ran = await seedance("batch", path, "-o", out)
    known = await seedance("batch", path, "-o", out, "--dry-run")
    ignored = await seedance("estimate", path, "--ignore", "P11")

    assert said == dry.lines[-1] == estimated.lines[-1] == known.lines[-1]
    assert ["P11"] == [row["code"] for row in document["prompts"]]
    assert ExitCode.OK == ran.code
    assert "prompts" not in ignored.out
    assert "jobs      0 to send of 2; 2 saved" == known.lines[0]
