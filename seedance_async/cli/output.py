"""Output of a command: data to stdout, everything else to stderr.

Texts come from prompts and servers, so control characters are taken out before a terminal could obey them.
A reader that leaves early (``| head``) ends the output, not the work, and so does a terminal that is closed.
So does a full disk, but that is an error: the work is done, the loss is reported, and the command fails at
its end. Terminals without UTF-8 get escapes.
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

from seedance_async.time_format import format_range

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

LOGGERS: Final = (
    "seedance_async.route", "seedance_async.transport", "seedance_async.scheduling.poller",
    "seedance_async.record",
)  # fmt: skip
"""Those that log retries, which are shown, too."""

NOTICE_INTERVAL: Final = 60.0  # s


READER_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EIO, errno.ENXIO})
"""Errors of a pipe or a terminal whose reader has left: nobody misses what is not written any more."""


def prepare() -> None:
    """Have both streams write escapes instead of failing where the terminal lacks a character.

    A stream that was closed at the start stays so, but its number is taken: else the next file that is opened
    would get it, and what a library or a child writes to that number. A stream that another program has set
    not to block would lose what does not fit into the pipe now.
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
    """The text without escape sequences, control and direction-changing characters; lines and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def write_data(line: str) -> None:
    """Write one line to stdout, at once."""
    _write(sys.stdout, f"{without_controls(line)}\n")


def write_message(line: str) -> None:
    """Write one line for the human to stderr."""
    _write(sys.stderr, f"{without_controls(line)}\n")


class _Guarded(io.TextIOBase):
    """A standard stream, as it is now, for a console: no error of writing comes back from it.

    Args:
        name: ``stdout`` or ``stderr``.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def stream(self) -> TextIO | None:
        """What is behind the place that a live display takes while it is shown."""
        stream: TextIO | None = getattr(sys, self._name)
        return cast("TextIO | None", getattr(stream, "rich_proxied_file", stream))

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a class's attribute there
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        _write(self.stream, text)
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("closed")
        return self.stream.fileno()

    def isatty(self) -> bool:
        with suppress(ValueError):  # it was closed meanwhile
            return self.stream is not None and self.stream.isatty()
        return False


@cache
def terminal() -> Console:
    """The rich console on stderr, which knows whether that is a terminal."""
    return Console(file=_Guarded("stderr"), highlight=False, markup=False, emoji=False)  # type: ignore[arg-type]


def help_console() -> Console:
    """The rich console on stdout, for help pages."""
    return Console(file=_Guarded("stdout"))  # type: ignore[arg-type]  # a text file is an IO[str]


def is_live() -> bool:
    """Whether stderr is a terminal that can redraw lines, and has the characters for it.

    ``FORCE_COLOR`` asks for colours; to the console it makes a terminal of a log file.
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
        # What is still buffered, and all that follows, goes nowhere; or the interpreter complains at its end.
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        if is_lost and stream is _Guarded("stdout").stream:
            _write_errors.append(problem)
            write_message(f"error: stdout cannot be written, what belongs there is lost: {problem.strerror}")
    except ValueError:  # it was closed meanwhile
        return


def _is_file(stream: TextIO) -> bool:
    """Whether a stream goes into a file, which somebody will read."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


_write_errors: Final[list[OSError]] = []


def take_write_errors() -> list[OSError]:
    """Why data could not be written to stdout, since this was asked for the last time."""
    taken = list(_write_errors)
    _write_errors.clear()
    return taken


class _Notices(logging.Handler):
    """Writes every warning of the package to stderr, and that a call is retried once a minute at most.

    So an API that does not answer is no silence of minutes.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._next_at = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        """Write what a record says, if it is time."""
        if getattr(record, "outage", False):
            return  # the retries before it were written already
        if record.levelno >= logging.WARNING:
            write_message(record.getMessage())
        elif hasattr(record, "retry_in") and self._is_time():
            longest = getattr(record, "retry_for", None)
            words = f" for up to {format_range(longest, longest)}" if longest else ""
            reason = record.getMessage()
            write_message(f"the API cannot be reached, or refuses for now; trying again{words}: {reason}")

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
