"""The file in which the budget outlives its process, and which processes share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from io import FileIO
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve

from benchmarks.account import Account, World, sustained, worst_window
from seedance_async.budget.file_memory import (
    FALLBACK_SHARE,
    ClockReading,
    FileMemory,
    MachineClock,
)
from seedance_async.budget.gate import Budget
from seedance_async.budget.lock import locked
from seedance_async.credentials import ApiKey
from seedance_async.models import RateLimit
from seedance_async.sandbox import virtual_time
from seedance_async.state_files import state_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.budget.memory import BudgetState

LIMIT = RateLimit(requests=30, period=60.0)
KEY = "sk_live_a_secret"
ORIGIN = "https://seedance2ai.io"
ACCOUNT = ApiKey(KEY).account(ORIGIN)


class Machine(MachineClock):
    """A machine's clocks, to be turned at will."""

    def __init__(self) -> None:
        self.moment = ClockReading(boot="first", uptime=1_000.0, wall=2_000_000_000.0)

    def pass_time(self, seconds: float) -> None:
        """Let all clocks run."""
        self.moment = evolve(
            self.moment, uptime=self.moment.uptime + seconds, wall=self.moment.wall + seconds
        )

    def read(self) -> ClockReading:
        """What they show."""
        return self.moment


def memory(directory: Path, clock: MachineClock | None = None) -> FileMemory:
    """The memory of one process."""
    return FileMemory(ACCOUNT, directory=directory, clock=clock)


def claim(memory: FileMemory, *instants: float) -> None:
    """Write down that our slots return at these instants; it is 0.0 on our clock."""
    with memory.open(lambda: 0.0) as record:
        record.claims = instants


def others(memory: FileMemory, now: float = 0.0) -> tuple[float, ...]:
    """When others' slots return, as seen from a process whose clock shows ``now``."""
    with memory.open(lambda: now) as record:
        return record.others


def test_claims_are_seen_by_the_next_life_on_its_own_clock(tmp_path: Path) -> None:
    """Every process counts from another zero; what lasts is how long from now."""
    machine = Machine()
    claim(memory(tmp_path, machine), 10.0, 50.0)
    machine.pass_time(20.0)

    assert (7_030.0,) == others(memory(tmp_path, machine), now=7_000.0)


@pytest.mark.case(96)
def test_wall_clock_set_back_frees_nothing(tmp_path: Path) -> None:
    """A summer's hour must neither free slots nor block them for an hour."""
    machine = Machine()
    machine.moment = evolve(machine.moment, boot="")
    claim(memory(tmp_path, machine), 50.0)
    machine.moment = evolve(machine.moment, wall=machine.moment.wall - 3_600.0)

    assert (50.0,) == others(memory(tmp_path, machine))


@pytest.mark.case(96)
def test_wall_clock_steps_do_not_matter_where_boots_have_names(tmp_path: Path) -> None:
    """The time since boot knows no steps."""
    machine = Machine()
    claim(memory(tmp_path, machine), 50.0)
    machine.moment = evolve(machine.moment, wall=machine.moment.wall + 3_600.0)

    assert (50.0,) == others(memory(tmp_path, machine))


def test_after_a_reboot_the_wall_clock_tells(tmp_path: Path) -> None:
    """Uptimes of two boots cannot be compared."""
    machine = Machine()
    claim(memory(tmp_path, machine), 50.0)
    machine.moment = ClockReading(boot="second", uptime=5.0, wall=machine.moment.wall + 30.0)

    assert (20.0,) == others(memory(tmp_path, machine))


def test_lessons_are_shared(tmp_path: Path) -> None:
    """A gate that one process was shown closed is closed for all."""
    mine, yours = memory(tmp_path), memory(tmp_path)
    with mine.open(lambda: 0.0) as record:
        record.pace = record.pace.refused(0.0, sent_at=0.0, wait=36.0, sent=[], limit=LIMIT)

    with yours.open(lambda: 100.0) as record:
        assert record.pace.closed_until == pytest.approx(136.0, abs=1.0)
        assert "others" == record.pace.cause


def test_accounts_do_not_mix(tmp_path: Path) -> None:
    """Another key, or the same at another server, has slots of its own."""
    claim(memory(tmp_path), 50.0)

    assert () == others(FileMemory(ApiKey("sk_live_another").account(ORIGIN), directory=tmp_path))
    assert () == others(FileMemory(ApiKey(KEY).account("http://127.0.0.1:8080"), directory=tmp_path))


def test_key_is_nowhere_and_nobody_else_can_read(tmp_path: Path) -> None:
    """Names of files get around: into backups, tickets, screenshots."""
    directory = tmp_path / "state" / "seedance_async"
    claim(memory(directory), 50.0)

    files = sorted(directory.iterdir())
    assert 0o700 == directory.stat().st_mode & 0o777
    assert [0o600] * len(files) == [file.stat().st_mode & 0o777 for file in files]
    assert not any(KEY in file.name or KEY.encode() in file.read_bytes() for file in files)


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"version": 2}', b'{"version": 1, "slots": {"a": "soon"}}'],
    ids=["half", "list", "newer", "nonsense"],
)
def test_unreadable_file_is_taken_for_a_full_window(tmp_path: Path, content: bytes) -> None:
    """Nobody can say what it held, so for one period nothing is sent, and that is told; then all is well."""
    claim(memory(tmp_path), 50.0)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)

    with memory(tmp_path).open(lambda: 0.0) as record:
        assert 60.0 == record.pace.closed_until
    assert () == others(memory(tmp_path))
    assert 1 == json.loads(file.read_bytes())["version"]


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b" " * 100], ids=["empty", "zeros", "blank"])
def test_a_file_never_written_is_new(tmp_path: Path, content: bytes) -> None:
    """Whoever makes it waits for a second, in which those who know more can be heard."""
    claim(memory(tmp_path), 50.0)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)

    with memory(tmp_path).open(lambda: 0.0) as record:
        assert () == record.others
        assert 1.0 == record.pace.closed_until


def changed(tmp_path: Path, **changes: object) -> BudgetState:
    """What a new process makes of a file of ours in which somebody has changed this."""
    machine = Machine()
    claim(memory(tmp_path, machine), 50.0)
    (file,) = tmp_path.iterdir()
    page = json.loads(file.read_bytes())
    page["written"].update(changes.pop("written", {}))
    page["pace"].update(changes.pop("pace", {}))
    file.write_text(json.dumps({**page, **changes}))
    reader = memory(tmp_path, machine)
    with reader.open(lambda: 0.0) as record:
        pass
    return record


@pytest.mark.case(163)
@pytest.mark.parametrize("slot", [1e9, 3_600.0, 121.0, -1e9, -1.0, float("nan"), float("inf")])
def test_a_slot_that_cannot_be_returns_as_late_as_any_can(tmp_path: Path, slot: float) -> None:
    """Neither at once nor never."""
    assert (120.0,) == changed(tmp_path, slots={"dead": [slot]}).others


@pytest.mark.case(163)
@pytest.mark.parametrize("closed_until", [1e9, 700.0, float("nan"), float("inf")])
def test_a_pause_that_cannot_be_lasts_one_period(tmp_path: Path, closed_until: float) -> None:
    """As that of a refusal without a time; one that a server can have asked for is kept."""
    assert 61.0 == pytest.approx(
        changed(tmp_path, pace={"closed_until": closed_until}).pace.closed_until, abs=0.1
    )
    assert 600.0 == pytest.approx(changed(tmp_path, pace={"closed_until": 600.0}).pace.closed_until, abs=0.1)


@pytest.mark.case(163)
@pytest.mark.parametrize(
    "lesson",
    [
        {"refused_interval": 6e5},
        {"refused_interval": -1.0},
        {"refused_interval": float("nan")},
        {"successes": 10**300},
        {"successes": -(10**9)},
        {"granted_at": 1e9},
        {"refused_at": 1e9},
    ],
    ids=str,
)
def test_a_lesson_that_cannot_be_is_bounded(tmp_path: Path, lesson: dict[str, float]) -> None:
    """The next request leaves within a quarter of a period, as after any lesson."""
    taught = {"cause": "others", "refused_interval": 1.0, "refused_at": 0.0, **lesson}
    pace = changed(tmp_path, pace=taught).pace

    interval = pace.interval(LIMIT)
    assert interval is not None
    assert 0.0 < interval <= LIMIT.period / 4
    assert pace.granted_at <= 0.1
    assert pace.refused_at <= 0.1


@pytest.mark.case(163)
@pytest.mark.parametrize(
    "written",
    [
        {"uptime": 1e7},
        {"boot": "x", "wall": 1e10},
        {"boot": "x", "uptime": -5.0, "wall": 1e300},
        *({"uptime": past} for past in (-1.0, 0.0, -1e308, -inf, nan)),
        *({"boot": "x", "wall": past} for past in (-1.0, 0.0, -1e308, -inf, nan)),
    ],
    ids=str,
)
def test_a_stamp_that_cannot_be_frees_nothing(
    tmp_path: Path, written: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    """No time is taken to have passed since it was written, and that is told."""
    assert (50.0,) == changed(tmp_path, written=written).others
    assert "holds impossible values" in caplog.text


@pytest.mark.case(163)
def test_what_cannot_be_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At a level that shows, and not at every request."""
    for _ in range(3):
        changed(tmp_path, slots={"dead": [1e9]})

    assert ["WARNING"] == [record.levelname for record in caplog.records]


@pytest.mark.case(163)
def test_the_longer_of_two_windows_bounds_the_slots_of_both(tmp_path: Path) -> None:
    """A program that believes in a narrower window of the same rate does not cut the slots of the other."""
    claim(memory(tmp_path), 100.0)
    narrow = FileMemory(ACCOUNT, directory=tmp_path, limit=RateLimit(requests=5, period=10.0))

    assert others(narrow) == pytest.approx((100.0,), abs=0.1)


@pytest.mark.case(163)
def test_a_wait_for_the_window_of_others_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It may last longer than this program's own limit can explain."""
    wide = FileMemory(ACCOUNT, directory=tmp_path, limit=RateLimit(requests=30, period=3600.0))
    claim(wide, 7000.0)

    others(memory(tmp_path))

    assert "counts its requests by 3600 s" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="has no such files")
@pytest.mark.parametrize("what", ["fifo", "/dev/null", "/dev/zero"])
def test_what_keeps_nothing_that_is_written_is_no_file(what: str, tmp_path: Path) -> None:
    """A pipe would never be read to its end, and a device says at every look that the file was lost."""
    claim(memory(tmp_path), 50.0)
    (path,) = tmp_path.iterdir()
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(what)

    assert FALLBACK_SHARE == fallback(memory(tmp_path))


@pytest.mark.case(165)
def test_a_lesson_learned_while_the_file_was_locked_is_kept(tmp_path: Path) -> None:
    """A pause that could not be written down is not taken back by the file that knows nothing of it."""
    mine = memory(tmp_path)
    claim(mine, 50.0)
    (path,) = tmp_path.iterdir()
    file = locked(path)
    assert file is not None
    with file, mine.open(lambda: 0.0) as record:
        assert not record.certain
        record.pace = record.pace.refused(0.0, sent_at=0.0, wait=36.0, sent=[], limit=LIMIT)

    with mine.open(lambda: 1.0) as record:
        assert 36.0 == record.pace.closed_until
        assert "others" == record.pace.cause


def fallback(memory: FileMemory) -> float:
    """The share of the window that is used after two requests."""
    claim(memory, 50.0)
    with memory.open(lambda: 0.0) as record:
        pass
    return record.share


@pytest.mark.case(166)
@pytest.mark.parametrize("left", [lambda _: 10, lambda _: 0], ids=["short", "nothing"])
def test_a_full_disk_leaves_a_share_of_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: Callable[[bytes], int]
) -> None:
    """A write that the disk cuts short says so by its result only."""

    class Full(FileIO):
        def write(self, content: bytes) -> int:  # type: ignore[override]
            return super().write(content[: left(content)])

    def on_a_full_disk(path: Path) -> FileIO:
        return Full(path, "a+")

    monkeypatch.setattr("seedance_async.budget.file_memory.locked", on_a_full_disk)

    assert FALLBACK_SHARE == fallback(memory(tmp_path))


@pytest.mark.case(166)
@pytest.mark.parametrize(
    "place", ["a file", "a link to nowhere", "a name too long", "a directory as the file"]
)
def test_without_a_file_a_share_of_the_window_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """Three processes that cannot see each other stay within one window; one warning says why."""
    directory = tmp_path / ("x" * 300 if "long" in place else "state")
    if place == "a file":
        directory.write_text("")
    elif place == "a link to nowhere":
        directory.symlink_to(tmp_path / "nowhere" / "at all")
    elif place == "a directory as the file":
        (directory / memory(directory)._name).mkdir(parents=True)

    assert FALLBACK_SHARE == fallback(memory(directory))
    assert 3 * int(LIMIT.requests * FALLBACK_SHARE) <= LIMIT.requests
    assert ["WARNING"] == [record.levelname for record in caplog.records]


@pytest.mark.case(166)
async def test_the_gate_keeps_to_its_share(tmp_path: Path) -> None:
    """Ten in a minute, not thirty."""
    (tmp_path / "state").write_text("")
    budget = Budget(LIMIT, memory=memory(tmp_path / "state", VirtualClock()))
    for _ in range(11):
        (await budget.acquire()).settle()

    assert anyio.current_time() == pytest.approx(60.0, abs=0.1)


@pytest.mark.case(167)
@pytest.mark.parametrize("what", ["the file", "the directory"])
def test_a_file_deleted_under_way_is_taken_for_a_full_window(tmp_path: Path, what: str) -> None:
    """What the others had written is gone; it is made again, and nothing is sent for a period."""
    mine = memory(tmp_path / "state")
    claim(mine, 50.0)
    shutil.rmtree(tmp_path / "state") if what == "the directory" else mine._path.unlink()

    with mine.open(lambda: 1.0) as record:
        assert record.certain
        assert 61.0 == record.pace.closed_until


@pytest.mark.case(167)
def test_a_file_replaced_under_way_is_believed_beside_what_is_known(tmp_path: Path) -> None:
    """A newcomer made it anew; of the third process it cannot know."""
    mine, third = memory(tmp_path), memory(tmp_path)
    claim(third, 40.0)
    claim(mine, 50.0)
    (path,) = tmp_path.iterdir()
    path.rename(path.with_suffix(".old"))
    claim(memory(tmp_path), 30.0)

    assert others(mine) == pytest.approx((30.0, 40.0), abs=0.1)
    assert len(others(memory(tmp_path))) == 3


@pytest.mark.case(167)
def test_an_old_copy_put_back_is_taken_for_a_full_window(tmp_path: Path) -> None:
    """What others have taken since is not in it; what is known of them is kept."""
    machine = Machine()
    ours, theirs = memory(tmp_path, machine), memory(tmp_path, machine)
    claim(ours, 10.0)
    (file,) = tmp_path.glob("budget*.json")
    old = file.read_bytes()
    machine.pass_time(1.0)
    claim(theirs, 50.0)
    assert (50.0,) == others(ours)
    file.write_bytes(old)

    with ours.open(lambda: 1.0) as record:
        assert (50.0,) == record.others
        assert 61.0 == record.pace.closed_until
    with theirs.open(lambda: 1.0) as record:
        assert 61.0 == record.pace.closed_until


async def test_slots_of_those_who_wait_are_written_again(tmp_path: Path) -> None:
    """A process that sleeps until its slots return must be seen by one that starts after the deletion."""
    waiting = Budget(LIMIT, memory=memory(tmp_path / "state", VirtualClock()))
    (await waiting.acquire()).settle()
    began = anyio.current_time()
    for _ in range(29):
        (await waiting.acquire()).settle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting.acquire)
        await anyio.sleep(1.0)
        shutil.rmtree(tmp_path / "state")
        newcomer = Budget(LIMIT, memory=memory(tmp_path / "state", VirtualClock()))
        await newcomer.acquire()
        tasks.cancel_scope.cancel()

    assert anyio.current_time() - began >= LIMIT.period - 0.01


def test_memory_ends_with_the_process_where_no_file_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A read-only home is no reason to fail, and is warned of once."""
    obstacle = tmp_path / "file"
    obstacle.write_text("not a directory")
    nowhere = memory(obstacle / "state")
    with caplog.at_level("WARNING"):
        for _ in range(2):
            with nowhere.open(lambda: 0.0) as record:
                record.pace = record.pace.granted(5.0)

    with nowhere.open(lambda: 1.0) as record:
        assert 5.0 == record.pace.granted_at
    assert 1 == len(caplog.records)


def test_memory_that_somebody_keeps_locked_does_not_stop_us(tmp_path: Path) -> None:
    """A process may be stopped at the worst moment; ours then goes by what it knew last."""
    claim(memory(tmp_path), 50.0)
    (path,) = tmp_path.iterdir()
    file = locked(path)
    assert file is not None
    with file:
        assert () == others(memory(tmp_path))

    assert others(memory(tmp_path)) != ()


def test_file_stays_readable_when_less_is_remembered(tmp_path: Path) -> None:
    """It is written over in place; what was longer must leave no tail."""
    mine = memory(tmp_path)
    claim(mine, *[50.0] * 30)
    claim(mine, 40.0)

    assert 1 == len(others(memory(tmp_path)))


def test_state_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours first, then the freedesktop's, then the home."""
    monkeypatch.delenv("SEEDANCE_STATE_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Path("/home/somebody/.local/state/seedance_async") == state_directory()
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert Path("/state/seedance_async") == state_directory()
    monkeypatch.setenv("SEEDANCE_STATE_DIR", "/elsewhere")
    assert Path("/elsewhere") == state_directory()


class VirtualClock(MachineClock):
    """The machine's clocks, for budgets in virtual time."""

    def read(self) -> ClockReading:
        """What they show."""
        now = anyio.current_time()
        return ClockReading(boot="virtual", uptime=1.0 + now, wall=2e9 + now)


@pytest.mark.parametrize("killed_at", [0.3, 1.0, 30.0, 61.0, 100.0])
def test_restarted_process_is_not_refused(tmp_path: Path, killed_at: float) -> None:
    """Killed with requests on the wire, started again two seconds later, at full load."""
    world = World(account=Account(algorithm="sliding-log"), jitter=0.3)

    async def two_lives() -> None:
        for seconds in (killed_at, 180.0):
            await world.load(Budget(LIMIT, memory=memory(tmp_path, VirtualClock())), seconds=seconds)
            await anyio.sleep(2)

    virtual_time.run(two_lives)

    assert not any(arrival.refused for arrival in world.account.arrivals)
    assert 30 == worst_window(world.account.arrivals)


@pytest.mark.parametrize(("kept", "taken_at"), [(0.1, 60.0), (600.0, 121.0)], ids=["briefly", "for ever"])
async def test_locked_memory_is_waited_for_up_to_a_point(
    tmp_path: Path, kept: float, taken_at: float
) -> None:
    """Whoever writes now takes a slot that must be seen; whoever was stopped must not stop us for good."""
    claim(memory(tmp_path, VirtualClock()), *[60.0] * 30)
    (path,) = tmp_path.iterdir()
    budget = Budget(LIMIT, memory=memory(tmp_path, VirtualClock()))

    async def keep() -> None:
        file = locked(path)
        assert file is not None
        with file:
            await anyio.sleep(kept)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep)
        await anyio.lowlevel.checkpoint()
        await budget.acquire()
        tasks.cancel_scope.cancel()

    assert anyio.current_time() == pytest.approx(taken_at, abs=0.1)


def test_processes_share_the_slots_of_an_account(tmp_path: Path) -> None:
    """Three at full load are refused nothing, use all there is, and leave each other a fair share."""
    account = Account(algorithm="sliding-log")

    async def together() -> None:
        async with anyio.create_task_group() as tasks:
            for sender in range(3):
                world = World(account=account, jitter=0.3, seed=sender, sender=sender)
                budget = Budget(LIMIT, memory=memory(tmp_path, VirtualClock()))
                tasks.start_soon(partial(world.load, budget, seconds=600.0))

    virtual_time.run(together)

    assert not any(arrival.refused for arrival in account.arrivals)
    assert sustained(account.arrivals) >= 29.7
    assert all(sum(arrival.sender == sender for arrival in account.arrivals) > 60 for sender in range(3))


def test_processes_share_the_spacing_of_a_taught_budget(tmp_path: Path) -> None:
    """A strict counter is satisfied by both together, not by each alone."""
    account = Account(algorithm="sliding-counter-strict")

    async def together() -> None:
        async with anyio.create_task_group() as tasks:
            for sender in range(2):
                world = World(account=account, jitter=0.3, seed=sender, sender=sender)
                budget = Budget(LIMIT, memory=memory(tmp_path, VirtualClock()))
                tasks.start_soon(partial(world.load, budget, seconds=600.0))

    virtual_time.run(together)

    assert max(arrival.at for arrival in account.arrivals if arrival.refused) < 120.0
    assert sustained(account.arrivals) >= 28


KILLED = """
import os, signal, sys
import anyio
from pathlib import Path
from seedance_async.budget.file_memory import FileMemory
from seedance_async.budget.gate import Budget
from seedance_async.credentials import ApiKey
from seedance_async.models import RateLimit

async def main():
    budget = Budget(RateLimit(), memory=FileMemory(sys.argv[1], directory=Path(sys.argv[2])))
    for number in range(6):
        slot = await budget.acquire()
        if number < 4:
            slot.settle()
    os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_process_leaves_its_stamps(tmp_path: Path) -> None:
    """No farewell is needed: what was taken is written down before it is used."""
    killed = subprocess.run([sys.executable, "-c", KILLED, ACCOUNT, str(tmp_path)], check=False)

    assert -signal.SIGKILL == killed.returncode
    left = others(memory(tmp_path))
    assert 6 == len(left)
    assert all(50 < instant <= 60 for instant in left[:4])
    assert all(110 < instant <= 120 for instant in left[4:])
