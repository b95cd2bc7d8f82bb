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


NAME_BYTES: Final = 255
"""The longest name of a file, in bytes, on the usual file systems."""

MEDIA: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".mp4"})


def parse_directory(_: object, tokens: Sequence[Token]) -> Path:
    """Return the directory named by a flag.

    Raises:
        ValueError: the text is empty, as ``-o "$OUT"`` with an unset variable gives, or names a media file, a
            URL or somebody's home directory, which the shell would have replaced.
    """
    text = tokens[0].value
    if not text:
        raise ValueError("it is empty; the current directory is written as .")
    if "://" in text:
        raise ValueError(f"{text} is a URL; name a directory of this machine")
    if text.partition("/")[0] == "~":
        raise ValueError(f"the shell has left {text} as it is; without quotes and = it replaces the ~")
    if longest := next((part for part in Path(text).parts if len(os.fsencode(part)) > NAME_BYTES), None):
        raise ValueError(f"{longest[:20]}… has more than {NAME_BYTES} bytes; no directory can be called that")
    if Path(text).suffix.lower() in MEDIA and not Path(text).is_dir():
        raise ValueError(f"{text} looks like a file; name the directory for the files")
    return Path(text)


def output_flag(help_text: str) -> Parameter:
    """The flag that names an output directory."""
    return Parameter(name=("--output", "-o"), converter=parse_directory, help=help_text)


Output: TypeAlias = Annotated[Path, output_flag("Directory for the files; created if it is missing.")]


def check_writable(directory: Path) -> None:
    """Check that files can be written to a directory, or to its nearest existing parent; leave nothing there.

    Raises:
        ConfigurationError: they cannot be written.
    """
    try:
        found = next(each for each in (directory, *directory.absolute().parents) if os.path.lexists(each))
        if not found.is_dir():
            raise ConfigurationError(f"--output {directory}: {found} is not a directory; name another one")
        with tempfile.TemporaryFile(dir=found):
            pass
    except OSError as problem:
        if reason := _not_our_batch(directory):
            raise ConfigurationError(f"--output {directory}: {reason}") from None
        reason = f"cannot be written to ({problem.strerror}); name another directory"
        raise ConfigurationError(f"--output {directory}: {reason}") from None


def _not_our_batch(directory: Path) -> str | None:
    """Return why a directory that has, or may have, a batch cannot be written to; None without a batch.

    The reason matters: a user who simply names another directory pays for the batch again.
    """
    try:
        if not (directory / JOURNAL).exists():
            return None
    except PermissionError:  # only the owner can see whether there is a batch
        pass
    return not_permitted(directory)
