"""Lengths of time as they are written."""

from __future__ import annotations

import pytest

from seedance_async.time_format import format_range, format_seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(9.44, "9.4 s"), (59.9, "59.9 s"), (60, "1:00"), (187.2, "3:07"), (3727, "1:02:07")]
)
def test_lengths_of_time_read_well(seconds: float, text: str) -> None:
    """Tenths below a minute, a clock's digits above."""
    assert text == format_seconds(seconds)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (3, 8.04, "3.0 to 8.0 s"),
        (102, 486, "1.7 to 8.1 min"),
        (660, 4000, "11 to 67 min"),
        (5400, 5401, "1.5 h"),
    ],
)
def test_a_range_is_in_one_unit(low: float, high: float, text: str) -> None:
    """That of its higher end, without digits that nobody can know."""
    assert text == format_range(low, high)
