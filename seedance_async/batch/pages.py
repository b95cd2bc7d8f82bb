"""A generator over the journal's rows that reads them in pages, so that memory stays bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from seedance_async.batch.journal import JobEntry, Journal

PAGE: Final = 200
"""Jobs that are read from the journal at a time."""


async def entries(journal: Journal, read: Callable[..., list[JobEntry]]) -> AsyncGenerator[JobEntry]:
    """Yield all rows of a query that returns them in pages."""
    last = 0
    while page := await journal.do(read, after=last, limit=PAGE):
        for row in page:
            yield row
        last = page[-1].number
