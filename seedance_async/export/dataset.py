"""Datasets for training: copies of the files, and ``metadata.jsonl`` with their requests.

This is the format of image and video folders of Hugging Face's ``datasets``: ``file_name`` is relative to the
folder. The files are copied because training tools crop and rename in place, and the batch's files are paid.

Blocking.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.export.selection import Shot

METADATA: Final = "metadata.jsonl"


def check_dataset(target: Path) -> None:
    """Check that a dataset may be written, before any work is done for it.

    Raises:
        ConfigurationError: the target exists and is not an empty folder, or its parent folder is missing.
    """
    if not target.absolute().parent.is_dir():
        raise ConfigurationError(f"--dataset {target}: there is no folder {target.absolute().parent}")
    if os.path.lexists(target) and (target.is_symlink() or not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(f"--dataset {target} exists already; name a new or empty folder")


def line(shot: Shot) -> str:
    """Return the line of a file in ``metadata.jsonl``."""
    facts = {"file_name": shot.file, "text": shot.prompt, "seed": shot.seed, "model": shot.model}
    return json.dumps({**facts, "name": shot.name}, ensure_ascii=False) + "\n"


def write_dataset(directory: Path, target: Path, shots: Sequence[Shot]) -> None:
    """Write a dataset under a temporary name, and rename it once it is complete.

    Args:
        directory: of the batch.
        target: the folder; new or empty.
        shots: with files that exist.

    Raises:
        OSError: it cannot be written; nothing of it remains.
    """
    above = target.absolute().parent
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=above) as scratch:
        part = Path(scratch) / target.name
        part.mkdir()
        with (part / METADATA).open("w", encoding="utf-8") as metadata:
            for shot in shots:
                copy = part / shot.file
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(directory / shot.file, copy)
                metadata.write(line(shot))
        if target.is_dir():
            target.rmdir()  # it is empty
        part.replace(target)
