"""The server's room for jobs: the learned ``capacity``, applied to the POSTs and tasks of this client.

Two kinds of POST depend on it. A job that was not sent yet stays in the schedule until there is room. A job
that was answered busy is retried, but not while the server is known to be full: it is held until one of our
tasks has ended, in order of arrival. Without a running task of ours nothing would end that wait, so then only
the back-off of the retry applies. Because others may have made room too, no POST is held for more than
``PROBE``.
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
"""Seconds after which a held POST is sent again, as other senders may have made room."""


class Room:
    """The server's room for jobs, as one client sees it.

    Args:
        changed: set when there may be room for a job that was not sent yet.

    Attributes:
        posting: how many POSTs of jobs are in progress, including retries and held ones.
        running: how many of our tasks are running and waited for.
    """

    def __init__(self, changed: Signal) -> None:
        self.posting: int = 0
        self.running: int = 0
        self._changed = changed
        self._capacity = Capacity()
        self._held: deque[Future[None]] = deque()

    @property
    def for_a_new_job(self) -> bool:
        """Whether a job that was not sent yet may be sent; held POSTs go first."""
        return self._capacity.admits(self.posting + self.running)

    @contextmanager
    def one_posting(self) -> Iterator[None]:
        """Count a POST in progress; after it is accepted, its tasks are counted as running instead."""
        self.posting += 1
        try:
            yield
        finally:
            self.end_posting()

    def end_posting(self) -> None:
        """Note that a POST counted in ``posting`` has ended, including its retries."""
        self.posting -= 1
        self._update()

    def start_running(self) -> None:
        """Count one more running task."""
        self.running += 1

    def end_running(self) -> None:
        """Note that a task is final, or not waited for any more."""
        self.running -= 1
        self._update()

    def busy(self) -> None:
        """Note that a POST was answered 503 ``service_busy``."""
        self._capacity = self._capacity.after_busy(running=self.running)

    def accepted(self) -> None:
        """Note that a POST was accepted."""
        self._capacity = self._capacity.after_acceptance()
        self._update()

    async def wait(self) -> None:
        """Wait until a POST that was answered busy is worth sending again."""
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
        """End the wait of held POSTs as far as there is room."""
        while self._held and self._capacity.admits(self.posting - len(self._held) + self.running):
            self._held.popleft().set_result(None)
