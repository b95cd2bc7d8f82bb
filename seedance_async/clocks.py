"""Clocks that also run while the machine is suspended: the wall clock, and the time since boot."""

from __future__ import annotations

import sys
import time
from math import inf
from typing import Final

TOLERANCE: Final = 300.0
"""Seconds by which clocks may differ without being wrong."""


def wall_now() -> float:
    """Seconds since the Unix epoch."""
    return time.time()


def boot_time() -> float:
    """Seconds since boot, on Linux including the time suspended; this clock is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def age(begun: float, now: float) -> float:
    """Seconds since an instant; infinite if it is in the future, as a clock was wrong then."""
    seconds = now - begun
    return inf if seconds < -TOLERANCE else max(0.0, seconds)
