"""How far the waiting is: one live line on a terminal, and elsewhere a plain line now and then.

A log of a build server wants neither a bar redrawn ten times a second nor silence for an hour, so without a
terminal a heartbeat is told every half minute, beside the lines of things that happened.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final, Self

import anyio
from attrs import define, field
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from seedance_async.cli.streams import is_live, say, terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.console import Console, RenderableType

HEARTBEAT: Final = 30.0  # s
REDRAWS: Final = 10  # a second


@define
class Tally:
    """How many of the tasks are final."""

    total: int
    completed: int = 0
    failed: int = 0
    began_at: float = field(factory=anyio.current_time)

    def __str__(self) -> str:
        running = self.total - self.completed - self.failed
        counts = {"running": running, "completed": self.completed, "failed": self.failed}
        told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        return f"{told} · {clock(anyio.current_time() - self.began_at)}"


class Progress:
    """Shows a tally while it is entered.

    Args:
        total: how many tasks are waited for.
    """

    def __init__(self, total: int) -> None:
        self._tally = Tally(total)
        self._show = _LiveTally(self._tally) if is_live() else _Heartbeat(self._tally)

    def __enter__(self) -> Self:
        self._show.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show.stop()

    def finished(self, *, failed: bool) -> None:
        """One more task will not change any more."""
        if failed:
            self._tally.failed += 1
        else:
            self._tally.completed += 1


class LiveView:
    """The bottom of the terminal, drawn anew several times a second; what is written scrolls above it.

    Args:
        render: makes what is to be seen now.
        leave: whether the last picture stays.
        console: where to draw, if not on the terminal of stderr.
    """

    def __init__(
        self, render: Callable[[], RenderableType], *, leave: bool = False, console: Console | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None
        self._live = Live(
            get_renderable=render,
            console=console or terminal(),
            auto_refresh=False,  # its thread would read the loop's objects behind the loop's back
            transient=not leave,
            # Data for a pipe must not go through the terminal's console.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()
        self._tick()

    def stop(self) -> None:
        """Draw once more and end."""
        if self._next is not None:
            self._next.cancel()
        self._live.refresh()
        self._live.stop()

    def _tick(self) -> None:
        self._live.refresh()
        self._next = self._loop.call_later(1 / REDRAWS, self._tick)


class _LiveTally(LiveView):
    """A spinner and the tally."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._spinner = Spinner("dots", style="cyan")
        super().__init__(self._render)

    def _render(self) -> Spinner:
        self._spinner.update(text=Text(str(self._tally), style="dim"))
        return self._spinner


class _Heartbeat:
    """A line every half minute."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._next = self._loop.call_later(HEARTBEAT, self._beat)

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()

    def _beat(self) -> None:
        say(f"… {self._tally}")
        self.start()


def clock(seconds: float) -> str:
    """A length of time to read: ``9.4 s`` below a minute, then ``3:07`` or ``1:02:07``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
