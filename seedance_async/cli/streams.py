"""What a command writes: data to stdout, everything else to stderr.

Texts come from prompts and servers, so control characters are taken out before a terminal could obey them.
A reader that leaves early (``| head``) ends the output, not the work. So does a full disk, but that is an
error: the work is done, the loss is told, and the command fails at its end. Terminals without UTF-8 get
escapes.
"""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import suppress
from functools import cache
from typing import Final, TextIO

from rich.console import Console

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def prepare() -> None:
    """Have both streams write escapes instead of failing where the terminal lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def harmless(text: str) -> str:
    """The text without escape sequences, control and direction-changing characters; lines and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def data(line: str) -> None:
    """Write one line of data to stdout, at once."""
    _write(sys.stdout, f"{harmless(line)}\n")


def say(line: str) -> None:
    """Write one line for the human to stderr."""
    _write(sys.stderr, f"{harmless(line)}\n")


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
            _losses.append(problem)
            say(f"error: stdout cannot be written, what belongs there is lost: {problem.strerror}")


_losses: Final[list[OSError]] = []


def take_losses() -> bool:
    """Whether data was lost because stdout could not be written; asked again, only what was lost since."""
    lost = bool(_losses)
    _losses.clear()
    return lost
