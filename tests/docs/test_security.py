"""Tests of SECURITY.md: each statement names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_exists() -> None:
    """A statement whose test was renamed or removed is held by nothing."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)

    assert len(named) > 20
    assert [] == [
        (path, name)
        for path, name in named
        if not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]


def test_every_statement_in_a_table_has_its_test() -> None:
    """No row without one."""
    rows = [line for line in TEXT.splitlines() if line.startswith("|") and not line.startswith("|--")]

    assert rows
    assert [] == [row for row in rows if "tests/" not in row and not row.endswith(" test |")]
