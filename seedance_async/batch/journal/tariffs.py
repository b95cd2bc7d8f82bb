"""The journal's table of tariffs: a few rows, kept in memory, that the jobs refer to and prices stand in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seedance_async.batch.ledger import Tariff
from seedance_async.models import Kind

if TYPE_CHECKING:
    from seedance_async.batch.journal.opening import Connection

_KIND_FIELDS: Final = ("model", "quality_tier", "channel", "resolution", "seconds")
_KIND: Final = ", ".join(_KIND_FIELDS)


class Tariffs:
    """The tariffs of one batch, in the journal's thread.

    Attributes:
        by_id: each tariff by its row.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.by_id: dict[int, Tariff] = {}
        self._ids: dict[Tariff, int] = {}

    def recall(self) -> None:
        """Read the table anew."""
        self.by_id.clear()
        self._ids.clear()
        rows = self._connection.execute(f"SELECT id, {_KIND}, tasks FROM tariffs").fetchall()
        for tariff_id, *kind, tasks in rows:
            self._remember(Tariff(Kind(**dict(zip(_KIND_FIELDS, kind, strict=True))), tasks), tariff_id)

    def id_of(self, tariff: Tariff) -> int:
        """The row of a tariff, made if new; part of a transaction."""
        if tariff not in self._ids:
            kind = [getattr(tariff.kind, name) for name in _KIND_FIELDS]
            insert = f"INSERT INTO tariffs ({_KIND}, tasks) VALUES (?, ?, ?, ?, ?, ?)"
            self._connection.execute(insert, (*kind, tariff.tasks))
            (tariff_id,) = self._connection.execute("SELECT last_insert_rowid()").fetchone()
            self._remember(tariff, tariff_id)
        return self._ids[tariff]

    def prices(self) -> dict[Tariff, float]:
        """The highest price seen of each tariff."""
        rows = self._connection.execute("SELECT id, price FROM tariffs WHERE price IS NOT NULL").fetchall()
        return {self.by_id[tariff_id]: price for tariff_id, price in rows}

    def learn(self, number: int, credits_used: float) -> None:
        """A job was charged so much; part of a transaction."""
        self._connection.execute(
            "UPDATE tariffs SET price = max(coalesce(price, 0), ?) "
            "WHERE id = (SELECT tariff FROM jobs WHERE number = ?)",
            (credits_used, number),
        )

    def _remember(self, tariff: Tariff, tariff_id: int) -> None:
        self.by_id[tariff_id] = tariff
        self._ids[tariff] = tariff_id
