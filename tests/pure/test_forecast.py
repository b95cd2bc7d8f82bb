"""The forecast: lawful distributions, and learning that is quick, fair to what still runs, and durable."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.models import Kind
from seedance_async.scheduling.duration import LONGEST
from seedance_async.scheduling.forecast import PRIORS, Forecast

CLIP = Kind(model="seedance2", quality_tier="standard", channel="standard", resolution="720p", seconds=5)
LONGER = Kind(model="seedance2", quality_tier="standard", channel="standard", resolution="720p", seconds=10)
PICTURE = Kind(model="nano-banana-pro", resolution="1K")

durations = st.floats(min_value=0.5, max_value=7200.0)
kinds = st.sampled_from([CLIP, LONGER, PICTURE, Kind(model="seedance2"), Kind()])


@st.composite
def forecasts(draw: st.DrawFn) -> Forecast:
    """Forecasts that have seen tasks finish and have seen tasks run."""
    forecast = Forecast()
    for kind, seconds in draw(st.lists(st.tuples(kinds, durations), max_size=30)):
        forecast.observe(kind, seconds)
    for kind, seconds in draw(st.lists(st.tuples(kinds, durations), max_size=10)):
        forecast.outlasted(kind, seconds)
    return forecast


def taught(*seconds: float, kind: Kind = CLIP) -> Forecast:
    """A forecast that has seen tasks of one kind finish."""
    forecast = Forecast()
    for duration in seconds:
        forecast.observe(kind, duration)
    return forecast


def log_normal(median: float, spread: float, *, count: int, seed: int = 0) -> list[float]:
    """Durations as a server of steady mood would show them."""
    chance = random.Random(seed)
    return [median * chance.lognormvariate(0, spread) for _ in range(count)]


@given(forecasts(), kinds, st.lists(st.floats(min_value=0.0, max_value=2 * LONGEST), min_size=2))
def test_the_chance_to_be_done_grows_with_time_from_nought_to_one(
    forecast: Forecast, kind: Kind, instants: list[float]
) -> None:
    """A cdf stays within 0 and 1 and never falls, whatever was learned."""
    chances = [forecast.of(kind).cdf(seconds) for seconds in sorted(instants)]

    assert sorted(chances) == chances
    assert all(0.0 <= chance <= 1.0 for chance in chances)
    assert 1.0 == forecast.of(kind).cdf(2 * LONGEST)


@given(forecasts(), kinds, st.lists(st.floats(min_value=0.001, max_value=0.999), min_size=2))
def test_a_surer_quantile_is_never_earlier(forecast: Forecast, kind: Kind, chances: list[float]) -> None:
    """Quantiles grow, and the chance to be done by one is no less than the chance asked for."""
    belief = forecast.of(kind)
    quantiles = [belief.quantile(chance) for chance in sorted(chances)]

    assert sorted(quantiles) == quantiles
    assert all(belief.cdf(at) >= chance - 1e-9 for at, chance in zip(quantiles, sorted(chances), strict=True))


@given(
    forecasts(), kinds, st.floats(min_value=0.0, max_value=LONGEST), st.floats(min_value=0.05, max_value=1e4)
)
def test_the_next_look_lies_ahead(forecast: Forecast, kind: Kind, since: float, price: float) -> None:
    """A task seen running is looked at later than that, and in finite time."""
    look = forecast.of(kind).next_poll(since=since, price=price)

    assert since <= look < math.inf
    assert look > 0


@given(forecasts(), kinds, st.floats(min_value=0.0, max_value=600.0))
def test_a_dearer_request_is_spent_later(forecast: Forecast, kind: Kind, since: float) -> None:
    """The scarcer the slots, the surer a look must be; at a hundred times the price it is never earlier."""
    belief = forecast.of(kind)
    cheap, dear = belief.next_poll(since=since, price=0.5), belief.next_poll(since=since, price=50.0)

    assert cheap <= dear * 1.03  # two neighbours of the grid may be equally good


@pytest.mark.parametrize(("model", "median"), [("seedance2", 184.0), ("gpt-image-2", 90.0)])
def test_a_kind_never_seen_is_guessed_from_the_prior(model: str, median: float) -> None:
    """Before anything is learned a clip takes what users reported, a picture what is vaguely plausible."""
    assert pytest.approx(median, rel=0.02) == Forecast().of(Kind(model=model)).quantile(0.5)


def test_another_models_durations_say_nothing() -> None:
    """Clips do not teach pictures: a new model starts from the prior, not from the old one."""
    forecast = taught(*log_normal(300, 0.1, count=50))

    assert pytest.approx(PRIORS[None][0], rel=0.02) == forecast.of(PICTURE).quantile(0.5)


def test_a_kind_borrows_from_its_neighbours_until_it_speaks_for_itself() -> None:
    """The same clip of another length is the best guess, and a few completions overrule it."""
    forecast = taught(*log_normal(400, 0.1, count=50))
    borrowed = forecast.of(LONGER).quantile(0.5)
    for duration in log_normal(100, 0.1, count=10):
        forecast.observe(LONGER, duration)

    assert pytest.approx(400, rel=0.1) == borrowed
    assert pytest.approx(100, rel=0.1) == forecast.of(LONGER).quantile(0.5)


@pytest.mark.parametrize("median", [3.0, 40.0, 150.0, 900.0])
def test_thirty_completions_show_median_and_spread(median: float) -> None:
    """Whatever the prior said, thirty completions are believed: median, and where nine of ten are done."""
    belief = taught(*log_normal(median, 0.2, count=30)).of(CLIP)

    assert pytest.approx(median, rel=0.15) == belief.quantile(0.5)
    assert pytest.approx(median * math.exp(0.2 * 1.28), rel=0.25) == belief.quantile(0.9)


def test_two_humps_are_kept_apart() -> None:
    """A kind that takes either 90 s or 250 s is not believed to take 150 s."""
    belief = taught(*[90.0, 250.0] * 40).of(CLIP)

    assert belief.cdf(200) - belief.cdf(120) < 0.05


def test_a_drift_is_followed_within_eight_completions() -> None:
    """A server that takes twice as long is believed before ten more tasks are done."""
    forecast = taught(*log_normal(100, 0.1, count=30))
    for duration in log_normal(200, 0.1, count=8, seed=1):
        forecast.observe(CLIP, duration)
    for _ in range(8):
        forecast.outlasted(CLIP, 130.0)  # and those under way are seen to be late

    assert forecast.of(CLIP).cdf(150) < 0.7


def test_old_completions_fade() -> None:
    """Sixty later ones outweigh sixty earlier ones almost three to one."""
    forecast = taught(*[100.0] * 60, *[300.0] * 60)

    assert pytest.approx(0.27, abs=0.03) == forecast.of(CLIP).cdf(200)


def test_running_tasks_make_the_rest_of_the_kind_look_longer() -> None:
    """Looks that find tasks running past their time move the others' chances, before one of them is done."""
    forecast = taught(*log_normal(100, 0.1, count=60))
    before = forecast.of(CLIP).cdf(150)
    for _ in range(30):
        forecast.outlasted(CLIP, 150.0)
    during = forecast.of(CLIP).cdf(150)
    for _ in range(30):
        forecast.settled(CLIP, 150.0)

    assert before > 0.95
    assert during < 0.75
    assert pytest.approx(before, abs=0.02) == forecast.of(CLIP).cdf(150)


def test_a_scale_moves_the_prior_with_the_speed_of_a_sandbox() -> None:
    """Where a minute passes in a second, a clip is guessed to take three."""
    assert pytest.approx(184 / 60, rel=0.02) == Forecast(scale=1 / 60).of(CLIP).quantile(0.5)


@given(st.lists(st.tuples(kinds, durations), max_size=40))
def test_what_was_learned_survives_a_dump(seen: list[tuple[Kind, float]]) -> None:
    """Through JSON and back, every kind that was seen is believed to take as long."""
    forecast = Forecast()
    for kind, seconds in seen:
        forecast.observe(kind, seconds)
    again = Forecast.load(json.loads(json.dumps(forecast.dump())))

    for kind in {kind for kind, _ in seen}:
        if len({k for k, _ in seen}) == 1:
            assert pytest.approx(forecast.of(kind).mean) == again.of(kind).mean
    assert forecast.dump() == again.dump()


def test_a_dump_is_bounded() -> None:
    """A million completions do not make a million lines: the latest hundred of a kind are kept."""
    forecast = taught(*range(1, 1001))

    assert list(range(901, 1001)) == json.loads(json.dumps(forecast.dump()))["durations"][0]["seconds"]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"durations": None},
        {"durations": [{"kind": {}}]},
        {"durations": [{"kind": {"x": 1}, "seconds": []}]},
        {"durations": [{"kind": {"model": []}, "seconds": [1.0]}]},
        *(
            {"durations": [{"kind": {}, "seconds": [value]}]}
            for value in (math.inf, math.nan, -1, 10**400, "1", True)
        ),
    ],
)
def test_something_else_is_not_loaded(data: dict[str, object]) -> None:
    """A damaged file is named as such, not taken for a forecast."""
    with pytest.raises(ValueError, match="not a dumped forecast"):
        Forecast.load(data)


def test_the_repr_names_the_kinds_that_were_learned() -> None:
    """With the number of durations of each, and at most three kinds."""
    forecast = taught(100.0, 110.0)
    forecast.observe(PICTURE, 30.0)

    assert "<Forecast, durations learned: none>" == repr(Forecast())
    assert "<Forecast, durations learned: seedance2 720p 5 s: 2, nano-banana-pro 1K: 1>" == repr(forecast)

    forecast.observe(LONGER, 200.0)
    forecast.observe(Kind(), 50.0)

    assert repr(forecast).endswith("seedance2 720p 10 s: 1, and 1 more>")
