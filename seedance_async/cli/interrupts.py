"""Ctrl-C twice: the first time the work is brought to an orderly end, the second time it ends at once.

SIGTERM, and a terminal that is closed, are the same as Ctrl-C.

The journal makes both right. The first costs a moment, in which answers on the wire are written down; the
second leaves that to the next run, which asks for them again.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS: Final = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""SIGHUP tells that the terminal was closed; ``nohup`` has it ignored, and so it stays."""

ECHO: Final = 0.5  # s; so soon after the first, a second one is the same: timeout(1) and its like pass it on
STOPPING: Final = (
    "stopping: answers on the wire are waited for and written down; Ctrl-C again ends it at once"
)


class Interruptible(Protocol):
    """What is told of a signal."""

    def stopping(self, reason: str) -> None:
        """Nothing more is sent."""

    def stop(self) -> None:
        """The process ends at once."""


class _Interruption:
    """What the signals do to a run.

    Args:
        scope: is cancelled at the first signal.
        display: says so, and leaves the terminal in order before the second one ends the process.
        reason: what it says.
    """

    def __init__(self, scope: anyio.CancelScope, display: Interruptible, reason: str) -> None:
        self._scope = scope
        self._display = display
        self._reason = reason
        self._cancelled_at = math.inf

    def on_signal(self) -> None:
        now = anyio.current_time()
        if now - self._cancelled_at > ECHO:
            self._display.stop()
            os._exit(ExitCode.INTERRUPTED)  # a tidier way would wait for what is being written
        if not self._scope.cancel_called:
            self._cancelled_at = now
            self._display.stopping(self._reason)
            self._scope.cancel()


@contextmanager
def interruptible(display: Interruptible, reason: str = STOPPING) -> Iterator[anyio.CancelScope]:
    """Cancel what is inside at the first signal, and end the process at the second."""
    loop = asyncio.get_running_loop()
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    with anyio.CancelScope() as scope:
        interruption = _Interruption(scope, display, reason)
        with suppress(NotImplementedError):  # Windows: there asyncio itself cancels the command at Ctrl-C
            for number in heeded:
                loop.add_signal_handler(number, interruption.on_signal)
        try:
            yield scope
        finally:
            with suppress(NotImplementedError):
                for number in heeded:
                    loop.remove_signal_handler(number)
