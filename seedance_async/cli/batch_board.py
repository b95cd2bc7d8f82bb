"""The board of a batch on a terminal: jobs by state, the limit, the credits and the time, drawn in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from seedance_async.batch.states import State
from seedance_async.cli.progress import LiveView, clock
from seedance_async.cli.streams import harmless, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from rich.console import RenderableType

    from seedance_async.cli.batch_standing import Standing

COLOURS: Final = {
    State.SAVED: "green",
    State.COMPLETED: "cyan",
    State.ACCEPTED: "yellow",
    State.SUBMITTING: "bright_yellow",
    State.PLANNED: "bright_black",
    State.UNCERTAIN: "magenta",
    State.REFUSED: "bright_red",
    State.FAILED: "red",
}
"""Every state, in the order of the bar."""

WIDEST: Final = 72


class Board:
    """The board, drawn several times a second.

    Args:
        manifest: as the user named it.
        directory: of the batch.
    """

    def __init__(self, manifest: str, directory: Path) -> None:
        self.note = ""
        names = (harmless(manifest), "bold"), (" → ", "dim"), (harmless(str(directory)), "bold")
        self._title = Text.assemble(" ", *names)
        self._spinner = Spinner("dots", style="cyan")
        self._look: Callable[[], Standing]
        self._view: LiveView | None = None

    def start(self, look: Callable[[], Standing]) -> None:
        """Begin to draw."""
        self._look = look
        self._view = LiveView(self._render)
        self._view.start()

    def stop(self) -> None:
        """Take the board away; the account of the batch follows."""
        if self._view is not None:
            self._view.stop()

    def _render(self) -> RenderableType:
        self._spinner.update(text=self._title)
        note = [Text(), Text(f"  {self.note}", style="bold yellow")] if self.note else []
        return Group(Text(), self._spinner, drawn(self._look()), *note)


def drawn(standing: Standing) -> RenderableType:
    """A batch as a picture of a few lines."""
    if not standing.is_planned:
        return Text(f"  reading the manifest · {clock(standing.seconds)}", style="dim")
    return Group(Text(), _bar(standing), _legend(standing), Text(), _facts(standing))


def _width() -> int:
    return min(WIDEST, max(20, terminal().width - 4))


def _bar(standing: Standing) -> Text:
    """All jobs as one bar, a colour a state."""
    sizes = [(state, standing.count(state)) for state in COLOURS]
    bar = Text("  ", no_wrap=True)
    for state, cells in _apportion(sizes, total=standing.summary.total, cells=_width()):
        bar.append("█" * cells, style=COLOURS[state])
    return bar


def _apportion(sizes: Iterable[tuple[State, int]], *, total: int, cells: int) -> Iterable[tuple[State, int]]:
    """Cells for each state; the rounding of one is made up by the next."""
    before, begin = 0, 0
    for state, size in sizes:
        before += size
        end = round(before / total * cells)
        yield state, end - begin
        begin = end


def _legend(standing: Standing) -> Text:
    told = Text("  ")
    for state in reversed(State):
        if count := standing.count(state):
            told.append("■ ", style=COLOURS[state])
            told.append(f"{count:,} {state}   ")
    return told


def _facts(standing: Standing) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("  requests", _requests(standing))
    table.add_row("  credits", _credits(standing))
    table.add_row("  time", _time(standing))
    return table


def _requests(standing: Standing) -> Text:
    """The window as a row of slots."""
    most = standing.limit.requests
    told = Text(no_wrap=True)
    if most <= 60:
        told.append("▮" * min(most, standing.in_window), style="yellow")
        told.append("▯" * max(0, most - standing.in_window), style="bright_black")
        told.append(" ")
    told.append(f"{standing.in_window} of {most} in {clock(standing.limit.period)}")
    return told.append(f" · {standing.requests:,} in all", style="dim")


def _credits(standing: Standing) -> Text:
    summary = standing.summary
    told = Text(f"{summary.credits_used - summary.credits_refunded:,.10g}")
    if summary.max_credits is not None:
        told.append(f" of at most {summary.max_credits:,.10g}")
    if summary.credits_reserved:
        told.append(f" · {summary.credits_reserved:,.10g} reserved", style="dim")
    if summary.credits_refunded:
        told.append(f" · {summary.credits_refunded:,.10g} refunded", style="dim")
    return told


def _time(standing: Standing) -> Text:
    told = Text(clock(standing.seconds))
    if left := round(standing.seconds_left or 0):
        told.append(f" · about {clock(left)} to go", style="bold")
    return told
