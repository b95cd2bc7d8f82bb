"""Tests of the guide to prompts: its table is the code's, and its example is clean."""

from __future__ import annotations

import re
from pathlib import Path

from seedance_async import lint_prompt
from seedance_async.batch.manifest import read
from seedance_async.prompts.batch_lint import ABOUT, LEVELS

GUIDE = Path(__file__).parents[2] / "examples" / "prompts" / "README.md"


def test_the_table_has_every_rule_in_its_words() -> None:
    """Codes, levels and what each is about."""
    rows = re.findall(r"^\| ([PB]\d\d) \| (\w+) \| ([^|]+) \|", GUIDE.read_text("utf-8"), re.MULTILINE)

    assert [(code, LEVELS[code], about) for code, about in ABOUT.items()] == [
        (code, level, about.strip()) for code, level, about in rows
    ]


def test_the_scene_is_clean() -> None:
    """An example that is warned of would teach the wrong thing."""
    requests = [line.job.request for line in read(GUIDE.with_name("scene.toml")) if line.job is not None]

    assert [(), ()] == [lint_prompt(request) for request in requests]
