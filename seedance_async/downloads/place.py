"""From a whole part to the file: given its texts, and the name it keeps, which nobody's file has.

A name is taken by linking, which fails rather than overwrite. A file that is there already and is this very
one is found, not saved again: it has the same bytes, or it tells the same origin.

Blocking: call it in worker threads.
"""

from __future__ import annotations

import errno
import filecmp
import logging
import os
from typing import TYPE_CHECKING

from seedance_async.downloads.metadata import MetadataError, apply_splice, plan_insertion, read_origin
from seedance_async.safe_files import create

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from seedance_async.downloads.metadata import Origin
    from seedance_async.downloads.part import Part

log: logging.Logger = logging.getLogger(__name__)

MAX_NAMES = 10_000


def find_saved(target: Path, head: bytes, origin: Origin) -> Path | None:
    """The file of that origin, if an earlier download saved it under ``target`` or a name made of it.

    Args:
        target: the name it would have.
        head: the first bytes at the server.
        origin: what it would tell.
    """
    return next((path for path in _taken_names(target) if _is_saved(path, head, origin)), None)


def put_in_place(path: Path, target: Path) -> Path:
    """Give a whole file its name, or the next free one when the name is somebody else's.

    Returns:
        The name. If the very same file is there already, ``path`` is left as it is.

    Raises:
        OSError: it cannot be done.
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
        _sync_folder(chosen.parent)
        return chosen
    raise OSError(errno.EEXIST, f"no free name for {target.name}")


def with_texts(part: Part, kind: str, *, prompt: str, origin: Origin) -> Path:
    """The part with prompt and origin in its metadata, as another file; or itself, where that cannot be."""
    try:
        with part.reading() as file, create(part.fresh) as fresh:
            change = plan_insertion(file, kind, prompt=prompt, origin=origin)
            fresh.writelines(apply_splice(file, change))
            fresh.flush()
            os.fsync(fresh.fileno())
    except (MetadataError, OSError) as problem:
        log.info("%s keeps its metadata as they are: %s", part.path.name, problem)
        return part.path
    return part.fresh


def _names(target: Path) -> Iterator[Path]:
    yield target
    yield from (target.with_stem(f"{target.stem}-{number}") for number in range(2, MAX_NAMES))


def _taken_names(target: Path) -> Iterator[Path]:
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
        as_it_came = path.stat().st_size == origin.source_bytes and file.read(len(head)) == head
        return as_it_came or read_origin(file, path.suffix[1:]) == origin


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        log.debug("the directory %s cannot be synced", folder)
    finally:
        os.close(handle)
