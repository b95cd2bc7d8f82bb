"""A journal without an event loop, and drafts to put into it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from seedance_async import Job, NanoBananaPro, Submission
from seedance_async.batch.journal import Planner, Store, drafts
from seedance_async.batch.journal.disk import Space
from seedance_async.batch.journal.file import File
from seedance_async.batch.journal.opening import close, open_file
from seedance_async.models import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from seedance_async.batch.journal import Draft, Taken

ACCEPTED = Submission(id="nbp_a", task_ids=("nbp_a",), credits_used=12, raw={"id": "nbp_a"})


@contextmanager
def opened_store(directory: Path) -> Iterator[Store]:
    """Open the journal of a directory, and close it again."""
    connection = open_file(directory)
    try:
        yield Store(File(connection, Space(directory)))
    finally:
        close(connection, directory)


def draft(name: str | None, prompt: str = "A boat", *, line: int = 1) -> Draft:
    """What a manifest's line asks for."""
    (one,) = drafts(Job(NanoBananaPro(prompt=prompt), name=name), line=line, place=line)
    return one


def plan(store: Store, asked: Iterable[Draft]) -> Taken:
    """Read a manifest of these lines to its end."""
    planner = Planner(store, whole=True)
    taken = planner.take(list(asked))
    planner.finish(manifest="")
    return taken


def task(status: str, **fields: object) -> Task:
    """A final task of the accepted submission."""
    raw: dict[str, object] = {"id": "nbp_a", "status": status, **fields}
    return Task(id="nbp_a", status=status, raw=raw, **fields)  # type: ignore[arg-type]  # each test gives real fields
