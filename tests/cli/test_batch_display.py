"""The picture of a batch on a terminal: every number where one looks for it, in any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from seedance_async.batch.states import State
from seedance_async.batch.summary import Summary
from seedance_async.cli.batch_display import picture, status_line, time_left, totals
from seedance_async.cli.batch_status import Status
from seedance_async.models import RateLimit

COUNTS = {State.SAVED: 60, State.ACCEPTED: 24, State.PLANNED: 12, State.FAILED: 4}


def status(**changes: object) -> Status:
    """A batch in its middle."""
    summary = Summary(
        counts=COUNTS, credits_used=1240.5, credits_refunded=40, credits_reserved=90, max_credits=2000
    )
    usual = {
        "summary": summary,
        "requests": 163,
        "requests_in_window": 18,
        "limit": RateLimit(),
        "seconds": 192.0,
        "seconds_left": 371.2,
    }
    return Status(**{**usual, **changes})  # type: ignore[arg-type]  # each test names fields of the class


def lines(batch: Status, *, width: int = 100) -> list[str]:
    """What is seen of it."""
    screen = io.StringIO()
    Console(file=screen, width=width, highlight=False).print(picture(batch))
    return [line.rstrip() for line in screen.getvalue().splitlines() if line.strip()]


def test_the_picture_shows_jobs_limit_credits_and_time() -> None:
    """Refunds deducted, and how long it will still take."""
    bar, legend, requests, credits_, time = lines(status())

    assert {"█"} == set(bar.strip())
    assert "■ 4 failed   ■ 60 saved   ■ 24 accepted   ■ 12 planned" == legend.strip()
    assert "requests  " + "▮" * 18 + "▯" * 12 + " 18 of 30 in 1:00 · 163 in total" == requests.strip()
    assert "credits   1,200.5 (1,240.5 used, 40 refunded) of at most 2,000 · 90 reserved" == credits_.strip()
    assert "time      3:12 · about 6:11 to go" == time.strip()


def test_the_bar_is_as_long_for_any_mixture() -> None:
    """Rounding neither adds nor loses a cell."""
    lengths = set()
    for saved in range(101):
        summary = Summary(counts={State.SAVED: saved, State.FAILED: 3, State.PLANNED: 103 - saved})
        lengths.add(len(lines(status(summary=summary))[0].strip()))

    assert 1 == len(lengths)


def test_times_of_a_fast_sandbox_say_so() -> None:
    """Live, in a log and in the totals: nobody takes them for the API's."""
    reported = status(speed=20.0)

    assert "time      3:12 · about 6:11 to go, in a sandbox 20 times as fast" == lines(reported)[-1].strip()
    assert status_line(reported).endswith("3:12, about 6:11 to go, in a sandbox 20 times as fast")
    assert "3:12, in a sandbox 20 times as fast" == totals(reported, None)["time"]
    assert "3:12" == totals(status(), None)["time"]


@pytest.mark.parametrize("left", [None, 0.0, 0.3])
def test_an_end_that_nobody_knows_is_not_told(left: float | None) -> None:
    """Where the schedule's end has passed, "about 1.0 s to go" would stand there for ever."""
    reported = status(seconds_left=left)

    assert "time      3:12" == lines(reported)[-1].strip()
    assert "" == time_left(reported, before=" · ")


def test_without_a_cap_none_is_told() -> None:
    """Nor refunds and reservations where there are none."""
    reported = lines(status(summary=Summary(counts={State.SAVED: 1}, credits_used=1_234_567)))

    assert "credits   1,234,567" == reported[3].strip()


def test_a_limit_of_thousands_has_no_slots_drawn() -> None:
    """A row of them would be longer than the terminal is wide."""
    reported = lines(status(limit=RateLimit(requests=5000, period=60.0), requests_in_window=4321))

    assert "requests  4321 of 5000 in 1:00 · 163 in total" == reported[2].strip()


def test_before_the_manifest_is_read_that_is_what_is_told() -> None:
    """A million lines take a while."""
    assert ["  reading the manifest · 12.0 s"] == lines(status(summary=Summary(counts={}), seconds=12.0))


@pytest.mark.parametrize("width", [40, 60, 200])
def test_it_fits_terminals_of_all_widths(width: int) -> None:
    """Nothing is wider than the terminal."""
    assert all(len(line) <= width for line in lines(status(), width=width))


@pytest.mark.parametrize(
    ("counts", "bar"),
    [
        ({State.PLANNED: 4}, "░"),
        ({State.ACCEPTED: 4}, "▒"),
        ({State.SAVED: 2, State.PLANNED: 2}, "█░"),
        ({State.SAVED: 1, State.ACCEPTED: 1, State.PLANNED: 2}, "█▒░"),
        ({State.SAVED: 3, State.FAILED: 1}, "█x"),
        ({State.SAVED: 4}, "█"),
    ],
)
def test_without_colours_only_a_finished_bar_looks_finished(
    counts: dict[State, int], bar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every state has a shade of its own, which the legend repeats."""
    plain = Console(file=io.StringIO(), no_color=True, width=100)
    monkeypatch.setattr("seedance_async.cli.batch_display.terminal", lambda: plain)
    shown, legend, *_ = lines(status(summary=Summary(counts=counts)))

    assert list(bar) == list(dict.fromkeys(shown.strip()))
    assert all(f"{shade} " in legend for shade in bar)
