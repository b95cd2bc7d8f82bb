"""A batch directory as a page: what the journal knows, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import to_thread

from seedance_async.batch import gallery
from seedance_async.batch.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

PAGE: Final = "gallery.html"


async def write_gallery(directory: Path) -> Path:
    """Write the page of a batch that is not running.

    Raises:
        JournalError: there is no journal that can be used, or a runner works in the directory.
    """
    journal = await Journal.open(directory)
    try:
        entries = await journal.do(journal.store.entries, after=0, limit=10_000)
    finally:
        await journal.close()
    exhibits = [
        gallery.Exhibit(
            name=entry.name,
            model=entry.model,
            prompt=str(entry.request_fields.get("prompt", "")),
            files=entry.files,
            error=entry.error,
        )
        for entry in entries
    ]
    page = directory / PAGE
    await to_thread.run_sync(page.write_text, gallery.render(exhibits, title=directory.name), "utf-8")
    return page
