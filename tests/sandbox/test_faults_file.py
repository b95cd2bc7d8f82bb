"""Tests of a file of faults, as ``seedance sandbox --faults`` reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from seedance_async.cli.sandbox import _read_faults

if TYPE_CHECKING:
    from pathlib import Path


def test_the_wrong_rule_of_a_file_is_told_by_its_number(tmp_path: Path) -> None:
    """In one line, with the file's name."""
    path = tmp_path / "faults.json"
    path.write_text('[{"effect": "drop"}, {"effect": "drop", "on": "taks"}]')

    said = "rule 2: on must be one of submit, task, media, any; got 'taks'; did you mean 'task'?"
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}, {said}')}$"):
        _read_faults(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '[{"effect": "edit", "fields": {"a": %s1%s}}]'])
def test_a_file_that_is_nested_deeply_is_refused(tmp_path: Path, text: str) -> None:
    """By the reader of JSON, or by the reader of rules."""
    path = tmp_path / "faults.json"
    path.write_text(text.replace("%s1%s", "[" * 300 + "]" * 300))

    with pytest.raises(ValueError, match="nested"):
        _read_faults(path)
