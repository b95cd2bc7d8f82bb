"""Tests of the package's public names: all that are promised exist, and importing them costs nothing."""

from __future__ import annotations

import copy
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
import typing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import seedance_async
from seedance_async import Task, errors, sandbox
from seedance_async.sandbox import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROMISED = {
    "SeedanceClient", "RateLimit", "RetryPolicy", "Timeouts",
    "Seedance2Video", "GptImage2", "NanoBananaPro",
    "Submission", "Task", "VideoOutput", "ImageOutput",
    "SeedanceError", "ApiError", "InvalidRequestError", "UnauthorizedError", "InsufficientCreditsError",
    "NotFoundError", "IdempotencyConflictError", "RateLimitedError", "InternalServerError",
    "ServiceBusyError", "TaskFailedError", "WaitTimeoutError", "ConnectionFailedError",
    "UnexpectedReplyError", "UncertainSubmissionError", "CreditCapError", "JournalError", "ManifestError",
    "DownloadError", "ValidationError", "PromptBuilder", "lint_prompt",
}  # fmt: skip

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(seedance_async.__path__, "seedance_async.")
    if not module.name.endswith("__main__")
)


def test_everything_promised_is_there() -> None:
    """Names that users import are never lost in a refactoring."""
    assert set() == PROMISED - set(seedance_async.__all__)


def test_the_list_is_sorted_and_every_name_of_it_works() -> None:
    """A lazy door could name what its rooms do not have."""
    assert sorted(seedance_async.__all__) == seedance_async.__all__
    for name in seedance_async.__all__:
        value = getattr(seedance_async, name)
        is_alias = typing.get_origin(value) is not None  # of a union, or of literals
        assert is_alias or value.__name__ == name
    assert set(seedance_async.__all__) <= set(dir(seedance_async))


def test_every_error_of_the_tree_is_at_the_door() -> None:
    """Whatever can be raised can be caught by name."""
    tree = {
        name for name, thing in vars(errors).items() if isinstance(thing, type) and name.endswith("Error")
    }

    assert set() == tree - set(seedance_async.__all__)


TASK = Task(id="sd2_a1", status="failed", error="the reef", credits_refunded=30)


@pytest.mark.parametrize(
    "error",
    [
        errors.ValidationError([("prompt", "is missing")]),
        errors.ManifestError([(3, "name", "stands twice")]),
        errors.TaskFailedError(TASK, idempotency_key="k"),
        errors.OutputMissingError(TASK),
        errors.RateLimitedError("slow down", code="rate_limited", status=429, retry_after=7.0),
        errors.UncertainServiceBusyError("who knows", code="service_busy", status=503, idempotency_key="k"),
        errors.UnexpectedReplyError("odd", status=502, excerpt="<html>"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_processes_whole(error: errors.SeedanceError) -> None:
    """Its words, its key, its task: whatever a pool or a queue hands on can still be collected by."""
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(error) is type(again)
        assert str(error) == str(again)
        assert vars(error) == vars(again)


def made(kind: type[errors.SeedanceError]) -> errors.SeedanceError:
    """One of this class, with its handles."""
    special: dict[type, errors.SeedanceError] = {
        errors.ValidationError: errors.ValidationError([("prompt", "is missing")]),
        errors.ManifestError: errors.ManifestError([(3, "name", "stands twice")]),
        errors.TaskFailedError: errors.TaskFailedError(TASK, idempotency_key="k"),
        errors.OutputMissingError: errors.OutputMissingError(TASK),
    }
    return special.get(kind) or kind("told", idempotency_key="k", task_id="t")


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.SeedanceError)
]
COPIES: dict[str, Callable[[errors.SeedanceError], errors.SeedanceError]] = {
    "pickled": lambda error: pickle.loads(pickle.dumps(error)),
    "pickled-by-the-oldest": lambda error: pickle.loads(pickle.dumps(error, protocol=0)),
    "copied": copy.copy,
    "copied-deeply": copy.deepcopy,
    "about": lambda error: error.about(idempotency_key=error.idempotency_key, task_id=error.task_id),
    "twice": lambda error: copy.copy(pickle.loads(pickle.dumps(error))),
}


@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_copy_of_an_error_has_its_args_and_its_repr(
    kind: type[errors.SeedanceError], again: Callable[[errors.SeedanceError], errors.SeedanceError]
) -> None:
    """Log formatters print ``repr``, pools and queues compare ``args``."""
    error = made(kind)
    error.add_note("a note")
    copied = again(error)

    assert (type(error), error.args, repr(error), str(error)) == (
        type(copied),
        copied.args,
        repr(copied),
        str(copied),
    )
    assert said(error) == said(copied)
    copied.add_note("of the copy's own")
    assert ["a note"] == error.__notes__


def said(error: errors.SeedanceError) -> dict[str, object]:
    """All that an error carries."""
    return {name: value for name, value in vars(error).items() if value is not None}


PUBLIC_MODULES = (seedance_async, sandbox)
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name) for module in PUBLIC_MODULES for name in module.__all__
} | {f"virtual_time.{name}": getattr(virtual_time, name) for name in ("run", "Clock", "VirtualLoop")}


def parts(thing: object) -> Iterator[object]:
    """A thing, and the functions that are its methods and properties."""
    yield thing
    for part in vars(thing).values() if inspect.isclass(thing) else ():
        function = part.fget if isinstance(part, property) else getattr(part, "__func__", part)
        if inspect.isfunction(function):
            yield function


@pytest.mark.parametrize("name", PUBLIC)
def test_the_type_hints_of_everything_public_resolve(name: str) -> None:
    """Containers, makers of tools and of documentation ask for them at run time."""
    thing = PUBLIC[name]
    if inspect.isclass(thing) or inspect.isfunction(thing):
        for part in parts(thing):
            typing.get_type_hints(part)


def test_the_hints_of_a_request_are_those_of_its_fields() -> None:
    """A tool's form is made of them."""
    hints = typing.get_type_hints(seedance_async.Seedance2Video.__init__)

    assert hints["prompt"] is str
    assert "pro" in typing.get_args(hints["quality_tier"])


def test_the_tree_in_the_docstring_names_every_error() -> None:
    """The drawing is what people read."""
    drawn = set(re.findall(r"\b\w+Error\b", errors.__doc__ or ""))
    tree = {
        name for name, thing in vars(errors).items() if isinstance(thing, type) and name.endswith("Error")
    }

    assert set() == tree - drawn


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="SeedanceKlient"):
        _ = seedance_async.SeedanceKlient


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_its_charter_and_stays_readable(module: str) -> None:
    """One charter a file, in its first sentence, and no more lines than one reads in a sitting."""
    loaded = import_module(module)
    source = Path(loaded.__file__ or "").read_text("utf-8")

    assert loaded.__doc__, f"{module} does not say what it is for"
    assert len(source.splitlines()) <= 470


def run(code: str) -> str:
    """What a fresh interpreter prints, warnings being errors."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_importing_the_package_loads_no_http_stack() -> None:
    """Offline commands start in the time of an interpreter."""
    loaded = run(
        "import sys, seedance_async; print([m for m in ('aiohttp', 'anyio', 'cattrs') if m in sys.modules])"
    )

    assert loaded == "[]"


def test_the_requests_and_errors_need_no_http_stack() -> None:
    """Validating a manifest does not need the network's libraries."""
    loaded = run(
        "import sys; from seedance_async import Seedance2Video, ApiError; print('aiohttp' in sys.modules)"
    )

    assert loaded == "False"


@pytest.mark.parametrize(
    "extra",
    [
        "cyclopts",
        "rich",
        "PIL",
        "av",
        "fastapi",
        "opentimelineio",
        "obstore",
        "asyncpg",
        "redis",
        "opentelemetry",
    ],
)
def test_the_client_needs_no_extra(extra: str) -> None:
    """Core dependencies are enough for everything at the door."""
    run(
        f"import sys; sys.modules[{extra!r}] = None; import seedance_async as package; "
        "[getattr(package, name) for name in package.__all__]"
    )


def test_the_version_is_the_packages() -> None:
    """Stated twice, so held together."""
    pyproject = Path(seedance_async.__file__).parents[1] / "pyproject.toml"

    assert f'version = "{seedance_async.__version__}"' in pyproject.read_text("utf-8")
