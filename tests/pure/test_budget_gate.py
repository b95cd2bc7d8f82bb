"""The gate in virtual time: what it lets through, when, and what a 429 does to everybody."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest

from benchmarks.account import Account, World, sustained, worst_window
from seedance_async.budget.gate import Budget
from seedance_async.models import RateLimit
from seedance_async.sandbox import virtual_time

if TYPE_CHECKING:
    from benchmarks.account import Arrival
    from seedance_async.sandbox.options import WindowName

LIMIT = RateLimit(requests=30, period=60.0)
MINUTE = 60.0


def budget() -> Budget:
    """A budget without chance and memory."""
    return Budget(LIMIT, jitter=lambda: 0.0)


def under_full_load(
    algorithm: WindowName, *, origin: float = 0.0, jitter: float = 0.3
) -> tuple[Arrival, ...]:
    """All that arrives in five minutes at a server that counts so."""
    world = World(account=Account(algorithm=algorithm, origin=origin), jitter=jitter)
    return world.live(budget, seconds=5 * MINUTE)


@pytest.mark.parametrize("algorithm", ["fixed", "sliding-log", "token-bucket"])
@pytest.mark.parametrize("jitter", [0.0, 0.3, 3.0])
def test_full_load_is_never_refused_by_a_server_that_keeps_its_word(
    algorithm: WindowName, jitter: float
) -> None:
    """Jitter cannot bring a 31st request into a window, and no throughput is given away for that."""
    arrivals = under_full_load(algorithm, jitter=jitter)

    assert not any(arrival.refused for arrival in arrivals)
    assert worst_window(arrivals) == 30
    assert sustained(arrivals) >= 30 * MINUTE / (MINUTE + jitter + 0.01) - 0.1


@pytest.mark.parametrize("algorithm", ["sliding-counter", "sliding-counter-strict"])
@pytest.mark.parametrize("origin", [0.0, -15.0, -30.0, -45.0])
def test_sliding_counter_refuses_once_and_is_understood(algorithm: WindowName, origin: float) -> None:
    """What is on the wire when it first refuses is all it ever refuses; then even spacing suits it."""
    arrivals = under_full_load(algorithm, origin=origin)

    refused = [arrival.at for arrival in arrivals if arrival.refused]
    assert 0 < len(refused) < 10
    assert max(refused) < 2 * MINUTE
    assert sustained(arrivals) >= 28


async def test_refusal_closes_the_gate_for_everybody() -> None:
    """A 429 is about the account, not about the request that happened to get it."""
    gate = budget()
    (await gate.acquire()).settle(refused=True, retry_after=36.0)

    assert 0 == gate.allowance(anyio.current_time()).free
    await gate.acquire()

    assert anyio.current_time() == pytest.approx(37.0)


async def test_refusal_while_the_token_is_waited_for_closes_the_gate_too() -> None:
    """Whoever waits for the spacing already must not slip through."""
    gate = budget()
    (await gate.acquire()).settle(refused=True, retry_after=0.0)
    slot = await gate.acquire()
    heard_at = anyio.current_time() + 1.0

    async def be_refused() -> None:
        await anyio.sleep_until(heard_at)
        slot.settle(refused=True, retry_after=50.0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(be_refused)
        await gate.acquire()

    assert anyio.current_time() == pytest.approx(heard_at + 51.0)


async def test_requests_are_spaced_after_a_refusal() -> None:
    """One at a time, a spacing apart, whatever the window still has."""
    gate = budget()
    (await gate.acquire()).settle(refused=True, retry_after=0.0)
    instants = []
    for _ in range(4):
        slot = await gate.acquire()
        instants.append(anyio.current_time())
        slot.settle()

    gaps = [later - earlier for earlier, later in pairwise(instants)]
    assert all(2.0 < gap < 2.6 for gap in gaps)
    assert sorted(gaps, reverse=True) == gaps


async def test_few_requests_are_unanswered_at_a_time() -> None:
    """Should the server count otherwise than we believe, it refuses no more than these."""
    gate = budget()
    slots = [await gate.acquire() for _ in range(6)]

    assert 0 == gate.allowance(anyio.current_time()).free
    slots[0].settle()

    assert 1 == gate.allowance(anyio.current_time()).free


async def test_settling_wakes_who_waits_for_the_allowance() -> None:
    """With every slot on the wire there is no instant to wait for; the dispatcher waits for the call."""
    calls: list[float] = []
    gate = budget()
    gate.on_change(lambda: calls.append(anyio.current_time()))
    first, second = await gate.acquire(), await gate.acquire()
    await anyio.sleep(1.0)
    first.settle()
    second.cancel()
    second.settle()

    assert [1.0, 1.0] == calls


async def test_cancelled_slot_can_be_taken_again_at_once() -> None:
    """What was never sent costs nothing."""
    gate = budget()
    for _ in range(29):
        (await gate.acquire()).settle()
    (await gate.acquire()).cancel()

    assert 1 == gate.allowance(anyio.current_time()).free


async def test_allowance_tells_when_slots_return() -> None:
    """The schedule plans with these instants."""
    gate = budget()
    for _ in range(30):
        slot = await gate.acquire()
        await anyio.sleep(0.5)
        slot.settle()

    allowance = gate.allowance(anyio.current_time())
    assert 0 == allowance.free
    assert 60.5 == allowance.returns[0]
    assert 75.0 == allowance.returns[-1]
    assert (30, 60.0) == (allowance.requests, allowance.period)


async def test_allowance_tells_the_spacing_after_a_refusal() -> None:
    """One slot at a time, from the end of the pause on."""
    gate = budget()
    (await gate.acquire()).settle(refused=True, retry_after=10.0)

    allowance = gate.allowance(anyio.current_time())
    first, second, *_ = allowance.returns
    assert 0 == allowance.free
    assert first == pytest.approx(11.0)
    assert second - first == pytest.approx(allowance.pace)


async def test_allowance_agrees_with_what_acquire_does() -> None:
    """A dispatcher that sleeps until the instant it was told must find the gate open then."""
    gate = budget()
    for number in range(80):
        reported = gate.allowance(anyio.current_time())
        expected = anyio.current_time() if reported.free else reported.returns[0]
        slot = await gate.acquire()
        assert anyio.current_time() == pytest.approx(expected, abs=1e-4)
        await anyio.sleep(0.1)
        slot.settle(refused=number == 40, retry_after=5.0)


def test_waiting_is_cancellable() -> None:
    """A client that closes while the gate is closed does not wait for it."""

    async def give_up_after_a_second() -> float:
        gate = budget()
        (await gate.acquire()).settle(refused=True, retry_after=600.0)
        with anyio.move_on_after(1.0):
            await gate.acquire()
        return anyio.current_time()

    assert virtual_time.run(give_up_after_a_second) == pytest.approx(1.0)


async def test_a_limit_of_a_billion_costs_no_more_than_one_of_thirty() -> None:
    """Who measures against a server of his own sets it as good as off; nothing may grow with the number."""
    limit = RateLimit(requests=10**9, period=60.0)
    budget = Budget(limit, jitter=lambda: 0.0)
    slots = [await budget.acquire() for _ in range(3)]
    for slot in slots:
        slot.settle(refused=slot is slots[-1])
    allowance = budget.allowance(anyio.current_time())

    assert allowance.requests <= 240
    assert len(allowance.returns) <= 240
    assert pytest.approx(limit.period / limit.requests, rel=0.5) == allowance.pace
