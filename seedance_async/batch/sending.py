"""The sending of a batch's POSTs, with the journal's records before and after each.

    intent on disk -> POST -> ids on disk

``verdicts`` decides what an error proves about a charge.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from seedance_async import clocks, retry
from seedance_async.batch.states import State
from seedance_async.batch.verdicts import STORABLE, UNPAID, Verdict, is_stored_refusal, verdict
from seedance_async.errors import CreditCapError, JournalError, SeedanceError
from seedance_async.fault_points import fault_point
from seedance_async.logs import Log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seedance_async.batch.jobs import JobResult
    from seedance_async.batch.journal import Journal
    from seedance_async.batch.ledger import Ledger
    from seedance_async.batch.queue import Post
    from seedance_async.budget.gate import Slot
    from seedance_async.engine import Engine
    from seedance_async.models import Submission
    from seedance_async.signals import Signal
    from seedance_async.stream import Stream

log: Log = Log(__name__)

Parts: TypeAlias = "dict[int, Submission | None]"
"""By number of a job, its part of an accepted POST; None for a job without a task in the answer."""


class Sender:
    """Sends the posts of one run.

    Args:
        engine: sends the POSTs.
        journal: the batch's journal.
        ledger: gets the charges.
        stream: the run's stream; once it is stopped, nothing is sent under a new key.
        changed: set when the ledger has changed.
        replay_window: seconds for which the server is assumed to remember an idempotency key.
        pay_twice: whether an uncertain job may get a new key if its own can never be accepted.
        project: the project to which the costs belong in the account record.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        ledger: Ledger,
        stream: Stream[JobResult],
        changed: Signal,
        *,
        replay_window: float,
        pay_twice: bool,
        project: str | None,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._ledger = ledger
        self._stream = stream
        self._changed = changed
        self._replay_window = replay_window
        self._pay_twice = pay_twice
        self._project = project

    async def post(self, post: Post, slot: Slot, urls: Mapping[str, str]) -> Parts | SeedanceError:
        """Send a post; when this returns, the new states of its jobs are on disk.

        Args:
            post: the post.
            slot: the budget's slot for its first attempt.
            urls: URLs of its local files, by content reference.

        Returns:
            The jobs' parts of the answer, or the error if it was not accepted.

        Raises:
            JournalError: the new states could not be stored.
        """
        if not all(map(self._ledger.covers, post.numbers)):
            slot.cancel()
            return _not_covered(post)
        try:
            submission = await self._send_under_usable_key(post, slot, urls)
            return await self._record_acceptance(post, submission)
        except SeedanceError as error:
            await self._record_failure(post, error)
            return error
        finally:
            self._changed.set()

    async def _send_under_usable_key(self, post: Post, slot: Slot, urls: Mapping[str, str]) -> Submission:
        """Send a post under its key, and under a new one if its own can never be accepted."""
        try:
            return await self._send(post, slot, urls)
        except SeedanceError as error:
            if self._stream.stopped is not None:
                raise
            doubted = self._ledger.pay_again(*post.numbers) if self._may_pay_twice(post, error) else None
            if doubted is None and not is_stored_refusal(post.refused_key, error):
                raise
            give_up = partial(self._journal.store.postpone, key=None, doubted=doubted)
            await self._journal.do(give_up, post.number, error.message)
        try:
            return await self._send(post.with_new_key(), None, urls)
        except (*UNPAID, CreditCapError) as error:
            error.idempotency_key = post.refused_key or error.idempotency_key
            raise

    def _may_pay_twice(self, post: Post, error: SeedanceError) -> bool:
        """Whether ``pay_twice`` is on, and an uncertain post got an error that its key may repeat."""
        in_doubt = post.state is State.SUBMITTING and isinstance(error.__cause__, STORABLE)
        return self._pay_twice and in_doubt

    async def _send(self, post: Post, slot: Slot | None, urls: Mapping[str, str]) -> Submission:
        now = clocks.wall_now()
        try:
            intend = partial(self._journal.store.intend, now=now, urls=urls)
            call = await self._journal.do(intend, *post.numbers)
        except BaseException:
            if slot is not None:
                slot.cancel()
            raise
        fault_point("after_intent")
        begun = post.state is not State.PLANNED
        trust = self._replay_window
        history = retry.History(uncertain=begun, age=post.age(now) if begun else 0.0, trust=trust)
        retried = partial(self._retried, post)
        send = partial(self._engine.send, call, post.kind, history=history, slot=slot, on_retry=retried)
        try:
            return await send(project=post.project or self._project)
        except CreditCapError as reached:
            if begun:  # a limit that stops this attempt proves nothing about the first one
                raise _not_covered(post) from reached
            raise

    def _retried(self, post: Post) -> None:
        for number in post.numbers:
            self._ledger.retried(number)
        self._changed.set()

    async def _record_acceptance(self, post: Post, submission: Submission) -> Parts:
        fault_point("before_record")
        store = self._journal.store
        try:
            parts = await self._journal.do(store.accept, post.number, submission, now=clocks.wall_now())
        except JournalError as error:
            error.idempotency_key, error.task_id = submission.idempotency_key, submission.id
            log.critical("%s is paid and could not be recorded: %s", post.name, error)
            raise
        fault_point("after_record")
        answered = {number: part for number, part in parts.items() if part is not None}
        first, is_shared = next(iter(answered), None), len(post.jobs) > 1
        for number, part in answered.items():
            used, is_first = part.credits_used, number == first
            self._ledger.settle(number, used, will_confirm=is_first, is_shared=is_shared)
        if submission.credits_used is not None:
            self._ledger.priced_together(post.jobs[0].tariff, len(answered))
        return parts

    async def _record_failure(self, post: Post, error: SeedanceError) -> None:
        """Store the state that the error proves for the jobs of a post."""
        store, number = self._journal.store, post.number
        proven = verdict(error)
        match proven:
            case Verdict.UNCERTAIN:
                await self._journal.do(store.doubt, number, error.message)
                self._note_lost_answer(post)
            case Verdict.UNPAID:
                await self._journal.do(store.postpone, number, error.message, key=error.idempotency_key)
            case Verdict.REFUSED:
                await self._journal.do(store.refuse, number, error.message, now=clocks.wall_now())
            case Verdict.NOTHING:
                pass
        is_unpaid = proven in {Verdict.UNPAID, Verdict.REFUSED}
        for each in post.numbers:
            (self._ledger.release if is_unpaid else self._ledger.doubt)(each)

    def _note_lost_answer(self, post: Post) -> None:
        """Note a lost answer in the ledger, except for a post of an earlier run, whose price may be old."""
        if post.state is State.PLANNED:
            self._ledger.lost(post.number)


def _not_covered(post: Post) -> CreditCapError:
    """Return the error for a post whose price exceeds the cap; without an answer, it may be paid already."""
    if post.state is State.PLANNED:
        return CreditCapError("its price has risen since it was reserved")
    return CreditCapError(
        "it may be paid already; sent again it may be charged, and the cap does not allow for that"
    )
