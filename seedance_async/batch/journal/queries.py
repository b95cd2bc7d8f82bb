"""The read-only queries of a journal: jobs to be processed, and everything stored about them.

Everything here runs in the journal's own thread. Long results are read in pages, in the order of the jobs'
numbers: ``after`` is the last number of the page before, ``limit`` the size of a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async import clocks
from seedance_async.batch.journal.records import (
    ENTRY_COLUMNS,
    EXTRA,
    JobEntry,
    damage,
    entry,
    names,
    tasks_of,
)
from seedance_async.batch.states import ENDED, State
from seedance_async.errors import JournalError
from seedance_async.models import Kind
from seedance_async.posts import MOST_JOBS
from seedance_async.prices import Tariff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.batch.journal.file import File

_KIND_FIELDS: Final = ("model", "quality_tier", "channel", "resolution", "seconds")
KIND_COLUMNS: Final = ", ".join(_KIND_FIELDS)


@frozen
class Milestones:
    """The state of a job and the times of its changes, in seconds of the wall clock, or None.

    Attributes:
        is_extra: whether it is another take of a job, or was removed from the manifest.
    """

    number: int
    is_extra: bool
    state: State
    intended_at: float | None
    accepted_at: float | None
    ended_at: float | None


class Queries:
    """The queries about the jobs of one batch.

    Attributes:
        run: number of the present run, from 1; 0 before the first.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self.run: int = 0
        self._tariffs: dict[int, Tariff] = {}
        self._tariff_rows: dict[Tariff, int] = {}
        self._chosen = "1"

    def fact(self, name: str) -> str | None:
        """Return the fact that is stored under a name; None if there is none."""
        row = self.file.row("SELECT value FROM meta WHERE name = ?", name)
        return None if row is None else str(row[0])

    # --- jobs to be processed

    def to_send(self, *, after: int, limit: int) -> list[JobEntry]:
        """Return planned jobs that can be sent now."""
        such = f"jobs.state = ? AND listed = 1 AND {self._chosen} AND {READY}"
        return self._entries(such, State.PLANNED, after=after, limit=limit)

    def to_send_of(self, numbers: Sequence[int]) -> list[JobEntry]:
        """Return those of these jobs that can be sent now; for a few hundred numbers at most."""
        such = f"number IN ({', '.join('?' * len(numbers))}) AND jobs.state = ? AND {READY}"
        return self._entries(such, *numbers, State.PLANNED, after=0, limit=len(numbers))

    def to_send_again(self, *, after: int, limit: int) -> list[JobEntry]:
        """Return jobs that an earlier run sent without receiving an answer."""
        return self._entries(
            "jobs.state = ? AND run < ?", State.SUBMITTING, self.run, after=after, limit=limit
        )

    def members(self, number: int) -> list[JobEntry]:
        """Return the jobs of this one's POST that still wait for its answer, in the order of their places."""
        same = "post = (SELECT post FROM jobs WHERE number = ?) AND jobs.state = ?"
        found = self._entries(same, number, State.SUBMITTING, after=0, limit=MOST_JOBS)
        return sorted(found, key=lambda job: job.place or 0)

    def to_collect(self, *, after: int, limit: int) -> list[JobEntry]:
        """Return accepted jobs, whose tasks are to be polled."""
        return self._entries("jobs.state = ?", State.ACCEPTED, after=after, limit=limit)

    def to_save(self, *, only_renamed: bool, after: int, limit: int) -> list[JobEntry]:
        """Return jobs that were completed in an earlier run and whose files are still to be downloaded.

        Args:
            only_renamed: whether to return only those that were renamed since.
            after: the number of the last job of the page before.
            limit: size of the page.
        """
        such = "jobs.state = ? AND run < ?"
        if only_renamed:
            such += " AND number IN (SELECT number FROM moves)"
        return self._entries(such, State.COMPLETED, self.run, after=after, limit=limit)

    def saved_files(self, *, after: int, limit: int) -> list[tuple[int, tuple[str, ...]]]:
        """Return number and files of the manifest's saved jobs."""
        rows = self.file.rows(
            "SELECT number, files FROM jobs WHERE +state = ? AND listed = 1 AND number > ? "
            "ORDER BY number LIMIT ?",
            State.SAVED,
            after,
            limit,
        )
        return [(number, names(files, f"files of job {number}")) for number, files in rows]

    def newest_saved(self) -> list[JobEntry]:
        """Return, for each tariff, the saved job of the manifest, or its final, that was accepted last.

        Older takes are excluded, and so are jobs with a saved final.
        """
        finished = "SELECT source FROM finals JOIN jobs AS final USING (number) WHERE final.state = 'saved'"
        rows = self.file.rows(
            "SELECT number, max(accepted_at) FROM jobs WHERE state = ? "
            "AND (listed = 1 OR number IN (SELECT number FROM finals)) "
            f"AND number NOT IN (SELECT number FROM older) AND number NOT IN ({finished}) GROUP BY tariff",
            State.SAVED,
        )
        return [self.entry(number) for number, _ in rows]

    def under_way(self) -> list[tuple[int, Kind]]:
        """Return number and kind of the manifest's jobs that were sent and have neither failed nor files."""
        rows = self.file.rows(
            "SELECT number, tariff FROM jobs WHERE state IN (?, ?, ?) AND listed = 1",
            State.SUBMITTING,
            State.ACCEPTED,
            State.COMPLETED,
        )
        return [(number, self.tariff(tariff).kind) for number, tariff in rows]

    # --- stored information

    def entry(self, number: int) -> JobEntry:
        """Return everything that is stored about one job."""
        found = self._entries("number = ?", number, after=0, limit=1)
        if not found:
            raise JournalError(f"the journal has no job {number}")
        return found[0]

    def entries(self, *, after: int, limit: int) -> list[JobEntry]:
        """Return a page of all jobs."""
        return self._entries("1", after=after, limit=limit)

    def ended_earlier(self, *, after: int, limit: int) -> list[JobEntry]:
        """Return jobs of the manifest that ended before this run."""
        return self._entries(_ENDED_EARLIER, self.run, *_NOTHING_TO_DO, after=after, limit=limit)

    def ended_earlier_of(self, numbers: Sequence[int]) -> list[JobEntry]:
        """Return those of these jobs that ended before this run."""
        marks = ", ".join("?" * len(numbers))
        condition = f"{_ENDED_EARLIER} AND number IN ({marks})"
        return self._entries(condition, self.run, *_NOTHING_TO_DO, *numbers, after=0, limit=len(numbers))

    def still_open(self, *, after: int, limit: int) -> list[JobEntry]:
        """Return jobs of the manifest that were not sent yet, or that the API has not finished."""
        marks = ", ".join("?" * len(_OPEN))
        such = f"listed = 1 AND {self._chosen} AND +jobs.state IN ({marks})"
        return self._entries(such, *_OPEN, after=after, limit=limit)

    def accepted_ids(self, *, limit: int) -> list[str]:
        """Return one task id of each of the last jobs that were accepted and have not failed."""
        rows = self.file.rows(
            f"SELECT {ENTRY_COLUMNS} FROM {_JOBS} WHERE jobs.state IN (?, ?, ?) ORDER BY number DESC LIMIT ?",
            State.ACCEPTED,
            State.COMPLETED,
            State.SAVED,
            limit,
        )
        return [job.task_ids[0] for job in (entry(row, self._tariffs) for row in rows)]

    def running_ids(self, *, limit: int) -> list[str]:
        """Return one task id of each of the last jobs whose tasks are still running."""
        rows = self.file.rows(
            f"SELECT {ENTRY_COLUMNS} FROM {_JOBS} WHERE jobs.state = ? ORDER BY number DESC LIMIT ?",
            State.ACCEPTED,
            limit,
        )
        return [job.task_ids[0] for job in (entry(row, self._tariffs) for row in rows)]

    def doubts(self, account: str) -> int:
        """Return the number of jobs that were sent with another API key and got no answer."""
        row = self.file.row(
            f"SELECT count(*) FROM {_JOBS} WHERE jobs.state IN (?, ?) AND account IS NOT ?",
            State.SUBMITTING,
            State.UNCERTAIN,
            account,
        )
        return int(row[0]) if row else 0

    def unpriced(self) -> list[tuple[int, Tariff, State]]:
        """Return number, tariff and state of jobs that may have been charged an unknown amount.

        Earlier POSTs of jobs that were planned again since are included, under negative numbers.
        """
        rows = self.file.rows(
            "SELECT number, tariff, state FROM jobs "
            "WHERE credits_used IS NULL AND state NOT IN ('planned', 'refused', 'blocked')"
        )
        earlier = self.file.rows("SELECT tariff FROM unpriced ORDER BY post, place")
        rows += [(-number, tariff, State.FAILED) for number, (tariff,) in enumerate(earlier, start=1)]
        return [(number, self.tariff(tariff), State(state)) for number, tariff, state in rows]

    def accepted_charges(self) -> list[tuple[int, Tariff, float | None, bool]]:
        """Return number, tariff, charge so far, and whether the POST was shared, of each accepted job.

        Those with lower charges come first, and those without one before them.
        """
        rows = self.file.rows(
            "SELECT number, tariff, credits_used, "
            "(SELECT count(*) FROM jobs AS member WHERE member.post = jobs.post) > 1 "
            "FROM jobs WHERE state = ? ORDER BY credits_used, number",
            State.ACCEPTED,
        )
        return [
            (number, self.tariff(tariff), charged, bool(shared)) for number, tariff, charged, shared in rows
        ]

    def tally(self) -> dict[tuple[Tariff, State], int]:
        """Return the number of the manifest's jobs for each tariff and state."""
        rows = self.file.rows(
            "SELECT tariff, state, count(*) FROM jobs "
            f"WHERE listed = 1 AND {self._chosen} GROUP BY tariff, state"
        )
        return {(self.tariff(tariff), State(state)): count for tariff, state, count in rows}

    def alike(self) -> list[tuple[Tariff, int, int]]:
        """Return groups of planned jobs with equal requests: tariff, jobs per group, and number of groups."""
        same = (
            "SELECT tariff, count(*) AS jobs FROM jobs "
            f"WHERE listed = 1 AND {self._chosen} AND state = ? GROUP BY tariff, digest"
        )
        rows = self.file.rows(
            f"SELECT tariff, jobs, count(*) FROM ({same}) GROUP BY tariff, jobs", State.PLANNED
        )
        return [(self.tariff(tariff), jobs, groups) for tariff, jobs, groups in rows]

    def prices(self) -> dict[Tariff, float]:
        """Return the highest price seen for each tariff, in credits."""
        rows = self.file.rows("SELECT id, price FROM tariffs WHERE price IS NOT NULL")
        return {self.tariff(tariff): price for tariff, price in rows}

    def course(self, *, after: int, limit: int) -> list[Milestones]:
        """Return a page of the states of all jobs, with their times."""
        rows = self.file.rows(
            f"SELECT number, {EXTRA}, jobs.state, "
            "CASE WHEN jobs.state NOT IN ('planned', 'blocked') THEN nullif(intended_at, 0) END, "
            f"accepted_at, ended_at FROM {_JOBS} WHERE number > ? ORDER BY number LIMIT ?",
            after,
            limit,
        )
        return [
            Milestones(number, bool(is_extra), State(state), *instants)
            for number, is_extra, state, *instants in rows
        ]

    def durations(self, *, limit: int) -> list[tuple[Kind, float]]:
        """Return kind and duration in seconds of the latest completed tasks, oldest first.

        None is longer than we waited for its task. One that is much longer is left out: a clock was wrong.
        """
        rows = self.file.rows(
            "SELECT number, tariff, tasks, ended_at - accepted_at FROM jobs "
            "WHERE state IN (?, ?) ORDER BY ended_at DESC LIMIT ?",
            State.COMPLETED,
            State.SAVED,
            limit,
        )
        tasks = [
            (self.tariff(tariff).kind, task, waited or 0.0)
            for number, tariff, cell, waited in reversed(rows)
            for task in tasks_of(cell, f"tasks of job {number}")
        ]
        return [
            (kind, min(task.duration, waited))
            for kind, task, waited in tasks
            if task.is_completed and task.duration and 0 < waited >= task.duration - clocks.TOLERANCE
        ]

    # --- the file

    def tariff(self, tariff: int) -> Tariff:
        """Return the tariff with this row id."""
        if tariff not in self._tariffs:
            raise damage(f"tariff {tariff} of a job")
        return self._tariffs[tariff]

    def _read_tariffs(self) -> None:
        """Read the table of tariffs into memory; it has few rows."""
        rows = self.file.rows(f"SELECT id, {KIND_COLUMNS}, tasks FROM tariffs")
        self._tariffs = {
            tariff: Tariff(Kind(**dict(zip(_KIND_FIELDS, kind, strict=True))), tasks)
            for tariff, *kind, tasks in rows
        }
        self._tariff_rows = {tariff: row for row, tariff in self._tariffs.items()}

    def _entries(self, condition: str, *values: object, after: int, limit: int) -> list[JobEntry]:
        rows = self.file.rows(
            f"SELECT {ENTRY_COLUMNS} FROM {_JOBS} WHERE {condition} AND number > ? ORDER BY number LIMIT ?",
            *values,
            after,
            limit,
        )
        return [entry(row, self._tariffs) for row in rows]


READY: Final = (
    "NOT EXISTS (SELECT 1 FROM links LEFT JOIN jobs AS source ON source.fold = links.source "
    "WHERE links.job = jobs.number AND ifnull(source.state, '') NOT IN ('completed', 'saved'))"
)
"""SQL: whether every source of a job has an output."""

_JOBS: Final = "jobs LEFT JOIN posts ON posts.id = jobs.post"
_NOTHING_TO_DO: Final = (*sorted(ENDED), State.UNCERTAIN, State.BLOCKED)
# The plus keeps SQLite from using the index of states: these pages are read in the order of numbers.
_ENDED_EARLIER: Final = f"listed = 1 AND run < ? AND +jobs.state IN ({', '.join('?' * len(_NOTHING_TO_DO))})"
_OPEN: Final = (State.PLANNED, State.SUBMITTING, State.ACCEPTED)
