"""Progress: sparse lines in a log, one living line on a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import anyio
from rich.console import Console

from seedance_async.cli.progress import LiveView, Progress

if TYPE_CHECKING:
    import pytest

    from seedance_async.sandbox.virtual_time import Clock


class _Count:
    """Something to be drawn."""

    saved = 0

    def __rich__(self) -> str:
        return f"{self.saved} saved."


async def test_without_a_terminal_a_heartbeat_is_told_every_half_minute(
    capsys: pytest.CaptureFixture[str], seedance_clock: Clock
) -> None:
    """A build server's log shows that the work goes on, and little more."""
    with Progress(3) as shown:
        await anyio.sleep(40)
        shown.finished(failed=False)
        shown.finished(failed=True)
        await anyio.sleep(30)

    assert capsys.readouterr().err.splitlines() == [
        "… 3 running · 30.0 s",
        "… 1 running, 1 completed, 1 failed · 1:00",
    ]


async def test_on_a_terminal_the_view_is_drawn_anew_until_it_is_stopped(seedance_clock: Clock) -> None:
    """Ten pictures a second, and the last one is of the last state."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=60, highlight=False)
    count = _Count()

    view = LiveView(count, console=console)
    view.start()
    for _ in range(3):
        await anyio.sleep(1)
        count.saved += 1
    view.stop()

    drawn = screen.getvalue()
    assert 30 <= drawn.count("saved.") <= 36
    assert "3" == drawn[drawn.rindex(" saved.") - 1]
