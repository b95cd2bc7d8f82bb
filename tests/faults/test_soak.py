"""A sample of the random fault schedules; ``python -m tests.faults.soak`` runs any number of them."""

from __future__ import annotations

import pytest

from tests.faults.judge import without_drawing
from tests.faults.schedules import Schedule
from tests.faults.soak import run

FOUND = (60095, 60279, 100367)
"""Schedules that once broke a promise: files renamed after their result was yielded; a run without an end; a
job that was renamed while the files of an earlier run were fetched, and was not told."""


@pytest.mark.parametrize("number", [*range(12), *FOUND])
def test_whatever_strikes_nothing_is_paid_twice_or_lost(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even numbers through ``as_completed``, odd ones through a batch; the sandbox's ledger is the judge."""
    without_drawing(monkeypatch.setattr)

    assert [] == run(Schedule.drawn(number))
