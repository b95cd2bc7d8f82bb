"""Renaming of the files of a job, each with its sidecar: never over another file, and repeatable at any step.

A file gets its new name as a second one, its sidecar is written anew beside that, and then the old names are
taken away. So a process that ends in between leaves the file under one of its names at least, and whoever
repeats the renaming finds which steps are done. A file that somebody has deleted is passed over.

Blocking: call it in worker threads.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from seedance_async.errors import DownloadError
from seedance_async.fault_points import fault_point
from seedance_async.safe_files import BINARY, NOT_THROUGH_LINKS, leads_out, replacing, sync_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

MAX_NAMES: Final = 10_000
MOST_SIDECAR_BYTES: Final = 1024 * 1024


def targets(
    directory: Path, files: Sequence[str], wanted: Sequence[str], intended: Sequence[str]
) -> list[str]:
    """The paths that files get: those wanted, or numbered ones where somebody else's file is in the way.

    Args:
        directory: of the batch.
        files: as they are called now, below the directory.
        wanted: what each of them is to be called.
        intended: what was chosen before, if anything was; kept as far as it still can be.
    """
    chosen: list[str] = []
    for place, (file, name) in enumerate(zip(files, wanted, strict=True)):
        if place < len(intended) and is_free(directory, file, intended[place], begun=True):
            chosen.append(intended[place])
            continue
        tried = (each for each in _numbered(name) if each not in chosen)
        chosen.append(next(each for each in tried if is_free(directory, file, each)))
    return chosen


def is_free(directory: Path, file: str, target: str, *, begun: bool = False) -> bool:
    """Whether a file can be called so, or is already.

    Args:
        directory: of the batch.
        file: as it was called before, below the directory.
        target: what it is to be called.
        begun: whether it may have been renamed so: then it is what is found there in its place.
    """
    if file == target:
        return True
    source, aim = directory / file, directory / target
    if os.path.lexists(aim):
        return _are_same(source, aim) or (begun and not os.path.lexists(source))
    beside = _sidecar(aim)
    return not os.path.lexists(beside) or _is_same_story(_story(_sidecar(source)), _story(beside))


def rename_all(directory: Path, moves: Mapping[str, str], name: str) -> None:
    """Rename files that can be called so, each with its sidecar.

    Args:
        directory: of the batch.
        moves: new path by the old one, below the directory.
        name: of the job, as the sidecars have it from now on.

    Raises:
        DownloadError: a file cannot be renamed; whatever is left can be done later.
    """
    renamed = {Path(file).name: Path(target).name for file, target in moves.items()}
    for file, target in moves.items():
        if file == target:
            continue
        _check_inside(directory, file, target)
        try:
            _rename(directory / file, directory / target, name, renamed)
        except OSError as problem:
            raise DownloadError(f"cannot rename {file} to {target}: {problem.strerror}") from problem


def _rename(source: Path, target: Path, name: str, renamed: Mapping[str, str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _link(source, target)
    fault_point("after_link")
    story = _story(_sidecar(source))
    if story is not None:
        main = str(story.get("main_file"))
        story |= {"file": target.name, "name": name, "main_file": renamed.get(main, main)}
        with replacing(_sidecar(target)) as file:
            file.write(json.dumps(story, ensure_ascii=False, indent=2).encode())
    sync_folder(target.parent)
    fault_point("after_sidecar")
    if story is not None:
        _sidecar(source).unlink(missing_ok=True)
    if _are_same(source, target):
        source.unlink()
        fault_point("after_unlink")
    sync_folder(source.parent)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, if it is there and has it not; on a file system without, another one."""
    if os.path.lexists(target) or not _is_ours(source):
        return
    try:
        os.link(source, target, follow_symlinks=os.link not in os.supports_follow_symlinks)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise
        source.rename(target)


def _is_ours(path: Path) -> bool:
    """Whether it is a file, or a link that somebody has put in its place; no folder."""
    return path.is_symlink() or path.is_file()


def _are_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(one.lstat(), other.lstat())
    except OSError:
        return False


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _story(sidecar: Path) -> dict[str, object] | None:
    """What a sidecar says; None for anything else, and for one that is reached through a link."""
    with suppress(OSError, ValueError, RecursionError):
        handle = os.open(sidecar, os.O_RDONLY | NOT_THROUGH_LINKS | BINARY)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_size <= MOST_SIDECAR_BYTES:
                story = json.loads(file.read())
                return story if isinstance(story, dict) and "task_id" in story else None
    return None


def _is_same_story(one: dict[str, object] | None, other: dict[str, object] | None) -> bool:
    """Whether two sidecars are of one file; the first may be gone already."""
    if other is None:
        return False
    return one is None or (one["task_id"], one.get("sha256")) == (other["task_id"], other.get("sha256"))


def _numbered(path: str) -> Iterator[str]:
    yield path
    whole = PurePosixPath(path)
    yield from (str(whole.with_stem(f"{whole.stem}-{number}")) for number in range(2, MAX_NAMES))


def _check_inside(directory: Path, *files: str) -> None:
    """See that no link takes a file out of the directory.

    Raises:
        DownloadError: one does.
    """
    folders: Collection[Path] = {(directory / file).parent for file in files}
    for folder in folders:
        if leads_out(folder, directory):
            raise DownloadError(
                f"cannot rename files in {folder}: a link there leads out of {directory}; take it away and "
                "run again"
            )
