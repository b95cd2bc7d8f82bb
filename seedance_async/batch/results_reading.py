"""Reader of ``results.jsonl``, for whoever looks at a batch without its journal, which may be locked.

A later line of a job replaces an earlier one; what is no line of a result, such as a half last one, is read
past. The file is the journal's picture: while a batch runs, it is behind by as much as has just ended.

Blocking.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import field, frozen

from seedance_async import wire
from seedance_async.batch.journal.remains import RESULTS
from seedance_async.safe_files import BINARY, NOT_THROUGH_LINKS

MOST_LINE_BYTES: Final = 8 * 2**20
"""Of one line; a longer one is none of ours."""

_LATER: Final = re.compile(r"(.+?)-(?:take-[0-9]+|before-edit(?:-[0-9]+)?|final(?:-[0-9]+)?)", re.DOTALL)


@frozen(kw_only=True)
class Result:
    """One job's line, as far as it is what it should be.

    Attributes:
        files: below the directory, with ``/``, as they are listed; nothing is known of them.
        in_manifest: False where the line says that the job is gone from the manifest.
        older_of: the job that this is an earlier take of, where the line says so.
        final_of: the take that this is the final of, where the line says so.
        fields: everything else that stands in the line, the request's fields among it.
    """

    name: str
    model: str = ""
    state: str = ""
    task_ids: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    credits_used: float | None = None
    credits_refunded: float | None = None
    error: str | None = None
    in_manifest: bool = True
    older_of: str | None = None
    final_of: str | None = None
    fields: Mapping[str, object] = field(factory=dict, repr=False)


@frozen
class Reading:
    """What a file of results says.

    Attributes:
        results: by the names of the jobs, in the order in which these are first named.
        unreadable: the numbers of lines that are no line of a result, from 1; blank ones are passed over.
    """

    results: dict[str, Result]
    unreadable: tuple[int, ...] = ()


def read(directory: Path) -> dict[str, Result]:
    """The results of a batch by the names of its jobs; none where there is no file yet.

    Raises:
        OSError: the file cannot be read, or is a link.
    """
    return read_whole(directory).results


def read_whole(directory: Path) -> Reading:
    """As ``read``, with the lines that were read past.

    Raises:
        OSError: the file cannot be read, or is a link.
    """
    return parse_whole(lines_of(directory / RESULTS))


def parse(lines: Iterable[bytes]) -> dict[str, Result]:
    """The results that lines tell of, by the names of the jobs. Pure."""
    return parse_whole(lines).results


def parse_whole(lines: Iterable[bytes]) -> Reading:
    """As ``parse``, with the lines that were read past. Pure."""
    found: dict[str, Result] = {}
    unreadable: list[int] = []
    for number, line in enumerate(lines, start=1):
        result = _result(json_object(line))
        if result is not None:
            found[result.name] = result
        elif line.strip():
            unreadable.append(number)
    return Reading(found, tuple(unreadable))


def first_name(name: str, results: Mapping[str, Result]) -> str:
    """The job that an earlier take, a version before an edit, or a final was made of; else the job itself.

    Args:
        name: of a result.
        results: by the jobs' names; a name says nothing where there is no job that it could be a take of.
    """
    seen = {name}
    while (before := _before(name, results)) is not None and before not in seen:
        seen.add(before)
        name = before
    return name


def _before(name: str, results: Mapping[str, Result]) -> str | None:
    found = _LATER.fullmatch(name)
    told = (results[name].older_of, results[name].final_of) if name in results else ()
    return next((each for each in (*told, found and found[1]) if each in results), None)


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file; none where it is missing.

    Raises:
        OSError: it cannot be read, or is a link or no regular file.
    """
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | NOT_THROUGH_LINKS | BINARY), "rb")
    except FileNotFoundError:
        return
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "not a regular file", str(path))
        while line := file.readline(MOST_LINE_BYTES):
            yield line


def json_object(line: bytes) -> dict[str, object]:
    """The object that a line holds; an empty one for anything else."""
    try:
        found = wire.loads_answer(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list, if it has nothing else; else none."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    return ()


def _result(facts: dict[str, object]) -> Result | None:
    name = facts.pop("name", None)
    if not isinstance(name, str) or not name:
        return None
    return Result(
        name=name,
        model=_text(facts.pop("model", "")),
        state=_text(facts.pop("state", "")),
        task_ids=texts(facts.pop("task_ids", None)),
        files=texts(facts.pop("files", None)),
        credits_used=_amount(facts.pop("credits_used", None)),
        credits_refunded=_amount(facts.pop("credits_refunded", None)),
        error=_text(facts.pop("error", None)) or None,
        in_manifest=facts.pop("in_manifest", True) is not False,
        older_of=_text(facts.pop("older_of", None)) or None,
        final_of=_text(facts.pop("final_of", None)) or None,
        fields=facts,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _amount(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and -(2**53) < value < 2**53 else None  # type: ignore[operator,return-value]


class Cached:
    """The results of a directory, read again only when the file has changed.

    Args:
        directory: of the batch.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: tuple[tuple[int, ...] | None, dict[str, Result]] = (None, {})

    def results(self) -> dict[str, Result]:
        """The results as they are now; may be asked for by several threads.

        Raises:
            OSError: the file cannot be read.
        """
        version = _version(self._directory / RESULTS)
        known, results = self._known
        if version is None or version != known:
            results = read(self._directory)
            self._known = version, results
        return results


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def plain_path(directory: Path, listed: str) -> Path | None:
    """The file of a result, if it is a plain one in or below the directory, reached over no link; else None.

    Args:
        directory: resolved.
        listed: as a result lists it.
    """
    relative = PurePosixPath(listed)
    if not listed or "\0" in listed or "\\" in listed or relative.is_absolute() or ".." in relative.parts:
        return None
    path = directory / relative
    try:
        is_file = stat.S_ISREG(path.lstat().st_mode)
        return path if is_file and path.resolve() == path else None
    except (OSError, ValueError, RuntimeError):
        return None
