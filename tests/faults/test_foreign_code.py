"""Code of the caller's that fails: it ends its own run, job or line, and its neighbours feel nothing."""

from __future__ import annotations

import asyncio
import io
import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import anyio
import pytest

from seedance_async import BatchRunner, Completion, JobResult, NanoBananaPro, SeedanceClient, SeedanceError
from seedance_async.sandbox import Fault, Sandbox
from tests.batch.helpers import submits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    Source = AsyncIterator[NanoBananaPro] | Iterable[NanoBananaPro]

FIRST, SECOND, NEIGHBOURS, LATER = (
    NanoBananaPro(prompt=f"a {place} boat on a pond") for place in ("first", "second", "neighbour's", "late")
)


class LeaveError(BaseException):
    """What test frameworks raise to skip a test: no ``Exception``."""


async def cancelled_elsewhere() -> None:
    """Await a task that somebody else has cancelled."""
    task = asyncio.ensure_future(asyncio.sleep(1000))
    asyncio.get_running_loop().call_later(1.0, task.cancel)
    await task


async def awaits_a_cancelled_task() -> AsyncGenerator[NanoBananaPro]:
    """The task of a database's pool that is closing, say."""
    yield FIRST
    await cancelled_elsewhere()
    yield SECOND


async def raises_a_cancellation() -> AsyncGenerator[NanoBananaPro]:
    """Code that takes ``CancelledError`` for a way to stop."""
    yield FIRST
    raise asyncio.CancelledError


async def raises() -> AsyncGenerator[NanoBananaPro]:
    """An ordinary fault."""
    yield FIRST
    raise LookupError("no such row")


async def raises_no_exception() -> AsyncGenerator[NanoBananaPro]:
    """An exception that ``except Exception`` lets through."""
    yield FIRST
    raise LeaveError


async def times_out_while_we_have_it() -> AsyncGenerator[NanoBananaPro]:
    """``asyncio.timeout`` cancels the task that it was entered in, wherever that is by then."""
    async with asyncio.timeout(5.0):
        yield FIRST
        await anyio.sleep(1000)


async def ends_a_scope_while_we_have_it() -> AsyncGenerator[NanoBananaPro]:
    """So does a scope of anyio's."""
    with anyio.fail_after(5.0):
        yield FIRST
        await anyio.sleep(1000)


def asks_a_cancelled_future() -> Iterator[NanoBananaPro]:
    """A plain generator can raise ``CancelledError`` as well."""
    yield FIRST
    future: asyncio.Future[NanoBananaPro] = asyncio.get_running_loop().create_future()
    future.cancel()
    yield future.result()


def leaves_the_program() -> Iterator[NanoBananaPro]:
    """As a command's loop may."""
    yield FIRST
    raise SystemExit(3)


SOURCES: list[Callable[[], Source]] = [
    awaits_a_cancelled_task,
    raises_a_cancellation,
    raises,
    raises_no_exception,
    times_out_while_we_have_it,
    ends_a_scope_while_we_have_it,
    asks_a_cancelled_future,
    leaves_the_program,
]


async def as_completed(
    client: SeedanceClient, source: Source, _directory: Path
) -> AsyncIterator[Completion | JobResult]:
    """The run of a program."""
    async for completion in client.as_completed(source):
        yield completion


async def batch(
    client: SeedanceClient, source: Source, directory: Path
) -> AsyncIterator[Completion | JobResult]:
    """The run of a batch."""
    async with BatchRunner(client, directory) as runner:
        async for result in runner.run(source):
            yield result


@pytest.mark.parametrize("run", [as_completed, batch])
@pytest.mark.parametrize("source", SOURCES)
async def test_a_source_ends_its_own_run_and_no_other(
    source: Callable[[], Source],
    run: Callable[[SeedanceClient, Source, Path], AsyncIterator[Completion | JobResult]],
    tmp_path: Path,
) -> None:
    """What it asked for before is delivered first, then the run says what happened; all others go on."""
    reported: list[Completion | JobResult] = []
    ends: list[BaseException] = []

    async def its_run() -> None:
        try:
            async for result in run(client, source(), tmp_path / "out"):
                reported.append(result)  # noqa: PERF401 - what came before the failure counts
        except BaseException as end:
            ends.append(end)

    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        async with anyio.create_task_group() as programs:
            programs.start_soon(its_run)
            assert (await client.generate(NEIGHBOURS)).is_completed
        assert (await client.generate(LATER)).is_completed
        posts = submits(sandbox)

    assert [None] == [result.error for result in reported]
    assert 1 == len(ends)
    assert not isinstance(ends[0], asyncio.CancelledError)
    assert {b"first", b"neighbour", b"late"} == {
        word for word in (b"first", b"second", b"neighbour", b"late") for _, body in posts if word in body
    }
    assert 3 == len(posts)


async def test_a_cancellation_of_the_sources_says_whose_it_was() -> None:
    """A ``CancelledError`` in the caller would be taken for one of the caller's own."""
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        with pytest.raises(SeedanceError, match="was cancelled elsewhere") as caught:
            _ = [result async for result in client.as_completed(awaits_a_cancelled_task())]

    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


async def test_a_post_on_the_wire_is_not_cancelled_for_a_source() -> None:
    """It is answered, and its result delivered, although the source failed meanwhile."""

    async def fails_with_a_post_on_the_wire() -> AsyncGenerator[NanoBananaPro]:
        yield FIRST
        await anyio.sleep(10)
        raise asyncio.CancelledError

    reported = []
    slow = (Fault(effect="delay", on="submit", seconds=20.0),)
    async with (
        Sandbox(faults=slow) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
    ):
        with pytest.raises(SeedanceError, match="cancelled"):  # noqa: PT012 - what came before counts
            async for result in client.as_completed(fails_with_a_post_on_the_wire()):
                reported.append(result)  # noqa: PERF401 - what came before the failure counts
        posts = submits(sandbox)

    assert [None] == [result.error for result in reported]
    assert 1 == len(posts)


async def test_a_task_of_the_run_that_somebody_cancels_is_told() -> None:
    """Programs that cancel every task of the loop, as test frameworks do, end what they meet, and no more."""
    reported = []
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        with pytest.raises(SeedanceError, match="cancelled"):  # noqa: PT012 - what came before counts
            async for result in client.as_completed([FIRST, SECOND]):
                reported.append(result)
                for task in asyncio.all_tasks():
                    if task.get_name().endswith("Stream._run"):
                        task.cancel()
        assert (await client.generate(LATER)).is_completed

    assert 1 == len(reported)


def unset() -> NoReturn:
    """What a context variable raises where no web request is."""
    raise LookupError("request_id")


def of_a_future() -> None:
    """The result of a future that was cancelled."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    future.result()


class Handler(logging.Handler):
    """One that does not catch what its ``emit`` raises, as many do not."""

    def __init__(self, fail: Callable[[], object]) -> None:
        super().__init__()
        self.fail = fail

    def handle(self, record: logging.LogRecord) -> bool:
        """Fail at once."""
        self.fail()
        return bool(record)


@contextmanager
def filtering(fail: Callable[[], object]) -> Iterator[None]:
    """A handler whose filter fails."""
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(lambda _: bool(fail()))
    with added(handler):
        yield


@contextmanager
def handling(fail: Callable[[], object]) -> Iterator[None]:
    """A handler that fails."""
    with added(Handler(fail)):
        yield


@contextmanager
def added(handler: logging.Handler) -> Iterator[None]:
    """Have the package's lines written by a handler."""
    log = logging.getLogger("seedance_async")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@contextmanager
def making_records(fail: Callable[[], object]) -> Iterator[None]:
    """A factory of records that fails for the package's."""
    usual = logging.getLogRecordFactory()

    def make(name: str, *values: object, **options: object) -> logging.LogRecord:
        if name.startswith("seedance_async"):
            fail()
        return usual(name, *values, **options)

    logging.setLogRecordFactory(make)
    try:
        yield
    finally:
        logging.setLogRecordFactory(usual)


@pytest.mark.parametrize("fail", [unset, of_a_future])
@pytest.mark.parametrize("place", [filtering, handling, making_records])
async def test_logging_that_fails_loses_the_line_only(
    place: Callable[[Callable[[], object]], object],
    fail: Callable[[], object],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Jobs, a batch and the poller that all share go on; stderr says why the line is missing."""
    with place(fail):  # type: ignore[attr-defined]  # each is a context manager
        async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
            async with BatchRunner(client, tmp_path) as runner:
                reported = [result async for result in runner.run([FIRST, SECOND])]
            assert (await client.generate(LATER)).is_completed
            assert 3 == len(submits(sandbox))

    assert ["saved", "saved"] == [result.state for result in reported]
    assert "Error" in capsys.readouterr().err


async def test_logging_that_fails_can_be_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As ``logging`` has it for its own handlers."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with filtering(unset):
        async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
            assert (await client.generate(LATER)).is_completed

    assert "LookupError" not in capsys.readouterr().err


def test_a_line_names_the_place_that_wrote_it(caplog: pytest.LogCaptureFixture) -> None:
    """Not the module that protects it."""
    from seedance_async.logs import Log

    caplog.set_level(logging.DEBUG)
    with suppress(ValueError):
        Log("seedance_async.somewhere").warning("%d lines", 1, extra={"lines": 1})

    assert [(__name__.rsplit(".", 1)[-1], "1 lines")] == [
        (record.module, record.getMessage()) for record in caplog.records
    ]
