"""The names of jobs that have none of their own, where a line of the manifest asks for something else now.

Such a job is called after its place, and recognised by its request. Where the place is another job's now, and
the one that was called after it is gone from the manifest, the name goes over as with an edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async.batch.states import State
from seedance_async.filenames import fold

if TYPE_CHECKING:
    from seedance_async.batch.journal.take_moves import TakeMoves


def begin(store: TakeMoves) -> None:
    """Begin to note which jobs are not called after their place."""
    store.file.write("DROP TABLE IF EXISTS temp.misnamed")
    store.file.write("CREATE TEMP TABLE misnamed (number INTEGER PRIMARY KEY, name TEXT)")


def note(store: TakeMoves, number: int, name: str) -> None:
    """Note a job without a name of its own, if it should be called so and another one is.

    One that was made before keeps the name that it has, unless it lost another one by an edit.
    """
    store.file.write(
        "INSERT OR IGNORE INTO temp.misnamed SELECT number, ? FROM jobs WHERE number = ? AND fold <> ? "
        "AND (state = 'planned' OR number IN (SELECT number FROM older))",
        name,
        number,
        fold(name),
    )


def settle(store: TakeMoves) -> tuple[int, int]:
    """Give jobs the names of those in whose place they stand, once it is known which are gone.

    Returns:
        How many jobs that are gone gave their names up, and how many of these to jobs that were made before.
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
