"""Progress: sparse lines in a log, one living line on a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import anyio
import pytest
from rich.console import Console

from seedance_async.cli.progress import LiveView, Progress, clock

if TYPE_CHECKING:
    from seedance_async.sandbox.virtual_time import Clock


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
    state = {"saved": 0}

    view = LiveView(lambda: f"{state['saved']} saved.", leave=True, console=console)
    view.start()
    for _ in range(3):
        await anyio.sleep(1)
        state["saved"] += 1
    view.stop()

    drawn = screen.getvalue()
    assert 30 <= drawn.count("saved.") <= 36
    assert "3" == drawn[drawn.rindex(" saved.") - 1]


@pytest.mark.parametrize(
    ("seconds", "told"), [(9.44, "9.4 s"), (59.9, "59.9 s"), (60, "1:00"), (187.2, "3:07"), (3727, "1:02:07")]
)
def test_lengths_of_time_read_well(seconds: float, told: str) -> None:
    """Tenths below a minute, a clock's digits above."""
    assert told == clock(seconds)
