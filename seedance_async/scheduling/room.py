"""The server's room for jobs: what ``capacity`` has learned, applied to what this client has under way.

Two kinds of POST ask. A job that was not sent yet stays in the schedule until there is room. One that was
answered busy is retried, but not into a server that is known to be full: it is held until a task of ours has
ended, first come first served. Without a task of ours nothing would end that wait, so then the retry's own
back-off is all; and since others may have made room, nobody is held for more than ``PROBE`` at a time.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

from seedance_async.scheduling.capacity import Capacity
from seedance_async.signals import Future

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async.signals import Signal

PROBE: Final = 60.0
"""Seconds until a held POST is sent to see whether somebody else has made room."""


class Room:
    """The server's room for jobs, as one client sees it.

    Args:
        changed: set when there may be room for a job that was not sent yet.

    Attributes:
        posting: jobs whose POST is under way, retries and held ones included.
        running: tasks of ours that somebody waits for.
    """

    def __init__(self, changed: Signal) -> None:
        self.posting: int = 0
        self.running: int = 0
        self._changed = changed
        self._capacity = Capacity()
        self._held: deque[Future[None]] = deque()

    @property
    def for_a_new_job(self) -> bool:
        """Whether a job may be sent that was not sent yet; those that were held go first."""
        return self._capacity.admits(self.posting + self.running)

    @contextmanager
    def one_posting(self) -> Iterator[None]:
        """Count a job whose POST is under way; if it is accepted, its tasks are running from then on."""
        self.posting += 1
        try:
            yield
        finally:
            self.end_posting()

    def end_posting(self) -> None:
        """A POST that was counted in ``posting`` has ended, retries and all."""
        self.posting -= 1
        self._update()

    def start_running(self) -> None:
        """One more task is waited for."""
        self.running += 1

    def end_running(self) -> None:
        """A task is final, or nobody waits for it any more."""
        self.running -= 1
        self._update()

    def busy(self) -> None:
        """A POST was answered 503 ``service_busy``."""
        self._capacity = self._capacity.after_busy(running=self.running)

    def accepted(self) -> None:
        """A POST was accepted."""
        self._capacity = self._capacity.after_acceptance()
        self._update()

    async def wait(self) -> None:
        """Hold a POST that was answered busy until it is worth sending again."""
        if not self.running:
            return
        turn: Future[None] = Future()
        self._held.append(turn)
        self._release()
        try:
            with anyio.move_on_after(PROBE):
                await turn.wait()
        finally:
            if turn in self._held:
                self._held.remove(turn)

    def _update(self) -> None:
        self._release()
        self._changed.set()

    def _release(self) -> None:
        """End the wait of those that there is room for now."""
        while self._held and self._capacity.admits(self.posting - len(self._held) + self.running):
            self._held.popleft().set_result(None)
