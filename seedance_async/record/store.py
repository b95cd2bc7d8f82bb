"""The writes to an account's record: one method is one transaction.

Everything here runs in the record's own thread, except where noted. After an error the file is closed, and
opened again for the next transaction, because the cause may pass (a full disk). A file that was moved or
deleted is opened again, too.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from seedance_async import clocks
from seedance_async.charges import exceeds
from seedance_async.prices import Tariff, documented_price
from seedance_async.record.asked import kind_of_text, kind_text
from seedance_async.record.limits import (
    Decision,
    Hold,
    LimitUse,
    Refusal,
    Wait,
    day_of,
    decide,
    period_limits,
)
from seedance_async.record.owner import is_alive, this_process
from seedance_async.record.schema import HELD, connect, transaction
from seedance_async.record.values import ACCEPTED, REFUSED, SUBMITTING, UNCERTAIN
from seedance_async.refunds import at_most_charged, given_back
from seedance_async.retry import KEY_TRUSTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from seedance_async.models import CreditLimits, Kind, Submission, Task
    from seedance_async.record.asked import Asked
    from seedance_async.record.limits import PeriodLimit

SENDING: Final = 900.0
"""Seconds after its last attempt during which a running process is assumed to be still sending a POST."""

ON_WIRE: Final = 120.0
"""Seconds for which the price of a POST that was sent is awaited."""


@frozen
class Opened:
    """The row of a POST.

    Attributes:
        row: its id.
        key: its idempotency key; compared too, because a new file may use the same id for another POST.
        is_new: whether this POST created the row; otherwise an earlier one under the same key did.
    """

    row: int
    key: str
    is_new: bool


Answer: TypeAlias = Opened | Wait | Refusal


class Store:
    """Writes to the record's file.

    Args:
        path: the file.
        limits: the standing limits that POSTs must not exceed.
        patience: seconds to wait for other processes.
    """

    def __init__(self, path: Path, limits: CreditLimits, *, patience: float) -> None:
        self.path = path
        self._limits = limits
        self._patience = patience
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        self._owner = this_process()

    def open(self) -> sqlite3.Connection:
        """Return the open connection; open the file first if it is not open, or if its path was replaced.

        Raises:
            OSError: the file cannot be created.
            sqlite3.Error: the file cannot be used.
        """
        if self._connection is not None and not self._is_moved():
            return self._connection
        self.close()
        self._connection = connect(self.path, patience=self._patience)
        self._file = self.path.stat()
        return self._connection

    def close(self) -> None:
        """Close the file. If no other process has it open, SQLite copies the write-ahead log into it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file. May run in any thread, so that no POST has to wait."""
        with suppress(sqlite3.Error, OSError), closing(connect(self.path, patience=0)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _is_moved(self) -> bool:
        try:
            return self._file is None or not os.path.samestat(self.path.stat(), self._file)
        except OSError:
            return True

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self.open()
            with transaction(connection):
                yield connection
        except (sqlite3.Error, OSError, ValueError):
            self.close()
            raise

    # --- one POST

    def intend(self, asked: Asked) -> Answer:
        """Store a POST that is about to be sent, and hold its price, if the limits allow it."""
        with self._transaction() as connection:
            now = clocks.wall_now()
            earlier = _earlier(connection, asked.key, now)
            if earlier is not None:
                self._resend(connection, earlier, now)
                return Opened(earlier, asked.key, is_new=False)
            decision = self._decide(connection, asked, now)
            if not isinstance(decision, Hold):
                return decision
            row = self._insert(connection, asked, now, decision.credits)
            return Opened(row, asked.key, is_new=True)

    def check_limits(self, asked: Asked) -> Decision:
        """Decide whether a POST may be sent now; nothing is stored."""
        with self._transaction() as connection:
            return self._decide(connection, asked, clocks.wall_now())

    def retried(self, opened: Opened) -> None:
        """Store that an attempt has failed and another one follows now: its price is no longer awaited."""
        with self._transaction() as connection:
            now = clocks.wall_now()
            connection.execute(
                "UPDATE posts SET awaited = 0, touched_at = ?, day = max(day, ?) "
                "WHERE id = ? AND key = ? AND state <> ?",
                (now, day_of(now), opened.row, opened.key, ACCEPTED),
            )

    def give_up(self, asked: Asked, opened: Opened | None, *, error: str, is_unpaid: bool) -> None:
        """Store that a POST ended without being accepted.

        It is refused if it is proved unpaid and no earlier POST had the same key; otherwise uncertain. One
        that may be paid is inserted now if its intent could not be written (``opened`` is None), or was lost
        with its file.
        """
        unpaid = is_unpaid and (opened is None or opened.is_new)
        with self._transaction() as connection:
            now = clocks.wall_now()
            row = None if opened is None else _open_row(connection, opened)
            if row is None and not unpaid and _earlier(connection, asked.key, now) is None:
                row = self._insert(connection, asked, now, _expected_price(connection, asked))
            connection.execute(
                "UPDATE posts SET state = ?, settled = ?, error = ? WHERE id = ? AND state = ?",
                (REFUSED if unpaid else UNCERTAIN, int(unpaid), error, row, SUBMITTING),
            )

    def accept(
        self, asked: Asked, opened: Opened | None, submission: Submission, *, to_confirm: bool = False
    ) -> None:
        """Store that a POST was accepted. ``opened`` is None if its intent could not be written.

        With ``to_confirm``, its price is held and awaited until ``confirm`` books it.
        """
        with self._transaction() as connection:
            row = None if opened is None else _open_row(connection, opened)
            started_under = _key_of_task(connection, submission.task_ids[0])
            if started_under == asked.key:  # a replay: the server repeated the answer to an earlier POST
                if row is not None and opened is not None and opened.is_new:
                    _settle(connection, row, REFUSED, "answered as an earlier POST was")
                return
            # No intent was written, or the POST was accepted before and the server forgot the key.
            if row is None:
                row = self._insert(connection, asked, clocks.wall_now(), _expected_price(connection, asked))
            if started_under is None:
                self._store_acceptance(connection, row, submission, to_confirm=to_confirm)
                if not to_confirm:
                    _book_answer(connection, row, kind_text(asked.kind), submission)
            else:  # not a replay, as the keys differ: it may have been charged, and its own task is unknown
                _set_uncertain(
                    connection, row, "answered with a task that a POST under another key had started"
                )

    def confirm(self, key: str, submission: Submission, tasks: Sequence[Task]) -> bool:
        """Book an answer that was to be confirmed, and what its unfinished tasks state as their charge.

        Returns:
            Whether the answer stated as much as its tasks.
        """
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT id, kind, credits_used FROM posts WHERE key = ? AND state = ? AND awaited = 1 "
                "ORDER BY id DESC LIMIT 1",
                (key, ACCEPTED),
            ).fetchone()
            if found is None:
                return False
            row, kind, booked = found
            connection.execute("UPDATE posts SET awaited = 0 WHERE id = ?", (row,))
            if booked is None:  # else the end of its tasks was seen meanwhile
                _book_answer(connection, row, kind, submission)
            connection.executemany(
                "UPDATE tasks SET credits_used = ? WHERE id = ? AND status IS NULL",
                [(task.credits_used, task.id) for task in tasks],
            )
            _book_end(connection, row)
            (charged,) = connection.execute("SELECT credits_used FROM posts WHERE id = ?", (row,)).fetchone()
            stated = [task.credits_used for task in tasks]
            return bool(stated) and None not in stated and charged == submission.credits_used

    def finish(self, task: Task) -> None:
        """Store the end of a task as a poll has seen it; a task that is not in this record is ignored."""
        with self._transaction() as connection:
            known = connection.execute(
                "SELECT post, status, credits_refunded FROM tasks WHERE id = ?", (task.id,)
            ).fetchone()
            refunded = given_back(task)
            if known is None or known[1:] == (task.status, refunded):
                return
            connection.execute(
                "UPDATE tasks SET status = ?, credits_used = ?, credits_refunded = ?, ended_at = ? "
                "WHERE id = ?",
                (task.status, task.credits_used, refunded, clocks.wall_now(), task.id),
            )
            _book_end(connection, known[0])

    # --- parts of a transaction

    def _resend(self, connection: sqlite3.Connection, row: int, now: float) -> None:
        """Store that a POST is sent again. It may be charged only now, so it counts on the later day."""
        connection.execute(
            "UPDATE posts SET state = ?, owner = ?, touched_at = ?, awaited = 1, day = max(day, ?) "
            "WHERE id = ? AND state <> ?",
            (SUBMITTING, self._owner, now, day_of(now), row, ACCEPTED),
        )

    def _insert(self, connection: sqlite3.Connection, asked: Asked, now: float, held: float | None) -> int:
        values = {
            "key": asked.key,
            "kind": kind_text(asked.kind),
            "model": asked.kind.model,
            "tasks": asked.tasks,
            "project": asked.project,
            "prompt": asked.prompt,
            "sent_at": now,
            "day": day_of(now),
            "state": SUBMITTING,
            "held": held,
            "owner": self._owner,
            "touched_at": now,
        }
        marks = ", ".join(f":{name}" for name in values)
        inserted = connection.execute(f"INSERT INTO posts ({', '.join(values)}) VALUES ({marks})", values)
        return int(inserted.lastrowid or 0)

    def _store_acceptance(
        self, connection: sqlite3.Connection, row: int, submission: Submission, *, to_confirm: bool
    ) -> None:
        connection.execute(
            "UPDATE posts SET state = ?, settled = 0, awaited = ?, touched_at = ?, error = NULL WHERE id = ?",
            (ACCEPTED, int(to_confirm), clocks.wall_now(), row),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO tasks (id, post, place) VALUES (?, ?, ?)",
            [(task_id, row, place) for place, task_id in enumerate(submission.task_ids)],
        )

    def _decide(self, connection: sqlite3.Connection, asked: Asked, now: float) -> Decision:
        limits = list(period_limits(self._limits, now))
        if not limits:
            return Hold(_expected_price(connection, asked))
        open_posts = [_Open.of(row, now) for row in connection.execute(_OPEN, (limits[-1].first_day,))]
        return decide(
            [_use(connection, limit, open_posts) for limit in limits],
            charged=_charged(connection, asked),
            documented=documented_price(asked.tariff),
            awaiting=any(post.is_awaited for post in open_posts),
        )


@frozen
class _Open:
    """A POST that is not settled.

    Attributes:
        day: the UTC day on which it counts, in days since 1970.
        held: credits that it may cost.
        is_sent: whether a process is sending it now, or confirms its price.
        is_awaited: whether its first attempt is on the wire, or its price is being confirmed.
    """

    day: int
    held: float
    is_sent: bool
    is_awaited: bool

    @classmethod
    def of(cls, row: tuple[int, float | None, str, str, float, int], now: float) -> _Open:
        day, held, state, owner, touched_at, awaited = row
        may_be = state == SUBMITTING or (state == ACCEPTED and bool(awaited))
        is_sent = may_be and is_being_sent(owner, touched_at, now)
        return cls(day, held or 0.0, is_sent, is_sent and bool(awaited) and now - touched_at < ON_WIRE)


_OPEN: Final = (
    f"SELECT day, {HELD}, state, owner, touched_at, awaited FROM posts WHERE settled = 0 AND day >= ?"
)


def is_being_sent(owner: str, touched_at: float, now: float) -> bool:
    """Whether a process is still sending a POST that has no answer; otherwise its outcome is uncertain."""
    alive = is_alive(owner)
    lease = ON_WIRE if alive is None else SENDING
    return alive is not False and -clocks.TOLERANCE <= now - touched_at < lease


def _use(connection: sqlite3.Connection, limit: PeriodLimit, open_posts: list[_Open]) -> LimitUse:
    (spent,) = connection.execute(
        "SELECT COALESCE(sum(used - refunded), 0) FROM days WHERE day >= ?", (limit.first_day,)
    ).fetchone()
    within = [post for post in open_posts if post.day >= limit.first_day]
    return LimitUse(
        limit=limit,
        spent=spent,
        uncertain=sum(post.held for post in within if not post.is_sent),
        under_way=sum(post.held for post in within if post.is_sent),
    )


def _earlier(connection: sqlite3.Connection, key: str, now: float) -> int | None:
    """Return the row of a POST under this key if the server may still remember it and it was not refused."""
    row = connection.execute(
        "SELECT id, state, sent_at FROM posts WHERE key = ? ORDER BY id DESC LIMIT 1", (key,)
    ).fetchone()
    if row is None or row[1] == REFUSED:
        return None
    # One that was accepted at an instant of the future holds no credits any more, and its age is not known.
    age = clocks.age(row[2], now) if row[1] == ACCEPTED else now - row[2]
    return None if age > KEY_TRUSTED else int(row[0])


def _open_row(connection: sqlite3.Connection, opened: Opened) -> int | None:
    """Return the row of a POST; None if it was accepted before, or if its file was replaced."""
    found = connection.execute(
        "SELECT id FROM posts WHERE id = ? AND key = ? AND state <> ?", (opened.row, opened.key, ACCEPTED)
    ).fetchone()
    return None if found is None else int(found[0])


def _charged(connection: sqlite3.Connection, asked: Asked) -> float | None:
    high = _highest(connection, asked.kind)
    return None if high is None else high * asked.tasks


def _highest(connection: sqlite3.Connection, kind: Kind) -> float | None:
    row = connection.execute("SELECT high FROM prices WHERE kind = ?", (kind_text(kind),)).fetchone()
    return None if row is None else float(row[0])


def _known_price(connection: sqlite3.Connection, kind: Kind) -> float:
    """Return the highest price known of one task; 0 if none is."""
    return max(_highest(connection, kind) or 0.0, documented_price(Tariff(kind)))


def _expected_price(connection: sqlite3.Connection, asked: Asked) -> float | None:
    return _charged(connection, asked) or documented_price(asked.tariff) or None


def _key_of_task(connection: sqlite3.Connection, task_id: str) -> str | None:
    """Return the key of the POST that started a task; None if the record has no such task."""
    found = connection.execute(
        "SELECT posts.key FROM tasks JOIN posts ON posts.id = tasks.post WHERE tasks.id = ?", (task_id,)
    ).fetchone()
    return None if found is None else str(found[0])


def _set_uncertain(connection: sqlite3.Connection, row: int, error: str) -> None:
    """Store that a POST has ended and may have been charged: its price stays held."""
    connection.execute(
        "UPDATE posts SET state = ?, settled = 0, error = ? WHERE id = ?", (UNCERTAIN, error, row)
    )


def _settle(connection: sqlite3.Connection, row: int, state: str, error: str) -> None:
    connection.execute("UPDATE posts SET state = ?, settled = 1, error = ? WHERE id = ?", (state, error, row))


def _charge(connection: sqlite3.Connection, row: int, used: float, *, booked: float = 0.0) -> None:
    connection.execute("UPDATE posts SET credits_used = ?, settled = 1 WHERE id = ?", (used, row))
    _book(connection, row, used=used - booked, refunded=0.0)


def _book_answer(connection: sqlite3.Connection, row: int, kind: str, submission: Submission) -> None:
    """Book the charge that the answer to a POST states, if it states one."""
    used = submission.credits_used
    if used is not None:
        _charge(connection, row, used)
        _learn(connection, kind, used / len(submission.task_ids))


def _book(connection: sqlite3.Connection, row: int, *, used: float, refunded: float) -> None:
    """Add credits to the sums of the day on which a POST counts."""
    connection.execute(
        "INSERT INTO days (day, used, refunded) SELECT day, ?1, ?2 FROM posts WHERE id = ?3 "
        "ON CONFLICT (day) DO UPDATE SET used = used + ?1, refunded = refunded + ?2",
        (used, refunded, row),
    )


def _learn(connection: sqlite3.Connection, kind: str, price: float) -> None:
    connection.execute(
        "INSERT INTO prices (kind, high) VALUES (?, ?) "
        "ON CONFLICT (kind) DO UPDATE SET high = max(high, excluded.high)",
        (kind, price),
    )


def _book_end(connection: sqlite3.Connection, row: int) -> None:
    """Book what a POST's finished tasks report: refunds, and the charge if the POST's answer stated less."""
    kind, used, booked = connection.execute(
        "SELECT kind, credits_used, credits_refunded FROM posts WHERE id = ?", (row,)
    ).fetchone()
    tasks, stated, charged, most, refunded, returned = connection.execute(
        "SELECT count(*), count(credits_used), sum(credits_used), max(credits_used), sum(credits_refunded), "
        "sum(credits_refunded > 0) FROM tasks WHERE post = ?",
        (row,),
    ).fetchone()
    alone = _known_price(connection, kind_of_text(kind))
    if stated == tasks and (used is None or exceeds(most, used / tasks, of_post=tasks, alone=alone)):
        charged = max(charged, used or 0.0)
        _charge(connection, row, charged, booked=used or 0.0)
        _learn(connection, kind, charged / tasks)
        used = charged
    if used is None:
        if returned == tasks:  # no charge was booked, so no refund can be; but all was refunded: cost is 0
            connection.execute("UPDATE posts SET settled = 1 WHERE id = ?", (row,))
        return
    refunded = at_most_charged(refunded, used)
    if refunded != booked:
        connection.execute("UPDATE posts SET credits_refunded = ? WHERE id = ?", (refunded, row))
        _book(connection, row, used=0.0, refunded=refunded - booked)
