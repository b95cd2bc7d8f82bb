"""The wall clock: unlike the loop's it runs on while the machine sleeps, and is compared across runs."""

from __future__ import annotations

import time


def wall_now() -> float:
    """Seconds since 1970, UTC."""
    return time.time()
