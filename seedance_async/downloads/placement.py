"""Placement of a complete part: its metadata is inserted, and it gets a final name that no other file has.

The name is created as a hard link, which fails instead of overwriting. A file that was saved before is found
and not saved again: it is complete, and has the same first bytes and size, or the same origin in its
metadata.

Blocking: call it in worker threads.
"""

from __future__ import annotations

import errno
import filecmp
import os
from typing import TYPE_CHECKING

from seedance_async.downloads.metadata import MetadataError, apply_splice, plan_insertion, read_origin
from seedance_async.downloads.wholeness import missing
from seedance_async.logs import Log
from seedance_async.safe_files import create, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from seedance_async.downloads.metadata import Origin
    from seedance_async.downloads.part import Part

log: Log = Log(__name__)

MAX_NAMES = 10_000


def find_saved(target: Path, head: bytes, origin: Origin) -> Path | None:
    """Return the file of this origin, if it was saved before under ``target`` or a numbered variant.

    Args:
        target: the wanted path.
        head: the first bytes at the server.
        origin: the origin that its metadata would have.
    """
    return next((path for path in _existing_names(target) if _is_saved(path, head, origin)), None)


def put_in_place(path: Path, target: Path) -> Path:
    """Give a complete file the name ``target``, or a numbered variant if another file has it.

    Returns:
        The final path. If an identical file has it already, ``path`` is not changed.

    Raises:
        OSError: the file system refuses, or no name is free.
    """
    for chosen in _names(target):
        try:
            os.link(path, chosen)
        except FileExistsError:
            if not _is_plain(chosen) or not filecmp.cmp(path, chosen, shallow=False):
                continue
        except OSError:  # a file system without hard links
            if os.path.lexists(chosen):
                continue
            path.rename(chosen)
        sync_folder(chosen.parent)
        return chosen
    raise OSError(errno.EEXIST, f"no free name for {target.name}")


def with_metadata(part: Part, kind: str, *, prompt: str, origin: Origin) -> Path:
    """Return the path of a copy with prompt and origin in its metadata, or of the part if that fails."""
    try:
        with part.reader() as file, create(part.copy_path) as copy:
            change = plan_insertion(file, kind, prompt=prompt, origin=origin)
            copy.writelines(apply_splice(file, change))
            copy.flush()
            os.fsync(copy.fileno())
    except (MetadataError, OSError) as problem:
        log.info("metadata of %s not changed: %s", part.path.name, problem)
        return part.path
    return part.copy_path


def _names(target: Path) -> Iterator[Path]:
    yield target
    yield from (target.with_stem(f"{target.stem}-{number}") for number in range(2, MAX_NAMES))


def _existing_names(target: Path) -> Iterator[Path]:
    for path in _names(target):
        if not os.path.lexists(path):
            return
        yield path


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_saved(path: Path, head: bytes, origin: Origin) -> bool:
    if not _is_plain(path):
        return False
    with path.open("rb") as file:
        unchanged = path.stat().st_size == origin.source_bytes and file.read(len(head)) == head
        kind = path.suffix[1:]
        ours = unchanged or read_origin(file, kind) == origin
        return ours and missing(file, kind, length_stated=True) is None
