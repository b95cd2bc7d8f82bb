"""Ctrl-C twice: the first time the work is brought to an orderly end, the second time it ends at once.

The journal makes both right. The first costs a moment, in which answers on the wire are written down; the
second leaves that to the next run, which asks for them again.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio

from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
ECHO: Final = 0.5  # s; so soon after the first, a second one is the same: timeout(1) and its like pass it on


@contextmanager
def interruptible(*, ask: Callable[[], None], leave: Callable[[], None]) -> Iterator[anyio.CancelScope]:
    """Cancel what is inside at the first signal, and end the process at the second.

    Args:
        ask: called at the first signal, to say what happens now.
        leave: called before the process ends, to put the terminal in order.
    """
    scope = anyio.CancelScope()
    asked_at = math.inf

    def heard() -> None:
        nonlocal asked_at
        now = anyio.current_time()
        if now - asked_at > ECHO:
            leave()
            os._exit(ExitCode.INTERRUPTED)  # a tidier way would wait for what is being written
        if not scope.cancel_called:
            asked_at = now
            ask()
            scope.cancel()

    with _listening(heard), scope:
        yield scope


@contextmanager
def _listening(heard: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # Windows: there asyncio itself cancels the command at Ctrl-C
        for number in SIGNALS:
            loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            for number in SIGNALS:
                loop.remove_signal_handler(number)
