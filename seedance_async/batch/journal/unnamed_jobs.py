"""The names of jobs without a name of their own, after lines of the manifest were changed.

Such a job is named after its position, and recognised by its request. If another job has the position now,
and the job that had the name was removed from the manifest, the name passes to the new one as in an edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async.batch.states import State
from seedance_async.filenames import fold

if TYPE_CHECKING:
    from seedance_async.batch.journal.take_moves import TakeMoves


def begin(store: TakeMoves) -> None:
    """Create the empty table of jobs whose names do not follow from their positions."""
    store.file.write("DROP TABLE IF EXISTS temp.misnamed")
    store.file.write("CREATE TEMP TABLE misnamed (number INTEGER PRIMARY KEY, name TEXT)")


def note(store: TakeMoves, number: int, name: str) -> None:
    """Note that an unnamed job should have this name, if it has another one.

    A job that was made before keeps the name that it has, unless it lost another name by an edit.
    """
    store.file.write(
        "INSERT OR IGNORE INTO temp.misnamed SELECT number, ? FROM jobs WHERE number = ? AND fold <> ? "
        "AND (state = 'planned' OR number IN (SELECT number FROM older))",
        name,
        number,
        fold(name),
    )


def settle(store: TakeMoves) -> tuple[int, int]:
    """Give the noted jobs the names of their positions, once it is known which jobs were removed.

    Returns:
        The number of removed jobs that lost their names, and how many of these names went to jobs that were
        made before.
    """
    given_up, found = 0, 0
    rows = store.file.rows(
        "SELECT number, misnamed.name, state FROM temp.misnamed JOIN jobs USING (number) WHERE listed = 1"
    )
    for number, name, state in rows:
        holder = store.file.row("SELECT number, listed, unnamed FROM jobs WHERE fold = ?", fold(name))
        if holder is not None and holder[1:] != (0, 1):
            continue
        if holder is not None:
            store.set_aside(holder[0], store.free_name(f"{name}-before-edit"))
            given_up += 1
            found += state != State.PLANNED
        store.rename(number, name, at_once=True, recognised=False)
    return given_up, found
