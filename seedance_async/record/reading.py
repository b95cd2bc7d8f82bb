"""Queries on an account's record, and the deletion of old entries, for the commands and for estimates.

Blocking: call it in a thread, or where no event loop runs.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from attrs import evolve

from seedance_async import clocks
from seedance_async.errors import RecordError
from seedance_async.record.asked import kind_of_text
from seedance_async.record.limits import day_of
from seedance_async.record.schema import HELD, connect, connect_to_nothing, transaction
from seedance_async.record.store import is_being_sent
from seedance_async.record.values import SUBMITTING, UNCERTAIN, PostRecord, Spending, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from seedance_async.models import Kind
    from seedance_async.record.values import By

PATIENCE: Final = 5.0
"""Seconds to wait for another process that holds the write lock."""

_GROUPS: Final[dict[By, str]] = {
    "day": "date(day * 86400, 'unixepoch')",
    "month": "strftime('%Y-%m', day * 86400, 'unixepoch')",
    "model": "model",
    "project": "project",
}


class Reader:
    """Reads a record's file; a file that does not exist yet counts as empty.

    Every method raises ``RecordError`` if the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def posts(self, *, since: datetime | None = None) -> Iterator[PostRecord]:
        """Yield the POSTs that were first sent at or after an instant, in their order."""
        after = 0.0 if since is None else since.timestamp()
        now = clocks.wall_now()
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT id, key, state, model, sent_at, credits_used, CASE settled WHEN 0 THEN "
                f"{HELD} END, project, prompt, error, owner, touched_at FROM posts "
                "WHERE sent_at >= ? ORDER BY id",
                (after,),
            )
            for row, key, state, model, sent_at, used, held, project, prompt, error, owner, touched in rows:
                yield PostRecord(
                    key=key,
                    state=_state(state, owner, touched, now),
                    model=model,
                    tasks=_tasks(connection, row),
                    sent_at=_instant(sent_at),
                    credits_used=used,
                    credits_held=held,
                    project=project,
                    prompt=prompt,
                    error=error,
                )

    def spending(self, by: By) -> list[Spending]:
        """Return the sums of all POSTs per UTC day or month of sending, or per model or project."""
        group = _GROUPS[by]
        with self._connection() as connection:
            rows = connection.execute(
                f"SELECT {group} AS name, sum(state = 'accepted'), COALESCE(sum(credits_used), 0), "
                f"sum(credits_refunded), sum(settled = 0), "
                f"COALESCE(sum(CASE settled WHEN 0 THEN {HELD} END), 0) "
                "FROM posts GROUP BY name ORDER BY name"
            ).fetchall()
        found = [
            Spending(
                group=name,
                posts=posts,
                credits_used=used,
                credits_refunded=refunded,
                uncertain=uncertain,
                credits_uncertain=held,
            )
            for name, posts, used, refunded, uncertain, held in rows
        ]
        return [each for each in found if each.posts or each.uncertain]

    def prices(self) -> dict[Kind, float]:
        """Return the highest price seen for one task of each kind, in credits."""
        with self._connection() as connection:
            rows = connection.execute("SELECT kind, high FROM prices").fetchall()
        return {kind_of_text(text): high for text, high in rows}

    def forget(self, *, before: datetime) -> int:
        """Delete the settled POSTs that were sent before the UTC day of an instant, and return their number.

        Kept are the present month, which limits need; the prices; and POSTs whose cost is not settled.
        """
        month = datetime.fromtimestamp(clocks.wall_now(), UTC).replace(day=1)
        day = min(day_of(before.timestamp()), day_of(month.timestamp()))
        with self._connection() as connection:
            with transaction(connection):
                old = "SELECT id FROM posts WHERE day < ? AND settled = 1"
                connection.execute(f"DELETE FROM tasks WHERE post IN ({old})", (day,))
                deleted = connection.execute(
                    "DELETE FROM posts WHERE day < ? AND settled = 1", (day,)
                ).rowcount
                connection.execute("DELETE FROM days WHERE day < ?", (day,))
            with suppress(sqlite3.Error):  # another process is reading: SQLite reuses the free pages anyway
                connection.execute("VACUUM")
        return deleted

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            is_there = self.path.exists()
            connection = connect(self.path, patience=PATIENCE) if is_there else connect_to_nothing()
            try:
                yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError, ValueError) as problem:
            raise RecordError(f"the account's record {self.path} cannot be read: {problem}") from problem


def total(sums: list[Spending]) -> Spending:
    """Return the sum of several sums."""
    whole = Spending(group=None)
    for each in sums:
        whole = evolve(
            whole,
            posts=whole.posts + each.posts,
            credits_used=whole.credits_used + each.credits_used,
            credits_refunded=whole.credits_refunded + each.credits_refunded,
            uncertain=whole.uncertain + each.uncertain,
            credits_uncertain=whole.credits_uncertain + each.credits_uncertain,
        )
    return whole


def _tasks(connection: sqlite3.Connection, post: int) -> tuple[TaskRecord, ...]:
    rows = connection.execute(
        "SELECT id, status, credits_refunded, ended_at FROM tasks WHERE post = ? ORDER BY place", (post,)
    )
    return tuple(
        TaskRecord(
            id=task, status=status, credits_refunded=refunded, ended_at=ended_at and _instant(ended_at)
        )
        for task, status, refunded, ended_at in rows
    )


def _state(state: str, owner: str, touched_at: float, now: float) -> str:
    """Return the state of a POST: uncertain if the process that was sending it has died."""
    is_abandoned = state == SUBMITTING and not is_being_sent(owner, touched_at, now)
    return UNCERTAIN if is_abandoned else state


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
