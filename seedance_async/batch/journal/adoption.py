"""The adoption of results by renamed jobs: what is paid under a name that is gone is not paid again.

A job that is new in a manifest and asks for exactly what a job asked for that is gone from it is taken for
that job under another name. So is one that asks for what a job asked for before it was edited: whoever puts a
shot in between renumbers all that come after it. Only what may be paid is taken over, and each result once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.batch.journal import projects

if TYPE_CHECKING:
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


def adopt(store: TakeMoves) -> list[Adopted]:
    """Give the jobs that are gone the names of new ones that ask for the same; part of a transaction.

    Args:
        store: of the journal, with the numbers of all jobs of the manifest in ``temp.listed``, of those that
            this reading has put there in ``temp.added``, and of those that were set aside for an edit in
            ``temp.edited``, with the name they had.

    Returns:
        Those that were taken over, the longest known first.
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
            gone = file.row(
                "SELECT number, name, fold, edited, ordered FROM temp.gone WHERE digest = ? "
                "ORDER BY state <> 'saved', number LIMIT 1",
                digest,
            )
            if gone is not None:
                adopted.append(_take_over(store, gone, number, name))
    return adopted


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
