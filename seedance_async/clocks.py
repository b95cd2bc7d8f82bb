"""The clock of the event loop; and the wall clock and the time since boot, which run during a suspension."""

from __future__ import annotations

import sys
import time
from asyncio import get_running_loop
from functools import cache
from math import inf
from pathlib import Path
from typing import Final

TOLERANCE: Final = 300.0
"""Seconds by which clocks may differ without being wrong."""

LATEST: Final = 253_402_128_000.0
"""The latest instant of the wall clock: two days before the year 10000, in which no date can be written."""


def now() -> float:
    """Seconds on the clock of the event loop: ``anyio.current_time`` at a third of its cost."""
    return get_running_loop().time()


def wall_now() -> float:
    """Seconds since the Unix epoch, from 0 to ``LATEST`` even if the clock is wrong by more."""
    return min(max(0.0, time.time()), LATEST)


@cache
def boot_id() -> str:
    """The system's identifier of the current boot; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def boot_time() -> float:
    """Seconds since boot, on Linux including the time suspended; this clock is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def age(begun: float, now: float) -> float:
    """Seconds since an instant; infinite if it is in the future, as a clock was wrong then."""
    seconds = now - begun
    return inf if seconds < -TOLERANCE else max(0.0, seconds)


class Begun:
    """An instant of this process, from which two clocks measure time: the costlier of the two counts.

    Args:
        age: seconds that have passed since already.
    """

    def __init__(self, age: float = 0.0) -> None:
        self._wall = wall_now() - age
        self._boot = boot_time() - age

    def age(self) -> float:
        """Seconds since: by the wall clock, or by the time since boot, if that was set back meanwhile."""
        return max(wall_now() - self._wall, boot_time() - self._boot)
