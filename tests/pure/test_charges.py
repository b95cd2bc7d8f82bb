"""What a job has cost, where its tasks and the answer to its POST say different things."""

from __future__ import annotations

import pytest

from seedance_async.charges import charged_by


@pytest.mark.case(185)
@pytest.mark.parametrize(
    ("stated", "charged"),
    [
        ([8.0] * 4, 32.0),
        ([32.0] * 4, 32.0),  # each states what all cost together
        ([25.0] * 4, 100.0),  # more than a share, and not the sum
        ([60.0] * 4, 240.0),
        ([3.0] * 4, 32.0),
        ([9.0, 9.0, 7.0, 7.0], 32.0),
        ([20.0, 1.0, 1.0, 1.0], 32.0),  # never less than was booked
        ([25.0, 25.0, 25.0, None], 32.0),
        ([], 32.0),
    ],
)
def test_the_higher_statement_counts(stated: list[float | None], charged: float) -> None:
    """One job of four tasks whose answer says 32."""
    assert charged == charged_by(32.0, stated, of_post=4, alone=8.0)


@pytest.mark.case(185)
@pytest.mark.parametrize(("stated", "charged"), [(8, 8), (32, 8), (25, 25), (60, 60), (7, 8)])
def test_one_of_four_jobs_with_one_post_is_believed_as_well(stated: float, charged: float) -> None:
    """Its share of 32 is 8."""
    assert charged == charged_by(8.0, [stated], of_post=4, alone=8.0)


@pytest.mark.case(185)
@pytest.mark.parametrize(
    ("booked", "stated", "alone", "charged"),
    [
        (8.0, [8.0] * 4, 8.0, 32.0),
        (6.0, [6.0] * 4, 8.0, 24.0),
        (2.0, [8.0], 8.0, 8.0),  # one of four jobs
        (32.0, [32.0] * 4, 8.0, 32.0),
        (8.0, [8.0] * 4, 0.0, 8.0),  # nobody knows what one costs
    ],
)
def test_an_answer_that_states_the_price_of_one_is_not_believed(
    booked: float, stated: list[float | None], alone: float, charged: float
) -> None:
    """Four tasks, each of which states what the answer did for all: it costs that much alone."""
    assert charged == charged_by(booked, stated, of_post=4, alone=alone)


def test_a_silent_answer_is_completed_by_all_tasks_or_not_at_all() -> None:
    """A part of the charge would be taken for the whole."""
    assert 50 == charged_by(None, [25.0, 25.0], of_post=2, alone=8.0)
    assert charged_by(None, [25.0, None], of_post=2, alone=8.0) is None


def test_a_share_that_cannot_be_written_exactly_is_a_share() -> None:
    """A third, three times over, is no contradiction."""
    assert 0.1 + 0.2 == charged_by(0.1 + 0.2, [0.3], of_post=3, alone=1.0)
