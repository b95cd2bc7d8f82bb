"""The adoption of results by renamed jobs, so that a job is not paid again under a new name.

A new job of a manifest *adopts* the row of a job that may be paid, in these cases:

* it has exactly the request of a job that the manifest no longer lists;
* it has the request that another job had before it was edited (inserting a shot renumbers all later ones);
* its links differ only because their sources were renamed;
* its links read the same although their sources were renamed, see ``renumbering``.

Each result is adopted once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async import posts
from seedance_async.batch import keys
from seedance_async.batch.journal import projects
from seedance_async.batch.journal.renumbering import former_texts, set_aside_renumbered
from seedance_async.filenames import fold
from seedance_async.models.links import parse_link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seedance_async.batch.journal.file import File
    from seedance_async.batch.journal.records import Row
    from seedance_async.batch.journal.take_moves import TakeMoves

_HAS_RESULTS: Final = (
    "(state IN ('saved', 'completed', 'accepted', 'submitting', 'uncertain') OR EXISTS ("
    "SELECT 1 FROM older JOIN jobs AS take ON take.number = older.number "
    "WHERE older.fold = jobs.fold AND take.digest = jobs.digest AND take.state = 'saved'))"
)
"""SQL: whether a job may be paid, or has an earlier take: its name may be that of a take that failed."""


@frozen
class Adopted:
    """A job that was found under a new name.

    Attributes:
        before: its former name.
        name: its new name.
        is_added: whether no job had the new name before.
    """

    before: str
    name: str
    is_added: bool


def adopt(store: TakeMoves) -> tuple[list[Adopted], int]:
    """Let new jobs adopt the results of jobs with the same request. Part of a transaction.

    Args:
        store: the journal's store. ``temp.listed`` has the numbers of all jobs of the manifest,
        ``temp.added``
            those that this reading has inserted, and ``temp.edited`` those that were set aside by an edit,
            with their former names.

    Returns:
        The adopted jobs, in the order of adoption; and the number of jobs that were set aside because their
        unchanged links now name other jobs.
    """
    file = store.file
    file.write("DROP TABLE IF EXISTS temp.gone")
    file.write(
        "CREATE TEMP TABLE gone "
        "(number INTEGER PRIMARY KEY, name TEXT, digest BLOB, state TEXT, fold TEXT, edited INTEGER, "
        "ordered INTEGER)"
    )
    file.write("CREATE INDEX temp.gone_by_digest ON gone (digest)")
    file.write(
        "INSERT INTO temp.gone SELECT number, ifnull(edited.name, jobs.name) AS name, digest, state, "
        "ifnull(edited.fold, jobs.fold) AS fold, edited.number IS NOT NULL AS edited, "
        "ifnull(edited.fold, jobs.fold) IN (SELECT fold FROM rerolls) AS ordered "
        "FROM jobs LEFT JOIN temp.edited AS edited USING (number) "
        f"WHERE {_HAS_RESULTS} AND number NOT IN (SELECT number FROM temp.listed) "
        "AND (edited.number IS NOT NULL OR number NOT IN (SELECT number FROM older))"
    )
    adopted: list[Adopted] = []
    while rows := _new_jobs_with_known_requests(file):
        for number, name, digest in rows:
            gone = _gone_job(file, digest)
            if gone is not None:
                adopted.append(_adopt_one(store, gone, number, name))
    set_aside = 0
    while True:
        for source in adopted:  # the list grows in the loop
            adopted += _adopt_takers(store, source, adopted)
        former = {fold(each.name): each.before for each in adopted if each.before != each.name}
        if not former or not (more := set_aside_renumbered(store, former)):
            return adopted, set_aside
        set_aside += more


def _adopt_takers(store: TakeMoves, source: Adopted, adopted: Sequence[Adopted]) -> list[Adopted]:
    """Adopt jobs whose requests differ from the earlier ones only by the new names of their sources."""
    file = store.file
    former = {fold(each.name): each.before for each in adopted}
    takers = file.rows(
        "SELECT DISTINCT number, name, path, body FROM links JOIN jobs ON number = job "
        "WHERE source = ? AND number IN (SELECT number FROM temp.added) AND state IN ('planned', 'blocked') "
        "ORDER BY number",
        fold(source.name),
    )
    found = []
    for number, name, path, body in takers:
        texts = former_texts(file, number, former)
        gone = _gone_job(file, keys.digest(path, posts.resolved(body, texts)))
        if gone is not None:
            found.append(_adopt_one(store, gone, number, name))
            _rewrite(file, gone[0], body, keys.digest(path, body), texts)
    return found


def _rewrite(file: File, number: int, body: bytes, digest: bytes, texts: Mapping[str, str]) -> None:
    """Store the links of an adopted job as its new line writes them; the URLs that were sent stay."""
    links = file.rows("SELECT text, source, output, place, url, task FROM links WHERE job = ?", number)
    now: dict[str, str] = {before: text for text, before in texts.items()}
    file.write("DELETE FROM links WHERE job = ?", number)
    for text, source, *others in links:
        link = parse_link(str(now.get(text, text)))
        written, at = (text, source) if link is None else (str(link), fold(link.job))
        file.write("INSERT INTO links VALUES (?, ?, ?, ?, ?, ?, ?)", number, written, at, *others)
    known = "(SELECT fold, digest FROM jobs WHERE number = ?)"
    file.write(f"UPDATE OR IGNORE refunds SET digest = ? WHERE (fold, digest) = {known}", digest, number)
    file.write("UPDATE jobs SET body = ?, digest = ? WHERE number = ?", body, digest, number)


def _gone_job(file: File, digest: bytes) -> Row | None:
    """Return a job of ``temp.gone`` with this request, preferably a saved one; None if there is none."""
    return file.row(
        "SELECT number, name, fold, edited, ordered FROM temp.gone WHERE digest = ? "
        "ORDER BY state <> 'saved', number LIMIT 1",
        digest,
    )


def _new_jobs_with_known_requests(file: File) -> list[Row]:
    """Return new jobs with the request of a job in ``temp.gone``; at most as many as there are of these."""
    return file.rows(
        "SELECT number, name, digest FROM jobs WHERE number IN (SELECT number FROM temp.added) "
        "AND state = 'planned' AND digest IN (SELECT digest FROM temp.gone) ORDER BY number "
        "LIMIT (SELECT count(*) FROM temp.gone)"
    )


def _adopt_one(store: TakeMoves, gone: Row, new: int, name: str) -> Adopted:
    """Replace a new job by the row of a job in ``temp.gone``, which gets its name and line."""
    number, before, former, was_edited, is_ordered = gone
    file = store.file
    ((*columns, folded),) = file.rows("SELECT unnamed, line, take, fold FROM jobs WHERE number = ?", new)
    edited = file.row("SELECT 1 FROM temp.edited WHERE fold = ?", folded)
    # Its older results go with it; of an edited job only those with the same request.
    file.write(
        "UPDATE older SET fold = ? WHERE fold = ? AND (? = 0 OR number IN "
        "(SELECT number FROM jobs WHERE digest = (SELECT digest FROM jobs WHERE number = ?)))",
        folded,
        former,
        was_edited,
        number,
    )
    _move_orders(file, former, folded, number, is_ordered=is_ordered)
    file.write("DELETE FROM temp.gone WHERE number = ?", number)
    projects.copy(file, new, number)
    file.write("DELETE FROM jobs WHERE number = ?", new)
    # Not recognised by its former names: a job that comes back under such a name is another one.
    file.write("DELETE FROM former_names WHERE number = ?", number)
    store.rename(number, name, at_once=True, recognised=False)
    file.write(
        "UPDATE jobs SET unnamed = ?, line = ?, take = ?, listed = 1 WHERE number = ?", *columns, number
    )
    file.write("UPDATE temp.listed SET number = ? WHERE number = ?", number, new)
    file.write("UPDATE OR IGNORE temp.misnamed SET number = ? WHERE number = ?", number, new)
    return Adopted(before, name, is_added=edited is None)


def _move_orders(file: File, former: str, folded: str, number: int, *, is_ordered: bool) -> None:
    """Move the open re-rolls and the counts of refunds of an adopted job to its new name."""
    if is_ordered:
        file.write("INSERT OR IGNORE INTO rerolls VALUES (?)", folded)
    file.write(
        "UPDATE OR IGNORE refunds SET fold = ? WHERE fold = ? "
        "AND digest = (SELECT digest FROM jobs WHERE number = ?)",
        folded,
        former,
        number,
    )
