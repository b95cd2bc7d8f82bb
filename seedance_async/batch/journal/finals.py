"""The journal's queries for the planning of finals: the takes they are made of, and existing finals.

Everything here runs in the journal's own thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from seedance_async.batch.journal.records import as_json
from seedance_async.filenames import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from seedance_async.batch.journal.queries import Queries
    from seedance_async.batch.journal.records import JobEntry


@frozen
class Named:
    """A job whose name may be that of a final.

    Attributes:
        name: its name.
        digest: digest of its request.
        listed: whether it is in the manifest that is being read.
    """

    name: str
    digest: bytes = field(repr=False)
    listed: bool


def entries_of(store: Queries, tasks: Iterable[Sequence[str]]) -> Iterator[JobEntry]:
    """Yield the jobs with exactly these task ids (a sequence per job), in the order of their numbers."""
    cells = as_json([as_json(ids) for ids in tasks])
    rows = store.file.rows(
        "SELECT number FROM jobs WHERE task_ids IN (SELECT value FROM json_each(?)) ORDER BY number", cells
    )
    for (number,) in rows:
        yield store.entry(number)


def changed_sources(store: Queries, number: int) -> list[str]:
    """Return the links of a job whose sources were removed, or made again since the job was sent."""
    rows = store.file.rows(
        "SELECT links.text FROM links LEFT JOIN jobs AS source ON source.fold = links.source "
        "WHERE links.job = ? AND NOT ifnull("
        "links.task IN (SELECT value FROM json_each(source.task_ids)), 0) ORDER BY links.text",
        number,
    )
    return [text for (text,) in rows]


def matches(store: Queries, name: str, pattern: str) -> bool:
    """Whether a name matches a pattern of ``--until``."""
    row = store.file.row("SELECT ? GLOB ?", name, pattern)
    return row is not None and bool(row[0])


def named_like_finals(store: Queries) -> list[Named]:
    """Return the jobs whose names have the form of a final's, while a manifest is being read."""
    rows = store.file.rows(
        "SELECT name, digest, number IN (SELECT number FROM temp.listed) FROM jobs "
        "WHERE unnamed = 0 AND name LIKE '%-final%' ORDER BY number"
    )
    return [Named(name, digest, bool(listed)) for name, digest, listed in rows]


def listed_by_digest(store: Queries, digests: Iterable[bytes]) -> dict[bytes, list[str]]:
    """Return, by digest, the names of the jobs with these requests in the manifest that is being read."""
    found: dict[bytes, list[str]] = {}
    for digest in set(digests):
        rows = store.file.rows(
            "SELECT name FROM jobs JOIN temp.listed USING (number) WHERE digest = ? ORDER BY number", digest
        )
        found[digest] = [name for (name,) in rows]
    return found


def numbers_of(store: Queries, names: Iterable[str]) -> list[int]:
    """Return the numbers of the jobs with these names, in ascending order."""
    rows = store.file.rows(
        "SELECT number FROM jobs WHERE fold IN (SELECT value FROM json_each(?)) ORDER BY number",
        as_json([fold(name) for name in names]),
    )
    return [number for (number,) in rows]


def note_sources(store: Queries, sources: Mapping[str, int]) -> None:
    """Store which takes finals are made of.

    Args:
        store: the journal's store.
        sources: by name of a final, the number of its take.
    """
    insert = (
        "INSERT OR REPLACE INTO finals SELECT number, ?2 FROM jobs WHERE fold = ?1 AND number <> ?2 "
        "AND EXISTS (SELECT 1 FROM jobs WHERE number = ?2)"
    )

    def note() -> None:
        for name, take in sources.items():
            store.file.write(insert, fold(name), take)

    store.file.transaction(note)
