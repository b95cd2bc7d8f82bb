"""The writing of an account's record: one method is one transaction.

Everything here runs in the record's own thread. A file that fails is let go, and opened anew for the next
transaction: disks get room again. So is one that somebody has moved away.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from seedance_async import clocks
from seedance_async.prices import documented_price
from seedance_async.record.limits import (
    Decision,
    Hold,
    Refusal,
    Standing,
    Wait,
    day_of,
    decide,
    windows,
)
from seedance_async.record.owner import is_alive, this_process
from seedance_async.record.schema import HELD, connect, transaction
from seedance_async.record.values import ACCEPTED, REFUSED, SUBMITTING, UNCERTAIN
from seedance_async.refunds import at_most_charged, given_back
from seedance_async.retry import KEY_TRUSTED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from seedance_async.models import CreditLimits, Kind, Submission, Task
    from seedance_async.record.asked import Asked
    from seedance_async.record.limits import Window

SENDING: Final = 900.0
"""Seconds after its last attempt for which a living process is taken to be sending a POST still."""

ON_WIRE: Final = 120.0
"""Seconds for which the price of a POST that was sent is awaited."""


@frozen
class Opened:
    """The row of a POST.

    Attributes:
        row: its id.
        key: its idempotency key: in a file that was begun anew, the id may be another POST's.
        is_new: whether this POST opened it; else an earlier one under its key did.
    """

    row: int
    key: str
    is_new: bool


Answer: TypeAlias = Opened | Wait | Refusal


class Store:
    """The record's file, for writing.

    Args:
        path: of the file.
        limits: that POSTs have to stay under.
        patience: seconds to wait for other processes.
    """

    def __init__(self, path: Path, limits: CreditLimits, *, patience: float) -> None:
        self.path = path
        self._limits = limits
        self._patience = patience
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        self._me = this_process()

    def open(self) -> sqlite3.Connection:
        """Open the file, unless it is open; anew, if its name has come to mean another one.

        Raises:
            OSError: it cannot be made.
            sqlite3.Error: it cannot be used.
        """
        if self._connection is not None and not self._is_moved():
            return self._connection
        self.close()
        self._connection = connect(self.path, patience=self._patience)
        self._file = self.path.stat()
        return self._connection

    def close(self) -> None:
        """Let go of the file; the last process to do so tidies its log up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def checkpoint(self) -> None:
        """Copy the log into the file itself; from any thread, because no POST should wait for the disk."""
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
        """A POST is about to leave: write it down, and hold its price, if the limits allow it."""
        with self._transaction() as connection:
            now = clocks.wall_now()
            earlier = _earlier(connection, asked.key, now)
            if earlier is not None:
                self._take_up(connection, earlier, now)
                return Opened(earlier, asked.key, is_new=False)
            decision = self._decide(connection, asked, now)
            if not isinstance(decision, Hold):
                return decision
            row = self._insert(connection, asked, now, decision.credits)
            return Opened(row, asked.key, is_new=True)

    def look(self, asked: Asked) -> Decision:
        """Whether a POST may leave now; nothing is written down."""
        with self._transaction() as connection:
            return self._decide(connection, asked, clocks.wall_now())

    def retried(self, opened: Opened) -> None:
        """An attempt has failed, and another one follows, today: nobody need wait for its answer."""
        with self._transaction() as connection:
            now = clocks.wall_now()
            connection.execute(
                "UPDATE posts SET awaited = 0, touched_at = ?, day = max(day, ?) "
                "WHERE id = ? AND key = ? AND state <> ?",
                (now, day_of(now), opened.row, opened.key, ACCEPTED),
            )

    def give_up(self, opened: Opened, *, error: str, is_unpaid: bool) -> None:
        """A POST has ended without being accepted; what an earlier one under its key did stays in doubt."""
        unpaid = is_unpaid and opened.is_new
        with self._transaction() as connection:
            connection.execute(
                "UPDATE posts SET state = ?, settled = ?, error = ? WHERE id = ? AND key = ? AND state = ?",
                (REFUSED if unpaid else UNCERTAIN, int(unpaid), error, opened.row, opened.key, SUBMITTING),
            )

    def accept(self, asked: Asked, opened: Opened | None, submission: Submission) -> None:
        """A POST was accepted. ``opened`` is None where its intent could not be written."""
        with self._transaction() as connection:
            row = None if opened is None else _open_row(connection, opened)
            started_under = _key_of_task(connection, submission.task_ids[0])
            if started_under == asked.key:  # the answer to an earlier POST, given once more
                if row is not None and opened is not None and opened.is_new:
                    _settle(connection, row, REFUSED, "answered as an earlier POST was")
                return
            if row is None:  # it could not be written, or it was accepted, and the server forgot the key
                row = self._insert(connection, asked, clocks.wall_now(), _believed(connection, asked))
            if started_under is None:
                self._book_acceptance(connection, row, asked.kind, submission)
            else:  # only the same key is a replay: this POST may have been charged, and its task is not known
                _doubt(connection, row, "answered with a task that a POST under another key had started")

    def finish(self, task: Task) -> None:
        """A poll has seen the end of a task; one that is not of this record changes nothing."""
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

    def _take_up(self, connection: sqlite3.Connection, row: int, now: float) -> None:
        """A POST is sent again. It may be charged now, so it counts today, but never earlier than before."""
        connection.execute(
            "UPDATE posts SET state = ?, owner = ?, touched_at = ?, awaited = 1, day = max(day, ?) "
            "WHERE id = ? AND state <> ?",
            (SUBMITTING, self._me, now, day_of(now), row, ACCEPTED),
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
            "owner": self._me,
            "touched_at": now,
        }
        marks = ", ".join(f":{name}" for name in values)
        inserted = connection.execute(f"INSERT INTO posts ({', '.join(values)}) VALUES ({marks})", values)
        return int(inserted.lastrowid or 0)

    def _book_acceptance(
        self, connection: sqlite3.Connection, row: int, kind: Kind, submission: Submission
    ) -> None:
        used = submission.credits_used
        connection.execute(
            "UPDATE posts SET state = ?, settled = ?, error = NULL WHERE id = ?",
            (ACCEPTED, int(used is not None), row),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO tasks (id, post, place) VALUES (?, ?, ?)",
            [(task_id, row, place) for place, task_id in enumerate(submission.task_ids)],
        )
        if used is not None:
            _charge(connection, row, used)
            _learn(connection, kind_text(kind), used / len(submission.task_ids))

    def _decide(self, connection: sqlite3.Connection, asked: Asked, now: float) -> Decision:
        limits = list(windows(self._limits, now))
        if not limits:
            return Hold(_believed(connection, asked))
        open_posts = [_Open.of(row, now) for row in connection.execute(_OPEN, (limits[-1].first_day,))]
        return decide(
            [_standing(connection, window, open_posts) for window in limits],
            charged=_charged(connection, asked),
            documented=documented_price(asked.tariff),
            awaiting=any(post.is_awaited for post in open_posts),
        )


@frozen
class _Open:
    """A POST that is not settled.

    Attributes:
        day: on which it was sent.
        held: credits that it may cost.
        is_sent: whether some process is sending it now.
        is_awaited: whether it is on the wire for the first time.
    """

    day: int
    held: float
    is_sent: bool
    is_awaited: bool

    @classmethod
    def of(cls, row: tuple[int, float | None, str, str, float, int], now: float) -> _Open:
        day, held, state, owner, touched_at, awaited = row
        is_sent = state == SUBMITTING and is_being_sent(owner, touched_at, now)
        return cls(day, held or 0.0, is_sent, is_sent and bool(awaited) and now - touched_at < ON_WIRE)


_OPEN: Final = (
    f"SELECT day, {HELD}, state, owner, touched_at, awaited FROM posts WHERE settled = 0 AND day >= ?"
)


def is_being_sent(owner: str, touched_at: float, now: float) -> bool:
    """Whether a POST without an answer is being sent by somebody, else its outcome is uncertain."""
    alive = is_alive(owner)
    lease = ON_WIRE if alive is None else SENDING
    return alive is not False and -clocks.TOLERANCE <= now - touched_at < lease


def kind_text(kind: Kind) -> str:
    """A kind as it stands in the file."""
    return json.dumps([kind.model, kind.quality_tier, kind.channel, kind.resolution, kind.seconds])


def _standing(connection: sqlite3.Connection, window: Window, open_posts: list[_Open]) -> Standing:
    (spent,) = connection.execute(
        "SELECT COALESCE(sum(used - refunded), 0) FROM days WHERE day >= ?", (window.first_day,)
    ).fetchone()
    within = [post for post in open_posts if post.day >= window.first_day]
    return Standing(
        window=window,
        spent=spent,
        uncertain=sum(post.held for post in within if not post.is_sent),
        under_way=sum(post.held for post in within if post.is_sent),
    )


def _earlier(connection: sqlite3.Connection, key: str, now: float) -> int | None:
    """The row of a POST under this key that the server may still remember; none that was refused."""
    row = connection.execute(
        "SELECT id, state, sent_at FROM posts WHERE key = ? ORDER BY id DESC LIMIT 1", (key,)
    ).fetchone()
    if row is None or row[1] == REFUSED or now - row[2] > KEY_TRUSTED:
        return None
    return int(row[0])


def _open_row(connection: sqlite3.Connection, opened: Opened) -> int | None:
    """The row of a POST, unless it was accepted before, or is gone with its file."""
    found = connection.execute(
        "SELECT id FROM posts WHERE id = ? AND key = ? AND state <> ?", (opened.row, opened.key, ACCEPTED)
    ).fetchone()
    return None if found is None else int(found[0])


def _charged(connection: sqlite3.Connection, asked: Asked) -> float | None:
    row = connection.execute("SELECT high FROM prices WHERE kind = ?", (kind_text(asked.kind),)).fetchone()
    return None if row is None else row[0] * asked.tasks


def _believed(connection: sqlite3.Connection, asked: Asked) -> float | None:
    return _charged(connection, asked) or documented_price(asked.tariff) or None


def _key_of_task(connection: sqlite3.Connection, task_id: str) -> str | None:
    """The key of the POST that was answered with a task; None if none was."""
    found = connection.execute(
        "SELECT posts.key FROM tasks JOIN posts ON posts.id = tasks.post WHERE tasks.id = ?", (task_id,)
    ).fetchone()
    return None if found is None else str(found[0])


def _doubt(connection: sqlite3.Connection, row: int, error: str) -> None:
    """A POST has ended, and whether it was charged is not known: its price stays held."""
    connection.execute(
        "UPDATE posts SET state = ?, settled = 0, error = ? WHERE id = ?", (UNCERTAIN, error, row)
    )


def _settle(connection: sqlite3.Connection, row: int, state: str, error: str) -> None:
    connection.execute("UPDATE posts SET state = ?, settled = 1, error = ? WHERE id = ?", (state, error, row))


def _charge(connection: sqlite3.Connection, row: int, used: float, *, booked: float = 0.0) -> None:
    connection.execute("UPDATE posts SET credits_used = ?, settled = 1 WHERE id = ?", (used, row))
    _book(connection, row, used=used - booked, refunded=0.0)


def _book(connection: sqlite3.Connection, row: int, *, used: float, refunded: float) -> None:
    """Add to the sums of the day of a POST."""
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
    """Book what the ends of a POST's tasks say: what was charged, where its answer said less, and refunds."""
    kind, used, booked = connection.execute(
        "SELECT kind, credits_used, credits_refunded FROM posts WHERE id = ?", (row,)
    ).fetchone()
    tasks, stated, charged, most, refunded, returned = connection.execute(
        "SELECT count(*), count(credits_used), sum(credits_used), max(credits_used), sum(credits_refunded), "
        "sum(credits_refunded > 0) FROM tasks WHERE post = ?",
        (row,),
    ).fetchone()
    # One task alone may state what all cost together, so several are added up only where one states more.
    if stated == tasks and (used is None or most > used):
        _charge(connection, row, charged, booked=used or 0.0)
        _learn(connection, kind, charged / tasks)
        used = charged
    if used is None:
        if returned == tasks:  # what was never booked cannot be given back, but it costs nothing any more
            connection.execute("UPDATE posts SET settled = 1 WHERE id = ?", (row,))
        return
    refunded = at_most_charged(refunded, used)
    if refunded != booked:
        connection.execute("UPDATE posts SET credits_refunded = ? WHERE id = ?", (refunded, row))
        _book(connection, row, used=0.0, refunded=refunded - booked)
