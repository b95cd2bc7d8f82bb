"""The steps of a job on a worker of the distributed engine, through one client.

The steps are ordered as the promise of the package is::

    intent on record -> POST -> ids on record -> polled -> files -> saved on record

Between two of them the process may die. The worker that takes over finds the bytes that may have left, and
sends the same bytes again under the same key, or the ids to collect. What an error proves about the money is
decided where the one-host batch decides it, in ``batch.verdicts``.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import anyio
from attrs import evolve

from seedance_async import clocks, posts, retry
from seedance_async.batch import results
from seedance_async.batch.states import State
from seedance_async.batch.verdicts import Outlook, Verdict, is_stored_refusal, verdict
from seedance_async.engine import PRICE_AWAITED
from seedance_async.errors import (
    ClientStateError,
    ConnectionFailedError,
    CreditCapError,
    DownloadError,
    SeedanceError,
    UnauthorizedError,
)
from seedance_async.fault_points import fault_point
from seedance_async.integrations.engine.accounts import foreign
from seedance_async.integrations.engine.database import patiently
from seedance_async.integrations.engine.ends import end_job
from seedance_async.integrations.engine.intents import Intent
from seedance_async.integrations.engine.outcomes import Outcome, charged_for, error_facts
from seedance_async.integrations.engine.reservations import NOT_COVERED, Reservations
from seedance_async.integrations.engine.sources import Sources
from seedance_async.logs import Log
from seedance_async.post_turns import PostTurns
from seedance_async.protocol import Call, Failure
from seedance_async.protocol import Outcome as Proof
from seedance_async.refunds import refunded_by
from seedance_async.signals import Signal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from seedance_async.budget.gate import Slot
    from seedance_async.client import SeedanceClient
    from seedance_async.integrations.engine.dbos_records import Records
    from seedance_async.integrations.engine.files import PlacedFiles
    from seedance_async.integrations.engine.tables import Tables
    from seedance_async.models import Submission, Task

log: Log = Log(__name__)

P = ParamSpec("P")
T = TypeVar("T")

DIED: Final = Failure(error=ConnectionFailedError("the worker that sent it has died"), outcome=Proof.NOT_SENT)


class JobSteps:
    """The steps of the jobs that one worker has in hand.

    Args:
        client: open.
        tables: of the engine.
        records: of the engine, to enqueue what waited for a job.
        files: saves them.
        replay_window: seconds for which a key is taken to be remembered by the server.

    Attributes:
        fatal: what ends the worker, once it is set: a key that is refused, or another account's.
    """

    def __init__(
        self,
        client: SeedanceClient,
        tables: Tables,
        records: Records,
        files: PlacedFiles,
        *,
        replay_window: float,
    ) -> None:
        self._client = client
        self._engine = client.running_engine()
        self._tables = tables
        self._records = records
        self._files = files
        self._credits = Reservations(tables)
        self._sources = Sources(self._engine, tables)
        self._replay_window = replay_window
        self._turns = PostTurns(self._engine)
        self._outlook = Outlook()
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._leaving: set[asyncio.Task[Any]] = set()  # their steps have ended, and DBOS stores the outcome
        self._begun: dict[str, tuple[AsyncExitStack, Slot]] = {}  # of jobs that were begun here, and not sent
        self._sending: set[str] = set()
        self._one_sent = Signal()
        self.fatal: SeedanceError | None = None
        self.ended: anyio.Event = anyio.Event()

    # --- a job comes and goes

    def enter(self, key: str) -> None:
        """A job is taken in hand by the running task."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - steps run in tasks
        self._tasks[key] = task

    async def leave(self, key: str) -> None:
        """It is not any more; a slot that it has not used is given back."""
        if task := self._tasks.pop(key, None):
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        self._sent(key)
        if turn := self._begun.pop(key, None):
            stack, slot = turn
            slot.cancel()
            with anyio.CancelScope(shield=True):
                await stack.aclose()

    def _sent(self, key: str) -> None:
        """The end of a job's POST is on record."""
        self._sending.discard(key)
        self._one_sent.set()

    async def stop(self) -> None:
        """Send nothing more, wait shortly for what is on the wire, and leave the rest to others."""
        self._turns.stop(ClientStateError("the worker ends"))
        await self._turns.last_answers()
        with anyio.move_on_after(5.0):  # answers that have arrived are on their way to the record
            while self._sending:
                await self._one_sent.wait()
        for task in self._tasks.values():
            task.cancel()
        if ending := {*self._tasks.values(), *self._leaving}:
            await asyncio.wait(ending, timeout=5.0)

    # --- the steps

    async def begin(self, intent_document: dict[str, Any]) -> dict[str, Any]:
        """Credits are reserved, a turn is taken, and the exact bytes are on record."""
        intent = Intent.load(intent_document)
        if problem := await self._obstacle(intent):
            return await self._ended(intent, problem)
        body = await self._do(self._tables.body, intent.key)
        if body is None:
            urls = await self._sources.urls(intent)
            if isinstance(urls, Outcome):
                return await self._ended(intent, urls)
            body = posts.resolved(intent.body.encode(), urls).decode()
        if capped := await self._credits.reserve(intent):
            return await self._ended(intent, capped)
        self._begun[intent.key] = await self._turn(intent, body)  # whatever happens, ``leave`` gives it back
        if problem := await self._obstacle(intent):  # of a job that was sent in the meantime
            await self._do(self._tables.release, intent.key, intent.batch)
            return await self._ended(intent, problem)
        account = self._engine.account
        body, at = await self._do(self._tables.begin, intent.key, body, account)
        fault_point("after_intent")
        return {"body": body, "at": at, "account": account}

    async def post(self, intent_document: dict[str, Any], begun: dict[str, Any]) -> dict[str, Any]:
        """Sent; what was accepted is on record when this returns, or what the refusal proves."""
        intent = Intent.load(intent_document)
        is_new = intent.key in self._begun
        if not is_new and (ids := await self._do(self._tables.accepted, intent.key)):
            found = Outcome(state=State.ACCEPTED, task_ids=ids, accepted_at=begun["at"])
            await self._confirm_price(intent, found)
            return await self._ended(intent, found)
        self._sending.add(intent.key)
        try:
            if not is_new:
                await self._check_account(begun["account"])
                await self._credits.reserve_again(intent)
            submission = await self._send(intent, begun)
        except SeedanceError as error:
            return await self._ended(intent, await self._not_accepted(intent, error, is_new=is_new))
        fault_point("before_record")
        self._outlook.accepted()
        used, ids = submission.credits_used, submission.task_ids
        settle = partial(self._tables.settle, intent.key, intent.batch, intent.tariff, will_confirm=True)
        at = await self._do(settle, used, ids)
        fault_point("after_record")
        accepted = Outcome(state=State.ACCEPTED, task_ids=ids, credits_used=used, accepted_at=at)
        await self._confirm_price(intent, accepted)
        return accepted.dump()

    async def _confirm_price(self, intent: Intent, accepted: Outcome) -> None:
        """Under a cap, ask the tasks of the first job of a price what it costs: the answer may say less.

        A worker that dies meanwhile is followed by another one, which asks as well; the others wait for it.
        """
        if not await self._do(self._tables.is_to_confirm, intent.key, intent.batch):
            return
        tasks: list[Task] = []
        with anyio.move_on_after(PRICE_AWAITED), suppress(SeedanceError):
            tasks = [await self._engine.task(task_id) for task_id in accepted.task_ids]
        known = bool(tasks) and all(task.credits_used is not None for task in tasks)
        charged = charged_for(accepted.credits_used, tasks, intent.tariff.kind) if known else None
        await self._do(self._tables.confirm, intent.key, intent.batch, intent.tariff, charged)

    async def collect(self, intent_document: dict[str, Any], posted: dict[str, Any]) -> dict[str, Any]:
        """The tasks are final, and their files are in place."""
        intent, accepted = Intent.load(intent_document), Outcome.load(posted)
        self._sent(intent.key)
        entry = accepted.entry(intent)
        assert entry.submission is not None  # noqa: S101 - it was accepted
        age = max(0.0, await self._do(self._tables.now) - (accepted.accepted_at or 0.0))
        self._engine.resume(entry.submission, intent.request.kind, age=age)
        ends = await self._turns.outcomes(self._engine.follow(entry.task_ids))
        if any(isinstance(end, ClientStateError) for end in ends):
            await anyio.sleep_forever()  # the client is closed: the worker ends, and another collects
        if errors := [end for end in ends if isinstance(end, SeedanceError)]:
            await self._stop_if_key_is_refused(intent, errors[0])
            return await self._ended(intent, evolve(accepted, error=error_facts(errors[0])))
        tasks = [end for end in ends if not isinstance(end, SeedanceError)]
        finished = await self._finished(intent, accepted, tasks)
        if finished.state is State.COMPLETED:
            finished = await self._saved(intent, finished)
        return await self._ended(intent, finished)

    async def pass_on(self, intent_document: dict[str, Any], outcome_document: dict[str, Any]) -> None:
        """The jobs that take this one's output are enqueued, if they wait for nothing else."""
        intent, outcome = Intent.load(intent_document), Outcome.load(outcome_document)
        await self._do(end_job, self._tables, self._records, intent.key, outcome)

    # --- begin

    async def _obstacle(self, intent: Intent) -> Outcome | None:
        """Why a job may not be sent now, because others before it were not."""
        why = await self._do(self._tables.stopped, intent.batch)
        return None if why is None else Outcome(state=State.PLANNED, was_sent=False, error=why)

    async def _turn(self, intent: Intent, body: str) -> tuple[AsyncExitStack, Slot]:
        """The schedule's turn for a job, which goes on until its POST has its answer."""
        stack = AsyncExitStack()
        with_media = posts.has_media(body.encode())
        turn = self._turns.turn(intent.request.kind, with_media=with_media)
        slot = await stack.enter_async_context(turn)
        if slot is None:
            await anyio.sleep_forever()  # the worker ends, and cancels this
        assert slot is not None  # noqa: S101
        return stack, slot

    # --- post

    async def _check_account(self, account: str) -> None:
        """See that what another worker may have sent is this account's; if not, end this worker.

        Raises:
            SeedanceError: nothing is proven, because the API could not be asked.
        """
        if problem := await foreign(self._client, self._tables, account):
            self.fatal = self.fatal or problem
            self.ended.set()
            await anyio.sleep_forever()  # the worker ends, and one with the account's key takes the job

    @asynccontextmanager
    async def _turn_of(self, intent: Intent, body: str) -> AsyncIterator[tuple[Slot, bool]]:
        """The turn that ``begin`` took, and True; or a new one, and False: the POST may have left before."""
        begun = self._begun.pop(intent.key, None)
        stack, slot = begun or await self._turn(intent, body)
        async with stack:
            yield slot, begun is not None

    async def _send(self, intent: Intent, begun: dict[str, Any]) -> Submission:
        """The POST itself, the same bytes under the same key at every attempt of every worker.

        Raises:
            SeedanceError: as ``retry`` decides; StaleKeyError for a key that the server may have forgotten;
                CreditCapError where a standing limit stops what may have been sent before.
        """
        body = begun["body"]
        call = Call(method="POST", path=intent.path, body=body.encode(), idempotency_key=intent.key)
        async with self._turn_of(intent, body) as (slot, is_new):
            try:
                age = 0.0 if is_new else clocks.age(begun["at"], await self._do(self._tables.now))
                history = retry.History(uncertain=not is_new, age=age, trust=self._replay_window)
                stale = None if is_new else retry.outlived(call, DIED, history)
            except BaseException:
                slot.cancel()
                raise
            if stale is not None:
                slot.cancel()
                raise stale
            send = self._engine.send(
                call, intent.request.kind, history=history, slot=slot, project=self._project(intent)
            )
            try:
                submission = await self._turns.protect(send)
            except CreditCapError as reached:
                if is_new:
                    raise
                raise CreditCapError(NOT_COVERED.format(limit="limit")) from reached
        if submission is None:
            await anyio.sleep_forever()  # not answered before the worker ends: another asks again
        assert submission is not None  # noqa: S101
        return submission

    def _project(self, intent: Intent) -> str | None:
        return intent.project or self._engine.project or intent.batch or None

    async def _not_accepted(self, intent: Intent, error: SeedanceError, *, is_new: bool) -> Outcome:
        """Where an error leaves a job, with its credits booked so."""
        if isinstance(error, ClientStateError):
            await anyio.sleep_forever()  # the client is closed: the worker ends, and another asks
        state, proven = State.SUBMITTING, verdict(error)
        match proven:
            case Verdict.UNCERTAIN:
                state = State.UNCERTAIN
            case Verdict.UNPAID:
                state = State.PLANNED
                if is_stored_refusal(intent.key, error):
                    await self._do(self._tables.refused, intent.key)
            case Verdict.REFUSED:
                state = State.REFUSED
            case Verdict.NOTHING:
                pass

        await self._credits.book_failure(intent, proven, is_new=is_new)
        await self._stop_if_it_recurs(intent, error, is_new=is_new)
        return Outcome(state=state, error=error_facts(error))

    async def _stop_if_it_recurs(self, intent: Intent, error: SeedanceError, *, is_new: bool) -> None:
        """Stop the batch if its next POST would fail in the same way."""
        if self._outlook.failed(error, is_new=is_new, now=anyio.current_time()):
            await self._do(self._tables.stop, intent.batch, error_facts(error))
        await self._stop_if_key_is_refused(intent, error)

    async def _stop_if_key_is_refused(self, intent: Intent, error: SeedanceError) -> None:
        """Stop the batch and the worker if the key is refused."""
        if isinstance(error, UnauthorizedError):
            await self._do(self._tables.stop, intent.batch, error_facts(error))
            self.fatal = self.fatal or error
            self.ended.set()

    # --- collect

    async def _finished(self, intent: Intent, accepted: Outcome, tasks: Sequence[Task]) -> Outcome:
        """What the final tasks say, with its credits booked."""
        booked = accepted.credits_used
        charged = charged_for(booked, tasks, intent.tariff.kind)
        refunded = refunded_by(tasks, charged)
        conclude = partial(self._tables.conclude, booked=booked, charged=charged, refunded=refunded or 0.0)
        ended_at = await self._do(conclude, intent.key, intent.batch, intent.tariff)
        state = State.COMPLETED if any(task.is_completed for task in tasks) else State.FAILED
        outcome = evolve(
            accepted,
            state=state,
            tasks=tuple(task.raw for task in tasks),
            credits_used=charged,
            credits_refunded=refunded,
            ended_at=ended_at,
        )
        error = results.failure_among(tasks, outcome.entry(intent))
        return evolve(outcome, error=None if error is None else error_facts(error))

    async def _saved(self, intent: Intent, finished: Outcome) -> Outcome:
        """The outcome with the files in place, or with the reason why they are not."""
        try:
            files = await self._files.save(finished.entry(intent))
        except DownloadError as problem:
            return evolve(finished, error=error_facts(problem))
        delivered = tuple(None if found is None else found.to_dict() for found in files.delivered)
        return evolve(finished, state=State.SAVED, files=files.names, delivered=delivered)

    # ---

    async def _ended(self, intent: Intent, outcome: Outcome) -> dict[str, Any]:
        """The outcome of a job as its record has it; where it stands is known at once."""
        await self._do(self._tables.mark, intent.key, outcome.state)
        return outcome.dump()

    async def _do(self, operation: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something in the database, however long it is away."""
        return await patiently(operation, *args, **kwargs)
