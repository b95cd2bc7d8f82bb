"""A daemon thread for work that may never end, such as waiting for a line of standard input.

At its exit, the interpreter waits for the threads of asyncio and anyio, so a process that was interrupted
while one of them reads would not end. It does not wait for this thread.
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
    """An executor that runs each call in a new daemon thread, which continues if its caller is cancelled."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a call, and return the future of its result."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # it cannot be cancelled from here on

        def work() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as problem:  # raised where the future is awaited
                future.set_exception(problem)
            else:
                future.set_result(result)

        Thread(target=work, daemon=True).start()
        return future
