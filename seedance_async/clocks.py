"""The wall clock: unlike the loop's it runs on while the machine sleeps, and is compared across runs."""

from __future__ import annotations

import time
from typing import Final

TOLERANCE: Final = 300.0
"""Seconds by which clocks may differ without being wrong."""


def wall_now() -> float:
    """Seconds since 1970, UTC."""
    return time.time()
