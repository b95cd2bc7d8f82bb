"""What can be asked of a journal: what there is to do, and what is known.

Everything here runs in the journal's own thread and changes nothing. Whatever may be long comes a page at a
time, in the order of the jobs' numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seedance_async import completions
from seedance_async.batch.journal.records import (
    ENTRY_COLUMNS,
    TICKET_COLUMNS,
    Entry,
    Hold,
    Milestones,
    Ticket,
    entry,
    ticket,
)
from seedance_async.batch.journal.tariffs import Tariffs
from seedance_async.batch.states import ENDED, State
from seedance_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.batch.journal.cells import Row
    from seedance_async.batch.journal.file import File
    from seedance_async.batch.ledger import Tariff
    from seedance_async.models import Kind


class Reader:
    """The jobs of one batch, to be asked about.

    Attributes:
        tariffs: what the jobs cost.
        run: counts the runs of the batch from 1.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self.tariffs: Tariffs = Tariffs(file)
        self.run: int = 0

    def fact(self, name: str) -> str | None:
        """A fact about the batch, as it was remembered last."""
        row = self.first("value", "FROM meta WHERE name = ?", name)
        return None if row is None else str(row[0])

    # --- what there is to do

    def to_send(self, *, after: int, limit: int) -> list[Ticket]:
        """Jobs of the manifest that were never sent, in order of their numbers."""
        return self._tickets("state = ? AND listed = 1", State.PLANNED, after=after, limit=limit)

    def given(self, numbers: Sequence[int]) -> list[Ticket]:
        """These jobs, in order of their numbers; a few hundred at most."""
        marks = ", ".join("?" * len(numbers))
        return self._tickets(f"number IN ({marks})", *numbers, after=0, limit=len(numbers))

    def to_send_again(self, *, after: int, limit: int) -> list[Ticket]:
        """Jobs that were sent by an earlier run, and whose answer never came."""
        return self._tickets("state = ? AND run < ?", State.SUBMITTING, self.run, after=after, limit=limit)

    def sharing(self, number: int) -> list[Ticket]:
        """All jobs that share the POST of this one and are under way with it, in order of their numbers."""
        same = "seat IS NOT NULL AND key = (SELECT key FROM jobs WHERE number = ?) AND state = ?"
        return self._tickets(same, number, State.SUBMITTING, after=0, limit=completions.MOST_IN_A_POST)

    def to_collect(self, *, after: int, limit: int) -> list[Ticket]:
        """Accepted jobs whose tasks are to be followed."""
        return self._tickets("state = ?", State.ACCEPTED, after=after, limit=limit)

    def to_save(self, *, after: int, limit: int) -> list[Ticket]:
        """Jobs that an earlier run saw completed, and whose files are still to be fetched."""
        return self._tickets("state = ? AND run < ?", State.COMPLETED, self.run, after=after, limit=limit)

    # --- what is known

    def entry(self, number: int) -> Entry:
        """Everything about one job."""
        found = self._entries("number = ?", number, after=0, limit=1)
        if not found:
            raise JournalError(f"the journal has no job {number}")
        return found[0]

    def entries(self, *, after: int, limit: int) -> list[Entry]:
        """All jobs in the order of their numbers, a page at a time."""
        return self._entries("1", after=after, limit=limit)

    def ended_earlier(self, *, after: int, limit: int) -> list[Entry]:
        """Jobs of the manifest that this run has nothing to do for."""
        return self._entries(_ENDED_EARLIER, self.run, *_NOTHING_TO_DO, after=after, limit=limit)

    def ended_earlier_of(self, numbers: Sequence[int]) -> list[Entry]:
        """Those of these jobs that this run has nothing to do for."""
        marks = ", ".join("?" * len(numbers))
        condition = f"{_ENDED_EARLIER} AND number IN ({marks})"
        return self._entries(condition, self.run, *_NOTHING_TO_DO, *numbers, after=0, limit=len(numbers))

    def still_open(self, *, after: int, limit: int) -> list[Entry]:
        """Jobs of the manifest that the API has not finished."""
        marks = ", ".join("?" * len(_OPEN))
        return self._entries(f"listed = 1 AND +state IN ({marks})", *_OPEN, after=after, limit=limit)

    def accepted_ids(self, *, limit: int) -> list[str]:
        """A task id of each of the jobs that were accepted last."""
        rows = self._all(
            "number, state, task_ids",
            "FROM jobs WHERE state IN (?, ?, ?) ORDER BY number DESC LIMIT ?",
            State.ACCEPTED,
            State.COMPLETED,
            State.SAVED,
            limit,
        )
        return [task_ids[0] for *_, task_ids in rows]

    def doubts(self, account: str) -> int:
        """How many jobs were sent with another API key than this one, and never answered."""
        condition = "state IN (?, ?) AND account IS NOT ?"
        row = self.first("count(*)", f"FROM jobs WHERE {condition}", *_DOUBTED, account)
        return int(row[0]) if row else 0

    def holds(self) -> list[Hold]:
        """Jobs that may have cost something which nobody has told."""
        rows = self._all(
            "number, tariff, state",
            "FROM jobs "
            "WHERE credits_used IS NULL AND key IS NOT NULL AND state NOT IN ('planned', 'refused')",
        )
        return [Hold(number, self.tariffs.of(tariff), state) for number, tariff, state in rows]

    def tally(self) -> dict[tuple[Tariff, State], int]:
        """How many jobs of the manifest there are of each tariff in each state."""
        rows = self._all("tariff, state, count(*)", "FROM jobs WHERE listed = 1 GROUP BY tariff, state")
        return {(self.tariffs.of(tariff_id), state): count for tariff_id, state, count in rows}

    def alike(self) -> list[tuple[Tariff, int, int]]:
        """Planned jobs: by tariff, how often the same is asked for, and how many such groups there are."""
        same = (
            "SELECT tariff, count(*) AS jobs FROM jobs WHERE listed = 1 AND state = ? GROUP BY tariff, digest"
        )
        rows = self._all("tariff, jobs, count(*)", f"FROM ({same}) GROUP BY tariff, jobs", State.PLANNED)
        return [(self.tariffs.of(tariff_id), jobs, count) for tariff_id, jobs, count in rows]

    def course(self, *, after: int, limit: int) -> list[Milestones]:
        """When each job was sent and was over, in the order of their numbers, a page at a time."""
        columns = "number, state, intended_at, accepted_at, ended_at"
        rows = self._page(columns, "1", after=after, limit=limit)
        return [Milestones(*row) for row in rows]

    def durations(self, *, limit: int) -> list[tuple[Kind, float]]:
        """What the latest completed tasks took in seconds, oldest first."""
        rows = self._all(
            "number, state, tariff, tasks",
            "FROM jobs WHERE state IN (?, ?) ORDER BY ended_at DESC LIMIT ?",
            State.COMPLETED,
            State.SAVED,
            limit,
        )
        tasks = [
            (self.tariffs.of(tariff_id).kind, task) for *_, tariff_id, told in reversed(rows) for task in told
        ]
        return [(kind, task.duration) for kind, task in tasks if task.is_completed and task.duration]

    # --- the file

    def first(self, columns: str, rest: str, *parameters: object) -> Row | None:
        """The first row that a query gives; see ``File.rows``."""
        return next(iter(self._all(columns, rest, *parameters)), None)

    def _state(self, number: int) -> State:
        """Where a job stands, as the rest of its row bears out."""
        state: State = self._job(number, "state, key, intended_at, task_ids")[0]
        return state

    def _job(self, number: int, columns: str) -> Row:
        row = self.first(f"{columns}, number", "FROM jobs WHERE number = ?", number)
        if row is None:
            raise JournalError(f"the journal has no job {number}")
        return row[:-1]

    def _tickets(self, condition: str, *values: object, after: int, limit: int) -> list[Ticket]:
        rows = self._page(TICKET_COLUMNS, condition, *values, after=after, limit=limit)
        return [ticket(row, self.tariffs.of) for row in rows]

    def _entries(self, condition: str, *values: object, after: int, limit: int) -> list[Entry]:
        return [entry(row) for row in self._page(ENTRY_COLUMNS, condition, *values, after=after, limit=limit)]

    def _page(self, columns: str, condition: str, *values: object, after: int, limit: int) -> list[Row]:
        return self._all(
            columns,
            f"FROM jobs WHERE {condition} AND number > ? ORDER BY number LIMIT ?",
            *values,
            after,
            limit,
        )

    def _all(self, columns: str, rest: str, *parameters: object) -> list[Row]:
        return self.file.rows(columns, rest, *parameters)


_NOTHING_TO_DO: Final = (*sorted(ENDED), State.UNCERTAIN)
# The plus keeps SQLite from using the index of states: these pages are read in the order of their numbers.
_ENDED_EARLIER: Final = f"listed = 1 AND run < ? AND +state IN ({', '.join('?' * len(_NOTHING_TO_DO))})"
_DOUBTED: Final = (State.SUBMITTING, State.UNCERTAIN)
_OPEN: Final = (State.PLANNED, State.SUBMITTING, State.ACCEPTED)
