"""Progress of waiting: one live line on a terminal, and a plain line every half minute elsewhere.

The log of a build server needs neither a bar that is redrawn ten times a second nor an hour of silence. So
without a terminal a plain line is written at an interval, in addition to those about events.
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
    """Something that is refreshed at an interval."""

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
        """Start; the first refresh is after one interval."""
        self._next = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def stop(self) -> None:
        """Stop."""
        if self._next is not None:
            self._next.cancel()

    def _tick(self) -> None:
        self._target.refresh()
        self.start()


class LiveView:
    """Live display at the bottom of the terminal, redrawn several times a second; other output scrolls above.

    Args:
        picture: what to draw; its ``__rich__`` is called each time.
        console: where to draw; default the terminal of stderr.
    """

    def __init__(self, picture: RenderableType, *, console: Console | None = None) -> None:
        self._live = Live(
            picture,
            console=console or terminal(),
            auto_refresh=False,  # its thread would read objects while the event loop changes them
            transient=True,
            # Data for a pipe must not go through the terminal's console.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )
        self._ticker = Ticker(self._live, 1 / REDRAWS)

    def start(self) -> None:
        """Start drawing."""
        self._live.start(refresh=True)
        self._ticker.start()

    def stop(self) -> None:
        """Draw once more and remove the display."""
        self._ticker.stop()
        self._live.refresh()
        self._live.stop()


@define
class Tally:
    """Counts of final tasks: a spinner on a terminal, elsewhere a line at each refresh."""

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
        """Write the counts as a line."""
        write_message(f"… {self}")


class Progress:
    """Context manager that shows a tally of finished tasks.

    Args:
        total: number of tasks to wait for.
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
        """Count one more final task."""
        if failed:
            self._tally.failed += 1
        else:
            self._tally.completed += 1
