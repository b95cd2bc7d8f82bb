"""Watching a client: the hook's events, OpenTelemetry's spans and metrics, and that neither does harm."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from seedance_async import (
    AttemptEnded,
    BatchRunner,
    ClientEvent,
    ConfigurationError,
    Job,
    NanoBananaPro,
    RetryPlanned,
    Seedance2Video,
    SeedanceClient,
    SubmissionAccepted,
    TaskFailedError,
    TaskFinished,
)
from seedance_async.sandbox import Fault, Sandbox
from tests.canary import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET_PROMPT = "a paper boat that nobody may know of"
CLIP = Seedance2Video(prompt=SECRET_PROMPT, duration=4)
BUSY = Fault(effect="status", on="submit", moment="before", status=503)


class Unruly(SpanProcessor):
    """A processor of a user's that fails at the end of every span, when it is told to."""

    fails = False

    def on_end(self, span: ReadableSpan) -> None:  # noqa: ARG002 - as inherited
        """Fail."""
        if self.fails:
            raise RuntimeError("the exporter is gone")


EXPORTER = InMemorySpanExporter()
READER = InMemoryMetricReader()
UNRULY = Unruly()


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """One SDK a process: OpenTelemetry takes no second one."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    provider.add_span_processor(UNRULY)
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider(metric_readers=[READER]))


@pytest.fixture
def spans() -> Iterator[Callable[[], list[ReadableSpan]]]:
    """The spans that a test has made."""
    EXPORTER.clear()
    yield lambda: list(EXPORTER.get_finished_spans())
    UNRULY.fails = False


def opened(sandbox: Sandbox, **options: Any) -> SeedanceClient:  # noqa: ANN401 - whatever a client takes
    """A client of a sandbox."""
    return SeedanceClient(sandbox.api_key, sandbox.base_url, **options)


async def test_the_hook_is_told_what_happens_in_its_order() -> None:
    """Refused, tried again, accepted, polled, finished; as the sandbox saw it, and nothing that is secret."""
    told: list[ClientEvent] = []
    async with Sandbox(faults=[BUSY]) as sandbox, opened(sandbox, on_event=told.append) as client:
        task = await client.generate(CLIP)

    first, retry, second, accepted, *polls, finished = told
    assert isinstance(first, AttemptEnded)
    assert ("POST", "/video/seedance2", 503, "ServiceBusyError", 0) == (
        first.method, first.route, first.status, first.error, first.resends
    )  # fmt: skip
    assert isinstance(retry, RetryPlanned)
    assert isinstance(second, AttemptEnded)
    assert (None, 1) == (second.error, second.resends)
    assert isinstance(accepted, SubmissionAccepted)
    assert first.idempotency_key == second.idempotency_key == accepted.idempotency_key
    assert (task.id,) == accepted.task_ids
    assert all(isinstance(poll, AttemptEnded) and poll.task_id == task.id for poll in polls)
    assert isinstance(finished, TaskFinished)
    assert ("completed", task.id) == (finished.status, finished.task_id)
    assert len(sandbox.requests) == sum(isinstance(event, AttemptEnded) for event in told)
    text = json.dumps([event.to_dict() for event in told])
    assert not [secret for secret in (*KEYS, SECRET_PROMPT, *task.urls) if secret in text]


async def test_a_hook_that_fails_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the task is paid once and collected."""

    def fail(_: ClientEvent) -> None:
        raise LookupError(SECRET_PROMPT)

    async with Sandbox() as sandbox, opened(sandbox, on_event=fail) as client:
        task = await client.generate(CLIP)

    assert task.is_completed
    assert 1 == len(sandbox.paid_tasks)
    assert any("an observer of the client failed: LookupError" in line for line in caplog.messages)
    assert SECRET_PROMPT not in caplog.text


def test_a_hook_has_to_be_callable() -> None:
    """Said before anything is sent."""
    with pytest.raises(ConfigurationError, match="on_event"):
        SeedanceClient("k", on_event="print")  # type: ignore[arg-type]


async def test_a_generation_is_a_span_with_its_attempts(spans: Callable[[], list[ReadableSpan]]) -> None:
    """Submit and polls below it, by the conventions for HTTP; no key, no prompt, no URL of a file."""
    async with Sandbox(faults=[BUSY]) as sandbox, opened(sandbox) as client:
        with trace.get_tracer("tests").start_as_current_span("a web request"):
            task = await client.generate(CLIP)

    by_name: dict[str, list[ReadableSpan]] = {}
    for span in spans():
        by_name.setdefault(span.name, []).append(span)
    (root,), (whole,), (submit,) = (
        by_name[name] for name in ("a web request", "seedance.generate", "seedance.submit")
    )
    refused, accepted = by_name["POST /video/seedance2"]
    polls = by_name["GET /tasks/{id}"]
    assert root.context.span_id == parent(whole)
    assert whole.context.span_id == parent(submit)
    assert {submit.context.span_id} == {parent(refused), parent(accepted)}
    assert len(polls) == sum(request.method == "GET" for request in sandbox.requests)
    assert {root.context.trace_id} == {span.context.trace_id for span in spans()}
    facts = dict(refused.attributes or {})
    assert SpanKind.CLIENT is refused.kind
    assert ("POST", 503, "503", "127.0.0.1") == (
        facts["http.request.method"], facts["http.response.status_code"],
        facts["error.type"], facts["server.address"],
    )  # fmt: skip
    assert 1 == dict(accepted.attributes or {})["http.request.resend_count"]
    assert ((task.id,), task.credits_used) == (
        dict(whole.attributes or {})["seedance.task.ids"],
        dict(whole.attributes or {})["seedance.credits.used"],
    )
    text = "".join(span.to_json() for span in spans())
    assert not [secret for secret in (*KEYS, SECRET_PROMPT, *task.urls) if secret in text]


async def test_an_error_is_named_in_the_span_and_not_quoted(spans: Callable[[], list[ReadableSpan]]) -> None:
    """Its text may be the vendor's about a prompt."""
    async with Sandbox() as sandbox, opened(sandbox) as client:
        with pytest.raises(TaskFailedError):
            await client.generate(Seedance2Video(prompt=f"{SECRET_PROMPT} [[sandbox:fail]]"))

    (whole,) = [span for span in spans() if span.name == "seedance.generate"]
    assert "TaskFailedError" == dict(whole.attributes or {})["error.type"]
    assert () == tuple(whole.events)
    assert not whole.status.is_ok
    assert whole.status.description is None


async def test_a_job_of_a_batch_is_a_span_with_its_attempts(
    spans: Callable[[], list[ReadableSpan]], tmp_path: Path
) -> None:
    """Each poll belongs to the job whose task it asks about."""
    jobs = [Job(NanoBananaPro(prompt=f"a fox on roof {roof}"), name=f"fox-{roof}") for roof in range(3)]
    async with Sandbox() as sandbox, opened(sandbox) as client, BatchRunner(client, tmp_path) as batch:
        async for _ in batch.run(jobs):
            pass

    of_jobs = {span.context.span_id: span for span in spans() if span.name == "seedance.job"}
    attempts = [span for span in spans() if span.kind is SpanKind.CLIENT]
    assert {"fox-0", "fox-1", "fox-2"} == {
        dict(span.attributes or {})["seedance.job.name"] for span in of_jobs.values()
    }
    assert len(sandbox.requests) == len(attempts)
    assert {parent(span) for span in attempts} == set(of_jobs)


async def test_a_processor_of_spans_that_fails_costs_nothing(
    spans: Callable[[], list[ReadableSpan]],
) -> None:
    """Above all not the answer to a POST that is paid."""
    UNRULY.fails = True
    async with Sandbox() as sandbox, opened(sandbox) as client:
        task = await client.generate(CLIP)
        completions = [each async for each in client.as_completed([CLIP])]

    assert task.is_completed
    assert [None] == [each.error for each in completions]
    assert 2 == len(sandbox.paid_tasks)
    assert spans()


def test_without_opentelemetry_a_client_is_watched_by_its_hook_alone() -> None:
    """It is an extra."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from seedance_async import SeedanceClient; from seedance_async.observer import Observer\n"
        "SeedanceClient('k'); told = []; Observer(told.append).work('generate').__enter__()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.')])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]\n" == said.stdout


async def test_the_metrics_are_what_the_sandbox_saw() -> None:
    """Requests by their status, credits used, and how long tasks took."""
    before = metric("http.client.request.duration", "count"), metric("seedance.client.credits.used", "value")
    async with Sandbox(faults=[BUSY]) as sandbox, opened(sandbox) as client:
        task = await client.generate(CLIP)

    assert len(sandbox.requests) == metric("http.client.request.duration", "count") - before[0]
    assert task.credits_used == metric("seedance.client.credits.used", "value") - before[1]
    assert metric("seedance.client.task.duration", "sum") > 60


def parent(span: ReadableSpan) -> int | None:
    """The id of the span that a span belongs to."""
    return span.parent.span_id if span.parent else None


def metric(name: str, figure: str) -> float:
    """A metric's figure over all its attributes, so far."""
    data = READER.get_metrics_data()
    figures: list[float] = [
        getattr(point, figure)
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for each in scope.metrics
        if each.name == name
        for point in each.data.data_points
    ]
    return sum(figures)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK logs what its processors do."""
    caplog.set_level(logging.WARNING, logger="opentelemetry")
