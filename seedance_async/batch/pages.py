"""The journal's rows for a run, read a page at a time: memory does not grow with the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from seedance_async.batch.journal import JobEntry, Journal

PAGE: Final = 200
"""Jobs that are read from the journal at a time."""


async def entries(journal: Journal, read: Callable[..., list[JobEntry]]) -> AsyncGenerator[JobEntry]:
    """Every row that ``read`` gives."""
    last = 0
    while page := await journal.do(read, after=last, limit=PAGE):
        for row in page:
            yield row
        last = page[-1].number
