"""Output of a command: data to stdout, everything else to stderr.

Texts come from prompts and servers, so control characters are taken out before a terminal could obey them.
A reader that leaves early (``| head``) ends the output, not the work. So does a full disk, but that is an
error: the work is done, the loss is reported, and the command fails at its end. Terminals without UTF-8 get
escapes.
"""

from __future__ import annotations

import asyncio
import io
import logging
import math
import os
import re
import sys
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

LOGGERS: Final = (
    "seedance_async.transport", "seedance_async.scheduling.poller", "seedance_async.record",
)  # fmt: skip
NOTICE_INTERVAL: Final = 60.0  # s


def prepare() -> None:
    """Have both streams write escapes instead of failing where the terminal lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def without_controls(text: str) -> str:
    """The text without escape sequences, control and direction-changing characters; lines and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def write_data(line: str) -> None:
    """Write one line to stdout, at once."""
    _write(sys.stdout, f"{without_controls(line)}\n")


def write_message(line: str) -> None:
    """Write one line for the human to stderr."""
    _write(sys.stderr, f"{without_controls(line)}\n")


@cache
def terminal() -> Console:
    """The rich console on stderr, which knows whether that is a terminal."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def is_live() -> bool:
    """Whether stderr is a terminal that can redraw lines."""
    return terminal().is_terminal and not terminal().is_dumb_terminal


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # started with the stream closed
        return
    try:
        stream.write(text)
        stream.flush()
    except OSError as problem:
        # What is still buffered, and all that follows, goes nowhere; or the interpreter complains at its end.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout and not isinstance(problem, BrokenPipeError):
            _write_errors.append(problem)
            write_message(f"error: stdout cannot be written, what belongs there is lost: {problem.strerror}")


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
            reason = record.getMessage()
            write_message(f"the API cannot be reached, or refuses for now; trying again: {reason}")

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
    for logger in loggers:
        logger.addHandler(notices)
        logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(notices)
            logger.setLevel(level)
