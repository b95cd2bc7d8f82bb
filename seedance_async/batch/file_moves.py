"""The renaming of a job's files with their sidecars; it never overwrites other files, and can be repeated.

A file first gets its new name as a second hard link, then its sidecar is written next to it, and then the old
names are removed. So if the process dies in between, the file has at least one of its names, and a repeated
renaming finds which steps are done. A deleted file is skipped.

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
    """Choose the new paths of files: those wanted, or numbered ones if another file has the name.

    Args:
        directory: the batch directory.
        files: the present paths, below the directory.
        wanted: the wanted path of each.
        intended: the paths chosen before, if any; kept if they are still free.
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
    """Whether a file can get a path, or has it already.

    Args:
        directory: the batch directory.
        file: the former path, below the directory.
        target: the new path.
        begun: whether the renaming may have been done before: then a file at ``target`` with none at ``file``
            is this file.
    """
    if file == target:
        return True
    source, aim = directory / file, directory / target
    if os.path.lexists(aim):
        return _are_same(source, aim) or (begun and not os.path.lexists(source))
    sidecar = _sidecar(aim)
    return not os.path.lexists(sidecar) or _is_same_story(_story(_sidecar(source)), _story(sidecar))


def rename_all(directory: Path, moves: Mapping[str, str], name: str) -> None:
    """Rename files to free paths, each with its sidecar.

    Args:
        directory: the batch directory.
        moves: new path by old path, below the directory.
        name: the job name that is written into the sidecars.

    Raises:
        DownloadError: a file cannot be renamed; the call can be repeated later.
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
    """Give a file a second name, if it exists and does not have it yet; without hard links, rename it."""
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
    """Whether a path is a file or a symbolic link, and not a directory."""
    return path.is_symlink() or path.is_file()


def _are_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(one.lstat(), other.lstat())
    except OSError:
        return False


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _story(sidecar: Path) -> dict[str, object] | None:
    """Return the content of a sidecar; None if it is a link or not a valid sidecar."""
    with suppress(OSError, ValueError, RecursionError):
        handle = os.open(sidecar, os.O_RDONLY | NOT_THROUGH_LINKS | BINARY)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_size <= MOST_SIDECAR_BYTES:
                story = json.loads(file.read())
                return story if isinstance(story, dict) and "task_id" in story else None
    return None


def _is_same_story(one: dict[str, object] | None, other: dict[str, object] | None) -> bool:
    """Whether two sidecars belong to the same file; the first may be deleted already."""
    if other is None:
        return False
    return one is None or (one["task_id"], one.get("sha256")) == (other["task_id"], other.get("sha256"))


def _numbered(path: str) -> Iterator[str]:
    yield path
    whole = PurePosixPath(path)
    yield from (str(whole.with_stem(f"{whole.stem}-{number}")) for number in range(2, MAX_NAMES))


def _check_inside(directory: Path, *files: str) -> None:
    """Check that no symbolic link leads out of the directory.

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
