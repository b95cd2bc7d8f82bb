"""The source of a manifest's bytes: a file, standard input, or a pipe, which can be read only once.

A pipe (``<(…)``, ``/dev/stdin``, a named pipe) has no fingerprint by which it could be recognised in the next
run, because it is opened and read only once.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import sys
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seedance_async.errors import ManifestError
from seedance_async.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Generator
    from os import PathLike

STDIN: Final = "-"
STDIN_NAMES: Final = frozenset({STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})
"""Names of standard input. It may be a socket, which cannot be opened by a path."""

SUFFIXES: Final = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".toml"})
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
MOST_NAMES: Final = 5_000
"""Most names in a directory that are searched for a suggestion."""


def fingerprint(source: str | PathLike[str]) -> str | None:
    """Return the SHA-256 digest of a manifest; None for a pipe or standard input.

    Raises:
        ManifestError: it cannot be opened.
    """
    if is_read_once(source):
        return None
    with opened(source) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_read_once(source: str | PathLike[str]) -> bool:
    """Whether the manifest is a pipe or standard input; False also if it does not exist."""
    if os.fspath(source) in STDIN_NAMES:
        return True
    try:
        mode = os.stat(source).st_mode  # noqa: PTH116 - a path would lose the name of standard input
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def base_of(source: str | PathLike[str]) -> Path:
    """Return the directory for relative paths: the manifest's, or the current one for a pipe."""
    return Path.cwd() if is_read_once(source) else Path(source).absolute().parent


def check_there(source: str | PathLike[str]) -> None:
    """Check that the manifest exists, without opening it, because a pipe can be opened only once.

    Raises:
        ManifestError: it does not exist, or is a directory.
    """
    if os.fspath(source) in STDIN_NAMES:
        return
    try:
        mode = os.stat(source).st_mode  # noqa: PTH116 - as above
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except (OSError, ValueError) as problem:
        raise ManifestError.unreadable(str(source), _why_not(Path(source), problem)) from problem


@contextmanager
def opened(source: str | PathLike[str]) -> Generator[io.BufferedReader]:
    """Open a manifest to read it once from its beginning; opening a named pipe waits for its writer.

    Raises:
        ManifestError: it cannot be opened.
    """
    try:
        file = _stdin() if os.fspath(source) in STDIN_NAMES else Path(source).open("rb")  # noqa: SIM115 - below
    except (OSError, ValueError) as problem:
        raise ManifestError.unreadable(str(source), _why_not(Path(source), problem)) from problem
    with file:
        yield file


def _why_not(path: Path, problem: OSError | ValueError) -> str:
    """Return why a manifest cannot be opened, with a suggestion."""
    match problem:
        case _ if _URL.match(str(path)):
            return "is a URL; download it first, or give - and pipe it in"
        case FileNotFoundError() if not path.parent.is_dir():
            return f"there is no such file, and no directory {path.parent}"
        case FileNotFoundError():
            stem = path.stem.casefold()
            alike = [
                name for name in _names(path.parent) if get_close_matches(stem, [Path(name).stem.casefold()])
            ]
            meant = suggestion(path.name, alike)
            return f"there is no such file in {path.parent.absolute()}{meant}"
        case IsADirectoryError():
            there = f", such as {path / found}" if (found := _manifest_in(path)) else ""
            return f"is a directory; name the manifest in it{there}"
        case OSError():
            return f"cannot be read: {problem.strerror}"
        case _:
            return f"cannot be read: {problem}"


def _manifest_in(directory: Path) -> str | None:
    """Return the name of a manifest in a directory; the file beside a result, x.png.json, is none."""
    names = [Path(name) for name in _names(directory)]
    return next(
        (each.name for each in names if each.suffix.lower() in SUFFIXES and not each.with_suffix("").suffix),
        None,
    )


def _names(directory: Path) -> list[str]:
    """Return at most ``MOST_NAMES`` names in a directory; none if it cannot be read."""
    with suppress(OSError), os.scandir(directory) as entries:
        return sorted(entry.name for entry in islice(entries, MOST_NAMES))
    return []


def _stdin() -> io.BufferedReader:
    """Return standard input with a separate buffer that may be closed.

    At its exit the interpreter locks the buffer of ``sys.stdin``, and aborts if a thread still reads from it.
    """
    if sys.stdin is None:
        raise ValueError("standard input is closed")
    try:
        number = sys.stdin.fileno()
    except io.UnsupportedOperation:  # sys.stdin was replaced by an object in memory
        return io.BufferedReader(io.BytesIO(sys.stdin.buffer.read()))
    return io.BufferedReader(io.FileIO(number, closefd=False))
