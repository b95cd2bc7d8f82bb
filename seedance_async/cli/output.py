"""Output of a command: data to stdout, everything else to stderr.

Texts come from prompts and servers, so control characters are removed before a terminal interprets them.
When the reader of a pipe exits early (``| head``) or a terminal is closed, the output ends, but the work goes
on. When the disk is full, the work goes on too, but the loss is reported and the command fails at its end.
Characters that a terminal without UTF-8 cannot show are written as escapes.
"""

from __future__ import annotations

import asyncio
import errno
import io
import logging
import math
import os
import re
import stat
import sys
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Final, TextIO, cast

from rich.console import Console

from seedance_async.scrubbing import TERMINAL_ESCAPE
from seedance_async.time_format import format_range

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPES: Final = re.compile(TERMINAL_ESCAPE)
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

LOGGERS: Final = (
    "seedance_async.route", "seedance_async.transport", "seedance_async.scheduling.poller",
    "seedance_async.record",
)  # fmt: skip
"""Loggers of retries, which are shown as well."""

NOTICE_INTERVAL: Final = 60.0  # s


READER_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EIO, errno.ENXIO})
"""Errors of a pipe or a terminal whose reader has gone: no data is lost that anybody would read."""


def prepare() -> None:
    """Prepare stdout and stderr for every terminal, and for being closed.

    Both write escapes instead of failing where the terminal lacks a character. A stream that was closed at
    the start stays closed, but its file descriptor is occupied: otherwise the next file to be opened would
    get it, and with it what a library or a child process writes to that descriptor. Both are set to block,
    because a non-blocking stream loses what does not fit into the pipe.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            with suppress(OSError, ValueError):
                os.set_blocking(stream.fileno(), True)


def without_controls(text: str) -> str:
    """Return the text without escape sequences, control and direction characters; newlines and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def write_data(line: str) -> None:
    """Write one line to stdout and flush it."""
    _write(sys.stdout, f"{without_controls(line)}\n")


def write_message(line: str) -> None:
    """Write one line for the user to stderr."""
    _write(sys.stderr, f"{without_controls(line)}\n")


class _Guarded(io.TextIOBase):
    """The current standard stream as a file for a rich console; writing to it never raises an ``OSError``.

    Args:
        name: ``stdout`` or ``stderr``.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def stream(self) -> TextIO | None:
        """The stream itself, also while a live display stands in for it."""
        stream: TextIO | None = getattr(sys, self._name)
        return cast("TextIO | None", getattr(stream, "rich_proxied_file", stream))

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a class's attribute there
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        _write(self.stream, text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` flushes."""

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("closed")
        return self.stream.fileno()

    def isatty(self) -> bool:
        with suppress(ValueError):  # it has been closed
            return self.stream is not None and self.stream.isatty()
        return False


@cache
def terminal() -> Console:
    """Return the rich console on stderr, which knows whether stderr is a terminal."""
    return Console(file=_Guarded("stderr"), highlight=False, markup=False, emoji=False)  # type: ignore[arg-type]


def help_console() -> Console:
    """Return the rich console on stdout, for help pages."""
    return Console(file=_Guarded("stdout"))  # type: ignore[arg-type]  # a text file is an IO[str]


def is_live() -> bool:
    """Whether stderr is a terminal that can redraw lines and show the characters used.

    With ``FORCE_COLOR`` the console takes even a log file for a terminal, so the file itself is asked too.
    """
    console = terminal()
    is_drawable = not console.is_dumb_terminal and not console.options.ascii_only
    return console.is_terminal and console.file.isatty() and is_drawable


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # started with the stream closed
        return
    try:
        stream.write(text)
        stream.flush()
    except OSError as problem:
        is_lost = problem.errno not in READER_GONE or _is_file(stream)
        # Discard what is still buffered and all that follows; otherwise the interpreter reports it at exit.
        with suppress(OSError):
            discarding = os.open(os.devnull, os.O_WRONLY)
            os.dup2(discarding, stream.fileno())
            os.close(discarding)
        if is_lost and stream is _Guarded("stdout").stream:
            _write_errors.append(problem)
            write_message(f"error: cannot write to stdout, its data is lost: {problem.strerror}")
    except ValueError:  # it has been closed
        return


def _is_file(stream: TextIO) -> bool:
    """Whether a stream goes into a regular file, which is read later."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


_write_errors: Final[list[OSError]] = []


def take_write_errors() -> list[OSError]:
    """Return the errors of writing to stdout since the last call."""
    taken = list(_write_errors)
    _write_errors.clear()
    return taken


class _Notices(logging.Handler):
    """Log handler that writes the package's warnings to stderr, and retries of calls at most once a minute.

    Without it, a command would be silent for minutes while the API does not respond.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._next_at = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record's message, unless it is a retry within a minute of the last one shown."""
        if getattr(record, "outage", False):
            return  # the retries before it have been shown
        if record.levelno >= logging.WARNING:
            write_message(record.getMessage())
        elif hasattr(record, "retry_in") and self._is_time():
            longest = getattr(record, "retry_for", None)
            words = f" for up to {format_range(longest, longest)}" if longest else ""
            reason = record.getMessage()
            write_message(f"the API is unreachable or unavailable; trying again{words}: {reason}")

    def _is_time(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self._next_at:
            return False
        self._next_at = now + NOTICE_INTERVAL
        return True


@contextmanager
def log_notices() -> Iterator[None]:
    """Write the package's warnings and retries to stderr, while a command runs."""
    notices = _Notices()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    package = logging.getLogger("seedance_async")
    package.addHandler(notices)
    for logger in loggers:
        logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        package.removeHandler(notices)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
