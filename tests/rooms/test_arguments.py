"""Arguments of the wrong type or value: an error of ours, before anything is sent."""

from __future__ import annotations

import inspect
import math
import unittest.mock
from enum import Enum, IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import pytest

from seedance_async import (
    BatchRunner,
    ConfigurationError,
    GptImage2,
    Job,
    NanoBananaPro,
    RateLimit,
    Seedance2Video,
    SeedanceClient,
    SeedanceError,
    Task,
    ValidationError,
)
from seedance_async.sandbox import Sandbox
from tests.batch.helpers import submits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

PICTURE = NanoBananaPro(prompt="a fox asleep on a roof")
DONE = Task(id="nbp_1", status="completed")


async def each(iterable: Any) -> list[object]:  # noqa: ANN401 - an async generator of anything
    """All of it."""
    return [item async for item in iterable]


async def a_batch(client: SeedanceClient, jobs: object) -> list[object]:
    """What a batch of these jobs yields."""
    async with BatchRunner(client, "never-made") as batch:
        return await each(batch.run(jobs))  # type: ignore[arg-type]


CALLS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "submit-prompt": lambda c: c.submit("a fox asleep on a roof"),
    "submit-none": lambda c: c.submit(None),
    "submit-fields": lambda c: c.submit({"prompt": "a fox asleep on a roof"}),
    "submit-class": lambda c: c.submit(NanoBananaPro),
    "submit-key-number": lambda c: c.submit(PICTURE, idempotency_key=5),
    "submit-key-bytes": lambda c: c.submit(PICTURE, idempotency_key=b"k"),
    "submit-key-empty": lambda c: c.submit(PICTURE, idempotency_key=""),
    "generate-timeout-text": lambda c: c.generate(PICTURE, timeout="60"),
    "generate-timeout-nan": lambda c: c.generate(PICTURE, timeout=math.nan),
    "generate-timeout-negative": lambda c: c.generate(PICTURE, timeout=-1),
    "generate-timeout-bool": lambda c: c.generate(PICTURE, timeout=True),
    "generate-all-timeout": lambda c: c.generate_all(PICTURE, timeout=[]),
    "get-task-number": lambda c: c.get_task(5),
    "get-task-none": lambda c: c.get_task(None),
    "get-task-blank": lambda c: c.get_task("  "),
    "get-task-list": lambda c: c.get_task(["nbp_1"]),
    "wait-number": lambda c: c.wait(5),
    "wait-timeout": lambda c: c.wait("nbp_1", timeout="soon"),
    "completed-none": lambda c: each(c.as_completed(None)),
    "completed-one": lambda c: each(c.as_completed(PICTURE)),
    "completed-prompt": lambda c: each(c.as_completed("a fox asleep on a roof")),
    "completed-prompts": lambda c: each(c.as_completed(["a fox asleep on a roof"])),
    "completed-mapping": lambda c: each(c.as_completed({"a": PICTURE})),
    "completed-in-flight-text": lambda c: each(c.as_completed([PICTURE], max_in_flight="4")),
    "completed-in-flight-half": lambda c: each(c.as_completed([PICTURE], max_in_flight=1.5)),
    "completed-in-flight-none": lambda c: each(c.as_completed([PICTURE], max_in_flight=0)),
    "completed-share": lambda c: each(c.as_completed([PICTURE], share_posts="no")),
    "download-number": lambda c: c.download(5, "out"),
    "download-nowhere": lambda c: c.download(DONE, None),
    "download-directory": lambda c: c.download(DONE, 5),
    "download-name": lambda c: c.download(DONE, "out", name=5),
    "download-prompt": lambda c: c.download(DONE, "out", prompt=5),
    "run-none": lambda c: a_batch(c, None),
    "run-one": lambda c: a_batch(c, Job(PICTURE)),
    "run-number": lambda c: a_batch(c, 5),
    "run-prompts": lambda c: a_batch(c, ["a fox asleep on a roof"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_wrong_argument_is_refused_before_anything_is_sent(
    call: Callable[[Any], Awaitable[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a ``ValidationError`` that says what is wanted; the client goes on."""
    monkeypatch.chdir(tmp_path)
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        with pytest.raises(ValidationError, match=r"must|expected"):
            await call(client)
        assert [] == sandbox.requests
        assert (await client.generate(PICTURE)).is_completed


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda c: c.submit("a fox asleep on a roof"), r"such as Seedance2Video\(prompt=…\)"),
        (lambda c: c.generate({"model": "seedance2", "prompt": "a fox"}), "read_request"),
        (lambda c: c.submit(Job(PICTURE)), "give its request"),
        (lambda c: each(c.as_completed([Job(PICTURE)])), "give its request"),
        (lambda c: a_batch(c, ["a fox asleep on a roof"]), "such as Seedance2Video"),
        (lambda c: a_batch(c, [{"prompt": "a fox"}]), "read_request"),
    ],
    ids=["prompt", "dict", "job", "jobs", "prompts of a batch", "dicts of a batch"],
)
async def test_what_stands_in_the_place_of_a_request_is_told_with_the_way_to_one(
    call: Callable[[Any], Awaitable[object]], advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other libraries take prompts and dicts."""
    monkeypatch.chdir(tmp_path)
    async with SeedanceClient("k", "http://127.0.0.1:9/api/v1") as client:
        with pytest.raises(ValidationError, match=advice):
            await call(client)


OPTIONS: dict[str, Callable[[Any], object]] = {
    "key-number": lambda _: SeedanceClient(5),  # type: ignore[arg-type]
    "key-bytes": lambda _: SeedanceClient(b"sk_live_1"),  # type: ignore[arg-type]
    "base-url-number": lambda _: SeedanceClient("k", 5),  # type: ignore[arg-type]
    "rate-limit-text": lambda _: SeedanceClient("k", rate_limit="30/60"),  # type: ignore[arg-type]
    "retry-number": lambda _: SeedanceClient("k", retry=3),  # type: ignore[arg-type]
    "timeouts-number": lambda _: SeedanceClient("k", timeouts=30.0),  # type: ignore[arg-type]
    "session-class": lambda _: SeedanceClient("k", session=SeedanceClient),  # type: ignore[arg-type]
    "forecasts-mapping": lambda _: SeedanceClient("k", forecasts={}),  # type: ignore[arg-type]
    "limit-text": lambda _: RateLimit(requests="30"),  # type: ignore[arg-type]
    "runner-client": lambda _: BatchRunner("out", "out"),  # type: ignore[arg-type]
    "runner-directory": lambda c: BatchRunner(c, None),  # type: ignore[arg-type]
    "runner-credits-text": lambda c: BatchRunner(c, "out", max_credits="500"),  # type: ignore[arg-type]
    "runner-credits-nan": lambda c: BatchRunner(c, "out", max_credits=math.nan),
    "runner-credits-bool": lambda c: BatchRunner(c, "out", max_credits=True),
    "runner-in-flight": lambda c: BatchRunner(c, "out", max_in_flight="3"),  # type: ignore[arg-type]
    "runner-name": lambda c: BatchRunner(c, "out", output_name=5),  # type: ignore[arg-type]
    "runner-window": lambda c: BatchRunner(c, "out", replay_window="1 h"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("make", OPTIONS.values(), ids=OPTIONS)
def test_a_wrong_option_is_refused_where_it_is_written(make: Callable[[Any], object]) -> None:
    """Not where it first matters."""
    with pytest.raises(ConfigurationError):
        make(SeedanceClient("k"))


# --- subclasses of str and int


class Tier(StrEnum):
    """A word of the program's own, of the newer kind."""

    PRO = "pro"


class Word(str, Enum):  # noqa: UP042 - the older kind hashes and prints differently
    """And of the older."""

    PRO = "pro"
    FOX = "a fox asleep on a roof"


class Plain(Enum):
    """One that is no text itself."""

    PRO = "pro"
    EIGHT = 8


class Length(IntEnum):
    """A number of the program's own."""

    EIGHT = 8
    ONE = 1


class Loud(str):
    """A text that shows itself in another way."""

    __slots__ = ()

    def __str__(self) -> str:
        return "LOUD"

    def __repr__(self) -> str:
        return "LOUD"

    __hash__ = None  # type: ignore[assignment]


FOX = "a fox asleep on a roof"


@pytest.mark.parametrize(
    "fields",
    [
        {"quality_tier": Tier.PRO},
        {"quality_tier": Word.PRO},
        {"quality_tier": Plain.PRO},
        {"duration": Length.EIGHT},
        {"duration": Plain.EIGHT},
        {"prompt": Word.FOX},
        {"prompt": Loud(FOX)},
        {"media_urls": [Loud("https://a.example/1.png")]},
        {"seed": Length.ONE},
    ],
    ids=repr,
)
async def test_a_subclass_means_the_same_as_the_value_it_holds(fields: dict[str, Any]) -> None:
    """In the bytes, in the kind that decides price and duration, in equality, hashes and reprs."""
    held = {name: plain_of(value) for name, value in fields.items()}
    odd, plain = Seedance2Video(**{"prompt": FOX, **fields}), Seedance2Video(**{"prompt": FOX, **held})
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        for request in (odd, plain):
            await client.submit(request)
        bodies = [body for _, body in submits(sandbox)]

    assert bodies[0] == bodies[1]
    assert (odd, hash(odd), repr(odd)) == (plain, hash(plain), repr(plain))
    assert {odd.kind: 1} == {plain.kind: 1}
    for name in fields:
        assert type(getattr(odd, name)) in {str, int, tuple}


def plain_of(value: Any) -> Any:  # noqa: ANN401 - any field's
    """What a value stands for."""
    if isinstance(value, list):
        return [plain_of(entry) for entry in value]
    value = value.value if isinstance(value, Enum) else value
    return "".join(value) if isinstance(value, str) else value


async def test_subclasses_are_taken_for_names_limits_and_counts(tmp_path: Path) -> None:
    """A batch stores names, and SQLite takes no subclass for a text."""
    limit = RateLimit(requests=Length.EIGHT)
    assert type(limit.requests) is int
    assert type(GptImage2(prompt=FOX, batch_count=Length.ONE).batch_count) is int
    jobs = [Job(PICTURE, name=Word.PRO), Job(PICTURE, name=Loud("loud"))]
    async with (
        Sandbox() as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
        BatchRunner(client, tmp_path, max_in_flight=Length.ONE) as batch,
    ):
        reported = {result.name: result.state async for result in batch.run(jobs)}

    assert {"pro": "saved", "loud": "saved"} == reported


# --- doubles


async def test_a_double_of_a_client_can_be_made_of_the_class_and_of_an_open_client() -> None:
    """``create_autospec`` reads every attribute, and keeps the signatures."""
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        doubles = [
            unittest.mock.create_autospec(SeedanceClient, instance=True),
            unittest.mock.create_autospec(client),
            unittest.mock.create_autospec(SeedanceClient("k")),
        ]
    for double in doubles:
        double.generate.return_value = DONE
        assert DONE == await double.generate(PICTURE, timeout=5.0)
        with pytest.raises(TypeError):
            await double.generate(PICTURE, patience=5.0)
        assert inspect.iscoroutinefunction(double.submit)
        assert isinstance(double, SeedanceClient)


def test_a_double_of_a_batch_can_be_made() -> None:
    """Of the class; an open one is a journal on the disk."""
    double = unittest.mock.create_autospec(BatchRunner, instance=True)

    assert isinstance(double, BatchRunner)


def test_an_error_of_ours_is_what_a_wrong_type_ends_in() -> None:
    """So one ``except`` is enough."""
    assert issubclass(ValidationError, SeedanceError)
    assert issubclass(ConfigurationError, SeedanceError)
