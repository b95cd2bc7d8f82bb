"""The message for batch files that this user has no permission to use, with its remedy.

The files of a batch that was run with ``sudo`` or by another user are not damaged. A user who believed so
might delete the record of what is paid, and pay again.

Blocking.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KEEP: Final = (
    "Nothing in it is wrong, and nothing was sent. Do not delete it: what is paid is on record there"
)


def refusal(paths: Iterable[Path]) -> str | None:
    """Return a message for the first file that this user may not read and write; None if there is none.

    Args:
        paths: the batch directory, then its files; files that do not exist are skipped.
    """
    directory, *files = paths
    for path in (directory, *files):
        wanted = os.R_OK | os.W_OK | (os.X_OK if path == directory else 0)
        if os.path.lexists(path) and not os.access(path, wanted):
            return f"{path} cannot be read and written: {_reason(path, directory)}. {KEEP}"
    return None


def _reason(path: Path, directory: Path) -> str:
    mine, owner = _user(_own_id()), _owner(path)
    if owner is None or owner == mine:
        return "its mode, or its file system, is read-only; make it writable and run again"
    words = f"sudo chown -R {shlex.quote(mine)} {shlex.quote(str(directory))}"
    return f"it belongs to {owner}, and this runs as {mine}. Run as {owner}, or take it over with: {words}"


def _owner(path: Path) -> str | None:
    try:
        return _user(path.stat().st_uid)
    except OSError:
        return None


def _own_id() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else -1


def _user(number: int) -> str:
    """Return the name of a user, or the number if there is no name."""
    try:
        import pwd  # noqa: PLC0415 - Windows has none

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return str(number)
