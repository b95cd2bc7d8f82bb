"""The OpenTelemetry spans and metrics of a client. Imported only if ``opentelemetry-api`` is installed.

Spans, by the tracer ``seedance_async``:

* ``seedance.generate`` (internal): a request, from its submit to the end of its tasks; ``generate`` and
  ``as_completed``
* ``seedance.submit`` (internal): a POST that a caller waits for, with its retries
* ``seedance.wait`` (internal): the wait for a task by its id
* ``seedance.job`` (internal): a job of a batch, from its intent to its result
* ``POST /video/seedance2``, ``GET /tasks/{id}`` (client): an attempt, a child of the span to which it belongs

Attempts follow the semantic conventions for HTTP clients 1.23 and later. The others have ``seedance.model``,
``seedance.task.ids``, ``seedance.credits.used``, ``seedance.idempotency_key`` and, in a batch,
``seedance.job.name``. No span has a prompt, the API key or the URL of a file; an error is named by its class.

Metrics, by the meter ``seedance_async``: ``http.client.request.duration`` (s), ``seedance.client.retries``,
``seedance.client.credits.used``, ``seedance.client.credits.refunded``, ``seedance.client.task.duration`` (s).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from seedance_async.client_events import AttemptEnded, RetryPlanned, SubmissionAccepted, TaskFinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.util.types import AttributeValue

    from seedance_async.client_events import ClientEvent

NAME: Final = "seedance_async"
OF_THE_API: Final = ("opentelemetry.trace", "opentelemetry.metrics")
"""The modules of the providers that ``opentelemetry-api`` has without an SDK."""
REQUEST_SECONDS: Final = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
"""The buckets that the semantic conventions require."""

TASK_SECONDS: Final = [15, 30, 60, 90, 120, 150, 180, 240, 300, 450, 600, 1200]


class Telemetry:
    """The spans and metrics of one client; without an OpenTelemetry SDK they have no effect."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer(NAME)
        meter = metrics.get_meter(NAME)
        self._requests = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=REQUEST_SECONDS,
        )
        self._tasks = meter.create_histogram(
            "seedance.client.task.duration",
            unit="s",
            description="From the acceptance of a task to its end.",
            explicit_bucket_boundaries_advisory=TASK_SECONDS,
        )
        self._retries = meter.create_counter(
            "seedance.client.retries", unit="{call}", description="Calls that were sent again."
        )
        self._used = meter.create_counter(
            "seedance.client.credits.used", unit="{credit}", description="Credits charged."
        )
        self._refunded = meter.create_counter(
            "seedance.client.credits.refunded", unit="{credit}", description="Credits given back."
        )

    @property
    def has_effect(self) -> bool:
        """Whether a provider is set that is not one of the API itself: those only take time."""
        providers = trace.get_tracer_provider(), metrics.get_meter_provider()
        return not all(type(each).__module__.startswith(OF_THE_API) for each in providers)

    @contextmanager
    def work(self, name: str, attributes: Mapping[str, AttributeValue]) -> Iterator[Span]:
        """Open a span for a caller's work; attempts in the block become its children."""
        with self._span(name, SpanKind.INTERNAL, attributes) as span:
            yield span

    @contextmanager
    def attempt(self, method: str, route: str, attributes: Mapping[str, AttributeValue]) -> Iterator[Span]:
        """Open a span for one attempt."""
        with self._span(f"{method} {route}", SpanKind.CLIENT, attributes) as span:
            yield span

    def attempt_ended(
        self, span: Span | None, event: AttemptEnded, server: Mapping[str, AttributeValue]
    ) -> None:
        """Record the end of an attempt in its span, if it has one, and in the metric."""
        facts: dict[str, AttributeValue] = {}
        if event.status is not None:
            facts["http.response.status_code"] = event.status
        if event.error is not None:
            has_status = event.status is not None and event.status >= 400
            facts["error.type"] = str(event.status) if has_status else event.error
        if span is not None:
            span.set_attributes(facts)
            if event.error is not None:
                span.set_status(Status(StatusCode.ERROR))
        names = {"http.request.method": event.method, "url.template": event.route}
        self._requests.record(event.seconds, {**names, **server, **facts})

    def count(self, event: ClientEvent) -> None:
        """Add an event to the metrics."""
        match event:
            case RetryPlanned():
                self._retries.add(1, {"http.request.method": event.method, "error.type": event.error})
            case SubmissionAccepted():
                self._used.add(event.credits_used or 0, {"seedance.model": event.model})
            case TaskFinished():
                names = {"seedance.model": event.model, "seedance.status": event.status}
                self._tasks.record(event.seconds, names)
                self._refunded.add(event.credits_refunded or 0, {"seedance.model": event.model})
            case AttemptEnded():
                pass  # counted with its span

    @contextmanager
    def _span(self, name: str, kind: SpanKind, attributes: Mapping[str, AttributeValue]) -> Iterator[Span]:
        """Open a span for the block. Of an exception, only the class is recorded, as texts may be private."""
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR))
                raise
