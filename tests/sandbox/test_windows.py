"""Properties that distinguish the rate-limit algorithms."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.sandbox.options import Rounding, WindowName
from seedance_async.sandbox.windows import open_window, retry_after

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES: Final[tuple[WindowName, ...]] = get_args(WindowName)
LIMIT, PERIOD = 5, 60.0
A_LITTLE = 1e-6

gaps = st.lists(
    st.just(0.0) | st.floats(0, 8, allow_subnormal=False) | st.floats(0, 200, allow_subnormal=False),
    min_size=1,
    max_size=80,
)
every_algorithm = pytest.mark.parametrize("name", NAMES)


def admitted(name: WindowName, instants: Sequence[float]) -> list[float]:
    """Return the instants at which a fresh window admits a request."""
    window = open_window(name, requests=LIMIT, period=PERIOD)
    return [instant for instant in instants if window.admit(instant) is None]


def instants_of(gaps: Sequence[float]) -> list[float]:
    """Turn waits between requests into instants."""
    now, instants = 0.0, []
    for gap in gaps:
        now += gap
        instants.append(now)
    return instants


def fullest(instants: Sequence[float]) -> int:
    """Count the requests of the fullest half-open window."""
    return max((sum(start <= each < start + PERIOD for each in instants) for start in instants), default=0)


@given(gaps)
def test_a_sliding_log_never_admits_more_than_the_limit_in_any_window(gaps: list[float]) -> None:
    """This is the literal reading of "30 requests per 60 seconds"."""
    assert fullest(admitted("sliding-log", instants_of(gaps))) <= LIMIT


@given(gaps)
def test_a_fixed_window_never_admits_more_than_the_limit_between_its_borders(gaps: list[float]) -> None:
    """Counted from border to border; across one, twice the limit may pass."""
    taken = admitted("fixed", instants_of(gaps))

    assert all(
        sum(floor(each / PERIOD) == border for each in taken) <= LIMIT
        for border in {floor(each / PERIOD) for each in taken}
    )


@given(gaps)
def test_a_token_bucket_never_admits_more_than_its_burst_and_the_drip(gaps: list[float]) -> None:
    """In any span t at most limit + t * rate; twice the limit in one period."""
    taken = admitted("token-bucket", instants_of(gaps))

    for first, start in enumerate(taken):
        for last, end in enumerate(taken[first:]):
            assert last + 1 <= LIMIT + (end - start) * LIMIT / PERIOD + A_LITTLE


@given(gaps)
def test_what_a_strict_counter_admits_the_rounding_one_admits_too(gaps: list[float]) -> None:
    """On the same history: they part at the strict one's first refusal."""
    strict = open_window("sliding-counter-strict", requests=LIMIT, period=PERIOD)
    rounding = open_window("sliding-counter", requests=LIMIT, period=PERIOD)

    for instant in instants_of(gaps):
        if strict.admit(instant) is not None:
            break
        assert rounding.admit(instant) is None


@every_algorithm
@given(gaps=gaps)
def test_the_wait_that_is_told_is_exact(name: WindowName, gaps: list[float]) -> None:
    """Nothing is admitted before ``Retry-After`` has passed, and the next request is when it has."""
    instants = instants_of(gaps)
    for count in range(1, len(instants) + 1):
        window, early = (open_window(name, requests=LIMIT, period=PERIOD) for _ in range(2))
        waits = [window.admit(instant) for instant in instants[:count]]
        for instant in instants[:count]:
            early.admit(instant)
        wait = waits[-1]
        if wait is not None:
            assert early.admit(instants[count - 1] + wait * 0.999 - A_LITTLE) is not None or wait < A_LITTLE
            assert window.admit(instants[count - 1] + wait + A_LITTLE) is None
            return


@every_algorithm
def test_a_first_burst_up_to_the_limit_is_admitted(name: WindowName) -> None:
    """Whatever the algorithm, a fresh account may spend its whole allowance at once."""
    assert [0.0] * LIMIT == admitted(name, [0.0] * (LIMIT + 1))


@every_algorithm
def test_two_idle_windows_give_the_whole_allowance_back(name: WindowName) -> None:
    """A counter looks back one window, no farther."""
    later = [2.5 * PERIOD] * LIMIT

    assert later == admitted(name, [0.0] * LIMIT + later)[LIMIT:]


def test_a_slot_of_the_log_is_free_again_after_exactly_one_period() -> None:
    """A caller that adds the period to an arrival computes the very instant at which the server lets go."""
    instants = [0.1, 0.2, 0.3, 0.4, 0.5]
    again = [instant + PERIOD for instant in instants]

    assert instants + again == admitted("sliding-log", instants + again)


def test_only_a_fixed_window_admits_twice_the_limit_around_its_border() -> None:
    """The burst that tells the algorithms apart: five just before the border, five just after it."""
    around = [59.0] * LIMIT + [61.0] * LIMIT

    assert {
        "fixed": 10, "sliding-log": 5, "sliding-counter": 6, "sliding-counter-strict": 5, "token-bucket": 5,
    } == {name: len(admitted(name, around)) for name in NAMES}  # fmt: skip


@every_algorithm
def test_refused_requests_prolong_the_wait_where_they_count(name: WindowName) -> None:
    """A caller that hammers on a server that counts refusals digs itself in."""
    plain = open_window(name, requests=LIMIT, period=PERIOD)
    counting = open_window(name, requests=LIMIT, period=PERIOD, refused_count=True)
    hammering = [float(second) for second in range(30)]

    last = [(plain.admit(instant), counting.admit(instant)) for instant in hammering][-1]

    assert last[0] is not None
    assert last[1] is not None
    # The borders of a fixed window stand where they stand, however often one knocks.
    assert last[1] == last[0] if name == "fixed" else last[1] > last[0]


@pytest.mark.parametrize(("rounding", "expected"), [("up", "13"), ("down", "12"), ("exact", "12.340000")])
def test_retry_after_is_rounded_as_told(rounding: Rounding, expected: str) -> None:
    """Servers differ in this, and rounding down sends an obedient caller into the next 429."""
    assert expected == retry_after(12.34, rounding)
