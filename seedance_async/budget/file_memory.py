"""The memory of a budget in a small file per account, shared by all processes that use it on this machine.

Every process writes its stamps there before it sends, under a lock, so that they share the account's slots;
and what one was refused for, all have learned. The file is named after a hash of the account's name.

It is written over in place, by one call and under its own lock: a new file in its place would cost
milliseconds on file systems that flush what is renamed, and this happens before every request. Nothing is
synced to disk, for after a power cut a minute has passed anyway. A file that cannot be read is forgotten;
where none can be written, the memory ends with the process.

Instants are stored as seconds from the moment of writing. How long ago that was is told by the time since
boot where the system names its boots (Linux): it runs through a suspend and knows no steps. Elsewhere the
wall clock tells; if it was set back, no time has passed, which is the careful side.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import time
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attrs import frozen
from cattrs import BaseValidationError, Converter

from seedance_async.budget.lock import locked
from seedance_async.budget.memory import BudgetState
from seedance_async.budget.pace import Pace
from seedance_async.network import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from yarl import URL

_log = logging.getLogger(__name__)
_converter = Converter()


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


class MachineClock:
    """The clocks of this machine."""

    def read(self) -> ClockReading:
        """What they show."""
        return ClockReading(boot=_boot_id(), uptime=_uptime(), wall=time.time())


@frozen(kw_only=True)
class Page:
    """The file's content.

    Attributes:
        version: of this layout.
        written: when.
        slots: by budget, in how many seconds from then its slots come back.
        pace: what was learned, instants in seconds from then.
    """

    version: Literal[1]
    written: ClockReading
    slots: dict[str, list[float]]
    pace: Pace


class FileMemory:
    """Remembers an account in a file."""

    def __init__(
        self,
        account: str,
        *,
        directory: Path | None = None,
        clock: MachineClock | None = None,
    ) -> None:
        """Make the memory; disk and environment are left alone until its first use.

        Args:
            account: its name, see ``ApiKey.account``.
            directory: where the file goes; by default `state_directory`.
            clock: in the place of the machine's.
        """
        name = blake2b(account.encode(), digest_size=16, person=b"seedance-budget").hexdigest()
        self._name = f"budget-{name}.json"
        self._directory = directory
        self._clock = clock or MachineClock()
        self._me = secrets.token_hex(8)
        self._theirs: dict[str, list[float]] = {}
        self._state = BudgetState()
        self._gave_up = False

    @contextmanager
    def open(self, now: float) -> Iterator[BudgetState]:
        """The state as the last process left it, nobody else's until the block ends.

        Where lock or file cannot be had, the block sees what was known last, and later blocks make up for it.
        """
        present = (
            self._clock.read()
        )  # at once: whatever time the lock takes must not come between it and ``now``
        file = self._file()
        self._state.certain = file is not None or self._gave_up
        if file is None:
            yield self._state
            return
        with file:
            before = file.read()
            self._load(before, now, present)
            yield self._state
            self._save(file, now, present, size=len(before))

    def _file(self) -> FileIO | None:
        if self._gave_up:
            return None
        try:
            return locked(self._path)
        except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
            self._give_up(error)
            return None

    @property
    def _path(self) -> Path:
        if self._directory is None:
            self._directory = state_directory()
        return self._directory / self._name

    def _load(self, content: bytes, now: float, present: ClockReading) -> None:
        page = _parsed(content)
        if page is None:
            return
        written_at = now - present.since(page.written)
        self._theirs = {
            budget: alive
            for budget, slots in page.slots.items()
            if budget != self._me
            and (alive := [written_at + slot for slot in slots if written_at + slot > now])
        }
        self._state.others = tuple(sorted(slot for slots in self._theirs.values() for slot in slots))
        self._state.pace = page.pace.moved(written_at)

    def _save(self, file: FileIO, now: float, present: ClockReading, *, size: int) -> None:
        slots = {**self._theirs, self._me: self._state.claims}
        page = Page(
            version=1,
            written=present,
            slots={budget: [slot - now for slot in theirs] for budget, theirs in slots.items()},
            pace=self._state.pace.moved(-now),
        )
        content = json.dumps(_converter.unstructure(page)).encode()
        try:
            file.seek(0)
            file.write(content.ljust(size))  # at once, and never shorter: nothing older is left behind it
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._gave_up = True
        _log.info("the request budget is remembered by this process only: %s", error)


def state_directory() -> Path:
    """``$SEEDANCE_STATE_DIR``, else ``seedance_async`` in ``$XDG_STATE_HOME``, else in ``~/.local/state``.

    Raises:
        RuntimeError: none of them is set and the user has no home directory.
    """
    if own := os.environ.get("SEEDANCE_STATE_DIR"):
        return Path(own)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "seedance_async"


def outlives_a_process(base_url: URL) -> bool:
    """Whether an account is worth remembering on the disk.

    A sandbox at loopback lives no longer than its process, so it is only remembered where the environment's
    ``SEEDANCE_STATE_DIR`` names a place.
    """
    return bool(os.environ.get("SEEDANCE_STATE_DIR")) or not is_loopback(base_url.host or "")


def _parsed(content: bytes) -> Page | None:
    try:
        return _converter.structure(json.loads(content), Page)
    except (ValueError, BaseValidationError):
        return None


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else 0.0
