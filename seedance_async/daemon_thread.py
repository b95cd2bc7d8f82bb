"""A thread for work that may never end, such as waiting for a line of standard input.

The interpreter waits at its end for the threads of asyncio and anyio, and so would a process that was
interrupted while one of them reads. For this one nobody waits.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from threading import Thread
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThread(Executor):
    """Runs each call in a daemon thread of its own; a caller that is cancelled leaves it behind."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a call."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # from here on nobody can cancel it

        def work() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as problem:  # raised where the future is awaited
                future.set_exception(problem)
            else:
                future.set_result(result)

        Thread(target=work, daemon=True).start()
        return future
