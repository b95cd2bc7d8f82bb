"""The keys of this suite as canaries: no test may leave one in what it prints, logs or writes.

Nearly every test runs with the sandbox's own key, and those about secrets with one of ``sk_live_canary``. So
whatever a test leaves behind is searched for both: its captured output with every log at DEBUG, what its
commands said, and, at the end of the session, all files below the temporary directory. Nothing is exempt but
what a test reads from its children by itself: ``seedance sandbox`` tells its key to whoever starts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS: Final = ("sk_test_sandbox", "sk_live_canary")


def clean(said: str) -> str:
    """What a program said, if it gave no key away.

    Raises:
        AssertionError: it did. The message does not repeat what it said.
    """
    reported = [key for key in KEYS if key in said]
    assert not reported, f"the API key {reported} is in the output"
    return said


def files_with_a_key(directory: Path) -> Iterator[Path]:
    """The files below a directory that hold a key."""
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if any(key.encode() in content for key in KEYS):
                yield path
