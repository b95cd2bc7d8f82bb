"""The exact window: no period may carry more arrivals than slots, whatever the network does."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from math import inf

from attrs import frozen
from hypothesis import example, given
from hypothesis import strategies as st

from seedance_async.budget.window import Window
from seedance_async.models import RateLimit

LIMIT = RateLimit(requests=3, period=10.0)


@frozen
class Exchange:
    """A request that leaves after ``idle`` seconds, or when a slot is free; answered after ``latency``."""

    idle: float
    latency: float


seconds = st.floats(0, 25).map(lambda value: round(value, 1))
traffic = st.lists(st.builds(Exchange, idle=st.just(0.0) | seconds, latency=seconds), max_size=40)


def spent(traffic: list[Exchange]) -> list[tuple[float, float]]:
    """Send all of it as early as the window allows: instants of sending and of the answer."""
    window, now = Window(LIMIT), 0.0
    under_way: list[tuple[float, float]] = []
    spans = []

    def settle_answered() -> None:
        while under_way and under_way[0][0] <= now:
            answered_at, sent_at = heapq.heappop(under_way)
            window.settle(sent_at, answered_at)

    for exchange in traffic:
        now += exchange.idle
        settle_answered()
        while (opens := window.opens(now, slots=LIMIT.requests)) is None or opens > now:
            now = min(opens or inf, under_way[0][0] if under_way else inf)
            settle_answered()
        window.take(now)
        heapq.heappush(under_way, (now + exchange.latency, now))
        spans.append((now, now + exchange.latency))
    return spans


@given(traffic)
@example([Exchange(0.0, 0.0)] * 7)
@example([Exchange(0.0, 25.0), *[Exchange(0.0, 0.1)] * 9])
def test_no_period_carries_more_arrivals_than_slots(traffic: list[Exchange]) -> None:
    """Wherever between sending and answer the requests arrived, no period saw a fourth."""
    spans = spent(traffic)

    sent, answered = sorted(sent for sent, _ in spans), sorted(answer for _, answer in spans)
    for begin in answered:  # of all windows, those that begin with the end of a span meet the most
        might_have_arrived = bisect_left(sent, begin + LIMIT.period) - bisect_left(answered, begin)
        assert might_have_arrived <= LIMIT.requests


@given(st.lists(seconds, min_size=3, max_size=3))
def test_whole_allowance_is_given_out_again_one_period_after_the_answers(latencies: list[float]) -> None:
    """Exactness has two sides: a slot that could be used is not kept back."""
    window = Window(LIMIT)
    for _ in latencies:
        window.take(0.0)
    for latency in sorted(latencies):
        window.settle(0.0, latency)

    openings = window.openings(max(latencies), slots=LIMIT.requests)

    assert [max(latency + LIMIT.period, *latencies) for latency in sorted(latencies)] == openings


def test_slot_on_the_wire_has_no_instant_of_return() -> None:
    """Until the answer is here, nobody can say when the server began to count."""
    window = Window(LIMIT)
    for _ in range(LIMIT.requests):
        window.take(0.0)

    assert window.opens(1_000.0, slots=LIMIT.requests) is None


def test_cancelled_slot_is_free_at_once() -> None:
    """What was never sent was never counted."""
    window = Window(LIMIT)
    window.take(1.0)
    window.cancel(1.0)

    assert [2.0, 2.0, 2.0] == window.openings(2.0, slots=LIMIT.requests)


def test_others_slots_count_until_they_return() -> None:
    """Processes that share an account share its slots."""
    window = Window(LIMIT)
    window.others = (4.0, 8.0)

    assert [5.0, 5.0, 8.0] == window.openings(5.0, slots=LIMIT.requests)


def test_window_drains_before_it_gives_out_slots_when_it_was_narrowed() -> None:
    """With three used and room for one, the first two that return open nothing."""
    window = Window(LIMIT)
    window.others = (4.0, 6.0, 8.0)

    assert [8.0] == window.openings(0.0, slots=1)


def test_claims_cover_requests_whose_answers_nobody_will_see() -> None:
    """A successor must assume that what was on the wire at our death arrived up to a period later."""
    window = Window(LIMIT)
    window.take(0.0)
    window.take(1.0)
    window.settle(0.0, 2.0)

    assert (12.0, 21.0) == window.claims(3.0)
