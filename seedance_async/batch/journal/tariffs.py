"""The journal's table of tariffs: a few rows, kept in memory, that the jobs refer to and prices stand in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seedance_async.batch.journal import cells
from seedance_async.batch.ledger import Tariff
from seedance_async.models import Kind

if TYPE_CHECKING:
    from seedance_async.batch.journal.file import File

_KIND_FIELDS: Final = ("model", "quality_tier", "channel", "resolution", "seconds")
_KIND: Final = ", ".join(_KIND_FIELDS)


class Tariffs:
    """The tariffs of one batch, in the journal's thread."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._by_id: dict[int, Tariff] = {}
        self._ids: dict[Tariff, int] = {}

    def recall(self) -> None:
        """Read the table anew."""
        self._by_id.clear()
        self._ids.clear()
        for tariff_id, *kind, tasks in self._file.rows(f"id, {_KIND}, tasks AS pictures", "FROM tariffs"):
            self._remember(Tariff(Kind(**dict(zip(_KIND_FIELDS, kind, strict=True))), tasks), tariff_id)

    def of(self, tariff_id: int) -> Tariff:
        """The tariff of a row.

        Raises:
            JournalError: there is no such row, so the job that refers to it is damaged.
        """
        if tariff_id not in self._by_id:
            raise cells.damage(f"tariff {tariff_id} of a job")
        return self._by_id[tariff_id]

    def id_of(self, tariff: Tariff) -> int:
        """The row of a tariff, made if new; part of a transaction."""
        if tariff not in self._ids:
            kind = [getattr(tariff.kind, name) for name in _KIND_FIELDS]
            insert = f"INSERT INTO tariffs ({_KIND}, tasks) VALUES (?, ?, ?, ?, ?, ?)"
            self._file.connection.execute(insert, (*kind, tariff.tasks))
            ((tariff_id,),) = self._file.rows("last_insert_rowid()", "")
            self._remember(tariff, tariff_id)
        return self._ids[tariff]

    def prices(self) -> dict[Tariff, float]:
        """The highest price seen of each tariff."""
        rows = self._file.rows("id, price", "FROM tariffs WHERE price IS NOT NULL")
        return {self.of(tariff_id): price for tariff_id, price in rows}

    def learn(self, number: int, credits_used: float) -> None:
        """A job was charged so much; part of a transaction."""
        self._file.connection.execute(
            "UPDATE tariffs SET price = max(coalesce(price, 0), ?) "
            "WHERE id = (SELECT tariff FROM jobs WHERE number = ?)",
            (credits_used, number),
        )

    def _remember(self, tariff: Tariff, tariff_id: int) -> None:
        self._by_id[tariff_id] = tariff
        self._ids[tariff] = tariff_id
