"""Standing limits of credits: which days count, and whether the next POST may leave."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from seedance_async.errors import ConfigurationError
from seedance_async.models import CreditLimits
from seedance_async.record.limits import (
    Decision,
    Hold,
    LimitUse,
    PeriodLimit,
    Refusal,
    Wait,
    day_of,
    decide,
    period_limits,
)

DAY = PeriodLimit(name="day", most=100, first_day=0)


def decided(
    *,
    spent: float = 0,
    uncertain: float = 0,
    under_way: float = 0,
    charged: float | None = 12,
    documented: float = 0,
    awaiting: bool = False,
    limit: PeriodLimit = DAY,
) -> Decision:
    """What is decided under one limit of 100 credits."""
    use = LimitUse(limit=limit, spent=spent, uncertain=uncertain, under_way=under_way)
    return decide([use], charged=charged, documented=documented, awaiting=awaiting)


@pytest.mark.parametrize(
    ("wanted", "standing"),
    [
        (Hold(12), {}),
        (Hold(12), {"spent": 88}),
        (Hold(12), {"spent": 80, "uncertain": 8}),
        (Hold(12), {"spent": 60, "under_way": 28}),
        (Hold(12), {"spent": -500}),
        (Hold(0.1), {"spent": 99.9, "charged": 0.1}),  # the sum is not exact in floats
    ],
)
def test_a_known_price_is_held_while_it_fits(wanted: Hold, standing: dict[str, float]) -> None:
    """Up to the last credit."""
    assert wanted == decided(**standing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "standing",
    [
        {"spent": 89},
        {"uncertain": 89},
        {"spent": 50, "uncertain": 39, "under_way": 0},
        {"spent": 90, "under_way": 8},
        {"charged": 101},
        {"spent": 100, "charged": None},
        {"spent": 80, "charged": None, "documented": 30},
        {"charged": 0, "documented": 101},  # what was free once may cost what others were charged
    ],
)
def test_what_does_not_fit_is_refused(standing: dict[str, float]) -> None:
    """Nothing that is under way could make room for it."""
    assert isinstance(decided(**standing), Refusal)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "standing",
    [
        {"awaiting": True},
        {"awaiting": True, "spent": 100},
        {"spent": 80, "under_way": 12},
        {"spent": 70, "under_way": 30, "charged": None},
        {"under_way": 100, "charged": None, "documented": 30},
    ],
)
def test_what_may_fit_once_another_post_has_ended_waits(standing: dict[str, float]) -> None:
    """A price is awaited, or held for what may turn out to be free."""
    assert Wait() == decided(**standing)  # type: ignore[arg-type]


def test_an_unknown_price_holds_everything_that_is_left() -> None:
    """Of the tightest limit."""
    day = LimitUse(limit=DAY, spent=40, uncertain=0, under_way=0)
    month = LimitUse(
        limit=PeriodLimit(name="month", most=1000, first_day=0), spent=970, uncertain=0, under_way=0
    )

    assert Hold(30) == decide([day, month], charged=None, documented=30, awaiting=False)
    assert isinstance(decide([day, month], charged=None, documented=31, awaiting=False), Refusal)


def test_the_refusal_names_the_limit_that_is_reached() -> None:
    """And what it is made of."""
    refusal = decided(spent=60, uncertain=30, limit=PeriodLimit(name="month", most=100, first_day=0))

    assert isinstance(refusal, Refusal)
    for word in ("SEEDANCE_MAX_CREDITS_MONTH", "100", "60", "30", "12"):
        assert word in refusal.reason


@pytest.mark.parametrize(
    ("now", "first"),
    [
        ("2026-06-01T00:00:00+00:00", "2026-06-01"),
        ("2026-06-30T23:59:59+00:00", "2026-06-01"),
        ("2026-02-28T23:30:00-05:00", "2026-03-01"),  # in UTC it is March
        ("2024-02-29T12:00:00+00:00", "2024-02-01"),
        ("2026-01-01T00:30:00+01:00", "2025-12-01"),
    ],
)
def test_days_and_months_are_those_of_utc(now: str, first: str) -> None:
    """The same for all processes, whatever their time zone."""
    instant = datetime.fromisoformat(now)
    day, month = period_limits(CreditLimits(day=1, month=2), instant.timestamp())

    assert day_of(instant.timestamp()) == day.first_day
    assert instant.astimezone(UTC).date() == datetime.fromtimestamp(day.first_day * 86_400, UTC).date()
    assert first == f"{datetime.fromtimestamp(month.first_day * 86_400, UTC):%Y-%m-%d}"


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), True, "100"])
def test_a_limit_that_is_no_amount_is_refused(amount: float) -> None:
    """When it is written down."""
    with pytest.raises(ConfigurationError, match=r"CreditLimits\.day"):
        CreditLimits(day=amount)


def test_no_limit_is_no_window() -> None:
    """And 0 is one: nothing may be paid."""
    assert [] == list(period_limits(CreditLimits(), 0))
    assert not CreditLimits().are_set
    assert CreditLimits(month=0).are_set
