"""The engine: the open parts of one client, which are sessions, workers, and the loop that spends its budget.

The workers run in a task group that the engine owns in a separate task. So a client may be opened in one task
and closed in another, as web frameworks do, which a task group alone does not allow; and no worker outlives
the engine.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections import OrderedDict
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVarTuple

import anyio
from attrs import evolve

from seedance_async import posts, protocol, retry
from seedance_async.api_session import open_session
from seedance_async.budget.gate import Budget
from seedance_async.downloads import Downloads
from seedance_async.errors import ClientStateError, SeedanceError, ServiceBusyError
from seedance_async.logs import Log
from seedance_async.models import Submission, Task, media
from seedance_async.on_wire import PostsOnWire
from seedance_async.record import Asked
from seedance_async.scheduling.dispatcher import Dispatcher
from seedance_async.scheduling.poller import Poller
from seedance_async.scheduling.schedule import Schedule
from seedance_async.signals import Future
from seedance_async.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from aiohttp import ClientSession
    from anyio.abc import TaskGroup
    from yarl import URL

    from seedance_async.budget.gate import Slot
    from seedance_async.budget.memory import BudgetMemory
    from seedance_async.budget.references import ReferenceBudget
    from seedance_async.credentials import ApiKey
    from seedance_async.media import Publisher
    from seedance_async.models import Kind, RateLimit, Request, RetryPolicy, Timeouts
    from seedance_async.observer import Observer
    from seedance_async.record import AccountRecord, Entry
    from seedance_async.route import Route
    from seedance_async.scheduling.forecast import Forecast
    from seedance_async.scheduling.poller import Follower
    from seedance_async.usage import Usage

log: Log = Log(__name__)

Values = TypeVarTuple("Values")

NOT_OPEN: Final = (
    "the client is not open; use `async with SeedanceClient() as client:`, or in a notebook "
    "`client = await SeedanceClient().open()`"
)

PRICE_AWAITED: Final = 60.0
"""Most seconds for which other POSTs wait for what the tasks of one say that it costs."""

REMEMBERED_TASKS: Final = 20_000
"""The most tasks whose idempotency keys are kept, to recognise an answer that belongs to another POST."""


class Engine:
    """The open parts of one client, from its opening to its closing, in one loop and one process."""

    def __init__(
        self,
        *,
        base_url: URL,
        key: ApiKey,
        rate_limit: RateLimit,
        policy: RetryPolicy,
        timeouts: Timeouts,
        usage: Usage,
        forecast: Forecast,
        memory: BudgetMemory | None,
        references: ReferenceBudget,
        record: AccountRecord,
        project: str | None,
        session: ClientSession | None,
        route: Route,
        media: Publisher,
        observer: Observer,
    ) -> None:
        self.media = media
        self.observer = observer
        self.timeouts = timeouts
        self.references: ReferenceBudget = references
        self._budget = Budget(rate_limit, memory=memory)
        self.dispatcher: Dispatcher = Dispatcher(self._budget, Schedule(forecast), Schedule(forecast))
        self.downloads: Downloads = Downloads(timeouts, trusted=base_url, route=route)
        self.transport: Transport = Transport(
            base_url=base_url,
            key=key,
            slots=self.dispatcher,
            references=references,
            policy=policy,
            timeouts=timeouts,
            usage=usage,
            session=open_session(session),
            callers_session=session,
            route=route,
            observer=observer,
        )
        self._forecast = forecast
        self._usage = usage
        self._record = record
        self.project = project
        self.posts: PostsOnWire = PostsOnWire()
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._closing = anyio.Event()
        self._end: ClientStateError | None = None
        self._ended: Future[ClientStateError] = Future()
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._workers: TaskGroup
        self.poller: Poller
        self._host: asyncio.Task[None]

    async def open(self) -> None:
        """Start the workers."""
        ready: Future[None] = Future()
        # The only asyncio task of the package outside a task group: it owns the task group, so that opening
        # and closing may happen in different tasks (an aiohttp cleanup context, a pytest fixture).
        self._host = self._loop.create_task(self._run(ready), name="seedance-client")
        try:
            await ready.wait()
        except BaseException:
            self._host.cancel()
            raise

    async def close(self) -> None:
        """Stop all work and close what was opened, after a short wait for answers to POSTs on the wire."""
        self._end = self._end or ClientStateError("the client is closed; make a new one")
        if os.getpid() == self._pid:
            self._closing.set()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._host])

    def check(self) -> None:
        """Check that the engine is used before closing, in its process and in its loop.

        Raises:
            ClientStateError: it is not; the message says which, and what to do.
        """
        if self._end is not None:
            raise self._end.about()
        if os.getpid() != self._pid:
            raise ClientStateError("the client was opened in the parent process; make a new one after a fork")
        if asyncio.get_running_loop() is not self._loop:
            raise ClientStateError("the client belongs to another event loop; make one in each loop")

    def _check_about(self, task_id: str) -> None:
        try:
            self.check()
        except ClientStateError as closed:
            raise closed.about(task_id=task_id) from closed.__cause__

    def start(self, work: Callable[[*Values], Awaitable[None]], *values: *Values) -> None:
        """Run ``work`` in the engine's task group; an exception from it does not end the group."""
        self._workers.start_soon(self._guard, partial(work, *values))

    @property
    def is_ending(self) -> bool:
        """Whether the engine is cancelling its workers."""
        return self._workers.cancel_scope.cancel_called

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as problem:  # a cancellation of ours is not lost, as the task ends here
            if not self.is_ending:
                log.critical("work of the client broke down; please report it", exc_info=problem)

    @property
    def account(self) -> str:
        """The name of the account: the API's origin and the key's fingerprint, never the key itself."""
        return self.transport.key.account(self.origin)

    @property
    def time_scale(self) -> float:
        """How many seconds pass here for one second at the vendor: below 1 with a faster sandbox."""
        return self._forecast.scale

    @property
    def origin(self) -> str:
        """Scheme, host and port of the API."""
        return str(self.transport.base_url.origin())

    async def end(self) -> ClientStateError:
        """Wait until the engine has ended, and return the error that says why."""
        return (await self._ended.wait()).about()

    async def submit(self, request: Request, *, key: str | None = None) -> Submission:
        """Send the POST of a caller that waits for it, and return the accepted submission."""
        call = await self._call(request, key)  # first, as uploads take long and must not hold up other POSTs
        reference = None
        if any(media(request)):
            reference = await self.dispatcher.until_closed(self.references.acquire())
        try:
            with (
                self.observer.work("submit", request) as work,
                self.dispatcher.room.one_posting(),
                self.posts.one(),
            ):
                submission = await self.send(call, request.kind, history=retry.History(minted=key is None))
                work.accepted(submission)
                return submission
        finally:
            if reference is not None:
                reference.settle()

    async def post(self, request: Request, *, slot: Slot) -> Submission:
        """Send the POST of a request under a new key, which all its retries use."""
        try:
            call = await self._call(request, None)
        except BaseException:
            slot.cancel()
            raise
        return await self.send(call, request.kind, history=retry.History(minted=True), slot=slot)

    async def _call(self, request: Request, key: str | None) -> protocol.Call:
        call = protocol.submit_call(request, idempotency_key=key or str(uuid.uuid4()))
        return await self.media.filled(call, request)

    async def send(
        self,
        call: protocol.Call,
        kind: Kind,
        *,
        history: retry.History,
        slot: Slot | None = None,
        project: str | None = None,
        on_retry: Callable[[], None] | None = None,
    ) -> Submission:
        """Send an existing POST, byte for byte, and record what was accepted.

        Args:
            call: the POST.
            kind: the kind of its tasks.
            history: its earlier attempts.
            slot: a slot that is already taken; None to wait for one.
            project: the project to which the record assigns its costs; else the client's.
            on_retry: called before the next attempt, after one that was certainly not charged.

        Raises:
            CreditCapError: a standing limit does not allow it; nothing was sent.
        """
        entry = self._record.entry(self._asked(call, kind, project))
        slot = await self._slot_on_record(entry, slot)

        with_media = call.body is not None and posts.has_media(call.body)

        async def before_again(failure: protocol.Failure) -> None:
            entry.retried()
            if with_media:
                await self.dispatcher.until_closed(self._reference_again())
            if on_retry is not None and failure.outcome is not protocol.Outcome.UNKNOWN:
                on_retry()
            if isinstance(failure.error, ServiceBusyError):
                await self.dispatcher.until_closed(self.dispatcher.room.wait())

        key = str(call.idempotency_key)
        read = partial(self._read_submission, key=key, kind=kind)
        with entry.sending():
            accepted = await self.transport.send(
                call, read, slot=slot, history=history, before_again=before_again
            )
            submission = evolve(accepted, idempotency_key=key)
            self._usage.accepted(submission)
            self.poller.register(submission, kind)
            with handing_over(submission):
                try:
                    await entry.accepted(submission)
                finally:  # after the record, as a hook may end the process
                    if entry.is_to_confirm:
                        self.start(self._confirm_price, entry, submission)
                    self.observer.accepted(submission)
        return submission

    async def _confirm_price(self, entry: Entry, submission: Submission) -> None:
        """Under a standing limit, ask the tasks of a POST what they cost: its answer may say less.

        Other POSTs wait for that, and it is repeated for the next one until answer and tasks agree.
        """
        tasks: list[Task] = []
        try:
            with self.posts.one(), anyio.move_on_after(PRICE_AWAITED), suppress(SeedanceError):
                tasks = [await self.task(task_id) for task_id in submission.task_ids]
        finally:
            with anyio.CancelScope(shield=True):
                await entry.confirmed(submission, tasks)

    async def _reference_again(self) -> None:
        """Wait until the media limit allows one more attempt, after one that failed."""
        slot = await self.references.acquire()
        if slot is not None:
            slot.settle(arrives_within=self.timeouts.arrival)

    async def recorded_prices(self) -> Mapping[Kind, float]:
        """The highest price of one task of each kind in the account record."""
        return await self._record.prices()

    def _asked(self, call: protocol.Call, kind: Kind, project: str | None) -> Asked:
        """The entry of a POST for the account record."""
        return Asked.of_body(
            call.body,
            key=str(call.idempotency_key),
            kind=kind,
            project=project or self.project,
            with_prompt=self._record.with_prompts,
        )

    async def _slot_on_record(self, entry: Entry, slot: Slot | None) -> Slot:
        """Record the intent of a POST, and return its slot.

        While a standing limit makes it wait for another POST, it holds no slot, as the other may need one.
        """
        while True:
            slot = slot or await self.dispatcher.slot()
            try:
                may_leave = await entry.intend()
            except BaseException:
                slot.cancel()
                raise
            if may_leave:
                return slot
            slot.cancel()
            slot = None
            await self.dispatcher.until_closed(entry.room())

    def _read_submission(
        self, reply: protocol.Reply, *, key: str, kind: Kind
    ) -> Submission | protocol.Failure:
        """Read the answer to a POST, and learn the server's capacity from it."""
        answer = protocol.read_submission(reply)
        if isinstance(answer, Submission) and not (
            protocol.is_of_model(answer, kind.model) and self._owns(key, answer.task_ids)
        ):
            answer = protocol.repeated_answer(answer)
        if isinstance(answer, Submission):
            self.dispatcher.room.accepted()
        elif isinstance(answer.error, ServiceBusyError):
            self.dispatcher.room.busy()
        return answer

    def _owns(self, key: str, task_ids: Sequence[str]) -> bool:
        """Whether these tasks are new, or belong to this key: a task belongs to one POST only."""
        if any(self._keys.get(task_id, key) != key for task_id in task_ids):
            return False
        self._keys.update(dict.fromkeys(task_ids, key))
        while len(self._keys) > REMEMBERED_TASKS:
            self._keys.popitem(last=False)
        return True

    async def task(self, task_id: str) -> Task:
        """Get a task with one GET, in the direct lane."""
        task, _ = await self._task_and_age(task_id)
        return task

    async def final(self, task_id: str) -> Task:
        """Wait until a task is final, and return it."""
        if not self.poller.knows(task_id):
            task, age = await self._task_and_age(task_id)
            if task.is_final and not task.lacks_output:
                return task
            self._check_about(task_id)  # the engine may have been closed in the meantime
            self.poller.register_foreign(task, age=age)
        follower = self.poller.follow(task_id, is_awaited=True)
        try:
            outcome = await follower.outcome()
        finally:
            follower.stop()
        if isinstance(outcome, SeedanceError):
            raise outcome
        return outcome

    def resume(self, submission: Submission, kind: Kind, *, age: float) -> None:
        """Register a submission that another process made ``age`` seconds ago."""
        self.poller.register(submission, kind, age=age)

    def follow(self, task_ids: Sequence[str], *, then: Sequence[Kind] = ()) -> list[Follower]:
        """Follow each of these tasks, for as long as ``Timeouts.wait`` allows.

        ``then`` are the kinds of the jobs of which each waits for the result of the one before.
        """
        patience = self.timeouts.wait
        return [self.poller.follow(task_id, patience=patience, then=then) for task_id in task_ids]

    async def _task_and_age(self, task_id: str) -> tuple[Task, float]:
        """A task, and its age in seconds on the server's clock, at least 0."""
        ages = []

        def read(reply: protocol.Reply) -> Task | protocol.Failure:
            answer = protocol.read_task(reply, task_id=task_id)
            if isinstance(answer, Task) and answer.created_at is not None and reply.sent_at is not None:
                ages.append((reply.sent_at - answer.created_at).total_seconds())
            return answer

        try:
            task = await self.transport.send(protocol.task_call(task_id), read)
        except SeedanceError as error:
            error.task_id = task_id
            raise
        self.poller.observe(task)
        if task.is_final:
            await self._record.finished(task)
        return task, max(0.0, *ages, 0.0)

    async def _run(self, ready: Future[None]) -> None:
        """Run the workers until the engine is closed, then close everything that is open."""
        try:
            async with anyio.create_task_group() as workers:
                self._workers = workers
                self.poller = Poller(
                    self.transport, self.dispatcher, self._forecast, self.start, record=self._record
                )
                self._record.start()
                workers.start_soon(self._budget.serve)
                workers.start_soon(self.references.serve)
                workers.start_soon(self.dispatcher.run)
                ready.set_result(None)
                await self._closing.wait()
                await self.posts.last_answers()
                workers.cancel_scope.cancel()
        except Exception as crash:
            log.critical("the client broke down; this is a bug, please report it", exc_info=crash)
            self._end = ClientStateError("the client broke down; this is a bug, please report it")
            self._end.__cause__ = crash
        finally:
            end = self._end = self._end or ClientStateError("the client is closed; make a new one")
            ready.set_error(end)
            self.dispatcher.close(end)
            self.poller.close(end)
            self._ended.set_result(end)
            await self.downloads.close()
            await self._record.close()
            await self.transport.session.close()


@contextmanager
def handing_over(submission: Submission) -> Iterator[None]:
    """Add the key and task id of a paid submission to any exception of the block, also to a cancellation."""
    try:
        yield
    except BaseException as error:
        for name, value in (("idempotency_key", submission.idempotency_key), ("task_id", submission.id)):
            if getattr(error, name, None) is None:
                setattr(error, name, value)
        if not isinstance(error, SeedanceError):
            ids = ", ".join(submission.task_ids)
            message = f"task {ids} is paid and continues; collect it with client.wait"
            error.add_note(message)
            # A timeout or a web framework may discard the exception together with its note.
            log.warning("%s", message)
        raise
