"""The life of a job on disk: one function is one transaction, and only legal moves are made.

Everything here runs in the journal's own thread. An instant comes in as ``now``, seconds of the wall clock.
"""

from __future__ import annotations

import functools
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from attrs import frozen

from seedance_async import wire
from seedance_async.batch import keys
from seedance_async.batch.journal.records import (
    ENTRY_COLUMNS,
    TICKET_COLUMNS,
    Entry,
    Row,
    Ticket,
    as_json,
    entry,
    read_list,
    ticket,
)
from seedance_async.batch.ledger import Tariff
from seedance_async.batch.states import ENDED, MOVES, State
from seedance_async.errors import JournalError
from seedance_async.models import Kind
from seedance_async.protocol import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from seedance_async.batch.journal.file import File
    from seedance_async.models import Submission, Task

P = ParamSpec("P")
T = TypeVar("T")


def transaction(method: Callable[Concatenate[Store, P], T]) -> Callable[Concatenate[Store, P], T]:
    """Make a method of ``Store`` one transaction."""

    @functools.wraps(method)
    def whole(self: Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return self.file.transaction(lambda: method(self, *args, **kwargs))
        except BaseException:
            with suppress(
                Exception
            ):  # a file that cannot be read any more: the first failure is the one to tell
                self.recall()
            raise

    return whole


@frozen
class Hold:
    """A job whose price is not settled: it was sent, and nobody has said what it costs."""

    number: int
    tariff: Tariff
    state: State


@frozen
class Milestones:
    """The state of a job and how it came there; instants are seconds of the wall clock, or None."""

    number: int
    state: State
    intended_at: float | None
    accepted_at: float | None
    ended_at: float | None


class Store:
    """The jobs of one batch.

    Attributes:
        counts: how many jobs stand in each state, the superseded ones included.
        credits_used: charged so far, by all runs.
        credits_refunded: given back so far, by all runs.
        run: counts the runs of the batch from 1.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self.counts: Counter[State] = Counter()
        self.credits_used: float = 0.0
        self.credits_refunded: float = 0.0
        self.run: int = 0
        self._tariffs: dict[int, Tariff] = {}
        self._ids: dict[Tariff, int] = {}
        self._nonce = b""
        self.recall()

    def recall(self) -> None:
        """Read anew what is kept in memory."""
        facts: dict[str, Any] = dict(self._all("SELECT name, value FROM meta"))
        self._nonce, self.run = facts["nonce"], facts["run"]
        self.credits_used, self.credits_refunded = facts["credits_used"], facts["credits_refunded"]
        self.counts = Counter(
            {State(state): n for state, n in self._all("SELECT state, count(*) FROM jobs GROUP BY state")}
        )
        self._tariffs.clear()
        self._ids.clear()
        for tariff_id, *kind, tasks in self._all(f"SELECT id, {_KIND}, tasks FROM tariffs"):
            self._remember(Tariff(Kind(**dict(zip(_KIND_FIELDS, kind, strict=True))), tasks), tariff_id)

    # --- a run

    @transaction
    def begin_run(self, *, replayable_since: float) -> None:
        """Start a run: whatever was sent since ``replayable_since`` and never answered is sent again.

        What was sent before is uncertain: the server may have forgotten its key.
        """
        self.run += 1
        self.remember_fact("run", self.run)
        sent_before = "UPDATE jobs SET state = ?, error = ? WHERE state = ? AND intended_at < ?"
        sent_since = "UPDATE jobs SET state = ? WHERE state = ? AND intended_at >= ?"
        self._do(sent_before, State.UNCERTAIN, _TOO_LONG_AGO, State.SUBMITTING, replayable_since)
        self._do(sent_since, State.SUBMITTING, State.UNCERTAIN, replayable_since)
        self.recall()

    def fact(self, name: str) -> str | None:
        """A fact about the batch, as it was remembered last."""
        row = self.first("SELECT value FROM meta WHERE name = ?", name)
        return None if row is None else str(row[0])

    def remember_fact(self, name: str, value: object) -> None:
        """Remember a fact; part of a transaction."""
        self._do("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, value)

    @transaction
    def remember_account(self, account: str) -> None:
        """Remember whose batch this is: a fingerprint, never the key."""
        self.remember_fact("account", account)

    # --- a job's way

    @transaction
    def intend(self, number: int, *, now: float) -> Call:
        """Write down that a job is about to be sent, and give the call: the same one for every attempt.

        Raises:
            JournalError: it could not be written; then nothing may be sent.
        """
        self.file.space.check()
        state, name, generation, path, body, digest, key = self._job(
            number, "state, name, generation, path, body, digest, key"
        )
        if keys.digest(path, body) != digest:
            raise JournalError(f"the journal is damaged: the request of {name!r} is not the one planned")
        key = key or keys.derive(self._nonce, name=name, generation=generation, digest=digest)
        if state == State.SUBMITTING:
            self._do("UPDATE jobs SET run = ? WHERE number = ?", self.run, number)
        else:
            self._move(number, State.SUBMITTING, "key = ?, intended_at = coalesce(intended_at, ?)", key, now)
        return Call(method="POST", path=path, body=body, idempotency_key=key)

    @transaction
    def accept(self, number: int, submission: Submission, *, now: float) -> None:
        """Write down what was accepted: from here on the tasks can be collected."""
        self._move(
            number,
            State.ACCEPTED,
            "accepted_at = ?, task_ids = ?, submission = ?, error = NULL",
            now,
            as_json(submission.task_ids),
            as_json(submission.raw),
        )
        self._charge(number, submission.credits_used)

    @transaction
    def postpone(self, number: int, error: str, *, new_key: bool) -> None:
        """It is proven that the job was not charged: it is planned again.

        Args:
            number: of the job.
            error: why it was not accepted.
            new_key: the server has seen the key, and may give its refusal again for ever.
        """
        self._move(
            number,
            State.PLANNED,
            "key = NULL, intended_at = NULL, generation = generation + ?, error = ?",
            int(new_key),
            error,
        )

    @transaction
    def refuse(self, number: int, error: str, *, now: float) -> None:
        """The API refused the request itself."""
        self._move(number, State.REFUSED, "ended_at = ?, error = ?", now, error)

    @transaction
    def doubt(self, number: int, error: str) -> None:
        """Asking came to an end without an answer."""
        self._move(number, State.UNCERTAIN, "error = ?", error)

    @transaction
    def finish(self, number: int, tasks: Sequence[Task], error: str | None, *, now: float) -> State:
        """Every task of the job is final: it is completed if one of them is, else failed."""
        state = State.COMPLETED if any(task.is_completed for task in tasks) else State.FAILED
        told = [task.credits_refunded for task in tasks if task.credits_refunded is not None]
        refunded = sum(told) if told else None
        self._move(
            number,
            state,
            "ended_at = ?, tasks = ?, credits_refunded = ?, error = ?",
            now,
            as_json([task.raw for task in tasks]),
            refunded,
            error,
        )
        used = [task.credits_used for task in tasks]
        if None not in used and self._job(number, "credits_used") == (None,):
            self._charge(number, sum(amount for amount in used if amount is not None))
        self._book("credits_refunded", refunded)
        return state

    @transaction
    def renew(self, number: int, tasks: Sequence[Task]) -> None:
        """The server was asked again for finished tasks: it gave new URLs."""
        self._do("UPDATE jobs SET tasks = ? WHERE number = ?", as_json([task.raw for task in tasks]), number)

    @transaction
    def save(self, number: int, files: Sequence[str], error: str | None, *, now: float) -> None:
        """Every file of the job is in place; ``error`` is about tasks of it that have none."""
        self._move(number, State.SAVED, "ended_at = ?, files = ?, error = ?", now, as_json(files), error)

    @transaction
    def note(self, number: int, error: str) -> None:
        """Something went wrong that leaves the job where it stands."""
        self._do("UPDATE jobs SET error = ?, run = ? WHERE number = ?", error, self.run, number)

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

    def to_collect(self, *, after: int, limit: int) -> list[Ticket]:
        """Accepted jobs whose tasks are to be followed."""
        return self._tickets("state = ?", State.ACCEPTED, after=after, limit=limit)

    def to_save(self, *, after: int, limit: int) -> list[Ticket]:
        """Completed jobs whose files are still to be fetched."""
        return self._tickets("state = ?", State.COMPLETED, after=after, limit=limit)

    # --- what is known

    def entry(self, number: int) -> Entry:
        """Everything about one job."""
        return entry(self._job(number, ENTRY_COLUMNS))

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
            "SELECT task_ids FROM jobs WHERE state IN (?, ?, ?) ORDER BY number DESC LIMIT ?",
            State.ACCEPTED,
            State.COMPLETED,
            State.SAVED,
            limit,
        )
        return [read_list(task_ids)[0] for (task_ids,) in rows]

    def prices(self) -> dict[Tariff, float]:
        """The highest price seen of each tariff."""
        rows = self._all("SELECT id, price FROM tariffs WHERE price IS NOT NULL")
        return {self._tariffs[tariff_id]: price for tariff_id, price in rows}

    def demand(self) -> dict[Tariff, int]:
        """How many jobs of the manifest there are of each tariff."""
        rows = self._all("SELECT tariff, count(*) FROM jobs WHERE listed = 1 GROUP BY tariff")
        return {self._tariffs[tariff_id]: jobs for tariff_id, jobs in rows}

    def holds(self) -> list[Hold]:
        """Jobs that may have cost something which nobody has told."""
        rows = self._all(
            "SELECT number, tariff, state FROM jobs "
            "WHERE credits_used IS NULL AND key IS NOT NULL AND state NOT IN ('planned', 'refused')"
        )
        return [Hold(number, self._tariffs[tariff], State(state)) for number, tariff, state in rows]

    def tally(self) -> dict[tuple[Tariff, State], int]:
        """How many jobs of the manifest there are of each tariff in each state."""
        rows = self._all("SELECT tariff, state, count(*) FROM jobs WHERE listed = 1 GROUP BY tariff, state")
        return {(self._tariffs[tariff_id], State(state)): count for tariff_id, state, count in rows}

    def course(self, *, after: int, limit: int) -> list[Milestones]:
        """When each job was sent and was over, in the order of their numbers, a page at a time."""
        columns = "number, state, intended_at, accepted_at, ended_at"
        rows = self._page(columns, "1", after=after, limit=limit)
        return [Milestones(number, State(state), *instants) for number, state, *instants in rows]

    def durations(self, *, limit: int) -> list[tuple[Kind, float]]:
        """What the latest completed tasks took in seconds, oldest first."""
        rows = self._all(
            "SELECT tariff, tasks FROM jobs WHERE state IN (?, ?) ORDER BY ended_at DESC LIMIT ?",
            State.COMPLETED,
            State.SAVED,
            limit,
        )
        tasks = [
            (self._tariffs[tariff_id].kind, wire.task(task))
            for tariff_id, told in reversed(rows)
            for task in read_list(told)
        ]
        return [(kind, task.duration) for kind, task in tasks if task.is_completed and task.duration]

    def tariff_id(self, tariff: Tariff) -> int:
        """The row of a tariff, made if new; part of a transaction."""
        if tariff not in self._ids:
            kind = [getattr(tariff.kind, name) for name in _KIND_FIELDS]
            self._do(f"INSERT INTO tariffs ({_KIND}, tasks) VALUES (?, ?, ?, ?, ?, ?)", *kind, tariff.tasks)
            (tariff_id,) = self._all("SELECT last_insert_rowid()")[0]
            self._remember(tariff, tariff_id)
        return self._ids[tariff]

    # --- the file

    def first(self, sql: str, *parameters: object) -> Row | None:
        """The first row that a query gives."""
        row: Row | None = self.file.connection.execute(sql, parameters).fetchone()
        return row

    def _remember(self, tariff: Tariff, tariff_id: int) -> None:
        self._tariffs[tariff_id] = tariff
        self._ids[tariff] = tariff_id

    def _move(self, number: int, to: State, changes: str, *values: object) -> None:
        """Make a legal move, and refuse any other.

        Raises:
            JournalError: the table of states knows no such move.
        """
        (word,) = self._job(number, "state")
        state = State(word)
        if to not in MOVES[state]:
            raise JournalError(f"job {number} is {state}; from there it cannot become {to}")
        self._do(
            f"UPDATE jobs SET state = ?, run = ?, {changes} WHERE number = ?", to, self.run, *values, number
        )
        self.counts[state] -= 1
        self.counts[to] += 1

    def _charge(self, number: int, credits_used: float | None) -> None:
        if credits_used is None:
            return
        self._do("UPDATE jobs SET credits_used = ? WHERE number = ?", credits_used, number)
        self._do(
            "UPDATE tariffs SET price = max(coalesce(price, 0), ?) "
            "WHERE id = (SELECT tariff FROM jobs WHERE number = ?)",
            credits_used,
            number,
        )
        self._book("credits_used", credits_used)

    def _book(self, fact: str, amount: float | None) -> None:
        if amount:
            self._do("UPDATE meta SET value = value + ? WHERE name = ?", amount, fact)
            setattr(self, fact, getattr(self, fact) + amount)

    def _job(self, number: int, columns: str) -> Row:
        row = self.first(f"SELECT {columns} FROM jobs WHERE number = ?", number)
        if row is None:
            raise JournalError(f"the journal has no job {number}")
        return row

    def _tickets(self, condition: str, *values: object, after: int, limit: int) -> list[Ticket]:
        rows = self._page(TICKET_COLUMNS, condition, *values, after=after, limit=limit)
        return [ticket(row, self._tariffs) for row in rows]

    def _entries(self, condition: str, *values: object, after: int, limit: int) -> list[Entry]:
        return [entry(row) for row in self._page(ENTRY_COLUMNS, condition, *values, after=after, limit=limit)]

    def _page(self, columns: str, condition: str, *values: object, after: int, limit: int) -> list[Row]:
        return self._all(
            f"SELECT {columns} FROM jobs WHERE {condition} AND number > ? ORDER BY number LIMIT ?",
            *values,
            after,
            limit,
        )

    def _do(self, sql: str, *parameters: object) -> None:
        self.file.connection.execute(sql, parameters)

    def _all(self, sql: str, *parameters: object) -> list[Row]:
        return self.file.connection.execute(sql, parameters).fetchall()


_NOTHING_TO_DO: Final = (*sorted(ENDED), State.UNCERTAIN)
# The plus keeps SQLite from using the index of states: these pages are read in the order of their numbers.
_ENDED_EARLIER: Final = f"listed = 1 AND run < ? AND +state IN ({', '.join('?' * len(_NOTHING_TO_DO))})"
_OPEN: Final = (State.PLANNED, State.SUBMITTING, State.ACCEPTED)
_TOO_LONG_AGO: Final = "sent too long ago to be sent again under its key without being asked"
_KIND_FIELDS: Final = ("model", "quality_tier", "channel", "resolution", "seconds")
_KIND: Final = ", ".join(_KIND_FIELDS)
