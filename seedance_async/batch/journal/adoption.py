"""The adoption of results by renamed jobs: what is paid under a name that is gone is not paid again.

A job that is new in a manifest and asks for exactly what a job asked for that is gone from it is taken for
that job under another name. So is one that asks for what a job asked for before it was edited: whoever puts a
shot in between renumbers all that come after it. So is a job whose links differ only because their sources
have other names now, and one whose links read the same though their sources do, see ``renumbering``. Only
what may be paid is taken over, and each result once.
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

_MAY_BE_PAID: Final = "('saved', 'completed', 'accepted', 'submitting', 'uncertain')"


@frozen
class Adopted:
    """A job under its new name.

    Attributes:
        before: its former name.
        is_added: whether no job had the new name before.
    """

    before: str
    name: str
    is_added: bool


def adopt(store: TakeMoves) -> tuple[list[Adopted], int]:
    """Give the jobs that are gone the names of new ones that ask for the same; part of a transaction.

    Args:
        store: of the journal, with the numbers of all jobs of the manifest in ``temp.listed``, of those that
            this reading has put there in ``temp.added``, and of those that were set aside for an edit in
            ``temp.edited``, with the name they had.

    Returns:
        Those that were taken over, the longest known first; and how many lines ask for something else now,
        though their words are the same.
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
        f"WHERE state IN {_MAY_BE_PAID} AND number NOT IN (SELECT number FROM temp.listed) "
        "AND (edited.number IS NOT NULL OR number NOT IN (SELECT number FROM older))"
    )
    adopted: list[Adopted] = []
    while rows := _that_ask_for_the_same(file):
        for number, name, digest in rows:
            gone = _one_that_asked_for(file, digest)
            if gone is not None:
                adopted.append(_take_over(store, gone, number, name))
    parted = 0
    while True:
        for source in adopted:  # grows
            adopted += _adopt_takers(store, source, adopted)
        former = {fold(each.name): each.before for each in adopted if each.before != each.name}
        if not former or not (more := set_aside_renumbered(store, former)):
            return adopted, parted
        parted += more


def _adopt_takers(store: TakeMoves, source: Adopted, adopted: Sequence[Adopted]) -> list[Adopted]:
    """Take over jobs that differ from ones that are gone in nothing but the new names of their sources."""
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
        gone = _one_that_asked_for(file, keys.digest(path, posts.resolved(body, texts)))
        if gone is not None:
            found.append(_take_over(store, gone, number, name))
            _rewrite(file, gone[0], body, keys.digest(path, body), texts)
    return found


def _rewrite(file: File, number: int, body: bytes, digest: bytes, texts: Mapping[str, str]) -> None:
    """Write the links of a job that was taken over as its new line does; what was sent stays."""
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


def _one_that_asked_for(file: File, digest: bytes) -> Row | None:
    """A job that is gone and asked for this; one with a result before all."""
    return file.row(
        "SELECT number, name, fold, edited, ordered FROM temp.gone WHERE digest = ? "
        "ORDER BY state <> 'saved', number LIMIT 1",
        digest,
    )


def _that_ask_for_the_same(file: File) -> list[Row]:
    """New jobs that ask for what a job that is gone asked for; not more than there are of these."""
    return file.rows(
        "SELECT number, name, digest FROM jobs WHERE number IN (SELECT number FROM temp.added) "
        "AND state = 'planned' AND digest IN (SELECT digest FROM temp.gone) ORDER BY number "
        "LIMIT (SELECT count(*) FROM temp.gone)"
    )


def _take_over(store: TakeMoves, gone: Row, new: int, name: str) -> Adopted:
    """Let a job that is gone stand in the place of a new one."""
    number, before, former, was_edited, is_ordered = gone
    file = store.file
    ((*columns, folded),) = file.rows("SELECT unnamed, line, take, fold FROM jobs WHERE number = ?", new)
    edited = file.row("SELECT 1 FROM temp.edited WHERE fold = ?", folded)
    # Its older results go with it; of a job that was edited only those of the same request are its.
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
    # Not recognised by its former names: a job of such a name that comes back is another one.
    file.write("DELETE FROM former_names WHERE number = ?", number)
    store.rename(number, name, at_once=True, recognised=False)
    file.write(
        "UPDATE jobs SET unnamed = ?, line = ?, take = ?, listed = 1 WHERE number = ?", *columns, number
    )
    file.write("UPDATE temp.listed SET number = ? WHERE number = ?", number, new)
    file.write("UPDATE OR IGNORE temp.misnamed SET number = ? WHERE number = ?", number, new)
    return Adopted(before, name, is_added=edited is None)


def _move_orders(file: File, former: str, folded: str, number: int, *, is_ordered: bool) -> None:
    """Let a job that is taken over keep what was ordered anew of it, and how often that was done."""
    if is_ordered:
        file.write("INSERT OR IGNORE INTO rerolls VALUES (?)", folded)
    file.write(
        "UPDATE OR IGNORE refunds SET fold = ? WHERE fold = ? "
        "AND digest = (SELECT digest FROM jobs WHERE number = ?)",
        folded,
        former,
        number,
    )
