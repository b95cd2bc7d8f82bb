"""Tests of the guide to prompts: its commands end as shown, its programs run, its table is the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seedance_async import lint_prompt
from seedance_async.batch.manifest import read
from seedance_async.prompts.batch_lint import ABOUT, LEVELS
from tests.docs.test_transcripts import typed

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "examples" / "prompts" / "README.md"
TEXT = GUIDE.read_text("utf-8")
INSTALLING = "pip install"

COMMANDS = [
    (commands, shown)
    for commands, shown in re.findall(r"```bash\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", TEXT, re.DOTALL)
    if INSTALLING not in commands
]
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("place", range(len(COMMANDS)))
def test_commands_end_as_shown(place: int, tmp_path: Path) -> None:
    """Typed at the repository's root, or at what looks like it; to the letter."""
    for folder in ("examples", "tests"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    commands, shown = COMMANDS[place]

    printed = typed(f"set -e; {commands}", tmp_path)

    lines = shown.splitlines()
    assert lines == printed[len(printed) - len(lines) :]


def test_there_is_something_to_type_and_to_run() -> None:
    """Else the tests here would prove nothing."""
    assert (6, 2) == (len(COMMANDS), len(PROGRAMS))


@pytest.mark.parametrize("place", range(len(PROGRAMS)))
def test_a_program_runs(place: int, capsys: pytest.CaptureFixture[str]) -> None:
    """As it is copied."""
    exec(compile(PROGRAMS[place], str(GUIDE), "exec"), {"__name__": "guide"})

    assert ["P06 error (0, 5) ends at 15 s", "media-to-video"][place] in capsys.readouterr().out


def test_the_table_has_every_rule_in_its_words() -> None:
    """Codes, levels and what each is about."""
    rows = re.findall(r"^\| ([PB]\d\d) \| (\w+) \| ([^|]+) \|", TEXT, re.MULTILINE)

    assert [(code, LEVELS[code], about) for code, about in ABOUT.items()] == [
        (code, level, about.strip()) for code, level, about in rows
    ]


def test_the_scene_is_clean() -> None:
    """An example that is warned of would teach the wrong thing."""
    requests = [line.job.request for line in read(GUIDE.with_name("scene.toml")) if line.job is not None]

    assert [(), ()] == [lint_prompt(request) for request in requests]
