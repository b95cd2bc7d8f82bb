"""Progress of waiting: one live line on a terminal, and elsewhere a plain line now and then.

A log of a build server wants neither a bar redrawn ten times a second nor silence for an hour, so without a
terminal a line is written every half minute, beside the lines of things that happened.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final, Protocol, Self

import anyio
from attrs import define, field
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from seedance_async.cli.output import is_live, terminal, write_message
from seedance_async.time_format import format_seconds

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console, RenderableType

LINE_INTERVAL: Final = 30.0  # s
REDRAWS: Final = 10  # a second


class Refreshable(Protocol):
    """Something to be brought up to date again and again."""

    def refresh(self) -> None:
        """Bring it up to date."""


class Ticker:
    """Refreshes something at an interval.

    Args:
        target: what is refreshed.
        interval: seconds.
    """

    def __init__(self, target: Refreshable, interval: float) -> None:
        self._target = target
        self._interval = interval
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, with a first time after the first interval."""
        self._next = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def stop(self) -> None:
        """End."""
        if self._next is not None:
            self._next.cancel()

    def _tick(self) -> None:
        self._target.refresh()
        self.start()


class LiveView:
    """The bottom of the terminal, drawn anew several times a second; what is written scrolls above it.

    Args:
        picture: what to draw; asked each time for its ``__rich__``.
        console: where to draw, if not on the terminal of stderr.
    """

    def __init__(self, picture: RenderableType, *, console: Console | None = None) -> None:
        self._live = Live(
            picture,
            console=console or terminal(),
            auto_refresh=False,  # its thread would read the loop's objects behind the loop's back
            transient=True,
            # Data for a pipe must not go through the terminal's console.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )
        self._ticker = Ticker(self._live, 1 / REDRAWS)

    def start(self) -> None:
        """Begin to draw."""
        self._live.start(refresh=True)
        self._ticker.start()

    def stop(self) -> None:
        """Draw once more and take the picture away."""
        self._ticker.stop()
        self._live.refresh()
        self._live.stop()


@define
class Tally:
    """How many tasks are final: a spinner on a terminal, a line each time it is refreshed elsewhere."""

    total: int
    completed: int = 0
    failed: int = 0
    began_at: float = field(factory=anyio.current_time)
    _spinner: Spinner = field(factory=lambda: Spinner("dots", style="cyan"))

    def __str__(self) -> str:
        running = self.total - self.completed - self.failed
        counts = {"running": running, "completed": self.completed, "failed": self.failed}
        words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        return f"{words} · {format_seconds(anyio.current_time() - self.began_at)}"

    def __rich__(self) -> Spinner:
        self._spinner.update(text=Text(str(self), style="dim"))
        return self._spinner

    def refresh(self) -> None:
        """Write the line."""
        write_message(f"… {self}")


class Progress:
    """Shows a tally while it is entered.

    Args:
        total: how many tasks are waited for.
    """

    def __init__(self, total: int) -> None:
        self._tally = Tally(total)
        self._view = LiveView(self._tally) if is_live() else Ticker(self._tally, LINE_INTERVAL)

    def __enter__(self) -> Self:
        self._view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.stop()

    def finished(self, *, failed: bool) -> None:
        """One more task will not change any more."""
        if failed:
            self._tally.failed += 1
        else:
            self._tally.completed += 1
