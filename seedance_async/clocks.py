"""Clocks that run on while the machine sleeps, unlike the loop's: the wall clock, and the time since boot."""

from __future__ import annotations

import sys
import time
from math import inf
from typing import Final

TOLERANCE: Final = 300.0
"""Seconds by which clocks may differ without being wrong."""


def wall_now() -> float:
    """Seconds since 1970, UTC."""
    return time.time()


def boot_time() -> float:
    """Seconds since the machine was started, suspended ones included on Linux; knows no steps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def age(begun: float, now: float) -> float:
    """Seconds since an instant; infinite where that is in the future: a clock was wrong, nobody knows."""
    seconds = now - begun
    return inf if seconds < -TOLERANCE else max(0.0, seconds)
