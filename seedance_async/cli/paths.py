"""Output directories named on the command line, checked before anything is sent or paid."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from cyclopts import Parameter

from seedance_async.batch.journal.opening import not_permitted
from seedance_async.batch.journal.remains import JOURNAL
from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclopts import Token


MEDIA: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".mp4"})


def parse_directory(_: object, tokens: Sequence[Token]) -> Path:
    """A directory as it was written; what an unset variable leaves of ``-o "$OUT"`` is none."""
    text = tokens[0].value
    if not text:
        raise ValueError("it is empty; the current directory is written as .")
    if Path(text).suffix.lower() in MEDIA and not Path(text).is_dir():
        raise ValueError(f"{text} looks like a file; name the directory that its file goes into")
    return Path(text)


def output_flag(help_text: str) -> Parameter:
    """The flag that names an output directory."""
    return Parameter(name=("--output", "-o"), converter=parse_directory, help=help_text)


Output: TypeAlias = Annotated[Path, output_flag("Directory for the files; made if it is missing.")]


def check_writable(directory: Path) -> None:
    """See that files can be written below a directory, or below what there is of it; nothing stays behind.

    Raises:
        ConfigurationError: they cannot.
    """
    try:
        found = next(each for each in (directory, *directory.absolute().parents) if os.path.lexists(each))
        if not found.is_dir():
            raise ConfigurationError(f"--output {directory}: {found} is not a directory; name another one")
        with tempfile.TemporaryFile(dir=found):
            pass
    except OSError as problem:
        if holds := _batch_of_others(directory):
            raise ConfigurationError(f"--output {directory}: {holds}") from None
        reason = f"cannot be written to ({problem.strerror}); name another directory"
        raise ConfigurationError(f"--output {directory}: {reason}") from None


def _batch_of_others(directory: Path) -> str | None:
    """Why a directory that has, or may have, a batch cannot be written to: elsewhere it is paid again."""
    try:
        if not (directory / JOURNAL).exists():
            return None
    except PermissionError:  # nobody but its owner can see
        pass
    return not_permitted(directory)
