"""The batches and the jobs of an engine, in its database: their cap, and what is sent.

Every method is one transaction and may be repeated, because it is when the database was away meanwhile.
Blocking: call it in threads.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from attrs import frozen

from seedance_async.batch.ledger import Ledger
from seedance_async.batch.states import State
from seedance_async.integrations.engine.database import batches, facts, jobs, now_of, pages
from seedance_async.integrations.engine.intents import Intent
from seedance_async.integrations.engine.link_tables import LinkTables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from seedance_async.prices import Tariff

T = TypeVar("T")


@frozen(kw_only=True)
class JobRow:
    """A job as the tables have it."""

    intent: Intent
    generation: int
    state: State
    refusals: int


class Tables(LinkTables):
    """All tables of one database."""

    def fact(self, name: str) -> str | None:
        """A fact that is remembered under a name."""
        with self.transaction() as connection:
            return connection.scalar(sa.select(facts.c.value).where(facts.c.name == name))

    def remember(self, name: str, value: str) -> None:
        """Remember a fact under a name."""
        with self.alone() as connection:
            connection.execute(sa.delete(facts).where(facts.c.name == name))
            connection.execute(sa.insert(facts).values(name=name, value=value))

    # --- batches

    def open_batch(self, name: str, *, nonce: bytes, cap: float | None) -> bytes:
        """Begin a batch, or go on with it; the nonce that it was begun with.

        Args:
            name: of the batch.
            nonce: for a new batch.
            cap: that holds from now on; None leaves the one that it has, which another program may have set.
        """
        with self.alone() as connection:
            known = connection.scalar(sa.select(batches.c.nonce).where(batches.c.name == name))
            if known is None:
                new = {"name": name, "nonce": nonce, "cap": cap, "ledger": json.dumps(Ledger().dump())}
                connection.execute(sa.insert(batches).values(**new))
                return nonce
            values = {"stopped": None} if cap is None else {"stopped": None, "cap": cap}
            connection.execute(sa.update(batches).where(batches.c.name == name).values(**values))
            self._book(connection, name, Ledger.begin_run)
            return bytes(known)

    def stop(self, batch: str, why: Mapping[str, object]) -> None:
        """Let nothing more of a batch be sent until it is enqueued again; the first reason stays."""
        with self.transaction() as connection:
            stop = sa.update(batches).where(batches.c.name == batch, batches.c.stopped.is_(None))
            connection.execute(stop.values(stopped=json.dumps(why)))

    def stopped(self, batch: str) -> Mapping[str, Any] | None:
        """Why nothing more of a batch is sent."""
        with self.transaction() as connection:
            why = connection.scalar(sa.select(batches.c.stopped).where(batches.c.name == batch))
            return None if why is None else json.loads(why)

    def ledger(self, batch: str) -> Ledger:
        """Return the ledger of a batch as it stands, to be read only; an empty one of an unknown batch."""
        which = sa.select(batches.c.ledger, batches.c.cap).where(batches.c.name == batch)
        with self.transaction() as connection:
            row = connection.execute(which).first()
        return Ledger() if row is None else Ledger.load(json.loads(row[0]), cap=row[1])

    def book(self, batch: str, change: Callable[[Ledger], T]) -> T:
        """Change the ledger of a batch, alone; what ``change`` has returned."""
        with self.transaction() as connection:
            return self._book(connection, batch, change)

    def _book(self, connection: sa.Connection, batch: str, change: Callable[[Ledger], T]) -> T:
        row = sa.select(batches.c.ledger, batches.c.cap).where(batches.c.name == batch).with_for_update()
        document, cap = connection.execute(row).one()
        ledger = Ledger.load(json.loads(document), cap=cap)
        answer = change(ledger)
        changed = json.dumps(ledger.dump())
        connection.execute(sa.update(batches).where(batches.c.name == batch).values(ledger=changed))
        return answer

    # --- jobs

    def jobs_named(self, batch: str, folds: Sequence[str]) -> dict[tuple[str, bytes], JobRow]:
        """The newest generation of each job with these names, by folded name and digest."""
        found: dict[tuple[str, bytes], JobRow] = {}
        with self.transaction() as connection:
            which = (jobs.c.batch == batch) & jobs.c.fold.in_(folds)
            for row in connection.execute(sa.select(jobs).where(which).order_by(jobs.c.generation)):
                found[row.fold, bytes(row.digest)] = _job(row)
        return found

    def jobs_of(self, batch: str) -> list[JobRow]:
        """Every job of a batch, in the order of its manifest."""
        with self.transaction() as connection:
            which = sa.select(jobs).where(jobs.c.batch == batch).order_by(jobs.c.number, jobs.c.key)
            return [_job(row) for row in connection.execute(which)]

    def states(self, keys: Sequence[str]) -> dict[str, State]:
        """Where jobs stand, by their keys."""
        found: dict[str, State] = {}
        which = sa.select(jobs.c.key, jobs.c.state)
        with self.transaction() as connection:
            for page in pages(keys):
                for key, state in connection.execute(which.where(jobs.c.key.in_(page))):
                    found[key] = State(state)
        return found

    def add(self, connection: sa.Connection, intent: Intent, **values: object) -> None:
        """Put down a job, unless it is there; part of a transaction."""
        if connection.scalar(sa.select(jobs.c.key).where(jobs.c.key == intent.key)) is None:
            row = {
                "key": intent.key,
                "batch": intent.batch,
                "number": intent.number,
                "intent": json.dumps(intent.dump()),
                "state": State.PLANNED,
            }
            connection.execute(sa.insert(jobs).values(**row, **values))

    def mark(self, key: str, state: State, **values: object) -> None:
        """Say where a job stands."""
        with self.transaction() as connection:
            self._mark(connection, key, state, **values)

    def _mark(self, connection: sa.Connection, key: str, state: State, **values: object) -> None:
        connection.execute(sa.update(jobs).where(jobs.c.key == key).values(state=state, **values))

    def begin(self, key: str, body: str, account: str) -> tuple[str, float]:
        """Keep the bytes of a job that is about to be sent; those of its first POST, and the instant."""
        with self.transaction() as connection:
            kept = connection.scalar(sa.select(jobs.c.body).where(jobs.c.key == key))
            self._mark(connection, key, State.SUBMITTING, body=kept or body, account=account)
            return kept or body, now_of(connection)

    def body(self, key: str) -> str | None:
        """The bytes that a job was sent with; None before its first POST."""
        with self.transaction() as connection:
            return connection.scalar(sa.select(jobs.c.body).where(jobs.c.key == key))

    def refused(self, key: str) -> None:
        """A job that was sent is planned again; a refusal of its key is counted, once for each POST."""
        with self.transaction() as connection:
            sent = sa.update(jobs).where(jobs.c.key == key, jobs.c.state != State.PLANNED)
            connection.execute(sent.values(refusals=jobs.c.refusals + 1, state=State.PLANNED))

    def accepted_ids(self, *, limit: int, account: str | None = None) -> list[str]:
        """A task of each of some jobs that were accepted, by this account if one is given."""
        which = sa.select(jobs.c.task_id).where(jobs.c.task_id.is_not(None)).limit(limit)
        if account is not None:
            which = which.where(jobs.c.account == account)
        with self.transaction() as connection:
            return [ids.split()[0] for (ids,) in connection.execute(which)]

    def accepted(self, key: str) -> tuple[str, ...]:
        """The tasks of a job; none before it was accepted."""
        with self.transaction() as connection:
            ids = connection.scalar(sa.select(jobs.c.task_id).where(jobs.c.key == key))
            return tuple((ids or "").split())

    def has_doubts(self) -> bool:
        """Whether any job may be paid of which no task is known."""
        doubtful = jobs.c.state.in_([State.SUBMITTING, State.UNCERTAIN])
        with self.transaction() as connection:
            return connection.scalar(sa.select(jobs.c.key).where(doubtful).limit(1)) is not None

    # --- credits

    def release(self, key: str, batch: str) -> None:
        """It is certain that a job was not sent: nothing is reserved for it."""
        self.book(batch, lambda ledger: ledger.release(key))

    def is_held(self, key: str, batch: str) -> bool:
        """Whether credits are reserved for a job."""
        return self.ledger(batch).is_held(key)

    def settle(
        self,
        key: str,
        batch: str,
        tariff: Tariff,
        credits_used: float | None,
        task_ids: Sequence[str],
        *,
        will_confirm: bool = False,
    ) -> float:
        """A job was accepted and charged; booked once, however many workers say it. The instant of this.

        With ``will_confirm``, the caller calls ``confirm`` if ``is_to_confirm``; other jobs wait for that.
        """

        def settle(ledger: Ledger) -> None:
            if not ledger.is_held(key):  # another worker released its reservation
                ledger.hold(key, tariff)
            ledger.settle(key, credits_used, will_confirm=will_confirm)

        with self.transaction() as connection:
            if self._claim(connection, key, jobs.c.settled):
                self._book(connection, batch, settle)
            elif credits_used is not None:  # else what it costs may be held until its tasks tell
                self._book(connection, batch, lambda ledger: ledger.release(key))
            self._mark(connection, key, State.ACCEPTED, task_id=" ".join(task_ids), refusals=0)
            return now_of(connection)

    def is_to_confirm(self, key: str, batch: str) -> bool:
        """Whether other jobs wait for what the tasks of an accepted job say that it costs."""
        return self.ledger(batch).is_to_confirm(key)

    def confirm(self, key: str, batch: str, tariff: Tariff, charged: float | None) -> None:
        """What the tasks of an accepted job say that it costs; None if they could not be asked."""
        self.book(batch, lambda ledger: ledger.confirm(key, tariff, charged))

    def conclude(
        self,
        key: str,
        batch: str,
        tariff: Tariff,
        *,
        booked: float | None,
        charged: float | None,
        refunded: float,
    ) -> float:
        """The tasks of a job are final; booked once. The instant of this."""

        def conclude(ledger: Ledger) -> None:
            ledger.conclude(key, tariff, booked=booked, charged=charged)
            ledger.refund(key, refunded, charged=charged)

        with self.transaction() as connection:
            if self._claim(connection, key, jobs.c.concluded):
                self._book(connection, batch, conclude)
            return now_of(connection)

    def _claim(self, connection: sa.Connection, key: str, done: sa.Column[bool]) -> bool:
        """Whether something of a job was not done yet; it counts as done from then on."""
        claim = sa.update(jobs).where(jobs.c.key == key, done.is_(False)).values({done: True})
        return connection.execute(claim).rowcount == 1


def _job(row: sa.Row[Any]) -> JobRow:
    return JobRow(
        intent=Intent.load(json.loads(row.intent)),
        generation=row.generation,
        state=State(row.state),
        refusals=row.refusals,
    )
