"""Reader of ``results.jsonl``, for programs that do not open the journal, which may be locked.

A later line of a job replaces an earlier one; invalid lines, such as an incomplete last one, are skipped. The
file is a copy of the journal: while a batch runs, it may lack the latest changes.

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
"""Most bytes of a line; longer ones are not results."""

_LATER: Final = re.compile(r"(.+?)-(?:take-[0-9]+|before-edit(?:-[0-9]+)?|final(?:-[0-9]+)?)", re.DOTALL)


@frozen(kw_only=True)
class Result:
    """One job's line; fields of a wrong type have their default values.

    Attributes:
        files: paths below the directory, with ``/``, as listed; not checked.
        in_manifest: False if the job was removed from the manifest.
        older_of: the job of which this is another take, if any.
        final_of: the take of which this is the final, if any.
        fields: all other fields of the line, including the request's.
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
    """The content of a results file.

    Attributes:
        results: the results by job name, in the order of the names' first lines.
        unreadable: numbers of the invalid lines, from 1; blank lines are not counted.
    """

    results: dict[str, Result]
    unreadable: tuple[int, ...] = ()


def read(directory: Path) -> dict[str, Result]:
    """Return the results of a batch by job name; empty if there is no file.

    Raises:
        OSError: the file cannot be read, or is a link.
    """
    return read_whole(directory).results


def read_whole(directory: Path) -> Reading:
    """Return the results like ``read``, with the numbers of invalid lines.

    Raises:
        OSError: the file cannot be read, or is a link.
    """
    return parse_whole(lines_of(directory / RESULTS))


def parse(lines: Iterable[bytes]) -> dict[str, Result]:
    """Return the results in lines, by job name. Pure."""
    return parse_whole(lines).results


def parse_whole(lines: Iterable[bytes]) -> Reading:
    """Return the results like ``parse``, with the numbers of invalid lines. Pure."""
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
    """Return the job from which an earlier take, a version before an edit, or a final comes.

    Args:
        name: the name of a result; returned if it comes from no other job.
        results: the results by job name. The form of a name counts only if the other job exists.
    """
    seen = {name}
    while (before := _before(name, results)) is not None and before not in seen:
        seen.add(before)
        name = before
    return name


def _before(name: str, results: Mapping[str, Result]) -> str | None:
    found = _LATER.fullmatch(name)
    stated = (results[name].older_of, results[name].final_of) if name in results else ()
    return next((each for each in (*stated, found and found[1]) if each in results), None)


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file; none if it is missing.

    Raises:
        OSError: it cannot be read, is a link, or is not a regular file.
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
    """Decode the JSON object of a line; return an empty one for anything else."""
    try:
        found = wire.loads_answer(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def texts(value: object) -> tuple[str, ...]:
    """Return a list of texts as a tuple; empty for any other value."""
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
    """The results of a directory, read again only if the file has changed.

    Args:
        directory: the batch directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: tuple[tuple[int, ...] | None, dict[str, Result]] = (None, {})

    def results(self) -> dict[str, Result]:
        """Return the present results; may be called from several threads.

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
    """Return the path of a result's file; None unless it is a regular file reached without links.

    Args:
        directory: the batch directory, resolved.
        listed: the path in the result.
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
