"""The skill: within the format's limits, put where agents look, and its worked example run word for word."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from seedance_async import skill
from seedance_async.cli.app import build, execute
from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = skill.text()
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
FOUR, EXAMPLE, AGAIN = BLOCKS


def test_it_keeps_to_the_limits_of_the_format() -> None:
    """Name and description as agents read them first; a body that is read whole."""
    _, head, body = TEXT.split("---\n", 2)
    description = " ".join(head.split("description: >-")[1].split("license:")[0].split())

    assert f"name: {skill.NAME}\n" in head
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", skill.NAME)
    assert 0 < len(description) <= 1024
    assert TEXT.startswith("---\nname:")
    assert len(TEXT.splitlines()) < 200
    assert len(body) < 20_000  # some 5,000 tokens


def test_every_command_and_flag_that_it_names_exists() -> None:
    """A skill that teaches what is not there costs more than none."""
    app = build()
    lines = [line for block in BLOCKS for line in block.splitlines() if line.startswith("seedance ")]
    lines += re.findall(r"`(seedance [^`]+)`", TEXT)

    assert len(lines) > 8
    for line in lines:
        words = shlex.split(line.split("  #")[0])
        command = app[words[1]] if words[1] != "prompt" else app["prompt"][words[2]]
        known = {name for argument in command.assemble_argument_collection() for name in argument.names}
        assert set() == {word for word in words if word.startswith("-") and word != "-"} - known, line


def test_it_explains_every_exit_code() -> None:
    """Also that of a run which stopped for what it saw, and must not be repeated blindly."""
    (told,) = re.findall(r"^Exit codes: (.*?)\. ", TEXT, re.MULTILINE | re.DOTALL)

    assert list(ExitCode) == [int(number) for number in re.findall(r"(?:^|·\s)(\d+) ", told)]


def test_the_example_is_made_real_in_a_directory_of_its_own() -> None:
    """A directory that has a batch of the sandbox belongs to its account, and goes on with no other."""
    real = re.findall(
        r"For real: without `--sandbox`, and with a directory of\s+its own \(`(-o \S+)`\)", TEXT
    )

    assert 1 == len(real)
    assert real[0] not in [" ".join(pair) for pair in zip(EXAMPLE.split(), EXAMPLE.split()[1:], strict=False)]


@pytest.mark.timeout(180)
def test_the_worked_example_runs_word_for_word(tmp_path: Path) -> None:
    """As it stands there, in a shell, on the sandbox: the files are made, looked at, and one made anew."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SEEDANCE_STATE_DIR": str(tmp_path / "state")}
    for script in (EXAMPLE, AGAIN):
        ending = subprocess.run(
            ["bash", "-euc", script], cwd=tmp_path, env=environment, timeout=170, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert 0 == ending.returncode, ending.stdout + ending.stderr

    boats = tmp_path / "boats"
    lines = [json.loads(line) for line in (boats / "results.jsonl").read_text("utf-8").splitlines()]
    assert {"still", "clip", "clip-take-1"} == {line["name"] for line in lines}
    assert {"saved"} == {line["state"] for line in lines}
    told = re.search(r"`boats/` then has (.*?)\n\n", TEXT, re.DOTALL)
    assert told is not None
    for name in re.findall(r"`([\w.]+\.\w+)`", told[1]):
        assert (boats / name).is_file(), name
    with Image.open(boats / "sheet.jpg") as sheet:
        assert sheet.width > 1000


def test_it_is_put_where_claude_code_and_codex_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said where; written again over our own, in whichever version; and it is the text that is printed."""
    places = [tmp_path / place / "seedance" / "SKILL.md" for place in (".claude/skills", ".agents/skills")]
    for _ in run("skill", "--install", tmp_path):
        assert all(path.read_text("utf-8").startswith(TEXT) for path in places)
    for _ in run("skill", "--install", tmp_path):
        pass
    said = capsys.readouterr().out

    assert all(str(path) in said for path in places)
    assert [".agents", ".claude"] == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("whose", ["another", "edited", "link"])
def test_what_somebody_else_has_there_is_not_replaced(tmp_path: Path, whose: str) -> None:
    """Nor is the other place written to then."""
    first, second = (
        tmp_path / place / "seedance" / "SKILL.md" for place in (".claude/skills", ".agents/skills")
    )
    skill.install(tmp_path)
    first.unlink()
    if whose == "another":
        second.write_text("---\nname: seedance\n---\nmy own\n", "utf-8")
    elif whose == "edited":
        second.write_text(second.read_text("utf-8").replace("Ten mistakes", "Eleven mistakes"), "utf-8")
    else:
        second.rename(tmp_path / "elsewhere.md")
        second.symlink_to(tmp_path / "elsewhere.md")
    before = second.read_bytes()
    codes = list(run("skill", "--install", tmp_path))

    assert [ExitCode.USAGE] == codes
    assert before == second.read_bytes()
    assert not first.exists()


def run(*arguments: object) -> Iterator[int]:
    """Run `seedance` with these arguments, once."""
    import anyio

    async def main() -> int:
        return await execute([str(argument) for argument in arguments])

    yield anyio.run(main)
