"""The memory of a budget in a small file per account, shared by all processes that use it on this machine.

Every process writes its claims to the file before it sends, under a lock. So the processes share the slots of
the account, and a refusal of one process slows all of them down. The file is named after a hash of the
account's name.

The file is overwritten in place, by one call and under its own lock. Replacing it by a new file would cost
milliseconds on file systems that flush a renamed file, and this happens before every request. Nothing is
synced to disk: after a power cut, more than a minute passes anyway. The first write already reserves the
space that the file will need, so that a disk that becomes full later does not truncate it.

Where something is unknown, the worst case is assumed for as long as it can last, and logged once:

- A file that cannot be read, or that is gone although this process wrote it, may have held a full window:
  nothing is sent for one period.
- A file that this process is the first to write may have been deleted while others wait for their slots.
  They open it twice a second and write their claims again, so this process waits for one second.
- An impossible value is replaced by the largest possible one.
- If another process keeps the lock, this one waits. After two periods everything in the file has expired, and
  the file is replaced; the process that kept the lock finds that its own slot is too old to be used.
- If the file cannot be written, the other processes cannot be seen: this one uses `FALLBACK_SHARE` of the
  window.

Instants are stored as seconds from the moment of writing. How long ago that was is calculated from the time
since boot where the system identifies its boots (Linux): that clock also runs while the machine is suspended,
and is never set. Elsewhere the wall clock is used; if it was set back, no time counts as passed, which is
the safe side. All clocks are read while the lock is held, in the order by which slots become free later
rather than earlier.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from attrs import Factory, evolve, frozen
from cattrs import BaseValidationError, Converter

from seedance_async.budget.lock import inode_of, locked
from seedance_async.budget.memory import (
    CHECK_EVERY,
    LONGEST_PERIOD,
    SETTLING,
    SLACK,
    BudgetState,
    LocalMemory,
    bounded,
)
from seedance_async.budget.pace import Pace, stricter
from seedance_async.budget.priority import WAIT_LASTS, Wait, Waiting
from seedance_async.clocks import TOLERANCE, boot_id, boot_time, wall_now
from seedance_async.logs import Log
from seedance_async.models import RateLimit
from seedance_async.network import is_sandbox
from seedance_async.state_files import account_name, state_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path

    from yarl import URL

_log: Log = Log(__name__)
_converter = Converter()
_warned: set[tuple[str, Path | None]] = (
    set()
)  # warnings already logged by this process: message and directory

_IMPOSSIBLE: Final = "the request budget's file holds impossible values; the safest possible ones are used"

FALLBACK_SHARE: Final = 1 / 3  # of the window, for a process that cannot see the others
MOST_BYTES: Final = 1 << 24  # of the file; normally it has about 40 bytes per request
LOCK_WARNING: Final = 1.0  # s; a lock that another process keeps for longer is logged


@frozen(kw_only=True)
class ClockReading:
    """The current time on clocks that outlive a process.

    Attributes:
        boot: the system's identifier of the current boot; empty where there is none.
        uptime: seconds since boot, including the time the machine was suspended.
        wall: seconds since the Unix epoch.
    """

    boot: str
    uptime: float
    wall: float

    def since(self, earlier: ClockReading) -> float:
        """Seconds that have passed since ``earlier``; 0 if that is later than now, or impossible."""
        now, then = self._in_common(earlier)
        return 0.0 if _is_impossible(then, now) else max(0.0, now - then)

    def precedes(self, other: ClockReading) -> bool:
        """Whether ``other`` is later than now, or else impossible: by the same clock as ``since``."""
        now, then = self._in_common(other)
        tolerance = 0.0 if self._is_same_boot(other) else TOLERANCE
        return _is_impossible(then, now) or now < then - tolerance

    def _is_same_boot(self, other: ClockReading) -> bool:
        return bool(self.boot) and self.boot == other.boot

    def _in_common(self, other: ClockReading) -> tuple[float, float]:
        """What the clock that both have in common showed now, and then."""
        return (self.uptime, other.uptime) if self._is_same_boot(other) else (self.wall, other.wall)


def _is_impossible(then: float, now: float) -> bool:
    """Whether a clock cannot have shown this: nothing before its beginning, unless it does so now."""
    return now > 0 and not then > 0  # also NaN


class MachineClock:
    """The clocks of this machine."""

    def read(self) -> ClockReading:
        """Read all of them."""
        return ClockReading(boot=boot_id(), uptime=boot_time(), wall=wall_now())


@frozen(kw_only=True)
class Page:
    """The file's content.

    Attributes:
        version: of this layout.
        written: when the page was written.
        slots: by budget, the seconds from ``written`` until each of its slots becomes free.
        pace: the pace learned from refusals; its instants are seconds from ``written``.
        period: the longest window, in seconds, of the budgets that wrote; every slot is free after two
            periods.
        waits: by budget, the number of its `Wait`, and the seconds from ``written`` until it expires.
        in_a_row: see ``BudgetState``.
    """

    version: Literal[1]
    written: ClockReading
    slots: dict[str, list[float]]
    pace: Pace
    period: float = 0.0
    waits: dict[str, tuple[int, float]] = Factory(dict)
    in_a_row: int = 0


class FileMemory(LocalMemory):
    """The memory of one account in a file."""

    check_every: float | None = CHECK_EVERY

    def __init__(
        self,
        account: str,
        *,
        limit: RateLimit | None = None,
        directory: Path | None = None,
        clock: MachineClock | None = None,
    ) -> None:
        """Make the memory; disk and environment are not read before its first use.

        Args:
            account: the account's name, see ``ApiKey.account``.
            limit: the account's limit; it bounds the values that are possible in the file.
            directory: the directory of the file; by default `state_directory`.
            clock: replaces the machine's clocks.
        """
        self._name = f"{account_name(account, 'budget')}.json"
        self._directory = directory
        self._limit = limit or RateLimit()
        self._period = self._limit.period
        self._clock = clock or MachineClock()
        self._me = secrets.token_hex(8)
        self._theirs: dict[str, list[float]] = {}
        self._waits: dict[str, tuple[int, float]] = {}  # of others, and when each expires
        self._state = BudgetState()
        self._inode: int | None = None  # of the file this process wrote last
        self._saved: tuple[float, ...] = ()  # the claims this process wrote to it
        self._seen: ClockReading | None = None  # when the newest page known here was written
        self._blocked: tuple[int, float] | None = (
            None  # inode of a file that another process keeps locked, and since when
        )
        self._unsaved_pace = False
        self._gave_up = False

    @contextmanager
    def open(self, clock: Callable[[], float]) -> Iterator[BudgetState]:
        """The state as the last process left it; no other process can change it until the block ends.

        If the lock is not available now, the block gets the last known state, and what it changes is written
        by a later block.
        """
        file = self._file(clock)
        self._state.certain = file is not None or self._gave_up
        if file is None:
            self._state.now = clock()
            yield self._state
            self._unsaved_pace = True
            return
        with file:
            present = self._clock.read()
            self._state.now = clock()
            before = file.read(MOST_BYTES)
            self._load(before, present, inode=os.fstat(file.fileno()).st_ino)
            yield self._state
            self._save(file, clock, size=len(before))

    def _file(self, clock: Callable[[], float]) -> FileIO | None:
        if self._gave_up:
            return None
        try:
            file = locked(self._path)
            if file is None and self._kept_too_long(clock()):
                self._path.unlink(missing_ok=True)
                self._inode = None  # it is replaced, not lost
                file = locked(self._path)
        except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
            self._give_up(error)
            return None
        if file is not None:
            self._blocked = None
        return file

    def _kept_too_long(self, now: float) -> bool:
        """Whether the file has been locked for so long that everything in it has expired."""
        inode = inode_of(self._path)
        if inode is None:
            return False
        if self._blocked is None or self._blocked[0] != inode:
            self._blocked = inode, now
        kept = now - self._blocked[1]
        if kept > LOCK_WARNING:
            self._warn_once(
                "another process keeps the request budget's file locked; waiting for up to two periods"
            )
        return kept > 2 * self._period

    @property
    def _path(self) -> Path:
        if self._directory is None:
            self._directory = state_directory()
        return self._directory / self._name

    def _load(self, content: bytes, present: ClockReading, *, inode: int) -> None:
        now, known = self._state.now, self._state.pace
        page, is_empty = _parsed(content), not content.strip(b"\0 ")
        replaced = self._inode is not None and self._inode != inode
        is_old = page is not None and self._seen is not None and page.written.precedes(self._seen)
        if page is not None and not is_old:
            self._read(page, present, replaced=replaced or self._is_missing(page))
            self._seen = page.written
            if self._unsaved_pace:
                self._state.pace = stricter(self._state.pace, known)
        elif not is_empty or self._inode is not None:
            what = "replaced by an old copy" if is_old else "lost or damaged"
            self._warn_once(f"the request budget's file was {what}; nothing is sent for one period")
            self._close_for(self._period)
        else:
            self._close_for(min(SETTLING, self._period))
        self._theirs = {
            budget: alive
            for budget, slots in self._theirs.items()
            if (alive := [slot for slot in slots if slot > now])
        }
        self._state.others = tuple(sorted(slot for slots in self._theirs.values() for slot in slots))
        self._waits = {budget: each for budget, each in self._waits.items() if each[1] > now}
        self._state.others_wait = tuple(
            Waiting(Wait.of(number), len(self._theirs.get(budget, [])))
            for budget, (number, _) in self._waits.items()
        )

    def _close_for(self, seconds: float) -> None:
        pace = self._state.pace
        self._state.pace = evolve(pace, closed_until=max(pace.closed_until, self._state.now + seconds))

    def _is_missing(self, page: Page) -> bool:
        """Whether another process wrote the page without having read our claims."""
        return self._me not in page.slots and any(slot > self._state.now for slot in self._saved)

    def _read(self, page: Page, present: ClockReading, *, replaced: bool) -> None:
        """Take over the content of a page; if it replaced ours, in addition to what is known."""
        written_at = self._state.now - present.since(page.written)
        if 0 < page.period <= LONGEST_PERIOD:
            self._period = max(self._limit.period, page.period)
        if self._period > self._limit.period:
            self._warn_once(
                f"another process counts its requests by {self._period:g} s: this one waits for it"
            )
        latest = 2 * self._period
        if present.precedes(page.written) or any(bounded(s, latest) != s for s in page.slots.values()):
            self._warn_once(_IMPOSSIBLE)
        theirs = {
            budget: [written_at + slot for slot in bounded(slots, latest)]
            for budget, slots in page.slots.items()
            if budget != self._me
        }
        self._theirs = {**self._theirs, **theirs} if replaced else theirs
        self._waits = {
            budget: (number, written_at + min(seconds, WAIT_LASTS))
            for budget, (number, seconds) in page.waits.items()
            if budget != self._me
        }
        self._state.in_a_row = page.in_a_row
        pace = page.pace.moved(written_at)
        self._state.pace = pace.bounded(self._state.now + SLACK, self._limit)
        if self._state.pace != pace:
            self._warn_once(_IMPOSSIBLE)

    def _save(self, file: FileIO, clock: Callable[[], float], *, size: int) -> None:
        now, present = clock(), self._clock.read()
        content = json.dumps(_converter.unstructure(self._page(now, present))).encode()
        try:
            file.seek(0)
            # One write, never shorter than the old content, so that nothing of that is left behind it.
            content = content.ljust(max(size, _room(self._limit)))
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._give_up(error)
            return
        self._inode, self._saved = os.fstat(file.fileno()).st_ino, self._state.claims
        self._seen = present
        self._unsaved_pace = False

    def _page(self, now: float, present: ClockReading) -> Page:
        slots = {**self._theirs, self._me: self._state.claims}
        waits = {**self._waits, self._me: (int(self._state.wait), now + WAIT_LASTS)}
        return Page(
            version=1,
            written=present,
            slots={budget: [slot - now for slot in each if slot > now] for budget, each in slots.items()},
            pace=self._state.pace.moved(-now),
            period=self._period,
            waits={budget: (number, until - now) for budget, (number, until) in waits.items() if number},
            in_a_row=self._state.in_a_row,
        )

    def _give_up(self, error: Exception) -> None:
        self._gave_up = True
        self._state.share = FALLBACK_SHARE
        self._warn_once(
            f"the request budget cannot be shared with other processes ({error}); "
            f"this one uses {FALLBACK_SHARE:.0%} of the limit"
        )

    def _warn_once(self, message: str) -> None:
        if (message, self._directory) not in _warned:
            _warned.add((message, self._directory))
            _log.warning("%s", message, extra={"directory": str(self._directory)})


def outlives_a_process(base_url: URL) -> bool:
    """Whether the budget at this URL is stored on disk.

    The account of a sandbox ends with the sandbox's process, so it is stored only if the environment variable
    ``SEEDANCE_STATE_DIR`` names a directory.
    """
    return bool(os.environ.get("SEEDANCE_STATE_DIR")) or not is_sandbox(base_url.scheme, base_url.host or "")


def _parsed(content: bytes) -> Page | None:
    try:
        return _converter.structure(json.loads(content), Page)
    except (ValueError, BaseValidationError, RecursionError):
        return None


def _room(limit: RateLimit) -> int:
    """Bytes the file needs at most, if all its processes use the same limit."""
    return 4096 + 32 * min(limit.requests, 10_000)
