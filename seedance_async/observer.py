"""The observer of a client: it reports events to the caller's hook and to OpenTelemetry.

An exception from either is logged and has no other effect, as an attempt may be paid.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from seedance_async import clocks
from seedance_async.client_events import (
    AttemptEnded,
    ClientEvent,
    RetryPlanned,
    SubmissionAccepted,
    TaskFinished,
)
from seedance_async.errors import ConfigurationError
from seedance_async.foreign import place
from seedance_async.logs import Log
from seedance_async.protocol import Call, Failure, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span
    from yarl import URL

    from seedance_async.models import Request, Submission, Task
    from seedance_async.telemetry import Telemetry

Value = TypeVar("Value")

log: Log = Log(__name__)

TASKS: Final = "/tasks/"


class Observer:
    """The reporter of one client's events.

    Args:
        hook: called with every event in the client's loop; it must return at once. None for no hook.
    """

    def __init__(self, hook: Callable[[ClientEvent], object] | None = None) -> None:
        if hook is not None and not callable(hook):
            raise ConfigurationError(f"on_event must be callable; got {type(hook).__name__}")
        self._hook = hook
        self._telemetry = _guarded(_telemetry)

    @contextmanager
    def attempt(self, call: Call, base_url: URL, *, number: int, resends: int) -> Iterator[AttemptWatch]:
        """Observe one attempt, which is reported at the end of the block unless it was never sent."""
        telemetry = self._telemetry
        if telemetry is not None and not telemetry.has_effect:
            telemetry = None
        watch = AttemptWatch(call, number=number, resends=resends)
        if telemetry is None and self._hook is None:
            yield watch
            return
        server: dict[str, str | int] = {"server.address": base_url.host or ""}
        if base_url.port is not None:
            server["server.port"] = base_url.port
        opening = None if telemetry is None else _opening(telemetry, watch, server, base_url)
        with nullcontext() if opening is None else _entered(opening) as span:
            try:
                yield watch
            except BaseException as error:
                watch.error = type(error).__name__
                raise
            finally:
                if watch.was_sent:
                    event = watch.event()
                    if telemetry is not None:
                        _guarded(partial(telemetry.attempt_ended, span, event, server))
                    self._report(event)

    @contextmanager
    def work(self, name: str, request: Request | None = None, **facts: str) -> Iterator[Work]:
        """Observe work that a caller waits for; attempts in the block belong to it.

        Args:
            name: the name of the span, such as ``generate``.
            request: the request it is about.
            facts: further attributes.
        """
        attributes = {f"seedance.{key.replace('_', '.')}": value for key, value in facts.items()}
        if request is not None:
            attributes["seedance.model"] = request.model
        opening = None if self._telemetry is None else self._telemetry.work(f"seedance.{name}", attributes)
        with nullcontext() if opening is None else _entered(opening) as span:
            yield Work(span)

    def retry(self, call: Call, failure: Failure, seconds: float) -> None:
        """Report that a call will be sent again after at least ``seconds``."""
        self._report(
            RetryPlanned(
                method=call.method,
                route=route_of(call),
                error=type(failure.error).__name__,
                seconds=seconds,
                idempotency_key=call.idempotency_key,
            )
        )

    def accepted(self, submission: Submission) -> None:
        """Report an accepted POST."""
        self._report(
            SubmissionAccepted(
                model=submission.model,
                task_ids=submission.task_ids,
                credits_used=submission.credits_used,
                balance=submission.remaining_credits,
                idempotency_key=submission.idempotency_key,
            )
        )

    def finished(self, task: Task, *, seconds: float) -> None:
        """Report a final task."""
        self._report(
            TaskFinished(
                task_id=task.id,
                model=task.model,
                status=task.status,
                seconds=seconds,
                credits_used=task.credits_used,
                credits_refunded=task.credits_refunded,
            )
        )

    def _report(self, event: ClientEvent) -> None:
        if (telemetry := self._telemetry) is not None:
            _guarded(lambda: telemetry.count(event))
        if (hook := self._hook) is not None:
            _guarded(lambda: hook(event))


class AttemptWatch:
    """The observation of one attempt, while it is on the wire.

    Attributes:
        call: the call that is sent.
        route: its path, with ``{id}`` for the id of a task.
        resends: how often the call was on the wire before.
        error: the class of the error with which it ended; None without an error.
        was_sent: False once it is known that it was never sent.
    """

    def __init__(self, call: Call, *, number: int, resends: int) -> None:
        self.call = call
        self.route: str = route_of(call)
        self.resends = resends
        self.error: str | None = None
        self.was_sent: bool = True
        self._status: int | None = None
        self._number = number
        self._began = clocks.now()
        self._started_at = datetime.fromtimestamp(clocks.wall_now(), UTC)

    def ended(self, reply: Reply | Failure | None, outcome: object) -> None:
        """Record the end of the attempt.

        Args:
            reply: the reply or the failure of the exchange; None if nothing was sent.
            outcome: the answer or failure that was read from it.
        """
        self.was_sent = reply is not None
        if isinstance(reply, Reply):
            self._status = reply.status
        if isinstance(outcome, Failure):
            self.error = type(outcome.error).__name__

    def event(self) -> AttemptEnded:
        """The event that reports it."""
        is_poll = self.route != self.call.path
        return AttemptEnded(
            method=self.call.method,
            route=self.route,
            number=self._number,
            resends=self.resends,
            status=self._status,
            error=self.error,
            started_at=self._started_at,
            seconds=clocks.now() - self._began,
            idempotency_key=self.call.idempotency_key,
            task_id=self.call.path.removeprefix(TASKS) if is_poll else None,
        )


class Work:
    """The observation of work that a caller waits for.

    Args:
        span: its span of OpenTelemetry, if there is one.
    """

    def __init__(self, span: Span | None) -> None:
        self._span = span

    def accepted(self, submission: Submission) -> None:
        """Add what was paid to the span."""
        if (span := self._span) is None:
            return
        _guarded(lambda: span.set_attribute("seedance.task.ids", submission.task_ids))
        if (credits_used := submission.credits_used) is not None:
            _guarded(lambda: span.set_attribute("seedance.credits.used", credits_used))
        if (key := submission.idempotency_key) is not None:
            _guarded(lambda: span.set_attribute("seedance.idempotency_key", key))


def _opening(
    telemetry: Telemetry, watch: AttemptWatch, server: Mapping[str, str | int], base_url: URL
) -> AbstractContextManager[Span]:
    """The span of an attempt, to be entered."""
    attributes: dict[str, str | int] = {
        "http.request.method": watch.call.method,
        "url.full": f"{base_url}{watch.call.path}",
        "url.template": watch.route,
        **server,
    }
    if watch.resends:
        attributes["http.request.resend_count"] = watch.resends
    return telemetry.attempt(watch.call.method, watch.route, attributes)


def route_of(call: Call) -> str:
    """The path of a call, with ``{id}`` for the id of a task."""
    return f"{TASKS}{{id}}" if call.path.startswith(TASKS) else call.path


def _telemetry() -> Telemetry | None:
    try:
        from seedance_async.telemetry import Telemetry  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return Telemetry()


@contextmanager
def _entered(opening: AbstractContextManager[Span]) -> Iterator[Span | None]:
    """Run the block inside a span; exceptions of span processors at its start or end are logged."""
    span = _guarded(opening.__enter__)
    if span is None:
        yield None
        return
    try:
        yield span
    except BaseException as error:
        problem = error
        _guarded(lambda: opening.__exit__(type(problem), problem, None))
        raise
    _guarded(lambda: opening.__exit__(None, None, None))


def _guarded(foreign: Callable[[], Value]) -> Value | None:
    """The result of foreign code; None, and a line in the log, if it raises."""
    try:
        return foreign()
    except (Exception, asyncio.CancelledError) as problem:  # the latter: from a future
        log.warning("an observer of the client failed: %s", place(problem))
        return None
