"""The facade: one asyncio client for one account.

All that a client does at the same time shares one budget, one schedule and one poller: the ``Engine``, which
exists from opening to closing. This is what callers see of it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from pathlib import Path
from typing import Final, Self, TypeVar, cast

import anyio
from aiohttp import ClientSession

from seedance_async import arguments
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
    """An asyncio client of the Seedance 2 AI API.

    Args:
        api_key: the account's key; else the environment's ``SEEDANCE_API_KEY``.
        base_url: else ``SEEDANCE_BASE_URL``, else the vendor's. Https, or http for a sandbox: at loopback, or
            at a host that the environment's ``SEEDANCE_SANDBOX_HOSTS`` names, such as ``sandbox,10.0.0.5``.
        rate_limit: what the account may send; else ``SEEDANCE_RATE_LIMIT`` such as ``30/60``, else the
            documented 30 requests in 60 seconds.
        reference_limit: how many of these requests may bring pictures or clips; else
            ``SEEDANCE_REFERENCE_LIMIT``. The vendor's site tells of ``3/60``, no document does: else none is
            kept until the server's refusals show one (see ``budget.references``).
        retry: when to send a call again.
        timeouts: how long to wait for what.
        session: an ``aiohttp.ClientSession`` of yours, open in this loop. The API calls go over its connector
            with its proxies, trace hooks, middlewares and headers; its other settings change nothing
            (``api_session`` lists them). It is never closed. Downloads go by a session of ours, and by the
            proxy that yours has.
        proxy: an HTTP proxy for the API and for downloads, such as ``http://user:password@proxy:3128``; or
            ``env``, for the one that ``HTTPS_PROXY`` and ``NO_PROXY`` say; or ``none``. Else
            ``SEEDANCE_PROXY``, else none. Hosts of this machine are never reached by it.
        download_networks: networks such as ``198.18.0.0/15`` that files may come from although they are not
            public: a proxy or VPN of this machine may answer every name with an address of one. Else
            ``SEEDANCE_DOWNLOAD_NETWORKS``, with commas.
        forecasts: what an earlier client learned about durations; ``Forecast.load`` reads it back. Else one
            that knows nothing; where a sandbox runs faster, ``SEEDANCE_TIME_SCALE`` says how long one of the
            vendor's seconds takes there, such as ``0.05``.
        record: whether the account's record is kept (``seedance tasks``, ``seedance spend``); ``"prompts"``
            keeps the prompts, too. Else ``SEEDANCE_RECORD``: ``on``, ``off`` or ``prompts``. Else it is kept,
            without prompts; not of a sandbox at loopback, unless ``SEEDANCE_STATE_DIR`` is set.
        credit_limits: standing limits; else ``SEEDANCE_MAX_CREDITS_DAY`` and ``SEEDANCE_MAX_CREDITS_MONTH``.
        project: whose costs the POSTs are in the record; else ``SEEDANCE_PROJECT``.
        media_store: where local files become https URLs: ``s3://bucket/prefix``, ``gs://…`` or ``az://…``
            (the extra ``store``), or a ``MediaStore`` of yours. Else ``SEEDANCE_MEDIA_STORE``.
        shared_budget: a server by which all hosts of the account share its limits, ``postgresql://…`` (the
            extra ``postgres``) or ``redis://…`` (the extra ``redis``; Valkey, too). Else
            ``SEEDANCE_SHARED_BUDGET``, else the processes of this machine share them by a file.
        on_event: called with every ``ClientEvent`` (see ``client_events``), in the client's loop. It has to
            return at once; what it raises is logged.

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
        del api_key, base_url  # what fails below shows this frame
        self._key = usable(key)
        found = read_base_url(address, sandbox_hosts=read_sandbox_hosts(), is_live=self._key.is_live)
        del address
        self._base_url = usable(found)
        self._rate_limit = read_limit("rate_limit", rate_limit) or RateLimit()
        self._reference_limit = read_limit("reference_limit", reference_limit)
        self._policy = option("retry", retry, RetryPolicy())
        self._timeouts = option("timeouts", timeouts, Timeouts())
        if session is not None and not isinstance(session, ClientSession):
            raise ConfigurationError(
                f"session must be an aiohttp.ClientSession; got {type(session).__name__}"
            )
        self._session = session
        route = read_route(proxy, download_networks, base_url=self._base_url, session=session)
        del proxy  # it may have a password, and what fails below shows this frame
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

    @property
    def account(self) -> str:
        """Whose API key this is: the API's origin and the key's fingerprint; never the key."""
        return self._key.account(str(self._base_url.origin()))

    @property
    def usage(self) -> Usage:
        """Requests sent, retries, 429s; credits used, refunded and last known. Counted from opening on."""
        return self._usage

    @property
    def rate_limit(self) -> RateLimit:
        """What the account may send."""
        return self._rate_limit

    @property
    def has_media_store(self) -> bool:
        """Whether local files can become URLs."""
        return self._media.has_store

    @property
    def forecasts(self) -> Forecast:
        """What is known about durations: ``dump`` it, and the next client starts warm with ``forecasts=``."""
        return self._forecasts

    def forecast(self, request: Request) -> Duration:
        """How long a request like this is expected to take: ``quantile(0.9)``, ``mean``, in seconds.

        Learned from the tasks this client saw finish, of this kind and its neighbours; before the first, a
        prior: for clips 184 s, the median of 19 that a user reported; for pictures vaguely 90 s.
        """
        return self._forecasts.of(request.kind)

    def running_engine(self) -> Engine:
        """What runs while the client is open. ``BatchRunner`` drives it; other callers have no need to.

        Raises:
            ClientStateError: the client is not open here.
        """
        if self._engine is None:
            raise ClientStateError(NOT_OPEN)
        self._engine.check()
        return self._engine

    def allowance(self) -> Allowance:
        """What may be sent now, and when more: ``unspent`` of ``requests`` are left of the period.

        Raises:
            ClientStateError: the client is not open here.
        """
        return self.running_engine().dispatcher.allowance()

    def expected_end(self, *, waiting: int = 0) -> float:
        """The instant of the loop's clock by which all that this client has to do is expected to be over.

        Args:
            waiting: jobs that wait for their submit, those not handed to the client yet included.
        """
        return self.running_engine().dispatcher.expected_end(waiting=waiting)

    @property
    def base_url(self) -> str:
        """Where the API is, as configured or as its own host redirected."""
        return str(self._engine.transport.base_url if self._engine else self._base_url)

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
        engine = self.running_engine()
        checked(request)
        if idempotency_key is not None:
            self._sent_keys.check(request, idempotency_key)
        return await engine.submit(request, key=idempotency_key)

    async def get_task(self, task_id: str) -> Task:
        """Ask once how a task stands: one GET, ahead of scheduled work.

        Raises:
            NotFoundError: no such task on this account.
            SeedanceError: the question could not be answered; the task is not touched by that.
        """
        return await self.running_engine().task(_task_id(task_id))

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
        engine = self.running_engine()
        check("wait", timeout=(arguments.patience, timeout))
        task_id = _task_id(task)
        patience = self._timeouts.wait if timeout is None else timeout
        try:
            with self._observer.work("wait", task_ids=task_id), anyio.fail_after(patience):
                return await engine.final(task_id)
        except TimeoutError as late:
            if isinstance(late, SeedanceError):
                raise
            message = f"the task is not final after {patience:g} s; it goes on, wait for it again"
            raise WaitTimeoutError(message, task_id=task_id) from None

    async def generate(self, request: BaseRequest[OutputT], *, timeout: float | None = None) -> Task[OutputT]:
        """Submit a request and wait for its task.

        Raises:
            TaskFailedError: the server gave the task up; the error has the task and its refund.
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
        """Submit a request and wait for every task of it, in the order the server names them.

        Args:
            request: what to make.
            timeout: seconds until all are final, counted from their acceptance; None waits for each as long
                as ``Timeouts.wait`` says.

        Raises:
            TaskFailedError: no task of it completed.
            SeedanceError: see ``submit`` and ``wait``.
        """
        asked = checked(request)
        check("the call", timeout=(arguments.patience, timeout))  # after the POST it would be paid
        with self._observer.work("generate", asked) as work:
            submission = await self.submit(asked)
            work.accepted(submission)
            until = None if timeout is None else anyio.current_time() + timeout
            with handing_over(submission):
                tasks = await wait_for_all(self.wait, submission.task_ids, until=until)
            if not any(task.is_completed for task in tasks):
                raise TaskFailedError(tasks[0], idempotency_key=submission.idempotency_key)
        return cast("list[Task[OutputT]]", tasks)  # by the documents, which say what each model makes

    async def as_completed(
        self,
        requests: Iterable[Request] | AsyncIterable[Request],
        *,
        max_in_flight: int | None = None,
        share_posts: bool = False,
    ) -> AsyncGenerator[Completion]:
        """Submit many requests and yield each result as it completes.

        Args:
            requests: any iterable or async iterable; it is read a bounded way ahead.
            max_in_flight: most jobs submitted and not finished at once, at least 1; None for as many as the
                request budget feeds.
            share_posts: let up to four neighbouring ``GptImage2`` requests that are equal in every field go
                out as one POST with ``batch_count``: 1.25 requests each where there are two. Results stay
                one for each request. Posts are not shared under a ``max_in_flight``.
                To collect a shared POST whose answer was lost, submit ``completion.posted`` under the error's
                key, once: it has the ``batch_count`` that was sent.

        Yields:
            A ``Completion`` for every request; one that did not work has an ``error`` instead of raising.

        Leaving early sends nothing more. What is paid goes on at the server: a warning in the log names its
        task ids and keys, and so does a note on a cancellation. Each POST that ends later is logged, too.
        """
        engine = self.running_engine()
        check(
            "as_completed",
            requests=(arguments.iterable, requests),
            max_in_flight=(optional(whole_number(1)), max_in_flight),
            share_posts=(true_or_false, share_posts),
        )
        groups = grouped(requests, share_posts=share_posts and max_in_flight is None)
        run = CompletionRun(engine, max_in_flight=max_in_flight)
        completions = run.completions(groups)
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

        A download that broke off is resumed, also by the next process. URLs that have expired are asked
        for anew, once. Save as many tasks at the same time as you like: a few files move at once.

        Args:
            task: a completed task, or the id of one, or a submission (its first task).
            directory: made if missing.
            name: file name without extension; else the task id. Several files are numbered.
            prompt: put into the files' own metadata, the picture and the sound being left as they are. Left
                out, the files are byte for byte the server's.

        Returns:
            The files, in the order of ``task.urls``. A file of ours that is there already is kept.

        Raises:
            DownloadError: a file could not be saved; the task stays finished and can be downloaded again.
        """
        engine = self.running_engine()
        names = {"name": (optional(arguments.text), name), "prompt": (optional(arguments.text), prompt)}
        check("download", task=(arguments.task, task), directory=(arguments.path, directory), **names)
        if not isinstance(task, Task):
            task = await self.get_task(_task_id(task))
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
        shared = self._shared_budget
        engine = Engine(
            base_url=self._base_url,
            key=self._key,
            rate_limit=self._rate_limit,
            policy=self._policy,
            timeouts=self._timeouts,
            usage=self._usage,
            forecast=self._forecasts,
            memory=memory_of(self.account, self._base_url, self._rate_limit, shared),
            references=reference_budget(
                self.account, self._base_url, self._reference_limit, shared, usage=self._usage
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
        """Stop all work and close what this client opened.

        POSTs on the wire get a moment for their answer: it names what was paid.
        """
        self._closed = True
        if self._engine is not None:
            await self._engine.close()


def _task_id(task: Submission | Task | str) -> str:
    check("the call", task_id=(arguments.task, task))
    return str.__str__(task) if isinstance(task, str) else task.id
