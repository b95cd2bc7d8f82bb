"""Directories that somebody names on the command line, looked at before anything is sent or paid."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from cyclopts import Parameter

from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import Token


MEDIA: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".mp4"})


def directory(_: object, tokens: Sequence[Token]) -> Path:
    """A directory as it was written; what an unset variable leaves of ``-o "$OUT"`` is none."""
    text = tokens[0].value
    if not text:
        raise ValueError("it is empty; the current directory is written as .")
    if Path(text).suffix.lower() in MEDIA and not Path(text).is_dir():
        raise ValueError(f"{text} looks like a file; name the directory that its file goes into")
    return Path(text)


Output: TypeAlias = Annotated[
    Path,
    Parameter(
        name=("--output", "-o"), converter=directory, help="Directory for the files; made if it is missing."
    ),
]


def check(place: Path) -> None:
    """See that files can be written below a directory, or below what there is of it; nothing stays behind.

    Raises:
        ConfigurationError: they cannot.
    """
    try:
        there = next(each for each in (place, *place.absolute().parents) if os.path.lexists(each))
        if not there.is_dir():
            raise ConfigurationError(f"--output {place}: {there} is not a directory; name another one")
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as problem:
        told = f"--output {place}: cannot be written to ({problem.strerror}); name another directory"
        raise ConfigurationError(told) from None
