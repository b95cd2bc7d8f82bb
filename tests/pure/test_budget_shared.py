"""The budget that hosts share at a server: the file's law, whatever becomes of server and clocks."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

import anyio
import pytest
from attrs import evolve

from benchmarks.account import Account, World, sustained, worst_window
from benchmarks.shared_server import EPOCH, Line, Server
from seedance_async.budget.gate import Budget
from seedance_async.budget.shared_memory import FALLBACK_SHARE, fingerprint
from seedance_async.budget.shared_page import Entry, SharedPage, parsed
from seedance_async.budget.shared_view import Offset, missing
from seedance_async.models import RateLimit
from seedance_async.sandbox import virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from seedance_async.budget.gate import Slot
    from seedance_async.sandbox.options import WindowName


pytestmark = pytest.mark.timeout(180)
"""Minutes of four processes are some 10 s of work, and the machine may have more to do."""

LIMIT = RateLimit(requests=30, period=60.0)
MINUTE = 60.0


@asynccontextmanager
async def serving(*budgets: Budget) -> AsyncIterator[tuple[Budget, ...]]:
    """Budgets in touch with their server; at the end their processes are killed."""
    async with anyio.create_task_group() as tasks:
        for budget in budgets:
            tasks.start_soon(budget.serve)
        yield budgets
        tasks.cancel_scope.cancel()


def processes(server: Server, count: int) -> AbstractAsyncContextManager[tuple[Budget, ...]]:
    """The budgets of so many processes."""
    return serving(*(Budget(LIMIT, memory=server.memory(LIMIT)) for _ in range(count)))


async def answered(slot: Slot) -> None:
    """A request is answered after a tenth of a second."""
    await anyio.sleep(0.1)
    slot.settle()


async def run_process(budget: Budget, world: World, *, seconds: float) -> None:
    """One process at full load for so long; then it is killed."""
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(budget.serve)
            await world.load(budget, seconds=seconds)
            tasks.cancel_scope.cancel()


def share(
    *,
    processes: int = 4,
    minutes: float = 8,
    server: Server | None = None,
    trouble: Callable[[Server], Coroutine[None, None, None]] | None = None,
    jitter: float = 0.3,
    algorithm: WindowName = "sliding-log",
) -> Account:
    """Processes of one account at full load, and something that happens to their server; what arrived."""
    account = Account(algorithm=algorithm)
    there = server or Server()

    async def together() -> None:
        async with anyio.create_task_group() as tasks:
            for sender in range(processes):
                world = World(account=account, jitter=jitter, seed=sender, sender=sender)
                budget = Budget(LIMIT, memory=there.memory(LIMIT))
                tasks.start_soon(partial(run_process, budget, world, seconds=minutes * MINUTE))
            if trouble is not None:
                tasks.start_soon(trouble, there)

    virtual_time.run(together)
    return account


def shares(account: Account) -> list[float]:
    """Of each process, its requests over an equal share."""
    sent = Counter(arrival.sender for arrival in account.arrivals)
    return [count * len(sent) / sent.total() for count in sent.values()]


@pytest.mark.parametrize(
    ("processes", "algorithm"),
    [(1, "fixed"), (2, "fixed"), (4, "fixed"), (4, "sliding-log"), (4, "token-bucket")],
)
def test_processes_share_the_window_evenly_and_use_all_of_it(processes: int, algorithm: WindowName) -> None:
    """None is refused, however the server counts."""
    account = share(processes=processes, algorithm=algorithm)

    assert worst_window(account.arrivals) <= 30
    assert not any(arrival.refused for arrival in account.arrivals)
    assert sustained(account.arrivals) > 0.95 * 30
    assert all(0.7 < each < 1.3 for each in shares(account))


@pytest.mark.parametrize("keep", [True, False], ids=["with its data", "without"])
def test_processes_killed_and_started_at_random_open_no_window(keep: bool) -> None:
    """Although the server is restarted among them."""
    account, server, rng = Account(algorithm="sliding-log"), Server(), random.Random("killed and started")

    async def lives(sender: int) -> None:
        while anyio.current_time() < 8 * MINUTE:
            world = World(account=account, jitter=0.3, seed=rng.randrange(1000), sender=sender)
            budget = Budget(LIMIT, memory=server.memory(LIMIT))
            await run_process(budget, world, seconds=rng.uniform(5.0, 100.0))
            await anyio.sleep(rng.uniform(0.0, 10.0))

    async def together() -> None:
        async with anyio.create_task_group() as tasks:
            for sender in range(4):
                tasks.start_soon(lives, sender)
            tasks.start_soon(partial(restart, server, keep=keep, away=2.0))

    virtual_time.run(together)

    assert worst_window(account.arrivals) <= 30
    assert not any(arrival.refused for arrival in account.arrivals)
    assert len(account.arrivals) > 4 * 30


def test_a_slow_way_to_the_server_costs_its_time_only() -> None:
    """A tenth of a second each way: another continent."""
    account = share(server=Server(latency=0.1))

    assert worst_window(account.arrivals) <= 30
    assert sustained(account.arrivals) > 0.9 * 30


async def restart(server: Server, *, keep: bool, away: float) -> None:
    """Three and a half minutes in, the server goes away, and comes back."""
    await anyio.sleep(3.5 * MINUTE + 0.123)
    server.is_away = True
    await anyio.sleep(away)
    server.restart("second", keep=keep)
    server.is_away = False


@pytest.mark.parametrize("away", [0.0, 1.0, 20.0, 100.0])
@pytest.mark.parametrize("keep", [True, False], ids=["with its data", "without"])
def test_a_server_that_is_restarted_opens_no_window(keep: bool, away: float) -> None:
    """And stops nobody for long."""
    account = share(trouble=partial(restart, keep=keep, away=away))

    assert worst_window(account.arrivals) <= 30
    assert not any(arrival.refused for arrival in account.arrivals)
    instants = [arrival.at for arrival in account.arrivals]
    assert max(later - earlier for earlier, later in pairwise(instants)) < 2 * MINUTE


async def test_requests_that_go_one_by_one_after_a_restart_use_all_of_the_window() -> None:
    """A slot that another process was given first, or that is decided again, costs no further interval."""
    server, account = Server(), Account(algorithm="sliding-log")
    async with processes(server, 1) as (budget,):
        await anyio.sleep(10.0)
        server.restart("second")
        await World(account=account, jitter=0.3).load(budget, seconds=MINUTE + 5.0)

    instants = [arrival.at for arrival in account.arrivals]
    assert len(instants) >= 27
    assert worst_window(account.arrivals) <= 30
    assert min(later - earlier for earlier, later in pairwise(instants[1:])) > 1.5


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_server_whose_clock_is_set_opens_no_window(step: float) -> None:
    """It is taken for another one."""

    async def set_clock(server: Server) -> None:
        await anyio.sleep(3.5 * MINUTE + 0.123)
        server.clock = step

    account = share(trouble=set_clock)

    assert worst_window(account.arrivals) <= 30
    assert not any(arrival.refused for arrival in account.arrivals)


@pytest.mark.parametrize(("seconds", "is_set"), [(0.02, False), (0.2, True), (-0.2, True)])
def test_a_clock_that_is_set_by_a_fifth_of_a_second_is_noticed(seconds: float, is_set: bool) -> None:
    """By less than that, clocks drift, and answers take as long."""
    before = Offset.between(10.0, EPOCH + 10.0, 10.01)
    after = Offset.between(15.0, EPOCH + 15.0 + seconds, 15.01)

    assert is_set == after.differs(before)


def test_a_page_that_is_deleted_opens_no_window() -> None:
    """Who knows it writes it again."""

    async def delete(server: Server) -> None:
        for _ in range(5):
            await anyio.sleep(1.7 * MINUTE + 0.123)
            server.kept.clear()

    account = share(trouble=delete)

    assert worst_window(account.arrivals) <= 30


async def test_away_all_processes_together_use_no_more_than_the_window(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each is told once, and goes on."""
    server = Server(is_away=True)
    account = Account(algorithm="sliding-log")
    async with anyio.create_task_group() as tasks:
        for sender in range(4):
            world = World(account=account, jitter=0.3, seed=sender, sender=sender)
            budget = Budget(LIMIT, memory=server.memory(LIMIT))
            tasks.start_soon(partial(run_process, budget, world, seconds=6 * MINUTE))

    assert worst_window(account.arrivals) <= 30
    sent = Counter(arrival.sender for arrival in account.arrivals)
    assert 4 == len(sent)
    assert all(count >= 6 * int(30 * FALLBACK_SHARE) - 7 for count in sent.values())
    assert 4 == sum("cannot be reached" in record.message for record in caplog.records)


@pytest.mark.parametrize("begins_so", [False, True], ids=["after a while", "from the beginning"])
def test_a_server_that_can_only_be_read_is_as_one_away(
    begins_so: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Each process goes on with its share, is told once, and has the whole window again afterwards."""
    caplog.set_level("INFO")
    server = Server(is_read_only=begins_so)

    async def refuse(server: Server) -> None:
        await anyio.sleep(2 * MINUTE + 0.123)
        server.is_read_only = True
        await anyio.sleep(6 * MINUTE)
        told.extend(record.levelname for record in caplog.records if "shared" in record.message)
        server.is_read_only = False

    told: list[str] = []
    account = share(minutes=14, server=server, trouble=refuse)

    assert worst_window(account.arrivals) <= 30
    meanwhile = [arrival.at for arrival in account.arrivals if 4 * MINUTE < arrival.at < 8 * MINUTE]
    assert len(meanwhile) > 4 * 15
    assert max(later - earlier for earlier, later in pairwise(meanwhile)) < MINUTE
    assert ["WARNING"] * 4 == told
    assert 4 == sum("may have lost slots" in record.message for record in caplog.records)
    assert sum(arrival.at > 11 * MINUTE for arrival in account.arrivals) > 3 * 27


async def test_a_process_that_knows_nothing_new_when_the_server_goes_waits_a_period() -> None:
    """Three that were idle, while a fourth has used the window since they asked last."""
    server = Server()
    account = Account(algorithm="sliding-log")

    async def load(budget: Budget, sender: int) -> None:
        world = World(account=account, jitter=0.3, seed=sender, sender=sender)
        await world.load(budget, seconds=2 * MINUTE if sender else MINUTE / 2)

    async with processes(server, 4) as (busy, *idle), anyio.create_task_group() as tasks:
        await anyio.sleep(11.0)
        tasks.start_soon(load, busy, 0)
        await anyio.sleep(3.0)
        server.is_away = True
        for sender, budget in enumerate(idle, 1):
            tasks.start_soon(load, budget, sender)

    assert 30 == worst_window(account.arrivals)
    assert 4 == len({arrival.sender for arrival in account.arrivals})


async def test_a_process_that_begins_without_its_server_waits_a_period() -> None:
    """Those before it may have used the whole window; after that it has its share."""
    server = Server(is_away=True)
    account = Account(algorithm="sliding-log")
    budget = Budget(LIMIT, memory=server.memory(LIMIT))
    await run_process(budget, World(account=account, jitter=0.3), seconds=2 * MINUTE)

    assert account.arrivals[0].at >= MINUTE
    assert int(30 * FALLBACK_SHARE) == len(account.arrivals)


@pytest.mark.parametrize("restarts", [True, False], ids=["restarted", "cut off"])
async def test_a_process_that_dies_without_its_server_leaves_room_for_what_it_sent(restarts: bool) -> None:
    """Nobody has heard of its last requests; one period later all slots are used again."""
    server, account = Server(), Account(algorithm="sliding-log")
    line = Line(server)
    dead = Budget(LIMIT, memory=server.memory(LIMIT, line=line))
    heir = Budget(LIMIT, memory=server.memory(LIMIT))
    async with serving(heir), anyio.create_task_group() as tasks:
        tasks.start_soon(dead.serve)
        slot = await dead.acquire()
        account.arrive(sender=0)
        slot.settle()
        await anyio.sleep(10.0)
        server.is_away = True
        await anyio.sleep(2.0)
        await World(account=account, jitter=0.3).load(dead, seconds=3.0)
        line.is_cut = True
        assert 1 + int(29 * FALLBACK_SHARE) == len(account.arrivals)
        if restarts:
            server.restart("second")
        server.is_away = False
        await World(account=account, jitter=0.3, sender=1).load(heir, seconds=4 * MINUTE)
        tasks.cancel_scope.cancel()

    assert 30 == worst_window(account.arrivals)


async def test_slots_that_only_a_lost_server_and_a_dead_process_knew_are_waited_for() -> None:
    """Taken in the last second before the server lost everything."""
    server, account = Server(), Account(algorithm="sliding-log")
    line = Line(server)
    dead = Budget(LIMIT, memory=server.memory(LIMIT, line=line))
    heir = Budget(LIMIT, memory=server.memory(LIMIT))
    async with serving(heir), anyio.create_task_group() as tasks:
        tasks.start_soon(dead.serve)
        await anyio.sleep(11.0)
        with anyio.move_on_after(1.0):
            await World(account=account, jitter=0.3).load(dead, seconds=1.0)
        line.is_cut = True
        server.restart("second", keep=False)
        await World(account=account, jitter=0.3, sender=1).load(heir, seconds=2 * MINUTE)
        tasks.cancel_scope.cancel()

    assert 30 == worst_window(account.arrivals)


async def test_one_process_that_alone_has_lost_the_server_adds_its_share_at_most() -> None:
    """The others use the whole window meanwhile."""
    server, account = Server(), Account(algorithm="sliding-log")
    lines = [Line(server), Line(server)]
    async with anyio.create_task_group() as tasks:
        for sender, line in enumerate(lines):
            world = World(account=account, jitter=0.3, seed=sender, sender=sender)
            budget = Budget(LIMIT, memory=server.memory(LIMIT, line=line))
            tasks.start_soon(partial(run_process, budget, world, seconds=6 * MINUTE))
        await anyio.sleep(1.5 * MINUTE)
        lines[0].is_cut = True

    assert worst_window(account.arrivals) <= 30 + int(30 * FALLBACK_SHARE)


def test_a_budget_is_missing_if_it_was_at_work_and_has_not_written_since() -> None:
    """One that ended long before is not waited for."""
    page = SharedPage(
        entries={
            "me": Entry(seen_at=100.0, server="first"),
            "back": Entry(seen_at=100.0, server="second"),
            "silent": Entry(seen_at=99.0, server="first"),
            "ended": Entry(seen_at=90.0, server="first"),
        }
    )
    assert ["silent"] == missing(page, "me", server="second", since=-inf)


def test_a_budget_is_missing_from_the_same_server_by_when_it_wrote() -> None:
    """Before it was lost, or after."""
    seen = {"silent": 99.0, "back": 100.0}
    entries = {budget: Entry(seen_at=at, server="first") for budget, at in seen.items()}
    page = SharedPage(entries=entries)

    assert ["silent"] == missing(page, "me", server="first", since=99.5)
    assert [] == missing(page, "me", server="first", since=-inf)


async def test_a_pause_holds_for_everybody() -> None:
    """Also for a process that has nothing to send when it begins."""
    server = Server()
    async with processes(server, 2) as (one, other):
        slot = await one.acquire()
        slot.settle(refused=True, retry_after=40.0)
        await anyio.sleep(1.0)
        began = anyio.current_time()
        (await other.acquire()).settle()

    assert anyio.current_time() - began >= 39.0


async def test_a_dead_process_frees_its_slots_after_two_periods() -> None:
    """Nobody lives to see the answers of what it had on the wire."""
    server = Server()
    async with processes(server, 1) as (dead,):
        for _ in range(6):
            await dead.acquire()
    async with processes(server, 1) as (heir,):
        for _ in range(24):
            (await heir.acquire()).settle()
        began = anyio.current_time()
        (await heir.acquire()).settle()

    assert anyio.current_time() - began == pytest.approx(60.0, abs=1.0)


async def test_an_interactive_request_goes_before_a_batch_elsewhere() -> None:
    """Ten times: it has one of the first two slots that come back."""
    server = Server()
    order: list[str] = []

    async def batch(budget: Budget) -> None:
        while True:
            slot = await budget.acquire()
            order.append("batch")
            await anyio.sleep(0.1)
            slot.settle()

    async with processes(server, 2) as (busy, quiet), anyio.create_task_group() as tasks:
        tasks.start_soon(batch, busy)
        quiet.set_interactive(interactive=True)
        for turn in range(10):
            await anyio.sleep(70.0 + 7.0 * turn)
            before = len(order)
            slot = await quiet.acquire()
            assert len(order) - before <= 1
            slot.settle()
        tasks.cancel_scope.cancel()


async def test_a_stream_of_interactive_requests_and_a_batch_starve_neither() -> None:
    """The batch has a fifth at least."""
    server = Server()
    sent: Counter[str] = Counter()

    async def send(name: str, budget: Budget) -> None:
        async with anyio.create_task_group() as exchanges:
            while True:
                slot = await budget.acquire()
                sent[name] += 1
                exchanges.start_soon(answered, slot)

    async with processes(server, 2) as (busy, quiet), anyio.create_task_group() as tasks:
        quiet.set_interactive(interactive=True)
        tasks.start_soon(send, "batch", busy)
        tasks.start_soon(send, "interactive", quiet)
        await anyio.sleep(10 * MINUTE)
        tasks.cancel_scope.cancel()

    assert 0.2 <= sent["batch"] / sent.total() <= 0.5


async def test_idle_processes_hardly_ask_the_server() -> None:
    """Each a read or two and a write in five seconds."""
    server = Server()
    async with processes(server, 4):
        await anyio.sleep(10.0)
        before = server.asked
        await anyio.sleep(100.0)

    assert server.asked - before <= 4 * 3 * 20


DAMAGE = {
    "no page": "hello",
    "another layout": SharedPage().text().replace('"version":1', '"version":2'),
    "half": SharedPage(entries={"another": Entry(claims=(1.0, 2.0))}).text()[:60],
}


@pytest.mark.parametrize("text", DAMAGE.values(), ids=DAMAGE)
async def test_a_damaged_page_is_taken_for_a_full_window(text: str) -> None:
    """Nothing is sent for one period."""
    server = Server(kept={fingerprint("account"): (7, text)})
    async with processes(server, 1) as (budget,):
        (await budget.acquire()).settle()

    assert 60.0 <= anyio.current_time() < 63.0


@pytest.mark.parametrize("claim", [float("nan"), float("inf"), EPOCH + 1e9])
async def test_a_slot_that_cannot_be_returns_as_late_as_any_can(claim: float) -> None:
    """So whoever writes nonsense into the database stops us for two periods at most."""
    entry = Entry(claims=(claim,) * 30, seen_at=EPOCH)
    page = SharedPage(server="first", entries={"another": entry})
    server = Server(kept={fingerprint("account"): (7, page.text())})
    async with processes(server, 1) as (budget,):
        (await budget.acquire()).settle()

    assert 120.0 <= anyio.current_time() < 130.0


async def test_the_key_and_the_account_are_not_told() -> None:
    """The server sees a hash, and numbers."""
    server = Server()
    memory = server.memory(LIMIT, account="https://seedance2ai.io 0123abcd")
    async with serving(Budget(LIMIT, memory=memory)) as (budget,):
        (await budget.acquire()).settle()
        await anyio.sleep(1.0)

    (name,) = server.kept
    assert "seedance" not in name
    assert "0123abcd" not in f"{server.kept}"


async def test_a_take_decided_on_an_older_page_is_decided_again() -> None:
    """One slot is left, and two reach for it in the same moment."""
    server = Server(latency=0.05)
    async with processes(server, 2) as (one, other):
        for _ in range(29):
            (await one.acquire()).settle()
        await anyio.sleep(2.0)
        taken = []

        async def take(budget: Budget) -> None:
            (await budget.acquire()).settle()
            taken.append(anyio.current_time())

        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take, one)
            tasks.start_soon(take, other)

    assert 1 == sum(at < began + 10.0 for at in taken)


def test_a_page_survives_its_text() -> None:
    """As it was written."""
    page = SharedPage(
        server="a", entries={"b": Entry(claims=(1.5,), seen_at=2.0, wait=2)}, paced_until=3.0, in_a_row=2
    )
    assert page == parsed(page.text())
    assert parsed(evolve(page, paced_until=float("-inf")).text()) is not None
