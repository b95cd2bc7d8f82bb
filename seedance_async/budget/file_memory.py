"""The memory of a budget in a small file per account, shared by all processes that use it on this machine.

Every process writes its stamps there before it sends, under a lock, so that they share the account's slots;
and what one was refused for, all have learned. The file is named after a hash of the account's name.

It is written over in place, by one call and under its own lock: a new file in its place would cost
milliseconds on file systems that flush what is renamed, and this happens before every request. Nothing is
synced to disk, for after a power cut a minute has passed anyway. The room it will need is taken with the
first write, so that a disk that fills up later does not cut it.

What is not known is taken to be the worst that can be, for as long as that can last, and logged once:

- a file that cannot be read, or is gone although we wrote it, may have held a full window: nothing is sent
  for one period;
- a file that we are the first to write may have been deleted while others wait for their slots: they look
  twice a second, and write theirs again; so we wait for a second;
- a value that cannot be is replaced by the largest that can;
- a lock that somebody keeps is waited for. After two periods all that its file can say is over, and the file
  is replaced; whoever kept the lock finds its own slot too old to be used;
- where no file can be written, the other processes cannot be seen: this one uses `FALLBACK_SHARE` of the
  window.

Instants are stored as seconds from the moment of writing. How long ago that was follows from the time since
boot where the system names its boots (Linux): it runs through a suspend and knows no steps. Elsewhere the
wall clock shows; if it was set back, no time has passed, which is the careful side. All clocks are read while
the lock is held, in the order that makes slots return later rather than earlier.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
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
from seedance_async.budget.turns import WAIT_LASTS, Wait, Waiting
from seedance_async.clocks import TOLERANCE, boot_time
from seedance_async.logs import Log
from seedance_async.models import RateLimit
from seedance_async.network import is_sandbox
from seedance_async.state_files import account_name, state_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO

    from yarl import URL

_log: Log = Log(__name__)
_converter = Converter()
_warned: set[tuple[str, Path | None]] = set()  # what was warned of in this process, and about which file

_IMPOSSIBLE: Final = "the request budget's file says what cannot be; the most careful reading of it is used"

FALLBACK_SHARE: Final = 1 / 3  # of the window, for a process that cannot see the others
MOST_BYTES: Final = 1 << 24  # of the file; ours has some 40 a request
LOCK_WARNING: Final = 1.0  # s for which a lock is kept until it is worth a word


@frozen(kw_only=True)
class ClockReading:
    """The present, on clocks that outlive a process.

    Attributes:
        boot: the machine's name for the time since it was started; empty where there is none.
        uptime: seconds of it, suspended ones included.
        wall: seconds of the Unix epoch.
    """

    boot: str
    uptime: float
    wall: float

    def since(self, earlier: ClockReading) -> float:
        """Seconds that have passed since ``earlier``; never negative."""
        if self.boot and self.boot == earlier.boot:
            return max(0.0, self.uptime - earlier.uptime)
        return max(0.0, self.wall - earlier.wall)

    def precedes(self, other: ClockReading) -> bool:
        """Whether ``other`` is later than now, which cannot be: by the same clock as ``since``."""
        if self.boot and self.boot == other.boot:
            return self.uptime < other.uptime
        return self.wall < other.wall - TOLERANCE


class MachineClock:
    """The clocks of this machine."""

    def read(self) -> ClockReading:
        """What they show."""
        return ClockReading(boot=_boot_id(), uptime=boot_time(), wall=time.time())


@frozen(kw_only=True)
class Page:
    """The file's content.

    Attributes:
        version: of this layout.
        written: when.
        slots: by budget, in how many seconds from then its slots come back.
        pace: what was learned, instants in seconds from then.
        period: the longest window of those who wrote; none of their slots returns after two of it.
        waits: by budget, the number of what it waits with, and in how many seconds that is not true any more.
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
    """Remembers an account in a file."""

    check_every: float | None = CHECK_EVERY

    def __init__(
        self,
        account: str,
        *,
        limit: RateLimit | None = None,
        directory: Path | None = None,
        clock: MachineClock | None = None,
    ) -> None:
        """Make the memory; disk and environment are left alone until its first use.

        Args:
            account: its name, see ``ApiKey.account``.
            limit: the account's limit, which bounds what the file can truly say.
            directory: where the file goes; by default `state_directory`.
            clock: in the place of the machine's.
        """
        self._name = f"{account_name(account, 'budget')}.json"
        self._directory = directory
        self._limit = limit or RateLimit()
        self._period = self._limit.period
        self._clock = clock or MachineClock()
        self._me = secrets.token_hex(8)
        self._theirs: dict[str, list[float]] = {}
        self._waits: dict[str, tuple[int, float]] = {}  # of others, and until when
        self._state = BudgetState()
        self._inode: int | None = None  # of the file we wrote last
        self._saved: tuple[float, ...] = ()  # claims we wrote there
        self._blocked: tuple[int, float] | None = None  # the file that somebody keeps locked, and since when
        self._unsaved_pace = False
        self._gave_up = False

    @contextmanager
    def open(self, clock: Callable[[], float]) -> Iterator[BudgetState]:
        """The state as the last process left it, nobody else's until the block ends.

        Where the lock cannot be had now, the block sees what was known last, and later blocks make up for it.
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
        """Whether the file's lock has been kept so long that all it can say is over."""
        inode = inode_of(self._path)
        if inode is None:
            return False
        if self._blocked is None or self._blocked[0] != inode:
            self._blocked = inode, now
        kept = now - self._blocked[1]
        if kept > LOCK_WARNING:
            self._tell("somebody keeps the request budget's file locked; waiting for up to two periods")
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
        if page is not None:
            self._read(page, present, replaced=replaced or self._is_missing(page))
            if self._unsaved_pace:
                self._state.pace = stricter(self._state.pace, known)
        elif not is_empty or self._inode is not None:
            self._tell("the request budget's file was lost or damaged; nothing is sent for one period")
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
        """Whether somebody wrote without having read what we wrote."""
        return self._me not in page.slots and any(slot > self._state.now for slot in self._saved)

    def _read(self, page: Page, present: ClockReading, *, replaced: bool) -> None:
        """Take over what a page says; of one that replaced ours, in addition to what is known."""
        written_at = self._state.now - present.since(page.written)
        if 0 < page.period <= LONGEST_PERIOD:
            self._period = max(self._limit.period, page.period)
        if self._period > self._limit.period:
            self._tell(f"another process counts its requests by {self._period:g} s: it is waited for")
        latest = 2 * self._period
        if present.precedes(page.written) or any(bounded(s, latest) != s for s in page.slots.values()):
            self._tell(_IMPOSSIBLE)
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
            self._tell(_IMPOSSIBLE)

    def _save(self, file: FileIO, clock: Callable[[], float], *, size: int) -> None:
        now = clock()
        content = json.dumps(_converter.unstructure(self._page(now, self._clock.read()))).encode()
        try:
            file.seek(0)
            # At once, and never shorter: nothing older is left behind it.
            content = content.ljust(max(size, _room(self._limit)))
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._give_up(error)
            return
        self._inode, self._saved = os.fstat(file.fileno()).st_ino, self._state.claims
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
        self._tell(
            f"the request budget cannot be shared with other processes ({error}); "
            f"this one uses {FALLBACK_SHARE:.0%} of the limit"
        )

    def _tell(self, message: str) -> None:
        if (message, self._directory) not in _warned:
            _warned.add((message, self._directory))
            _log.warning("%s", message, extra={"directory": str(self._directory)})


def outlives_a_process(base_url: URL) -> bool:
    """Whether an account is worth remembering on the disk.

    A sandbox lives no longer than its process, so it is only remembered where the environment's
    ``SEEDANCE_STATE_DIR`` names a place.
    """
    return bool(os.environ.get("SEEDANCE_STATE_DIR")) or not is_sandbox(base_url.scheme, base_url.host or "")


def _parsed(content: bytes) -> Page | None:
    try:
        return _converter.structure(json.loads(content), Page)
    except (ValueError, BaseValidationError, RecursionError):
        return None


def _room(limit: RateLimit) -> int:
    """Bytes that the file needs at most, as long as its processes agree on the limit."""
    return 4096 + 32 * min(limit.requests, 10_000)


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
