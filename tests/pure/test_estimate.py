"""Estimates: played through the schedule itself, in ranges that hold what then happens."""

from __future__ import annotations

import pytest

from seedance_async.batch.estimate import MOST_PLAYED, Range, estimate
from seedance_async.batch.run_plan import run_plan
from seedance_async.batch.states import State
from seedance_async.models import GptImage2, NanoBananaPro, RateLimit, Request, Seedance2Video
from seedance_async.prices import Price, Tariff, price_of
from seedance_async.scheduling.forecast import Forecast

LIMIT = RateLimit()
MINI, LARGE = "2.2 a second", "14.5 a second"


def tariff(request: Request) -> Tariff:
    """What a request costs goes by."""
    return Tariff(request.kind, getattr(request, "batch_count", 1))


CLIP = tariff(Seedance2Video(prompt="A boat"))
PICTURE = tariff(NanoBananaPro(prompt="A boat"))
FOUR = tariff(GptImage2(prompt="A boat", batch_count=4))


def warm(seconds: float, *tariffs: Tariff) -> Forecast:
    """A forecast that has seen each tariff take this long, again and again."""
    forecast = Forecast()
    for kind in (one.kind for one in tariffs for _ in range(60)):
        forecast.observe(kind, seconds)
    return forecast


def outlook(
    waiting: dict[Tariff, int],
    *,
    running: dict[Tariff, int] | None = None,
    forecast: Forecast | None = None,
) -> tuple[Range, Range]:
    """The requests and seconds of a batch."""
    found = estimate(waiting, running=running or {}, forecast=forecast or Forecast(), limit=LIMIT, prices={})
    return found.requests, found.seconds


def test_no_job_takes_less_than_a_submit_and_a_look_for_each_task() -> None:
    """Two requests a job, five for four pictures of one submit: that is the least there is."""
    for waiting, least in (({CLIP: 1}, 2), ({CLIP: 100}, 200), ({FOUR: 10}, 50), ({CLIP: 5000}, 10_000)):
        requests, _ = outlook(waiting)
        assert least <= requests.low <= requests.high


def test_a_known_duration_is_told_closely() -> None:
    """When every clip has taken two minutes, one more takes about two, in which few looks are worth it."""
    requests, seconds = outlook({CLIP: 1}, forecast=warm(120.0, CLIP))

    assert 90 <= seconds.low <= 121 <= seconds.high <= 180
    assert 2 <= requests.low <= requests.high <= 30


def test_a_large_batch_is_as_long_as_the_limit_makes_it() -> None:
    """Half a minute of requests a clip, whatever a clip takes; looks in vain come on top."""
    jobs = 3000
    requests, seconds = outlook({CLIP: jobs}, forecast=warm(180.0, CLIP))

    assert 2 * jobs <= requests.low <= requests.high <= 2.4 * jobs
    pace = LIMIT.period / LIMIT.requests
    assert requests.low * pace - 120 <= seconds.low <= seconds.high <= requests.high * pace + 400


def test_what_is_multiplied_agrees_with_what_is_played() -> None:
    """Twice the jobs that are played take about twice as long as those."""
    played, _ = outlook({CLIP: MOST_PLAYED})
    multiplied, _ = outlook({CLIP: 2 * MOST_PLAYED})

    assert 2 * played.low == pytest.approx(multiplied.low, rel=0.02)
    assert 2 * played.high == pytest.approx(multiplied.high, rel=0.02)


def test_what_runs_already_is_only_looked_at() -> None:
    """A batch that is resumed pays no second submit."""
    requests, seconds = outlook({}, running={CLIP: 5}, forecast=warm(60.0, CLIP))

    assert 5 == requests.low
    assert requests.high < outlook({CLIP: 5}, forecast=warm(60.0, CLIP))[0].high
    assert 45 <= seconds.low <= seconds.high <= 120


def test_what_may_be_paid_already_counts_towards_the_most_only() -> None:
    """A POST without an answer is sent again under its key, and charged at most once."""
    plan = run_plan({(CLIP, State.PLANNED): 2, (CLIP, State.SUBMITTING): 1}, prices={}, max_credits=80)

    assert (60, 90, None) == (plan.credits_low, plan.credits_high, plan.fits_cap)
    assert 2 == plan.to_send


def test_nothing_to_do_takes_nothing() -> None:
    """Neither requests nor time."""
    assert (Range(0, 0), Range(0, 0)) == outlook({})


def test_the_same_batch_is_estimated_the_same() -> None:
    """Luck comes from seeds."""
    assert outlook({CLIP: 20, PICTURE: 5}) == outlook({CLIP: 20, PICTURE: 5})


def test_credits_add_up_what_is_known_and_count_what_is_not() -> None:
    """A sum that leaves something out says how much."""
    secret = tariff(Seedance2Video(prompt="A boat", quality_tier="pro", resolution="4k"))
    jobs = {CLIP: 10, PICTURE: 2, secret: 3}
    found = estimate(jobs, running={}, forecast=Forecast(), limit=LIMIT, prices={})
    plan = run_plan({(tariff, State.PLANNED): count for tariff, count in jobs.items()}, prices={})

    assert (10 * 30 + 2 * 8, 10 * 30 + 2 * 12) == (plan.credits_low, plan.credits_high)
    assert 3 == plan.unpriced
    assert [CLIP, secret, PICTURE] == [cost.tariff for cost in found.costs]


@pytest.mark.parametrize(
    ("request_", "price"),
    [
        (Seedance2Video(prompt="A boat"), Price(30, 30, "documented")),
        (Seedance2Video(prompt="A boat", duration=11), Price(66, 66, "documented", basis="30 for 5 s")),
        (
            Seedance2Video(prompt="A boat", quality_tier="mini", duration=4),
            Price(8, 9, "observed", basis=MINI),
        ),
        (
            Seedance2Video(prompt="A boat", resolution="1080p", duration=5),
            Price(72, 73, "observed", basis=LARGE),
        ),
        (Seedance2Video(prompt="A boat", channel="wild"), None),
        (GptImage2(prompt="A boat"), Price(8, 8, "documented")),
        (GptImage2(prompt="A boat", batch_count=3), Price(24, 24, "documented", basis="8 for one")),
        (GptImage2(prompt="A boat", channel="economy"), None),
        (NanoBananaPro(prompt="A boat"), Price(8, 12, "documented", low_source="observed")),
        (NanoBananaPro(prompt="A boat", resolution="4K"), None),
    ],
)
def test_a_price_says_who_told_it(request_: Request, price: Price | None) -> None:
    """The vendor's examples, else users; what nobody told is not guessed."""
    assert price == price_of(tariff(request_), {})


def test_what_was_charged_is_worth_more_than_any_example() -> None:
    """Prices change, and ``credits_used`` decides."""
    assert Price(25, 25, "learned") == price_of(CLIP, {CLIP: 25.0})
