"""What is seen of a batch: a board on a terminal, sparse lines in a log, events for a program.

Events are JSON objects, one a line on stdout; further fields and further events may come in later versions:

============  =========================================================================================
``started``   ``manifest``, ``directory``
``job``       a job has come to its end: what ``results.jsonl`` says of it, and ``earlier``, whether an
              earlier run had brought it there
``progress``  every ten seconds: ``counts`` by state, ``credits_used``, ``credits_refunded``,
              ``credits_reserved`` and ``max_credits`` of all runs; ``requests`` and ``seconds`` of this one,
              ``requests_in_window``, ``seconds_left``
``stopping``  nothing more is sent, because of a signal: ``reason``
``ended``     ``exit_code``, ``reason`` if it was stopped, ``gallery``, and the numbers of ``progress``
============  =========================================================================================
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final, Protocol

from seedance_async.batch.states import State
from seedance_async.cli.batch_board import Board
from seedance_async.cli.progress import HEARTBEAT, clock
from seedance_async.cli.streams import data, is_live, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from seedance_async import JobResult
    from seedance_async.cli.batch_standing import Standing

    Look = Callable[[], Standing]

PROGRESS_EVENTS: Final = 10.0  # s
TROUBLE: Final = frozenset({State.FAILED, State.REFUSED, State.UNCERTAIN, State.COMPLETED, State.ACCEPTED})
"""States in which a job is told of at once; what left others ``planned`` is told once."""


class Show(Protocol):
    """Shows a batch to somebody."""

    def start(self, look: Look) -> None:
        """The batch begins; ``look`` tells how it stands."""

    def told(self, result: JobResult) -> None:
        """A job has come to its end."""

    def stopping(self, reason: str) -> None:
        """Nothing more is sent."""

    def stop(self) -> None:
        """There is no more to look at."""

    def ended(self, standing: Standing, code: int, page: Path | None) -> None:
        """The batch is over, with this exit code, and everything is on this page, if it could be written."""


def show(manifest: str, directory: Path, *, as_json: bool) -> Show:
    """The show for whoever looks: a program, a terminal or a log."""
    if as_json:
        return Events(manifest, directory)
    return OnTerminal(manifest, directory) if is_live() else Lines()


class Ticks:
    """Calls something again and again.

    Args:
        call: it.
        interval: seconds.
    """

    def __init__(self, call: Callable[[], None], interval: float) -> None:
        self._call = call
        self._interval = interval
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, with a first call after the first interval."""
        self._next = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def stop(self) -> None:
        """Call no more."""
        if self._next is not None:
            self._next.cancel()

    def _tick(self) -> None:
        self._call()
        self.start()


class Lines:
    """A line for each job in trouble, and one now and then for all of them."""

    def __init__(self) -> None:
        self._ticks = Ticks(self._beat, HEARTBEAT)
        self._look: Look

    def start(self, look: Look) -> None:
        """Begin to tell."""
        self._look = look
        self._ticks.start()

    def told(self, result: JobResult) -> None:
        """Say it, if it is trouble, also of an earlier run."""
        if result.state in TROUBLE:
            say(trouble(result))

    def stopping(self, reason: str) -> None:
        """Say why."""
        say(reason)

    def stop(self) -> None:
        """End."""
        self._ticks.stop()

    def ended(self, standing: Standing, code: int, page: Path | None) -> None:  # noqa: ARG002 - the shell has it
        """Write the account of the batch."""
        for subject, told in account(standing, page).items():
            data(f"{subject:<9} {told}")

    def _beat(self) -> None:
        say(line(self._look()))


class OnTerminal(Lines):
    """The board, with the lines of jobs in trouble above it."""

    def __init__(self, manifest: str, directory: Path) -> None:
        super().__init__()
        self._board = Board(manifest, directory)

    def start(self, look: Look) -> None:
        """Begin to draw."""
        self._board.start(look)

    def stopping(self, reason: str) -> None:
        """Show why."""
        self._board.note = reason

    def stop(self) -> None:
        """Draw once more and end."""
        self._board.stop()


class Events:
    """An event a line."""

    def __init__(self, manifest: str, directory: Path) -> None:
        self._origin = {"manifest": manifest, "directory": str(directory)}
        self._ticks = Ticks(self._beat, PROGRESS_EVENTS)
        self._look: Look

    def start(self, look: Look) -> None:
        """Begin to tell."""
        self._look = look
        event("started", self._origin)
        self._ticks.start()

    def told(self, result: JobResult) -> None:
        """Tell it whole."""
        event("job", _job(result))

    def stopping(self, reason: str) -> None:
        """Tell why."""
        event("stopping", {"reason": reason})

    def stop(self) -> None:
        """End."""
        self._ticks.stop()

    def ended(self, standing: Standing, code: int, page: Path | None) -> None:
        """Tell how."""
        stopped = standing.summary.stopped
        reason = stopped.message if stopped else None
        gallery = None if page is None else str(page)
        event("ended", {"exit_code": code, "reason": reason, "gallery": gallery, **_numbers(standing)})

    def _beat(self) -> None:
        standing = self._look()
        left = None if standing.seconds_left is None else round(standing.seconds_left, 3)
        event(
            "progress",
            {**_numbers(standing), "requests_in_window": standing.in_window, "seconds_left": left},
        )


def event(name: str, told: Mapping[str, object]) -> None:
    """Write one event."""
    data(json.dumps({"event": name, **told}))


def trouble(result: JobResult) -> str:
    """What is told of a job that is not saved."""
    reason = result.error.message.splitlines()[0] if result.error else "no reason told"
    key = f" (idempotency key {result.idempotency_key})" if result.state is State.UNCERTAIN else ""
    return f"{result.state} {result.name}: {reason}{key}"


def line(standing: Standing) -> str:
    """A batch in one line."""
    summary = standing.summary
    if not standing.is_planned:
        return f"reading the manifest · {clock(standing.seconds)}"
    ended = standing.count(State.SAVED, State.FAILED, State.REFUSED)
    told = [
        f"[{ended}/{summary.total}] {counts(standing)}",
        f"{standing.in_window} of {standing.limit.requests} requests in the last {standing.limit.period:g} s",
        credits_told(standing),
        f"{clock(standing.seconds)}{remaining(standing)}",
    ]
    return " · ".join(told)


def counts(standing: Standing) -> str:
    """The jobs in each state."""
    return ", ".join(f"{count} {state}" for state, count in standing.summary.counts.items())


def credits_told(standing: Standing) -> str:
    """The credits, and what they may become."""
    summary = standing.summary
    told = f"{summary.credits_used - summary.credits_refunded:,.10g} credits"
    return told if summary.max_credits is None else f"{told} of at most {summary.max_credits:,.10g}"


def remaining(standing: Standing) -> str:
    """How long it will take, where that is known."""
    left = round(standing.seconds_left or 0)
    return f", about {clock(left)} to go" if left else ""


def account(standing: Standing, page: Path | None) -> dict[str, str]:
    """What became of it all."""
    summary = standing.summary
    refunded = f", {summary.credits_refunded:,.10g} of them refunded" if summary.credits_refunded else ""
    return {
        "jobs": f"{summary.total:,}: {counts(standing)}",
        "time": clock(standing.seconds),
        "requests": f"{standing.requests:,}",
        "credits": f"{summary.credits_used:,.10g}{refunded}",
        **({} if page is None else {"gallery": page.resolve().as_uri()}),
    }


def _numbers(standing: Standing) -> dict[str, object]:
    summary = standing.summary
    return {
        "counts": summary.counts,
        "requests": standing.requests,
        "credits_used": summary.credits_used,
        "credits_refunded": summary.credits_refunded,
        "credits_reserved": summary.credits_reserved,
        "max_credits": summary.max_credits,
        "seconds": round(standing.seconds, 3),
    }


def _job(result: JobResult) -> dict[str, object]:
    return {
        "name": result.name,
        "model": result.model,
        "state": result.state,
        "task_ids": result.task_ids,
        "idempotency_key": result.idempotency_key,
        "credits_used": result.credits_used,
        "credits_refunded": result.credits_refunded,
        "urls": result.urls,
        "files": [str(file) for file in result.files],
        "error": None if result.error is None else result.error.message,
        "earlier": result.earlier,
    }
