"""The handling of jobs whose sources were renumbered: a link has the same text, but names another job now.

An example: somebody inserts a new still before the others and renumbers all of them. The line of the second
clip still says ``$still-2.image``, but the still that this clip was made of is called ``still-3`` now. The
clip's result belongs to the line that asks for ``$still-3.image``. So the job is set aside like an edited
one, and ``adoption`` gives its result to that line.

This is done only if nothing more has to be paid: every line gets the result of a removed job or of another
such job, or a line gets a result that would otherwise be paid for. In all other cases the job is reported as
stale, and nothing is made again unless the user asks for it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from seedance_async import posts
from seedance_async.batch import keys
from seedance_async.batch.journal.records import as_json
from seedance_async.filenames import fold
from seedance_async.models.links import Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from seedance_async.batch.journal.file import File
    from seedance_async.batch.journal.take_moves import TakeMoves

_IS_NEW: Final = "number IN (SELECT number FROM temp.added) AND state IN ('planned', 'blocked')"
_IS_MADE_OF_ANOTHER: Final = (
    "state IN ('saved', 'completed', 'accepted', 'submitting', 'uncertain') AND EXISTS ("
    "SELECT 1 FROM links AS taken JOIN jobs AS source ON source.fold = taken.source "
    "WHERE taken.job = jobs.number AND taken.task IS NOT NULL "
    "AND taken.task NOT IN (SELECT value FROM json_each(ifnull(source.task_ids, '[]'))))"
)


@frozen
class _Line:
    """A line of the manifest with a link to a renamed job.

    Attributes:
        number: the number of the line's job.
        is_new: whether this job is still to be made.
        own: digest of its request with its links as they are now.
        meant: digest of the same request with the former names of the sources; None if a link names a source
            that did not exist before.
    """

    number: int
    is_new: bool
    own: bytes = field(repr=False)
    meant: bytes | None = field(repr=False)


def set_aside_renumbered(store: TakeMoves, former: Mapping[str, str]) -> int:
    """Set aside the jobs whose results belong to other lines. Part of a transaction.

    Args:
        store: the journal's store, with the temporary tables of ``adoption``.
        former: by folded new name of each renamed job, its former name.

    Returns:
        The number of jobs that were set aside.
    """
    lines = _lines(store.file, former)
    gone = [digest for (digest,) in store.file.rows("SELECT digest FROM temp.gone")] if lines else []
    numbers = renumbered(lines, gone)
    for number in numbers:
        _set_aside(store, number)
    return len(numbers)


def former_texts(file: File, number: int, former: Mapping[str, str]) -> dict[str, str]:
    """Return a job's links to renamed sources: by present text, the text with the source's former name."""
    rows = file.rows("SELECT text, source, output, place FROM links WHERE job = ?", number)
    return {
        text: str(Link(former[source], output, place))
        for text, source, output, place in rows
        if source in former
    }


def _lines(file: File, former: Mapping[str, str]) -> list[_Line]:
    given_up = {fold(name) for name in former.values()} - former.keys()
    rows = file.rows(
        f"SELECT number, path, body, digest, {_IS_NEW} FROM jobs "
        "WHERE number IN (SELECT job FROM links WHERE source IN (SELECT value FROM json_each(?))) "
        f"AND number IN (SELECT number FROM temp.listed) AND (({_IS_NEW}) OR ({_IS_MADE_OF_ANOTHER})) "
        "ORDER BY number",
        as_json([*former, *given_up]),
    )
    lines = []
    for number, path, body, digest, is_new in rows:
        texts = former_texts(file, number, former)
        sources = {source for (source,) in file.rows("SELECT source FROM links WHERE job = ?", number)}
        meant = None if sources & given_up else keys.digest(path, posts.resolved(body, texts))
        lines.append(_Line(number, bool(is_new), digest, meant))
    return lines


def renumbered(lines: Iterable[_Line], gone: Iterable[bytes]) -> list[int]:
    """Return the numbers of the jobs whose results can go to other lines at no cost. Pure.

    Args:
        lines: the lines of the manifest.
        gone: the digests of removed jobs' requests, one for each job.
    """
    lines = list(lines)
    left, found = Counter(gone), set[int]()
    _serve([line for line in lines if line.is_new], left, found)  # first: otherwise these would be paid
    before = _asked_of_each_other([line for line in lines if line.number not in found], lines)
    _serve([line for line in lines if line.number not in before.keys() | found], left, found)
    served = before.keys() | found
    numbers: list[int] = []
    for row in _rows(lines, before):
        if row[0].number in served or (len(row) > 1 and row[-1].is_new):
            numbers += [each.number for each in row if not each.is_new]
    return sorted(numbers)


def _asked_of_each_other(asking: Iterable[_Line], lines: Iterable[_Line]) -> dict[int, _Line]:
    """Return, by number of a line, the line whose result it asks for; each result goes to one line only."""
    made = {line.own: line for line in lines if not line.is_new}
    before: dict[int, _Line] = {}
    for line in asking:
        other = made.get(line.meant) if line.meant is not None else None
        if other is not None and other.number != line.number:
            before[line.number] = made.pop(other.own)
    return before


def _rows(lines: Iterable[_Line], before: Mapping[int, _Line]) -> Iterator[list[_Line]]:
    """Yield the lines in rows, in which each line but the first asks for the result of the previous one."""
    after = {before[line.number].number: line for line in lines if line.number in before}
    seen: set[int] = set()
    for line in sorted(lines, key=lambda line: line.number in before):  # the first lines of rows first
        row: list[_Line] = []
        following: _Line | None = line
        while following is not None and following.number not in seen:
            seen.add(following.number)
            row.append(following)
            following = after.get(following.number)
        if row:
            yield row


def _serve(lines: Iterable[_Line], left: Counter[bytes], found: set[int]) -> None:
    """Assign the results of removed jobs to lines, as long as there are any left."""
    for line in lines:
        if line.meant is not None and left[line.meant] > 0:
            left[line.meant] -= 1
            found.add(line.number)


def _set_aside(store: TakeMoves, number: int) -> None:
    """Replace a job by a planned copy, and add the job itself to those whose results can be adopted."""
    file = store.file
    ((name, folded),) = file.rows("SELECT name, fold FROM jobs WHERE number = ?", number)
    store.set_aside(number, store.free_name(f"{name}-before-edit"))
    copy = store.copy(number, name)
    file.write("UPDATE jobs SET unnamed = 0 WHERE number = ?", number)
    file.write("INSERT OR IGNORE INTO temp.edited VALUES (?, ?, ?)", number, name, folded)
    file.write("INSERT OR IGNORE INTO temp.added VALUES (?)", copy)
    file.write("UPDATE temp.listed SET number = ? WHERE number = ?", copy, number)
    file.write("UPDATE OR IGNORE temp.misnamed SET number = ? WHERE number = ?", copy, number)
    file.write(
        "INSERT INTO temp.gone SELECT number, ?2, digest, state, ?3, 1, ?3 IN (SELECT fold FROM rerolls) "
        "FROM jobs WHERE number = ?1",
        number,
        name,
        folded,
    )
