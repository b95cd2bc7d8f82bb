"""The checks of local files that need the whole manifest: unreadable files, and a missing media store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seedance_async.batch.journal.link_checks import field_of
from seedance_async.media import NO_STORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seedance_async.batch.journal.queries import Queries

PAGE: Final = 500


def problems(
    store: Queries, gone: Mapping[str, str], *, has_store: bool, fresh: bool
) -> Iterator[tuple[int, str, str]]:
    """Yield the reasons why local files cannot be sent: line, field and reason.

    Args:
        store: the journal's store.
        gone: by path, why a file that earlier runs read cannot be read now.
        has_store: whether a media store is configured; if not, one problem is reported for all files.
        fresh: whether the journal had no jobs before; otherwise this reading's lines are in ``temp.listed``.
    """
    if has_store and not gone:
        return
    without_store: tuple[int, str, str] | None = None
    more = 0
    for line, body, ref, path in _unsent(store, fresh=fresh):
        if path in gone:
            yield line, field_of(body, ref), gone[path]
        if has_store:
            continue
        more += without_store is not None
        without_store = without_store or (line, field_of(body, ref), f"{path!r:.300} {NO_STORE}")
    if without_store is not None:
        line, name, reason = without_store
        yield line, name, reason + (f"; {more:,} more local files stand below" if more else "")


def _unsent(store: Queries, *, fresh: bool) -> Iterator[tuple[int, bytes, str, str]]:
    """Yield the local files of jobs that are still to be sent: line, body, content reference, and path."""
    line, listed = (
        ("jobs.line", "") if fresh else ("listed.line", "JOIN temp.listed AS listed USING (number)")
    )
    after = (0, "")
    while rows := store.file.rows(
        f"SELECT number, ref, {line}, body, inputs.path FROM inputs JOIN jobs ON jobs.number = inputs.job "
        f"{listed} WHERE (inputs.job, ref) > (?, ?) AND state IN ('planned', 'blocked') AND post IS NULL "
        "ORDER BY inputs.job, ref LIMIT ?",
        *after,
        PAGE,
    ):
        for number, ref, at, body, path in rows:
            yield at, body, ref, path
            after = number, ref
