"""The life of a job on disk: one function is one transaction, and only legal moves are made.

Everything here runs in the journal's own thread. An instant comes in as ``now``, seconds of the wall clock.
"""

from __future__ import annotations

import functools
from collections import Counter
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from seedance_async.batch import keys
from seedance_async.batch.journal import cells, sharing
from seedance_async.batch.journal.reading import Reader
from seedance_async.batch.journal.records import as_json
from seedance_async.batch.states import MOVES, State
from seedance_async.errors import JournalError
from seedance_async.protocol import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from seedance_async.batch.journal.cells import Row
    from seedance_async.batch.journal.file import File
    from seedance_async.models import Submission, Task

MOST_CRASHES: Final = 5
"""Runs that may die while a job is being sent, before it is left alone."""

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


class Store(Reader):
    """The jobs of one batch.

    Attributes:
        counts: how many jobs stand in each state, the superseded ones included.
        credits_used: charged so far, by all runs.
        credits_refunded: given back so far, by all runs.
        credits_doubted: perhaps charged, under keys that were given up by ``--resubmit-uncertain``.
    """

    def __init__(self, file: File) -> None:
        super().__init__(file)
        self.counts: Counter[State] = Counter()
        self.credits_used: float = 0.0
        self.credits_refunded: float = 0.0
        self.credits_doubted: float = 0.0
        self._nonce = b""
        self._account = ""
        self.recall()

    def recall(self) -> None:
        """Read anew what is kept in memory."""
        facts = cells.facts(self._all("name, value", "FROM meta"))
        self._nonce = facts["nonce"]
        self.run: int = facts["run"]
        self.credits_used, self.credits_refunded = facts["credits_used"], facts["credits_refunded"]
        self.credits_doubted = facts["credits_doubted"]
        rows = self._all("min(number) AS number, state, count(*)", "FROM jobs GROUP BY state")
        self.counts = Counter({state: count for _, state, count in rows})
        self.tariffs.recall()

    # --- a run

    @transaction
    def begin_run(self, *, replayable_since: float, account: str = "") -> None:
        """Start a run: whatever was sent since ``replayable_since`` and never answered is sent again.

        What was sent before is uncertain: the server may have forgotten its key. So is what was sent with
        another API key, which the server may keep idempotency keys apart by. So is a job whose POST was under
        way in ``MOST_CRASHES`` runs when they died: it may be what they died of, and the others must not wait
        for it for ever. Minus infinity sends even these again.

        Args:
            replayable_since: seconds of the wall clock.
            account: origin and fingerprint of the API key of this run; never the key.
        """
        self.remember_fact("account", account)
        self._account = account
        if self.fact(_OPEN_RUN):
            died = "UPDATE jobs SET crashes = crashes + 1 WHERE state = ? AND run = ?"
            self._do(died, State.SUBMITTING, self.run)
        self.run += 1
        self.remember_fact("run", self.run)
        self.remember_fact(_OPEN_RUN, self.run)
        careful = replayable_since > -inf
        most = MOST_CRASHES if careful else _NO_BOUND
        old = "UPDATE jobs SET state = ?, error = ? WHERE state = ? AND intended_at < ?"
        deadly = "UPDATE jobs SET state = ?, error = ? WHERE state = ? AND crashes >= ?"
        foreign = "UPDATE jobs SET state = ?, error = ? WHERE state = ? AND account IS NOT ? AND ?"
        others = (
            "UPDATE jobs SET state = ? WHERE state = ? AND intended_at >= ? AND crashes < ? "
            "AND (account IS ? OR NOT ?)"
        )
        self._do(old, State.UNCERTAIN, _TOO_LONG_AGO, State.SUBMITTING, replayable_since)
        self._do(deadly, State.UNCERTAIN, _DEADLY, State.SUBMITTING, most)
        self._do(foreign, State.UNCERTAIN, _FOREIGN, State.SUBMITTING, account, careful)
        self._do(others, State.SUBMITTING, State.UNCERTAIN, replayable_since, most, account, careful)
        self.recall()

    @transaction
    def plan_ended_again(self) -> None:
        """Plan each listed job anew that failed or was refused; what it cost so far stays in the sums."""
        again = (
            "UPDATE jobs SET state = ?, generation = generation + 1, key = NULL, shared = NULL, seat = NULL, "
            "intended_at = NULL, accepted_at = NULL, ended_at = NULL, task_ids = NULL, submission = NULL, "
            "tasks = NULL, credits_used = NULL, credits_refunded = NULL, error = NULL "
            "WHERE listed = 1 AND state IN (?, ?)"
        )
        self._do(again, State.PLANNED, State.FAILED, State.REFUSED)
        self.recall()

    @transaction
    def end_run(self) -> None:
        """The run ends in good order: what it leaves under way did not kill it."""
        self.remember_fact(_OPEN_RUN, "")

    def remember_fact(self, name: str, value: object) -> None:
        """Remember a fact; part of a transaction."""
        self._do("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, value)

    # --- a job's way

    @transaction
    def intend(self, number: int, *mates: int, now: float) -> Call:
        """Write down that a job is about to be sent, and give the call: the same one for every attempt.

        Args:
            number: of the job. One that was sent before is sent again as it was, whoever shares its POST.
            mates: planned jobs that ask for the same as this planned one, and are to share its POST.
            now: the instant.

        Raises:
            JournalError: it could not be written; then nothing may be sent.
        """
        self.file.space.check()
        if self._state(number) is State.SUBMITTING:
            for mate, _ in self._sharing(number):
                self._do("UPDATE jobs SET run = ? WHERE number = ?", self.run, mate)
        else:
            self._intend((number, *mates), now)
        name, path, body, digest, shared, seat, key = self._job(
            number, "name, path, body, digest, shared, seat, key"
        )
        if keys.digest(path, body) != digest:
            raise cells.damage(f"the request of {name!r}, which is not the one planned,")
        if (shared is None) != (seat is None) or (shared is not None and not sharing.is_of(shared, body)):
            raise cells.damage(f"what {name!r} is to be sent as together with others")
        return Call(method="POST", path=path, body=shared or body, idempotency_key=key)

    @transaction
    def accept(self, number: int, submission: Submission, *, now: float) -> dict[int, Submission | None]:
        """Write down what was accepted: from here on the tasks can be collected.

        Returns:
            For each job that shares the POST its own part. None for one that has no task: where the answer
            says so it was not started, and is planned again; else nobody knows.
        """
        parts = {mate: sharing.part_of(submission, seat) for mate, seat in self._sharing(number)}
        for mate, part in parts.items():
            if part is not None:
                self._accept(mate, part, now)
            elif submission.batch_failed:
                self._plan_again(mate, "the server started fewer pictures than asked for", key=None)
            else:
                self._move(mate, State.UNCERTAIN, "error = ?", "the answer names no task for it")
        return parts

    @transaction
    def postpone(self, number: int, error: str, *, key: str | None, doubted: float = 0.0) -> None:
        """The server says that the job, and whoever shares its POST, was not charged: it is planned again.

        Args:
            number: of the job.
            error: why it was not accepted.
            key: to ask under next: the one just used, or the one before it. None for one never used, because
                the server may give its refusal for ever.
            doubted: credits that may have been charged all the same under the key that is given up.
        """
        self._book("credits_doubted", doubted)
        for mate, _ in self._sharing(number):
            self._plan_again(mate, error, key=key)

    @transaction
    def refuse(self, number: int, error: str, *, now: float) -> None:
        """The API refused the request itself."""
        for mate, _ in self._sharing(number):
            self._move(mate, State.REFUSED, "ended_at = ?, error = ?", now, error)

    @transaction
    def doubt(self, number: int, error: str) -> None:
        """Asking came to an end without an answer."""
        for mate, _ in self._sharing(number):
            self._move(mate, State.UNCERTAIN, "error = ?", error)

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
        if self._job(number, "credits_used") != (None,):  # what was never booked cannot be given back
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

    def _intend(self, numbers: Sequence[int], now: float) -> None:
        """Make planned jobs ready to be sent, several of them in one POST."""
        asked = [self._job(number, "name, generation, path, body, digest") for number in numbers]
        name, generation, path, body, digest = asked[0]
        shared = None
        if len(asked) > 1:
            if len({row[-1] for row in asked}) > 1:
                raise JournalError(f"jobs {numbers} do not ask for the same, so they cannot share a POST")
            shared = sharing.body_for(body, len(asked))
            name, digest = sharing.name_for([row[0] for row in asked]), keys.digest(path, shared)
        key = self._key_of_before(numbers, shared)
        key = key or keys.derive(self._nonce, name=name, generation=generation, digest=digest)
        changes = "key = ?, account = ?, shared = ?, seat = ?, crashes = 0, intended_at = ?"
        for place, number in enumerate(numbers):
            if self._state(number) is not State.PLANNED:
                raise JournalError(
                    f"job {number} is {self._state(number)}; only what is planned is sent anew"
                )
            seat = place if shared else None
            self._move(number, State.SUBMITTING, changes, key, self._account, shared, seat, now)

    def _key_of_before(self, numbers: Sequence[int], shared: bytes | None) -> str | None:
        """The key that these jobs, together and in this order, were asked for under before."""
        rows = [self._job(number, "key, shared, seat") for number in numbers]
        key = rows[0][0]
        places = range(len(rows)) if shared else [None]
        return key if rows == [(key, shared, place) for place in places] else None

    def _accept(self, number: int, part: Submission, now: float) -> None:
        self._move(
            number,
            State.ACCEPTED,
            "accepted_at = ?, task_ids = ?, submission = ?, error = NULL",
            now,
            as_json(part.task_ids),
            as_json(part.raw),
        )
        self._charge(number, part.credits_used)

    def _plan_again(self, number: int, error: str, *, key: str | None) -> None:
        # A key that will be used again stays on record, with what was sent under it: whoever doubts the
        # refusal can collect with it what a proxy may have delivered twice.
        anew = ", shared = NULL, seat = NULL, generation = generation + 1" if key is None else ""
        self._move(number, State.PLANNED, f"key = ?, intended_at = NULL, error = ?{anew}", key, error)

    def _sharing(self, number: int) -> list[Row]:
        """Number and seat of each job whose POST is under way together with this one's, itself included."""
        key, seat = self._job(number, "key, seat")
        same = "FROM jobs WHERE seat IS NOT NULL AND key = ? AND state = ? ORDER BY seat"
        mates = [] if seat is None else self._all("number, seat", same, key, State.SUBMITTING)
        return mates or [(number, seat)]

    def _move(self, number: int, to: State, changes: str, *values: object) -> None:
        """Make a legal move, and refuse any other.

        Raises:
            JournalError: the table of states knows no such move.
        """
        state = self._state(number)
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
        self.tariffs.learn(number, credits_used)
        self._book("credits_used", credits_used)

    def _book(self, fact: str, amount: float | None) -> None:
        if amount:
            conflict = "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
            self._do(f"INSERT INTO meta VALUES (?, ?) {conflict}", fact, amount)
            setattr(self, fact, getattr(self, fact) + amount)

    def _do(self, sql: str, *parameters: object) -> None:
        self.file.connection.execute(sql, parameters)


_OPEN_RUN: Final = "open_run"
_NO_BOUND: Final = 2**31
_DEADLY: Final = (
    f"{MOST_CRASHES} runs died while it was being sent, so it is not sent again without being asked; it may "
    "be what they died of, and it may be paid"
)
_FOREIGN: Final = "sent with another API key, so it is not sent again under this one without being asked"
_TOO_LONG_AGO: Final = "sent too long ago to be sent again under its key without being asked"
