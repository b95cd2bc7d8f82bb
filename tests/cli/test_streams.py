"""What reaches the terminal, and what happens when nobody reads any more."""

from __future__ import annotations

import pytest

from seedance_async.cli.streams import harmless


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
    assert shown == harmless(text)
