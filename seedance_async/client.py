"""The client: the public interface to an ``Engine``, which is open for one account in one event loop.

All calls of a client share the engine's one budget, one schedule and one poller.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from pathlib import Path
from typing import Final, Self, TypeVar, cast

import anyio
from aiohttp import ClientSession

from seedance_async import arguments
from seedance_async.api_session import checked_session
from seedance_async.arguments import check
from seedance_async.base_url import read_base_url
from seedance_async.budget.allowance import Allowance
from seedance_async.budget.memories import memory_of
from seedance_async.budget.references import reference_budget
from seedance_async.budget.shared import read_shared_budget
from seedance_async.client_events import ClientEvent
from seedance_async.completions import Completion, CompletionRun, checked, grouped
from seedance_async.engine import NOT_OPEN, Engine, handing_over
from seedance_async.errors import (
    ClientStateError,
    ConfigurationError,
    SeedanceError,
    TaskFailedError,
    ValidationError,
    WaitTimeoutError,
)
from seedance_async.media import KeptUrls, MediaStore, Publisher, read_media_store
from seedance_async.models import (
    BaseRequest,
    CreditLimits,
    Output,
    RateLimit,
    Request,
    RetryPolicy,
    Submission,
    Task,
    Timeouts,
    time_scale,
)
from seedance_async.models.rules import optional, true_or_false, whole_number
from seedance_async.observer import Observer
from seedance_async.record import Recording, account_record
from seedance_async.reprs import even_if_unfinished
from seedance_async.route import read_route
from seedance_async.scheduling.duration import Duration
from seedance_async.scheduling.forecast import Forecast
from seedance_async.sent_keys import SentKeys
from seedance_async.setting_sources import (
    from_environment,
    option,
    read_api_key,
    read_limit,
    read_sandbox_hosts,
    usable,
)
from seedance_async.usage import Usage
from seedance_async.waiting import wait_for_all

OutputT = TypeVar("OutputT", bound=Output)

BASE_URL: Final = "https://seedance2ai.io/api/v1"


class SeedanceClient:
    """An asyncio client of the Seedance 2 AI API, for use with ``async with`` in one event loop.

    Many asyncio tasks may use it at once. An argument that is left out is read from the variable named below.

    Args:
        api_key: the account's key. ``SEEDANCE_API_KEY``.
        base_url: the API's URL: https, or http for a sandbox at loopback or at a host listed in
            ``SEEDANCE_SANDBOX_HOSTS`` such as ``sandbox,10.0.0.5``. ``SEEDANCE_BASE_URL``, else the vendor.
        rate_limit: how many requests the account may send. ``SEEDANCE_RATE_LIMIT`` such as ``30/60``, else
            the documented 30 requests in 60 seconds.
        reference_limit: how many of these may have reference media. ``SEEDANCE_REFERENCE_LIMIT``, else none
            until refusals show one: only the vendor's site states it, as ``3/60`` (``budget.references``).
        retry: when a call is sent again.
        timeouts: limits of time in seconds.
        session: your ``aiohttp.ClientSession``, open in this loop and never closed by the client. API calls
            use its connector, proxies, trace hooks, middlewares and headers, and nothing else of it (see
            ``api_session``); downloads use only its proxy.
        proxy: an HTTP proxy for the API and for downloads, such as ``http://user:password@proxy:3128``;
            ``env`` for that of ``HTTPS_PROXY`` and ``NO_PROXY``; ``none`` for no proxy. ``SEEDANCE_PROXY``,
            else none. Hosts of this machine are always reached directly.
        download_networks: non-public networks that files may come from, as some proxies and VPNs resolve all
            names to one. ``SEEDANCE_DOWNLOAD_NETWORKS``, separated by commas, such as ``198.18.0.0/15``.
        forecasts: durations learned by an earlier client, see ``Forecast.load``. Without, nothing is known,
            and ``SEEDANCE_TIME_SCALE``, such as ``0.05``, is a faster sandbox's factor.
        record: whether the account record is kept (``seedance tasks``, ``seedance spend``); ``"prompts"``
            keeps the prompts too. ``SEEDANCE_RECORD``: ``on``, ``off`` or ``prompts``. Else it is kept
            without prompts; of a sandbox at loopback only if ``SEEDANCE_STATE_DIR`` is set.
        credit_limits: standing limits. ``SEEDANCE_MAX_CREDITS_DAY`` and ``SEEDANCE_MAX_CREDITS_MONTH``.
        project: the project to which the record assigns the costs of a POST. ``SEEDANCE_PROJECT``.
        media_store: where local files become https URLs: ``s3://bucket/prefix``, ``gs://…`` or ``az://…``
            (extra ``store``), or your own ``MediaStore``. ``SEEDANCE_MEDIA_STORE``.
        shared_budget: a server through which all hosts of the account share its limits: ``postgresql://…``
            (extra ``postgres``) or ``redis://…`` (extra ``redis``; also for Valkey).
            ``SEEDANCE_SHARED_BUDGET``, else the processes of this machine share them through a file.
        on_event: called in this loop with every ``ClientEvent``; must not block, its exceptions are logged.

    Raises:
        ConfigurationError: there is no API key, or an option cannot be used. Nothing was sent.

    Example:
        >>> async with SeedanceClient() as client:
        ...     task = await client.generate(Seedance2Video(prompt="A paper boat crosses a pond"))
        ...     await client.download(task, "out")
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        rate_limit: RateLimit | None = None,
        reference_limit: RateLimit | None = None,
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        session: ClientSession | None = None,
        proxy: str | None = None,
        download_networks: str | Iterable[str] | None = None,
        forecasts: Forecast | None = None,
        record: Recording | None = None,
        credit_limits: CreditLimits | None = None,
        project: str | None = None,
        media_store: str | MediaStore | None = None,
        shared_budget: str | None = None,
        on_event: Callable[[ClientEvent], object] | None = None,
    ) -> None:
        key = read_api_key(api_key)
        address = base_url or os.environ.get("SEEDANCE_BASE_URL") or BASE_URL
        del api_key, base_url  # a traceback from below shows this frame
        self._key = usable(key)
        found = read_base_url(address, sandbox_hosts=read_sandbox_hosts(), is_live=self._key.is_live)
        del address
        self._base_url = usable(found)
        self._rate_limit = read_limit("rate_limit", rate_limit) or RateLimit()
        self._reference_limit = read_limit("reference_limit", reference_limit)
        self._policy = option("retry", retry, RetryPolicy())
        self._timeouts = option("timeouts", timeouts, Timeouts())
        self._session = checked_session(session)
        route = read_route(proxy, download_networks, base_url=self._base_url, session=session)
        del proxy  # it may contain a password, and a traceback from below shows this frame
        if isinstance(route, ConfigurationError):
            raise route
        self._route = route
        server = read_shared_budget(shared_budget)
        del shared_budget  # as above
        self._shared_budget = usable(server)
        self._usage = Usage()
        self._observer = Observer(on_event)
        scale = from_environment("SEEDANCE_TIME_SCALE", time_scale, 1.0)
        self._forecasts = option("forecasts", forecasts, Forecast(scale=scale))
        self._record = account_record(
            self.account,
            self._base_url,
            recording=record,
            limits=None if credit_limits is None else option("credit_limits", credit_limits, CreditLimits()),
        )
        check("SeedanceClient", project=(optional(arguments.text), project))
        self._project = project or os.environ.get("SEEDANCE_PROJECT") or None
        kept = KeptUrls(self.account, self._base_url)
        self._media = Publisher(read_media_store(media_store), base_url=self._base_url, kept=kept)
        self._sent_keys = SentKeys()
        self._engine: Engine | None = None
        self._closed = False

    @even_if_unfinished
    def __repr__(self) -> str:
        state = "closed" if self._closed else "not open" if self._engine is None else "open"
        limit = f"{self._rate_limit.requests}/{self._rate_limit.period:g}"
        return f"<SeedanceClient {self._base_url.origin()}, {state}, rate limit {limit}>"

    @property
    def account(self) -> str:
        """The name of the account: the API's origin and the key's fingerprint, never the key itself."""
        return self._key.account(str(self._base_url.origin()))

    @property
    def usage(self) -> Usage:
        """Counts since opening: requests, polls, retries, 429s; credits used and refunded, last balance."""
        return self._usage

    @property
    def rate_limit(self) -> RateLimit:
        """How many requests the account may send."""
        return self._rate_limit

    @property
    def has_media_store(self) -> bool:
        """Whether requests may refer to local files."""
        return self._media.has_store

    @property
    def forecasts(self) -> Forecast:
        """What is known about durations; a later client can start with its ``dump``, see ``forecasts``."""
        return self._forecasts

    def forecast(self, request: Request) -> Duration:
        """How long a request like this is expected to take, in seconds: ``quantile(0.9)``, ``mean``.

        It is learned from finished tasks of this kind and of similar ones. Before the first, it is a prior:
        for clips about 184 s, the median of 19 that a user reported; for pictures roughly 90 s.
        """
        return self._forecasts.of(request.kind)

    def running_engine(self) -> Engine:
        """The engine of an open client, for ``BatchRunner``; other callers do not need it.

        Raises:
            ClientStateError: the client is not open in this loop and process.
        """
        if self._engine is None:
            raise ClientStateError(NOT_OPEN)
        self._engine.check()
        return self._engine

    def allowance(self) -> Allowance:
        """How many requests may be sent now, and when more: ``unspent`` of ``requests`` in this period."""
        return self.running_engine().dispatcher.allowance()

    def expected_end(self, *, waiting: int = 0) -> float:
        """When all work of this client is expected to be finished, in seconds on the loop's clock.

        Args:
            waiting: how many jobs are not submitted yet, including those the client does not know yet.
        """
        return self.running_engine().dispatcher.expected_end(waiting=waiting)

    @property
    def base_url(self) -> str:
        """The API's URL: as configured, or as the API's own host redirected it to or from ``www.``."""
        return str(self._engine.transport.base_url if self._engine else self._base_url)

    async def submit(self, request: Request, *, idempotency_key: str | None = None) -> Submission:
        """Send one POST, and return the tasks that the server accepted.

        Args:
            request: what to make.
            idempotency_key: 1 to 255 printable ASCII characters; None for a new key. Under a key used before,
                the same request is answered with the first submission and not charged again.

        Raises:
            UncertainSubmissionError: the POST was sent and its outcome is unknown; the error has the key.
            InvalidRequestError, UnauthorizedError, InsufficientCreditsError: refused, nothing was charged.
            IdempotencyConflictError: the key was used with another body.
            SeedanceError: any other error; what may have been paid can be collected with its key.

        Example:
            >>> submission = await client.submit(request, idempotency_key="order-17")
        """
        engine = self.running_engine()
        checked(request)
        if idempotency_key is not None:
            self._sent_keys.check(request, idempotency_key)
        return await engine.submit(request, key=idempotency_key)

    async def get_task(self, task_id: str) -> Task:
        """Get the state of a task with one GET, which goes before scheduled work.

        Raises:
            NotFoundError: there is no such task on this account.
            SeedanceError: the state could not be read; the task itself is not affected.
        """
        return await self.running_engine().task(arguments.id_of(task_id))

    async def wait(self, task: Submission | Task | str, *, timeout: float | None = None) -> Task:
        """Wait until a task is final, and return it, also if it failed (``is_failed``).

        Args:
            task: a submission (its first task), a task, or a task id.
            timeout: seconds; else ``Timeouts.wait``. After it the task continues at the server.

        Raises:
            WaitTimeoutError: the task was not final in time; wait again with ``task_id``.
            NotFoundError: there is no such task on this account.
        """
        engine = self.running_engine()
        check("wait", timeout=(arguments.patience, timeout))
        task_id = arguments.id_of(task)
        patience = self._timeouts.wait if timeout is None else timeout
        try:
            with self._observer.work("wait", task_ids=task_id), anyio.fail_after(patience):
                return await engine.final(task_id)
        except TimeoutError as late:
            if isinstance(late, SeedanceError):
                raise
            message = f"the task is not final after {patience:g} s; it continues, wait for it again"
            raise WaitTimeoutError(message, task_id=task_id) from None

    async def generate(self, request: BaseRequest[OutputT], *, timeout: float | None = None) -> Task[OutputT]:
        """Submit a request, wait for its task, and return it completed.

        Raises:
            TaskFailedError: the task failed; the error has the task with the server's reason and refund.
            ValidationError: ``batch_count`` makes several tasks: use ``generate_all``.
            SeedanceError: see ``submit`` and ``wait``.
        """
        checked(request)
        if getattr(request, "batch_count", 1) > 1:
            raise ValidationError([("batch_count", "makes several tasks; use generate_all to get them all")])
        return (await self.generate_all(request, timeout=timeout))[0]

    async def generate_all(
        self, request: BaseRequest[OutputT], *, timeout: float | None = None
    ) -> list[Task[OutputT]]:
        """Submit a request, and return all its final tasks, in the order in which the server names them.

        Args:
            request: what to make.
            timeout: seconds after their acceptance until all are final; None: ``Timeouts.wait`` for each.

        Raises:
            TaskFailedError: none of the tasks completed.
            SeedanceError: see ``submit`` and ``wait``.
        """
        asked = checked(request)
        check("the call", timeout=(arguments.patience, timeout))  # before the POST, which is paid
        with self._observer.work("generate", asked) as work:
            submission = await self.submit(asked)
            work.accepted(submission)
            until = None if timeout is None else anyio.current_time() + timeout
            with handing_over(submission):
                tasks = await wait_for_all(self.wait, submission.task_ids, until=until)
            if not any(task.is_completed for task in tasks):
                raise TaskFailedError(tasks[0], idempotency_key=submission.idempotency_key)
        return cast("list[Task[OutputT]]", tasks)  # the API's documents state the output of each model

    async def as_completed(
        self,
        requests: Iterable[Request] | AsyncIterable[Request],
        *,
        max_in_flight: int | None = None,
        share_posts: bool = False,
    ) -> AsyncGenerator[Completion]:
        """Submit many requests, and yield the result of each as it ends.

        Leaving the loop early sends no further POST. Paid tasks continue at the server: a warning in the log,
        and a note on a cancellation, name their ids and keys. A POST that ends later is logged too.

        Args:
            requests: any iterable or async iterable; a limited number of requests is read ahead.
            max_in_flight: most jobs submitted and not finished at a time, at least 1; None for as many as the
                request budget allows.
            share_posts: send up to four neighbouring ``GptImage2`` requests that are equal in every field as
                one POST with ``batch_count``, to save requests; not with ``max_in_flight``. Each request
                keeps its own result. To collect a shared POST whose answer was lost, submit
                ``completion.posted``, which has that ``batch_count``, once under the key of the error.

        Yields:
            A ``Completion`` for every request; if it failed, with an ``error``, which is not raised.

        Example:
            >>> async for result in client.as_completed(requests, max_in_flight=20):
            ...     print(result.index, result.error or "completed")
        """
        engine = self.running_engine()
        check(
            "as_completed",
            requests=(arguments.iterable, requests),
            max_in_flight=(optional(whole_number(1)), max_in_flight),
            share_posts=(true_or_false, share_posts),
        )
        run = CompletionRun(engine, max_in_flight=max_in_flight)
        completions = run.completions(grouped(requests, share_posts=share_posts and max_in_flight is None))
        try:
            async for completion in completions:
                yield completion
        except BaseException as error:
            run.leave(error)
            await completions.aclose()
            raise

    async def download(
        self,
        task: Task | Submission | str,
        directory: str | os.PathLike[str],
        *,
        name: str | None = None,
        prompt: str | None = None,
    ) -> list[Path]:
        """Save every output file of a completed task.

        An interrupted download is resumed, also by a later process. If a URL has expired, the task is polled
        once for a new one. Any number of calls may run at the same time; a few files are transferred at once.

        Args:
            task: a completed task, the id of one, or a submission (its first task).
            directory: created if missing.
            name: file name without extension; else the task id. Several files are numbered.
            prompt: written to the files' metadata, without changing picture or sound. None: the files are
                stored as the server sent them, byte for byte.

        Returns:
            The files, in the order of ``task.urls``. A file saved by an earlier call is kept.

        Raises:
            DownloadError: a file could not be saved; the task stays finished and can be downloaded again.

        Example:
            >>> paths = await client.download(task, "out", name="boat")
        """
        engine = self.running_engine()
        names = {"name": (optional(arguments.text), name), "prompt": (optional(arguments.text), prompt)}
        check("download", task=(arguments.task, task), directory=(arguments.path, directory), **names)
        if not isinstance(task, Task):
            task = await self.get_task(arguments.id_of(task))
        return await engine.downloads.save(task, directory, name=name, prompt=prompt, renew=self.get_task)

    async def __aenter__(self) -> Self:
        """Open the client; see ``open``."""
        return await self.open()

    async def open(self) -> Self:
        """Open the client in the running loop, and return it: for notebooks and REPLs, as ``aclose`` is.

            >>> client = await SeedanceClient().open()

        Raises:
            ClientStateError: it was opened before.
        """
        if self._engine is not None or self._closed:
            raise ClientStateError("a client is opened once; make a new one")
        engine = Engine(
            base_url=self._base_url,
            key=self._key,
            rate_limit=self._rate_limit,
            policy=self._policy,
            timeouts=self._timeouts,
            usage=self._usage,
            forecast=self._forecasts,
            memory=memory_of(self.account, self._base_url, self._rate_limit, self._shared_budget),
            references=reference_budget(
                self.account, self._base_url, self._reference_limit, self._shared_budget, usage=self._usage
            ),
            record=self._record,
            project=self._project,
            session=self._session,
            route=self._route,
            media=self._media,
            observer=self._observer,
        )
        self._route.warn()
        await engine.open()
        self._engine = engine
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close the client; see ``aclose``."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop all work, and close what this client opened.

        It waits briefly for the answers to POSTs on the wire, because they name the tasks that were paid.
        """
        self._closed = True
        if self._engine is not None:
            await self._engine.close()
