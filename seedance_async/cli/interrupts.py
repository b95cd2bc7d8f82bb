"""Signal handling: the first Ctrl-C shuts a command down in an orderly way, the second ends it at once.

SIGTERM and SIGHUP (the terminal was closed) have the same effect as Ctrl-C.

Both are safe because of the journal. An orderly shutdown takes a moment, in which replies to requests in
progress are recorded. After an immediate end, the next run sends those requests again under the same keys.
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
"""SIGHUP means that the terminal was closed; under ``nohup`` it is ignored, and it stays ignored."""

ECHO: Final = 0.5  # s; a second signal within it is the first one again: timeout(1), for one, passes it on
STOPPING: Final = (
    "stopping: waiting for the replies to requests in progress, to record them; Ctrl-C again ends it at once"
)


class Interruptible(Protocol):
    """Display that is notified of a signal."""

    def stopping(self, reason: str) -> None:
        """Handle the first signal: nothing more is sent."""

    def stop(self) -> None:
        """Handle the second signal: the process ends at once."""


class _Interruption:
    """Handler of the signals of one run.

    Args:
        scope: cancelled at the first signal.
        display: notified of it; restores the terminal before the second signal ends the process.
        reason: what the display reports.
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
            os._exit(ExitCode.INTERRUPTED)  # a normal exit would wait for threads that are writing
        if not self._scope.cancel_called:
            self._cancelled_at = now
            self._display.stopping(self._reason)
            self._scope.cancel()


@contextmanager
def interruptible(display: Interruptible, reason: str = STOPPING) -> Iterator[anyio.CancelScope]:
    """Cancel the body at the first signal, and end the process at the second."""
    loop = asyncio.get_running_loop()
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    with anyio.CancelScope() as scope:
        interruption = _Interruption(scope, display, reason)
        with suppress(NotImplementedError):  # Windows: asyncio itself cancels the command at Ctrl-C
            for number in heeded:
                loop.add_signal_handler(number, interruption.on_signal)
        try:
            yield scope
        finally:
            with suppress(NotImplementedError):
                for number in heeded:
                    loop.remove_signal_handler(number)
