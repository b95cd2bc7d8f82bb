"""The benchmark of the request budget, under every window algorithm, with a second consumer, over restarts.

The load is endless: whenever the limiter lets a request through, one is sent, and one that is refused goes
through the limiter again. The server's windows are the sandbox's, which know nothing of the client. Time is
virtual: an hour takes a fraction of a second.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from benchmarks.account import (
    PERIOD,
    REQUESTS,
    Account,
    Arrival,
    Limiter,
    Shift,
    World,
    sustained,
    worst_window,
)
from benchmarks.limiters import Bucket, EveryPeriod, SentLog
from benchmarks.report import Size, Table
from seedance_async.budget.file_memory import ClockReading, FileMemory, MachineClock
from seedance_async.budget.gate import Budget
from seedance_async.models import RateLimit
from seedance_async.sandbox import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from seedance_async.sandbox.options import WindowName

    Make = Callable[[], Limiter]

LIMIT: Final = RateLimit(requests=REQUESTS, period=PERIOD)
MINUTES: Final = 22
HOUR: Final = 3600.0
CARRIES: Final = {"sliding-counter-strict": REQUESTS - 1}
"""Requests a period a server lets in for long, where it is not what it promises."""
ALGORITHMS: Final[tuple[WindowName, ...]] = (
    "fixed",
    "sliding-log",
    "token-bucket",
    "sliding-counter",
    "sliding-counter-strict",
)
CLIENTS: Final[dict[str, Make]] = {
    "this budget": lambda: Budget(LIMIT),
    "AsyncLimiter(30, 60)": lambda: Bucket(30, 60),
    "AsyncLimiter(1, 2)": lambda: Bucket(1, 2),
    "AsyncLimiter(1, 2.1)": lambda: Bucket(1, 2.1),
    "30 stamps of sending": lambda: SentLog(30, 60),
    "30, then the next minute": lambda: EveryPeriod(30, 60),
}


def run(size: Size) -> list[Table]:
    """Every table; a quick one tries fewer places of the server's windows, and fewer dice."""
    quick = size is Size.QUICK
    return [
        _algorithms(jitter=0.3, phases=2 if quick else 12),
        _algorithms(jitter=3.0, phases=2 if quick else 12),
        _counters(phases=12 if quick else 120),
        _second_consumer(seeds=1 if quick else 3),
        _restarts(),
        _sharing(),
    ]


def _algorithms(*, jitter: float, phases: int) -> Table:
    return Table(
        name=f"Requests refused, by how the server counts (jitter 0-{jitter:g} s each way)",
        conditions=f"30 per 60 s, full load, {MINUTES} minutes, worst of {phases} places of the server's "
        "windows; counters: refused in the first 2 minutes + in the next 20",
        columns=("client", "first minute", "sustained/60 s", "worst 60 s", *ALGORITHMS),
        rows=tuple(_client_row(name, make, jitter, phases) for name, make in CLIENTS.items()),
    )


def _client_row(name: str, make: Make, jitter: float, phases: int) -> tuple[str | int | float, ...]:
    runs = {algorithm: _runs(make, algorithm, jitter, phases) for algorithm in ALGORITHMS}
    lenient = runs["sliding-log"]
    return (
        name,
        max(sum(arrival.at < PERIOD for arrival in arrivals) for arrivals in lenient),
        round(min(sustained(arrivals) for arrivals in lenient), 2),
        max(worst_window(arrivals) for each in runs.values() for arrivals in each),
        *(_refusals(algorithm, runs[algorithm]) for algorithm in ALGORITHMS),
    )


def _runs(make: Make, algorithm: WindowName, jitter: float, phases: int) -> list[tuple[Arrival, ...]]:
    """Window borders are tried all over the period; an algorithm that has none, with as many dice."""
    return [
        World(
            account=Account(algorithm=algorithm, origin=phase * PERIOD / phases - PERIOD),
            jitter=jitter,
            seed=phase,
        ).live(make, seconds=MINUTES * PERIOD)
        for phase in range(phases)
    ]


def _refusals(algorithm: WindowName, runs: Sequence[Sequence[Arrival]]) -> str | int:
    if not algorithm.startswith("sliding-counter"):
        return max(sum(arrival.refused for arrival in arrivals) for arrivals in runs)
    early, late = zip(*map(_early_and_late, runs), strict=True)
    return f"{max(early)} + {max(late)}"


def _early_and_late(arrivals: Iterable[Arrival]) -> tuple[int, int]:
    refused = [arrival.at for arrival in arrivals if arrival.refused]
    early = sum(at < 2 * PERIOD for at in refused)
    return early, len(refused) - early


def _counters(*, phases: int) -> Table:
    """How long a counter stays hidden.

    One whose window ends just after the first burst lets the second one pass as a log does, and can be told
    from it by nobody until the burst, a little later every minute, drifts over the border.
    """
    return Table(
        name="When a sliding counter is found out",
        conditions=f"this budget, full load, {MINUTES} minutes, {phases} places of the server's windows, "
        "jitter 0-0.3 s each way",
        columns=(
            "server",
            "most refused in 2 min",
            "places refused later",
            "most refused at all",
            "sustained/60 s",
        ),
        rows=tuple(_counter_row(algorithm, phases) for algorithm in ALGORITHMS[-2:]),
    )


def _counter_row(algorithm: WindowName, phases: int) -> tuple[str | int | float, ...]:
    runs = _runs(CLIENTS["this budget"], algorithm, 0.3, phases)
    counts = [_early_and_late(arrivals) for arrivals in runs]
    return (
        algorithm,
        max(early for early, _ in counts),
        sum(late > 0 for _, late in counts),
        max(early + late for early, late in counts),
        round(min(sustained(arrivals) for arrivals in runs), 2),
    )


CONSUMERS: Final[dict[str, tuple[Shift, ...]]] = {
    "always there": (Shift(begin=0, end=HOUR, interval=4.0),),
    "every other 15 min": tuple(Shift(begin=b, end=b + 900, interval=4.0) for b in (900, 2700)),
    "every other 10 min": tuple(Shift(begin=b, end=b + 600, interval=4.0) for b in (600, 1800, 3000)),
}


def _second_consumer(*, seeds: int) -> Table:
    paced = "AsyncLimiter(1, 2.1)"
    return Table(
        name="Beside a second consumer that takes half of the account",
        conditions=f"one hour, full load, jitter 0-0.3 s each way, worst of {seeds} dice; refused: share of "
        "our requests, used: share of what the consumer leaves; harsh: refused requests count, Retry-After "
        "is rounded down",
        columns=("server", "consumer", "refused %", "used %", f"refused %, {paced}", f"used %, {paced}"),
        rows=tuple(
            (
                f"{algorithm}, harsh" if harsh else algorithm,
                consumer,
                *_shares(CLIENTS["this budget"], algorithm, harsh, shifts, seeds),
                *_shares(CLIENTS[paced], algorithm, harsh, shifts, seeds),
            )
            for algorithm, harsh, (consumer, shifts) in product(ALGORITHMS, (False, True), CONSUMERS.items())
        ),
    )


def _shares(
    make: Make, algorithm: WindowName, harsh: bool, shifts: Sequence[Shift], seeds: int
) -> tuple[float, float]:
    """Worst share of our requests refused, and of what was left used, in percent."""
    runs = [
        _beside(make, Account(algorithm=algorithm, harsh=harsh, origin=-37.0), shifts, seed)
        for seed in range(seeds)
    ]
    return round(max(refused for refused, _ in runs), 1), round(min(used for _, used in runs), 1)


def _beside(make: Make, account: Account, shifts: Sequence[Shift], seed: int) -> tuple[float, float]:
    arrivals = World(account=account, jitter=0.3, seed=seed).live(make, seconds=HOUR, shifts=shifts)
    ours = [not arrival.refused for arrival in arrivals if arrival.ours]
    theirs = sum(account.harsh or not arrival.refused for arrival in arrivals if not arrival.ours)
    left = CARRIES.get(account.algorithm, REQUESTS) * HOUR / PERIOD - theirs
    return 100 * (1 - sum(ours) / len(ours)), 100 * sum(ours) / left


def _restarts() -> Table:
    return Table(
        name="Killed, and started again two seconds later",
        conditions="sliding log, full load, jitter 0-0.3 s each way; requests refused after the restart",
        columns=("killed after s", "with the file", "without"),
        rows=tuple(
            (killed_at, _restart(killed_at, keep=True), _restart(killed_at, keep=False))
            for killed_at in (0.5, 3, 30, 61, 75, 119)
        ),
    )


def _restart(killed_at: float, *, keep: bool) -> int:
    world = World(account=Account(algorithm="sliding-log"), jitter=0.3)

    async def two_lives(directory: Path) -> None:
        for seconds in (killed_at, 5 * PERIOD):
            await world.load(_remembering(directory) if keep else Budget(LIMIT), seconds=seconds)
            await anyio.sleep(2)

    with tempfile.TemporaryDirectory() as directory:
        virtual_time.run(two_lives, Path(directory))
    return sum(arrival.refused for arrival in world.account.arrivals if arrival.at > killed_at)


def _sharing() -> Table:
    return Table(
        name="Several processes on one account",
        conditions=f"one machine, sliding log, full load in each, {MINUTES} minutes, jitter 0-0.3 s each way",
        columns=("processes", "refused", "worst 60 s", "sustained/60 s", "smallest share %"),
        rows=tuple(_shared(processes) for processes in (1, 2, 4)),
    )


def _shared(processes: int) -> tuple[int | float, ...]:
    account = Account(algorithm="sliding-log")

    async def together(directory: Path) -> None:
        async with anyio.create_task_group() as tasks:
            for sender in range(processes):
                world = World(account=account, jitter=0.3, seed=sender, sender=sender)
                tasks.start_soon(partial(world.load, _remembering(directory), seconds=MINUTES * PERIOD))

    with tempfile.TemporaryDirectory() as directory:
        virtual_time.run(together, Path(directory))
    sent = Counter(arrival.sender for arrival in account.arrivals)
    return (
        processes,
        sum(arrival.refused for arrival in account.arrivals),
        worst_window(account.arrivals),
        round(sustained(account.arrivals), 2),
        round(100 * min(sent.values()) / sent.total(), 1),
    )


def _remembering(directory: Path) -> Budget:
    return Budget(LIMIT, memory=FileMemory("account", directory=directory, clock=_VirtualClock()))


class _VirtualClock(MachineClock):
    """The running loop's time, as clocks that outlive a process."""

    def read(self) -> ClockReading:
        now = anyio.current_time()
        return ClockReading(boot="virtual", uptime=now, wall=now)
