"""The facade: one asyncio client for one account.

All that a client does at the same time shares one budget, one schedule and one poller. They live in a task
group of the client's own, in a task of its own: so a client may be opened in one task and closed in another,
as web frameworks do, and a worker never outlives the client.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import uuid
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import anyio

from seedance_async import protocol, retry, transport, wire
from seedance_async.budget import Budget
from seedance_async.credentials import ApiKey
from seedance_async.downloads import Downloads
from seedance_async.errors import (
    ClientStateError,
    ConfigurationError,
    IdempotencyConflictError,
    SeedanceError,
    TaskFailedError,
    ValidationError,
    WaitTimeoutError,
)
from seedance_async.generation import Completion, Generation
from seedance_async.models import RateLimit, RetryPolicy, Submission, Task, Timeouts
from seedance_async.promise import Bell, Promise
from seedance_async.scheduling.dispatcher import Dispatcher
from seedance_async.scheduling.forecast import Forecast
from seedance_async.scheduling.poller import Poller
from seedance_async.scheduling.schedule import Schedule
from seedance_async.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable
    from pathlib import Path
    from types import TracebackType

    from aiohttp import ClientSession
    from anyio.abc import TaskGroup

    from seedance_async.budget import Slot
    from seedance_async.models import Request

BASE_URL: Final = "https://seedance2ai.io/api/v1"
KEY_PAGE: Final = "https://seedance2ai.io/app/api"
CLOSING_GRACE: Final = 10.0
"""Seconds that POSTs on the wire get for their answer when a client closes: an answer names what was paid."""

REMEMBERED_KEYS: Final = 10_000


class SeedanceClient:
    """An asyncio client of the Seedance 2 AI API.

    Args:
        api_key: the account's key; else the environment's ``SEEDANCE_API_KEY``.
        base_url: else ``SEEDANCE_BASE_URL``, else the vendor's. Https, or http at loopback for the sandbox.
        rate_limit: what the account may send; else ``SEEDANCE_RATE_LIMIT`` such as ``30/60``, else the
            documented 30 requests in 60 seconds.
        retry: when to send a call again.
        timeouts: how long to wait for what.
        session: an ``aiohttp.ClientSession`` of yours for the API calls; it is used and never closed. On it
            aiohttp may repeat a GET by itself when a kept-alive connection has died; on our own it may not.

    Raises:
        ConfigurationError: no API key, or an unusable option. Nothing was sent.

    Use it with ``async with``, in one event loop, from as many tasks as you like.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        rate_limit: RateLimit | None = None,
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        session: ClientSession | None = None,
    ) -> None:
        self._key = _api_key(api_key)
        self._base_url = transport.parse_base_url(base_url or os.environ.get("SEEDANCE_BASE_URL") or BASE_URL)
        self._rate_limit = rate_limit or _rate_limit(os.environ.get("SEEDANCE_RATE_LIMIT"))
        self._policy = retry or RetryPolicy()
        self._timeouts = timeouts or Timeouts()
        self._foreign_session = session
        self._usage = Usage()
        self._forecast = Forecast()
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._posting = 0
        self._posted = Bell()
        self._open: _Open | None = None
        self._host: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def usage(self) -> Usage:
        """Requests sent, retries, 429s; credits used, refunded and last known. Counted from opening on."""
        return self._usage

    @property
    def base_url(self) -> str:
        """Where the API is, as configured or as its own host redirected."""
        return str(self._open.transport.base_url if self._open else self._base_url)

    async def submit(self, request: Request, *, idempotency_key: str | None = None) -> Submission:
        """Send one POST and return what was accepted.

        Args:
            request: what to make.
            idempotency_key: 1 to 255 printable ASCII characters. Under a key used before, the same request is
                answered with the first submission and not charged again. Left out, a new one is minted.

        Raises:
            UncertainSubmissionError: the POST left and its outcome is not known; the error has the key.
            InvalidRequestError, UnauthorizedError, InsufficientCreditsError: refused, nothing charged.
            IdempotencyConflictError: the key stands for another body.
            SeedanceError: any other of the tree; whatever may have been paid can be collected by its key.
        """
        room = self._room()
        if idempotency_key is not None:
            self._check_key(request, idempotency_key)
        return await self._post(room, request, key=idempotency_key)

    async def get_task(self, task_id: str) -> Task:
        """Ask once how a task stands: one GET, ahead of scheduled work.

        Raises:
            NotFoundError: no such task on this account.
            SeedanceError: the question could not be answered; the task is not touched by that.
        """
        task, _ = await self._task_and_age(self._room(), _task_id(task_id))
        return task

    async def wait(self, task: Submission | Task | str, *, timeout: float | None = None) -> Task:
        """Wait until a task is final, sharing one poller with everybody else.

        Args:
            task: a submission (its first task), a task, or a task id.
            timeout: seconds; else ``timeouts.wait``. The task itself goes on at the server.

        Returns:
            The final task; ``is_failed`` ones too.

        Raises:
            WaitTimeoutError: not final in time; wait again by ``task_id``.
            NotFoundError: no such task on this account.
        """
        room = self._room()
        task_id = _task_id(task)
        patience = self._timeouts.wait if timeout is None else timeout
        try:
            with anyio.fail_after(patience):
                return await self._final(room, task_id)
        except TimeoutError as late:
            if isinstance(late, SeedanceError):
                raise
            told = f"the task is not final after {patience:g} s; it goes on at the server, wait for it again"
            raise WaitTimeoutError(told, task_id=task_id) from None

    async def generate(self, request: Request, *, timeout: float | None = None) -> Task:
        """Submit a request and wait for its task.

        Raises:
            TaskFailedError: the server gave the task up; the error has the task and its refund.
            ValidationError: ``batch_count`` makes several tasks: use ``generate_all``.
            SeedanceError: see ``submit`` and ``wait``.
        """
        if getattr(request, "batch_count", 1) > 1:
            raise ValidationError([("batch_count", "makes several tasks; use generate_all to get them all")])
        (task,) = await self.generate_all(request, timeout=timeout)
        return task

    async def generate_all(self, request: Request, *, timeout: float | None = None) -> list[Task]:
        """Submit a request and wait for every task of it, in the order the server names them.

        Raises:
            TaskFailedError: no task of it completed.
            SeedanceError: see ``submit`` and ``wait``.
        """
        submission = await self.submit(request)
        try:
            tasks = [await self.wait(task_id, timeout=timeout) for task_id in submission.task_ids]
        except BaseException as error:
            _hand_over(error, submission)
            raise
        if not any(task.is_completed for task in tasks):
            raise TaskFailedError(tasks[0], idempotency_key=submission.idempotency_key)
        return tasks

    async def as_completed(
        self,
        requests: Iterable[Request] | AsyncIterable[Request],
        *,
        max_in_flight: int | None = None,
    ) -> AsyncGenerator[Completion]:
        """Submit many requests and yield each result as it completes.

        Args:
            requests: any iterable or async iterable; it is read a bounded way ahead.
            max_in_flight: most jobs submitted and not finished at once, at least 1; None for as many as the
                request budget feeds.

        Yields:
            A ``Completion`` for every request; one that did not work has an ``error`` instead of raising.
        """
        room = self._room()
        if max_in_flight is not None and max_in_flight < 1:
            raise ValidationError([("max_in_flight", "must be at least 1")], subject="as_completed")
        run = Generation(
            requests,
            post=partial(self._post, room),
            dispatcher=room.dispatcher,
            poller=room.poller,
            workers=room.workers,
            max_in_flight=max_in_flight,
            patience=self._timeouts.wait,
        )
        results = run.results()
        try:
            async for result in results:
                yield result
        finally:
            await results.aclose()

    async def download(
        self, task: Task | str, directory: str | os.PathLike[str], *, name: str | None = None
    ) -> list[Path]:
        """Save every output file of a completed task.

        Args:
            task: a completed task, or the id of one.
            directory: made if missing.
            name: file name without extension; else the task id. Several files are numbered.

        Returns:
            The files, in the order of ``task.urls``. A file of ours that is there already is kept.

        Raises:
            DownloadError: a file could not be saved; the task stays finished and can be downloaded again.
        """
        room = self._room()
        if isinstance(task, str):
            task = await self.get_task(task)
        return await room.downloads.save(task, directory, name=name)

    async def __aenter__(self) -> Self:
        """Open the client in the running loop."""
        if self._host is not None or self._closed:
            raise ClientStateError("a client is opened once; make a new one")
        ready: Promise[_Open] = Promise()
        # The one bare task of the package: it owns the task group, so that opening and closing may happen in
        # different tasks (an aiohttp cleanup context, a pytest fixture), which a task group itself forbids.
        self._host = asyncio.get_running_loop().create_task(self._run(ready), name="seedance-client")
        try:
            self._open = await ready.wait()
        except BaseException:
            self._host.cancel()
            raise
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Close the client; see ``aclose``."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop all work and close what this client opened.

        POSTs on the wire get a moment for their answer: it names what was paid.
        """
        if self._host is None or self._closed:
            self._closed = True
            return
        self._closed = True
        if self._open is not None and os.getpid() == self._open.pid:
            self._open.closing.set()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._host])

    async def _run(self, ready: Promise[_Open]) -> None:
        """Own everything that is open: sessions, workers, the dispatcher's loop."""
        closed = ClientStateError("the client is closed")
        session = self._foreign_session or transport.open_session()
        downloads = Downloads(self._timeouts, trusted=self._base_url)
        try:
            async with anyio.create_task_group() as workers:
                room = self._furnish(workers, session, downloads)
                workers.start_soon(room.dispatcher.run)
                ready.keep(room)
                await room.closing.wait()
                await self._last_answers()
                workers.cancel_scope.cancel()
        except Exception as crash:
            closed = ClientStateError("the client broke down; this is a bug, please report it")
            closed.__cause__ = crash
        finally:
            self._closed = True
            ready.fail(closed)
            if self._open is not None:
                self._open.dispatcher.close(closed)
                self._open.poller.close(closed)
            await downloads.close()
            if session is not self._foreign_session:
                await session.close()

    def _furnish(self, workers: TaskGroup, session: ClientSession, downloads: Downloads) -> _Open:
        budget = Budget(self._rate_limit)
        dispatcher = Dispatcher(budget, Schedule(self._forecast))
        sender = transport.Transport(
            base_url=self._base_url,
            key=self._key,
            slots=dispatcher,
            policy=self._policy,
            timeouts=self._timeouts,
            usage=self._usage,
            session=session,
            owns_session=session is not self._foreign_session,
        )
        poller = Poller(sender, dispatcher, self._forecast, workers)
        return _Open(sender, dispatcher, poller, workers, downloads)

    async def _last_answers(self) -> None:
        with anyio.move_on_after(CLOSING_GRACE):
            while self._posting:
                await self._posted.sleep()

    def _room(self) -> _Open:
        """What is open, or a clear refusal."""
        if self._open is None:
            raise ClientStateError("the client is not open; use `async with SeedanceClient() as client:`")
        if self._closed:
            raise ClientStateError("the client is closed; make a new one")
        if os.getpid() != self._open.pid:
            raise ClientStateError("the client was opened in the parent process; make a new one after a fork")
        if asyncio.get_running_loop() is not self._open.loop:
            raise ClientStateError("the client belongs to another event loop; make one in each loop")
        return self._open

    async def _post(
        self, room: _Open, request: Request, *, key: str | None = None, slot: Slot | None = None
    ) -> Submission:
        """Send a POST. The key is minted here, once: every retry goes under it."""
        call = protocol.submit_call(request, idempotency_key=key or str(uuid.uuid4()))
        history = retry.History(minted=key is None)
        self._posting += 1
        try:
            accepted = await room.transport.send(call, protocol.read_submission, slot=slot, history=history)
        finally:
            self._posting -= 1
            self._posted.ring()
        submission = protocol.with_key(accepted, idempotency_key=str(call.idempotency_key))
        self._usage.accepted(submission)
        room.poller.born(submission, request.kind)
        return submission

    def _check_key(self, request: Request, key: str) -> None:
        """Refuse a key that cannot stand in a header, or that this client sent with another body."""
        if not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
            raise ValidationError(
                [("idempotency_key", "must be 1 to 255 printable ASCII characters, no spaces")]
            )
        digest = hashlib.sha256(request.path.encode() + wire.encode(request)).digest()
        if self._bodies.setdefault(key, digest) != digest:
            raise IdempotencyConflictError(
                "this key was sent with another request before; take a new key for a new job",
                code="idempotency_conflict",
                idempotency_key=key,
            )
        while len(self._bodies) > REMEMBERED_KEYS:
            self._bodies.popitem(last=False)

    async def _task_and_age(self, room: _Open, task_id: str) -> tuple[Task, float]:
        """One GET, and how many seconds ago the task was made by the server's own clock."""
        age = 0.0

        def read(reply: protocol.Reply) -> Task | protocol.Failure:
            nonlocal age
            answer = protocol.read_task(reply, task_id=task_id)
            if isinstance(answer, Task) and answer.created_at is not None and reply.sent_at is not None:
                age = max(0.0, (reply.sent_at - answer.created_at).total_seconds())
            return answer

        task = await room.transport.send(protocol.task_call(task_id), read)
        room.poller.observe(task)
        return task, age

    async def _final(self, room: _Open, task_id: str) -> Task:
        if not room.poller.knows(task_id):
            task, age = await self._task_and_age(room, task_id)
            if task.is_final:
                return task
            room.poller.remember(task, age=age)
        promise: Promise[Task] = Promise()

        def tell(outcome: Task | SeedanceError) -> None:
            if isinstance(outcome, Task):
                promise.keep(outcome)
            else:
                promise.fail(outcome)

        room.poller.follow(task_id, tell, patience=None)
        try:
            return await promise.wait()
        finally:
            room.poller.leave(task_id, tell)


class _Open:
    """What stands between opening and closing."""

    def __init__(
        self,
        sender: transport.Transport,
        dispatcher: Dispatcher,
        poller: Poller,
        workers: TaskGroup,
        downloads: Downloads,
    ) -> None:
        self.transport = sender
        self.dispatcher = dispatcher
        self.poller = poller
        self.workers = workers
        self.downloads = downloads
        self.closing = anyio.Event()
        self.loop = asyncio.get_running_loop()
        self.pid = os.getpid()


def _api_key(given: str | None) -> ApiKey:
    text = given if given is not None else os.environ.get("SEEDANCE_API_KEY")
    if not text:
        raise ConfigurationError(
            "no API key: pass api_key= or set SEEDANCE_API_KEY; keys are made at "
            f"{KEY_PAGE}, and `seedance sandbox` serves the whole API on this machine without one"
        )
    return ApiKey(text)


def _rate_limit(text: str | None) -> RateLimit:
    if not text:
        return RateLimit()
    try:
        return RateLimit.parse(text)
    except ConfigurationError as problem:
        raise ConfigurationError(f"SEEDANCE_RATE_LIMIT: {problem.message}") from None


def _task_id(task: Submission | Task | str) -> str:
    task_id = task if isinstance(task, str) else task.id
    if not task_id.strip():
        raise ValidationError([("task_id", "must not be empty")])
    return task_id


def _hand_over(error: BaseException, submission: Submission) -> None:
    """Whatever ends a wait, cancellation included, tells what was paid."""
    for name, value in (("idempotency_key", submission.idempotency_key), ("task_id", submission.id)):
        if getattr(error, name, None) is None:
            setattr(error, name, value)
    if not isinstance(error, SeedanceError):
        error.add_note(f"task {submission.id} is paid and goes on; collect it with client.wait")
