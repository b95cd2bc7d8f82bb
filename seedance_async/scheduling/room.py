"""Whether the server has room for another job: what ``capacity`` has learned, applied to what is under way.

Two kinds of POST ask. A job that was not sent yet simply stays in the schedule until there is room. One that
was answered busy is retried, but not into a server that is known to be full: it is held until a task of ours
has ended, first come first served. Without a task of ours nothing would end that hold, so then the retry's
own back-off is all; and since others may have made room, nobody is held for more than ``PROBE`` at a time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import anyio

from seedance_async.promise import Promise
from seedance_async.scheduling.capacity import Capacity

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE: Final = 60.0
"""Seconds until a held POST is sent to see whether somebody else has made room."""


class Room:
    """The server's room for jobs, as one client sees it.

    Args:
        running: counts the tasks of ours that are being waited for.
        on_change: called when there may be room for a job that was not sent yet.
    """

    def __init__(self, running: Callable[[], int], *, on_change: Callable[[], object]) -> None:
        self._running = running
        self._on_change = on_change
        self._capacity = Capacity()
        self._posting = 0
        self._held: deque[Promise[None]] = deque()

    @property
    def for_a_new_job(self) -> bool:
        """Whether a job may be sent that was not sent yet; those that were held go first."""
        return self._capacity.admits(self._posting + self._running())

    def started(self) -> None:
        """A job's POST is about to be sent."""
        self._posting += 1

    def ended(self) -> None:
        """It has come to its end, retries and all; if it was accepted, its tasks are running from now on."""
        self._posting -= 1
        self.changed()

    def busy(self) -> None:
        """A POST was answered 503 ``service_busy``."""
        self._capacity = self._capacity.after_busy(running=self._running())

    def accepted(self) -> None:
        """A POST was accepted."""
        self._capacity = self._capacity.after_acceptance()
        self.changed()

    async def wait(self) -> None:
        """Hold a POST that was answered busy until it is worth sending again."""
        if not self._running():
            return
        promise: Promise[None] = Promise()
        self._held.append(promise)
        self._let_go()
        try:
            with anyio.move_on_after(PROBE):
                await promise.wait()
        finally:
            if promise in self._held:
                self._held.remove(promise)

    def changed(self) -> None:
        """A job has ended, one way or another, or the bound has moved."""
        self._let_go()
        self._on_change()

    def _let_go(self) -> None:
        """Let those go that there is room for now."""
        while self._held and self._capacity.admits(self._posting - len(self._held) + self._running()):
            self._held.popleft().keep(None)
