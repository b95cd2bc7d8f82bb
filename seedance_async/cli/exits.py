"""Exit codes of errors, and the lines that report an error and what to do about it.

Pure: errors in, a code or lines out.
"""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from seedance_async.errors import (
    CanaryError,
    ConfigurationError,
    CreditCapError,
    DownloadError,
    InsufficientCreditsError,
    JournalError,
    ManifestError,
    NotFoundError,
    SeedanceError,
    StaleKeyError,
    TaskFailedError,
    UnauthorizedError,
    UncertainSubmissionError,
    ValidationError,
    WaitTimeoutError,
)
from seedance_async.exit_codes import ExitCode
from seedance_async.setting_sources import KEY_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_CODES: Final[tuple[tuple[type[SeedanceError], ExitCode], ...]] = (
    (UncertainSubmissionError, ExitCode.UNCERTAIN),  # first: its subclasses are API errors as well
    (UnauthorizedError, ExitCode.KEY_REFUSED),
    (InsufficientCreditsError, ExitCode.OUT_OF_CREDITS),
    (CreditCapError, ExitCode.OUT_OF_CREDITS),
    (CanaryError, ExitCode.CANARY),
    (ValidationError, ExitCode.USAGE),
    (ConfigurationError, ExitCode.USAGE),
    (ManifestError, ExitCode.USAGE),
)
KEY_SOURCES: Final = "--api-key or SEEDANCE_API_KEY"
"""Sources of a command's key; named together where it is not known which one applies."""

_PRECEDENCE: Final = (
    ExitCode.KEY_REFUSED,
    ExitCode.UNCERTAIN,
    ExitCode.OUT_OF_CREDITS,
    ExitCode.CANARY,
    ExitCode.FAILED,
    ExitCode.USAGE,
)
"""Exit codes by priority: if jobs end differently, the first of these that occurs is the command's."""


def code_of(error: SeedanceError) -> ExitCode:
    """Return the exit code of one error."""
    if isinstance(error, JournalError) and error.nothing_sent:
        return ExitCode.USAGE
    return next((code for error_type, code in _CODES if isinstance(error, error_type)), ExitCode.FAILED)


def code_of_all(errors: Iterable[SeedanceError]) -> ExitCode:
    """Return the exit code of many jobs, from the errors of those that did not succeed."""
    codes = {code_of(error) for error in errors}
    return next((code for code in _PRECEDENCE if code in codes), ExitCode.OK)


def lines_of(
    error: SeedanceError,
    *,
    flags: Sequence[str] = (),
    directory: PurePath | None = None,
    key_source: str = KEY_SOURCES,
) -> list[str]:
    """Return the lines about an error: what happened, to which task, and what to do next.

    Args:
        error: to report.
        flags: of the connection, as words of a command line.
        directory: where the files go; None if none are downloaded.
        key_source: the flag or the variable that the key comes from.
    """
    first, *more = error.message.rstrip(":\n").splitlines() or [type(error).__name__]
    subject = f"{error.task_id}: " if error.task_id else ""
    return [
        f"error: {subject}{first}",
        *more,
        *(f"  {line}" for line in _advice(error, flags, directory, key_source)),
    ]


def about_refused_key(key_source: str) -> str:
    """Return what to do about a key that the API refuses."""
    return f"the key from {key_source} was refused: correct it there; keys are listed and made at {KEY_PAGE}"


def _advice(
    error: SeedanceError, flags: Sequence[str], directory: PurePath | None, key_source: str
) -> Iterator[str]:
    match error:
        case StaleKeyError():
            yield f"its idempotency key was {error.idempotency_key}; it is too old to be sent again"
        case UncertainSubmissionError():
            yield f"to collect it, run the same command with --idempotency-key {error.idempotency_key}"
        case UnauthorizedError():
            yield about_refused_key(key_source)
        case InsufficientCreditsError():
            yield "nothing was charged; top up, then run the command again"
        case ValidationError():
            yield "nothing was sent, nothing was charged"
        case DownloadError(task_id=str(task_id)):
            yield f"the task stays finished; fetch its files with: {_download(task_id, flags, directory)}"
        case WaitTimeoutError(task_id=str(task_id)) if directory is not None:
            wait = shlex.join(["seedance", "wait", task_id, *flags])
            yield f"to collect it: {wait} && {_download(task_id, flags, directory)}"
        case TaskFailedError():
            pass
        case NotFoundError():
            yield error.advice
        case SeedanceError(task_id=str(task_id)):
            yield f"to collect it: {shlex.join(['seedance', 'wait', task_id, *flags])}"
        case _ if error.advice:
            yield error.advice
        case _:
            pass


def _download(task_id: str, flags: Sequence[str], directory: PurePath | None) -> str:
    into = [] if directory in {None, PurePath()} else ["-o", str(directory)]
    return shlex.join(["seedance", "download", task_id, *into, *flags])
