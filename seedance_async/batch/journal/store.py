"""The state changes of a job on disk: one method is one transaction, and only allowed changes are made.

Everything here runs in the journal's own thread. ``now`` is the time in seconds of the wall clock.
"""

from __future__ import annotations

import functools
import sqlite3
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final

from seedance_async import clocks, posts
from seedance_async.batch.journal.queries import KIND_COLUMNS
from seedance_async.batch.journal.records import as_json
from seedance_async.batch.journal.refunded_moves import RefundedMoves
from seedance_async.batch.journal.schema import MAX_NUMBER, OPEN_RUN
from seedance_async.batch.journal.take_moves import TakeMoves
from seedance_async.batch.journal.transactions import transaction
from seedance_async.batch.states import State
from seedance_async.charges import charged_by
from seedance_async.errors import JournalError
from seedance_async.prices import Tariff, documented_price
from seedance_async.protocol import Call
from seedance_async.refunds import refunded_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seedance_async.models import Delivered, Submission, Task

MOST_CRASHES: Final = 5
"""Number of runs that may die while a job is being sent, before it is no longer sent automatically."""


NO_FILES: Final[Mapping[str, str]] = {}


class Store(RefundedMoves, TakeMoves):
    """All operations on the jobs of one batch."""

    def has_begun(self) -> bool:
        """Whether a run has begun, or a POST was intended; True if that cannot be read."""
        return self.run > 0 or self.has_posts()

    def has_posts(self) -> bool:
        """Whether a POST was intended in any run; True if that cannot be read."""
        try:
            return self.file.row("SELECT 1 FROM posts LIMIT 1") is not None
        except JournalError:
            return True

    # --- a run

    def begin_run(self, *, replayable_since: float, account: str = "", now: float = inf) -> None:
        """Start a run, in which POSTs without an answer since ``replayable_since`` are to be replayed.

        The following POSTs without an answer become uncertain instead, unless ``replayable_since`` is minus
        infinity:

        * older ones, because the server may have forgotten their idempotency keys;
        * those sent with another API key, because the server may keep its idempotency keys separately;
        * those that were under way when ``MOST_CRASHES`` runs died, because they may be the cause, and the
          other jobs must not be held up for ever;
        * those with a time after ``now``, because a clock was wrong and their age is unknown.

        Args:
            replayable_since: seconds of the wall clock.
            account: origin and fingerprint of the API key of this run; never the key.
            now: seconds of the wall clock.
        """
        self._begin_run(replayable_since, account, now)
        # The write-ahead log alone may be lost, so the file itself must show, before the first intent, that a
        # run is open. Then the log begins anew: with the page that says so, by which ``log_check`` knows it.
        self.file.checkpoint()
        self.remember(OPEN_RUN, self.run)

    @transaction
    def _begin_run(self, replayable_since: float, account: str, now: float) -> None:
        self.remember_fact("account", account)
        self._account = account
        if self.fact(OPEN_RUN):
            died = "SELECT post FROM jobs WHERE state = ? AND run = ?"
            self.file.write(
                f"UPDATE posts SET crashes = crashes + 1 WHERE id IN ({died})", State.SUBMITTING, self.run
            )
        self.run: int = self.run + 1
        self.remember_fact("run", self.run)
        self.remember_fact(OPEN_RUN, self.run)
        self._sort_unanswered(replayable_since, now, account)
        self.reload()

    def _sort_unanswered(self, since: float, now: float, account: str) -> None:
        """Decide which of the posts without an answer are replayed, and which become uncertain."""
        careful = since > -inf
        since = max(since, _AFTER_UNKNOWN) if careful else since
        most = MOST_CRASHES if careful else _NO_BOUND
        doubt = functools.partial(self._move_posts, State.SUBMITTING, State.UNCERTAIN)
        latest = now + clocks.TOLERANCE if careful else inf
        doubt(_IN_THE_FUTURE, "intended_at > ?", latest)
        # That instant will come, and look recent then: so it is replaced by 0, which is an unknown one.
        self.file.write("UPDATE posts SET intended_at = 0 WHERE intended_at > ?", latest)
        self.file.write(_AGED_BY_BOOT_TIME, now - clocks.boot_time(), clocks.boot_id())
        doubt(_TOO_LONG_AGO, "intended_at < ?", since)
        doubt(_DEADLY, "crashes >= ?", most)
        doubt(_FOREIGN, "account IS NOT ? AND ?", account, careful)
        young = "intended_at BETWEEN ? AND ? AND crashes < ? AND (account IS ? OR NOT ?)"
        self._move_posts(
            State.UNCERTAIN, State.SUBMITTING, None, young, since, latest, most, account, careful
        )

    def _move_posts(
        self, before: State, after: State, error: str | None, condition: str, *values: object
    ) -> None:
        """Change the state of the posts that fulfil a condition, and of their jobs."""
        such = f"SELECT id FROM posts WHERE {condition}"
        self.file.write(
            f"UPDATE jobs SET state = ?, error = coalesce(?, error) WHERE state = ? AND post IN ({such})",
            after,
            error,
            before,
            *values,
        )
        self.file.write(f"UPDATE posts SET state = ? WHERE state = ? AND {condition}", after, before, *values)

    @transaction
    def plan_ended_again(self) -> list[str]:
        """Plan all listed jobs again that failed or were refused; their earlier cost stays in the sums.

        Like a re-roll, this order is stored and stays open until a run has finished it.

        Returns:
            The names of jobs that were not planned, because they belong to an open order.
        """
        ended = "listed = 1 AND state IN ('failed', 'refused')"
        is_open = "fold IN (SELECT fold FROM rerolls)"
        rows = self.file.rows(f"SELECT name FROM jobs WHERE {ended} AND {is_open} ORDER BY number")
        again = self.file.rows(f"SELECT number, fold FROM jobs WHERE {ended} AND NOT {is_open}")
        self.plan_again([number for number, _ in again])
        self.file.write(
            "INSERT INTO rerolls SELECT value FROM json_each(?)", as_json([fold for _, fold in again])
        )
        self.reload()
        return [name for (name,) in rows]

    @transaction
    def complete_again(self, numbers: Sequence[int]) -> None:
        """Set saved jobs whose files are missing back to completed, so that these are downloaded again."""
        for number in numbers:
            self.file.write(
                "UPDATE jobs SET state = ? WHERE number = ? AND state = ?",
                State.COMPLETED,
                number,
                State.SAVED,
            )
        self.reload()

    @transaction
    def end_run(self) -> None:
        """Store that the run ended normally, so its POSTs under way do not count a crash."""
        self.remember_fact(OPEN_RUN, "")

    def leave(self) -> None:
        """Store that no run is open; called before the journal and its log are closed.

        Also called after a failure of the file: an open run without a log would look like a lost log.
        """
        with suppress(sqlite3.Error):
            self.file.write("UPDATE meta SET value = '' WHERE name = ?", OPEN_RUN)

    @transaction
    def remember(self, name: str, value: object) -> None:
        """Store a fact about the batch."""
        self.remember_fact(name, value)

    def remember_fact(self, name: str, value: object) -> None:
        """Store a fact about the batch. Part of a transaction."""
        self.file.write("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, value)

    def tariff_id(self, tariff: Tariff) -> int:
        """Return the row id of a tariff, inserted if new. Part of a transaction."""
        if tariff not in self._tariff_rows:
            kind = tariff.kind
            values = (
                kind.model,
                kind.quality_tier,
                kind.channel,
                kind.resolution,
                kind.seconds,
                tariff.tasks,
            )
            self.file.write(f"INSERT INTO tariffs ({KIND_COLUMNS}, tasks) VALUES (?, ?, ?, ?, ?, ?)", *values)
            ((row,),) = self.file.rows("SELECT last_insert_rowid()")
            self._tariffs[row], self._tariff_rows[tariff] = tariff, row
        return self._tariff_rows[tariff]

    # --- the states of a job

    @transaction
    def intend(self, number: int, *others: int, now: float, urls: Mapping[str, str] = NO_FILES) -> Call:
        """Store the intent to send a job, and return the call, which is the same for every attempt.

        Args:
            number: number of the job. If it was sent before, its POST is sent again unchanged, for all jobs
                that it serves.
            others: planned jobs with the same request that are to share the POST of this planned job.
            now: the time.
            urls: URLs of local files, by content reference.

        Raises:
            JournalError: the intent was not stored; nothing may be sent.
        """
        self.file.space.check()
        if self._job(number, "state") == (State.SUBMITTING,):
            members = "post = (SELECT post FROM jobs WHERE number = ?) AND state = ?"
            self.file.write(f"UPDATE jobs SET run = ? WHERE {members}", self.run, number, State.SUBMITTING)
        else:
            self._make_post((number, *others), now, urls)
        _, path, body, key, _ = self._post_of(number)
        return Call(method="POST", path=path, body=body, idempotency_key=key)

    @transaction
    def accept(self, number: int, submission: Submission, *, now: float) -> dict[int, Submission | None]:
        """Store that a POST was accepted: from here on its tasks can be polled.

        Returns:
            By number, each job's part of the submission. None for a job that got no task: it is planned again
            if the answer shows that it was not started, and uncertain otherwise.
        """
        self._check_move(number, State.ACCEPTED)
        post, *_, served = self._post_of(number)
        waiting = self._waiting_members(number)
        asked = served * self.tariff(self._job(number, "tariff")[0]).tasks
        unpaid = posts.accounts_for(submission, asked)
        doubt = self._doubt_about(submission, post, None if unpaid or served > 1 else asked)
        parts = [None] * served if doubt else posts.divide(submission, served)
        state = State.UNCERTAIN if doubt else State.ACCEPTED
        answered = "UPDATE posts SET state = ?, answer = ? WHERE id = ? AND state <> ?"
        self.file.write(answered, state, as_json(submission.raw), post, State.ACCEPTED)
        for member, place in waiting:
            part = parts[place]
            if part is not None:
                self._accept(member, part, now)
            elif unpaid and not doubt:
                unsent = "post = NULL, place = NULL, error = ?"
                self._move(member, State.PLANNED, unsent, "the server started fewer pictures than asked for")
            else:
                self._move(member, State.UNCERTAIN, "error = ?", doubt or "the answer names no task for it")
        return {member: parts[place] for member, place in waiting}

    @transaction
    def postpone(self, number: int, error: str, *, key: str | None, doubted: float | None = None) -> None:
        """Plan the jobs of a POST again, because the server reported that they were not charged.

        Args:
            number: number of one of the jobs.
            error: why the POST was not accepted.
            key: the key to send under next: the one just used, or the one before it. None for a new key,
                because the server may repeat its refusal under the old one for ever.
            doubted: credits that may have been charged under the key that is given up; None if it is proved
                that nothing was charged.
        """
        self._book("credits_doubted", doubted)
        given_up = State.REFUSED if doubted is None else State.UNCERTAIN
        waiting = self._waiting_members(number)
        self._close_post(number, given_up)
        again = self.file.row("SELECT id FROM posts WHERE key = ?", key)
        if again is not None:
            # The row is kept with its key and body: if a proxy delivered the POST twice, the user can still
            # find the result under this key.
            self.file.write(
                "UPDATE posts SET state = ?, intended_at = NULL WHERE id = ?", State.PLANNED, again[0]
            )
        for member, place in waiting:
            post = (None, None) if again is None else (again[0], place)
            self._move(member, State.PLANNED, "post = ?, place = ?, error = ?", *post, error)

    @transaction
    def refuse(self, number: int, error: str, *, now: float) -> None:
        """Store that the API refused the request."""
        self._close_post(number, State.REFUSED)
        for member, _ in self._waiting_members(number):
            self._move(member, State.REFUSED, "ended_at = ?, error = ?", now, error)

    @transaction
    def doubt(self, number: int, error: str) -> None:
        """Store that a POST ended without an answer: its jobs are uncertain."""
        self._close_post(number, State.UNCERTAIN)
        for member, _ in self._waiting_members(number):
            self._move(member, State.UNCERTAIN, "error = ?", error)

    @transaction
    def confirm_charge(self, number: int, tasks: Sequence[Task]) -> float | None:
        """Store what the unfinished tasks of an accepted job report as its charge; return the charge."""
        return self._charge_more(number, tasks)

    @transaction
    def finish(self, number: int, tasks: Sequence[Task], error: str | None, *, now: float) -> State:
        """Store that all tasks of a job are final; return its state: completed if one is, else failed."""
        state = State.COMPLETED if any(task.is_completed for task in tasks) else State.FAILED
        charged = self._charge_more(number, tasks)
        refunded = refunded_by(tasks, charged)
        self._move(
            number,
            state,
            "ended_at = ?, urls_at = ?, tasks = ?, credits_refunded = ?, error = ?",
            now,
            now,
            as_json([task.raw for task in tasks]),
            refunded,
            error,
        )
        if charged is not None:  # a refund is booked only against a booked charge
            self._book("credits_refunded", refunded)
        return state

    @transaction
    def renew(self, number: int, tasks: Sequence[Task], *, now: float) -> None:
        """Store finished tasks that were polled again, with new URLs."""
        raw = as_json([task.raw for task in tasks])
        self.file.write("UPDATE jobs SET tasks = ?, urls_at = ? WHERE number = ?", raw, now, number)

    @transaction
    def save(
        self,
        number: int,
        files: Sequence[str],
        error: str | None,
        *,
        now: float,
        delivered: Sequence[Delivered | None] = (),
    ) -> None:
        """Store that all files of a job are saved; ``error`` is about tasks without files."""
        measured = as_json([each and each.to_dict() for each in delivered])
        self.file.write("INSERT OR REPLACE INTO deliveries VALUES (?, ?)", number, measured)
        self._move(number, State.SAVED, "ended_at = ?, files = ?, error = ?", now, as_json(files), error)

    @transaction
    def note(self, number: int, error: str) -> None:
        """Store an error that does not change the job's state."""
        self.file.write("UPDATE jobs SET error = ?, run = ? WHERE number = ?", error, self.run, number)

    def _accept(self, number: int, part: Submission, now: float) -> None:
        self._move(
            number,
            State.ACCEPTED,
            "accepted_at = ?, task_ids = ?, error = NULL",
            now,
            as_json(part.task_ids),
        )
        self._charge(number, part.credits_used)

    def _charge_more(self, number: int, tasks: Sequence[Task]) -> float | None:
        """Book the charge that the tasks report, if the answer to the POST had none, or a lower one."""
        booked, row = self._job(number, "credits_used, tariff")
        single = Tariff(self.tariff(row).kind)
        of_post = "SELECT count(*) FROM tasks WHERE post = (SELECT post FROM jobs WHERE number = ?)"
        ((known,),) = self.file.rows(of_post, number)
        stated = [task.credits_used for task in tasks]
        alone = max(documented_price(single), self.prices().get(single, 0.0))
        charged = charged_by(booked, stated, of_post=max(known, len(tasks)), alone=alone)
        if charged != booked:
            self._charge(number, charged, booked=booked or 0.0)
        return charged

    def _charge(self, number: int, credits_used: float | None, *, booked: float = 0.0) -> None:
        if credits_used is None:
            return
        self.file.write("UPDATE jobs SET credits_used = ? WHERE number = ?", credits_used, number)
        self.file.write(
            "UPDATE tariffs SET price = max(coalesce(price, 0), ?) "
            "WHERE id = (SELECT tariff FROM jobs WHERE number = ?)",
            credits_used,
            number,
        )
        self._book("credits_used", credits_used - booked)

    def _book(self, fact: str, amount: float | None) -> None:
        if amount:
            total = min(getattr(self, fact) + amount, MAX_NUMBER)
            self.remember_fact(fact, total)
            setattr(self, fact, total)


_AGED_BY_BOOT_TIME: Final = (
    "UPDATE posts SET intended_at = max(0, min(intended_at, ? + boots.uptime)) FROM boots "
    "WHERE boots.post = posts.id AND boots.boot = ? AND posts.state IN ('submitting', 'uncertain')"
)
"""SQL for POSTs that are older by the time since boot than by the wall clock, because that was set back."""

_NO_BOUND: Final = 2**31
_AFTER_UNKNOWN: Final = 1.0  # s; an earlier instant is not known
_DEADLY: Final = (
    f"{MOST_CRASHES} runs died while it was being sent, so it is not sent again without being asked; it may "
    "be what they died of, and it may be paid"
)
_FOREIGN: Final = "sent with another API key, so it is not sent again under this one without being asked"
_IN_THE_FUTURE: Final = (
    "by its record it was sent at an instant that has not come yet, so a clock was wrong and its age is not "
    "known: it is not sent again without being asked"
)
_TOO_LONG_AGO: Final = "sent too long ago to be sent again under its key without being asked"
