"""An event loop in virtual time with real sockets, in which hours pass in milliseconds.

A program that waits for video generation sleeps nearly all the time. This loop never sleeps: when no callback
is ready and no socket is readable, the next event is the next timer, so the clock jumps to it. Client and
server must run in the same loop; then nothing can happen in between, and the jump changes no result.

Four rules ensure this, each derived from a hang or a wrong result:

- **Forward only.** The clock is a whole number of microseconds, and a timer is never due at the instant at
  which it was set. Code that computes "1e-16 s from now" (aiolimiter, for some rates) would otherwise be
  called at the same instant endlessly, which cannot happen with a real clock either.
- **Threads take real time.** While work in an executor or in anyio's worker threads is unfinished, the clock
  does not move and the loop waits for it. A thread that waits for the loop's clock to move never returns. A
  thread with a limiter of its own is not noticed: use anyio's default limiter or ``run_in_executor``.
- **Bytes first.** Linux delivers over loopback inside ``send``: what was written is readable before ``send``
  returns, so "nothing is readable" is reliable. For a peer in another thread or process it is not; pass a
  ``grace``.
- **No silent hang.** If nothing is readable and there is no timer and no working thread, nothing can ever
  happen, and `DeadlockError` is raised instead of waiting.

Only code that asks the loop for the time runs in virtual time: ``anyio.sleep``, ``anyio.current_time``,
``asyncio.timeout``, aiohttp's timeouts. ``time.time()``, ``time.monotonic()`` and child processes run in
real time.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from asyncio import Future, TimerHandle
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextvars import Context
from selectors import SelectorKey
from typing import Final, TypeVar, TypeVarTuple

import anyio
from anyio import to_thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TICKS: Final = 1_000_000  # per second: finer than anything measured here, and exact in a float for centuries


class DeadlockError(RuntimeError):
    """All tasks wait for each other: no timer is set, no socket is readable, no thread is working."""


def run(function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Call an async function in virtual time, starting at 0.0 s, and return what it returns.

    Raises:
        DeadlockError: the function waits for something that can never happen.
    """
    return anyio.run(function, *args, backend_options={"loop_factory": VirtualLoop})


class VirtualLoop(asyncio.SelectorEventLoop):
    """A selector event loop in virtual time. Use it as anyio's or asyncio's ``loop_factory``.

    With anyio's pytest plugin, one fixture puts a whole test suite on it::

        @pytest.fixture
        def anyio_backend():
            return "asyncio", {"loop_factory": VirtualLoop}
    """

    def __init__(self, *, grace: float = 0.0, patience: float = 1.0) -> None:
        """Make a loop whose clock is at 0.0.

        Args:
            grace: real seconds to wait for data before each jump, for peers outside this loop.
            patience: real seconds without a timer, data or a working thread after which it is a deadlock.
        """
        self._ticks = 0
        self._threads_at_work = 0
        super().__init__(_JumpingSelector(self, grace=grace, patience=patience))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._ticks / TICKS

    def jump(self, seconds: float) -> None:
        """Move the clock forward, by at least one microsecond."""
        # Rounded first, so that a float error such as 0.30000000000000004 s does not add a microsecond.
        target = math.ceil(round((self.time() + seconds) * TICKS, 3))
        self._ticks = max(self._ticks + 1, target)

    def threads_at_work(self) -> bool:
        """Whether a result is still to come from an executor or from anyio's default thread limiter."""
        return self._threads_at_work > 0 or _anyio_threads_at_work()

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> TimerHandle:
        """Set a timer, due at the next microsecond at the earliest.

        A timer at infinity, as set by ``anyio.sleep_forever``, is not put on the heap, as the clock must not
        jump to it.
        """
        if when == math.inf:
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(max(when, (self._ticks + 1) / TICKS), callback, *args, context=context)

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> Future[T]:
        """Run a function in a thread; the clock does not move until it has finished."""
        future = super().run_in_executor(executor, func, *args)
        self._threads_at_work += 1
        future.add_done_callback(self._thread_returned)
        return future

    def _thread_returned(self, _: object) -> None:
        self._threads_at_work -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Wait for the executor's threads without a timeout.

        Python 3.12+ has a timeout of 300 s, which would pass at once in virtual time.
        """
        self._threads_at_work += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._threads_at_work -= 1


class Clock:
    """The clock of the running virtual loop.

    Raises:
        RuntimeError: the running loop is not a virtual one.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise RuntimeError("this runs in real time: make it an async test of anyio's pytest plugin")  # noqa: TRY004
        self._loop = loop

    @property
    def now(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._loop.time()

    async def advance(self, seconds: float) -> None:
        """Advance the clock, running everything that is due in between."""
        await anyio.sleep(seconds)


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that advances its loop's clock instead of sleeping."""

    def __init__(self, loop: VirtualLoop, *, grace: float, patience: float) -> None:
        super().__init__()
        self._loop, self._grace, self._patience = loop, grace, patience

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if self._loop.threads_at_work():
            return super().select(None)  # a finished thread wakes the loop through its self-pipe
        if timeout is None:
            return self._listen_or_give_up()
        if self._grace and (events := super().select(self._grace)):
            return events
        self._loop.jump(timeout)
        return events

    def _listen_or_give_up(self) -> list[tuple[SelectorKey, int]]:
        if events := super().select(self._patience):
            return events
        waiting = sorted(task.get_name() for task in asyncio.all_tasks(self._loop))
        raise DeadlockError(
            f"at {self._loop.time():.6f} s no timer is set, no socket readable and no thread at work: "
            f"{len(waiting)} task(s) would wait for ever, among them {', '.join(waiting[:5])}"
        )


def _anyio_threads_at_work() -> bool:
    try:
        return to_thread.current_default_thread_limiter().borrowed_tokens > 0
    except RuntimeError:  # asyncio code without anyio, so without anyio's threads
        return False
