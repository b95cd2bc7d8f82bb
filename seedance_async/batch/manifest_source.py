"""The bytes of a manifest: a file, standard input, or a pipe, which can be read only once.

A pipe (``<(…)``, ``/dev/stdin``, a named one) is opened once and read once, so nothing is there to recognise
it by when it comes again.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seedance_async.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Generator
    from os import PathLike

STDIN: Final = "-"
STDIN_NAMES: Final = frozenset({STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})
"""Names of standard input. It may be a socket, which a path does not open."""


def fingerprint(source: str | PathLike[str]) -> str | None:
    """The digest of a manifest, equal if it is read again unchanged; None for what is read only once.

    Raises:
        ManifestError: it cannot be opened.
    """
    if is_read_once(source):
        return None
    with opened(source) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_read_once(source: str | PathLike[str]) -> bool:
    """Whether the manifest is a pipe, or standard input; False also where there is none."""
    if os.fspath(source) in STDIN_NAMES:
        return True
    try:
        mode = os.stat(source).st_mode  # noqa: PTH116 - a path would lose the name of standard input
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def base_of(source: str | PathLike[str]) -> Path:
    """The directory that paths in a manifest are relative to: its own, or the current one for a pipe."""
    return Path.cwd() if is_read_once(source) else Path(source).absolute().parent


@contextmanager
def opened(source: str | PathLike[str]) -> Generator[io.BufferedReader]:
    """Open a manifest to be read once from its beginning; a named pipe is waited for.

    Raises:
        ManifestError: it cannot be opened.
    """
    try:
        file = _stdin() if os.fspath(source) in STDIN_NAMES else Path(source).open("rb")  # noqa: SIM115 - below
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise ManifestError([(1, "manifest", f"cannot be read: {reason}")], source=str(source)) from problem
    with file:
        yield file


def _stdin() -> io.BufferedReader:
    """Standard input, in a buffer of its own that may be closed.

    The interpreter locks the buffer of ``sys.stdin`` at its end, and dies where a thread still waits in it.
    """
    if sys.stdin is None:
        raise ValueError("standard input is closed")
    try:
        number = sys.stdin.fileno()
    except io.UnsupportedOperation:  # something in memory was put in its place
        return io.BufferedReader(io.BytesIO(sys.stdin.buffer.read()))
    return io.BufferedReader(io.FileIO(number, closefd=False))
