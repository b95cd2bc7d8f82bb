"""A word about an API that does not answer, so that the minutes of trying again are no silence.

The package logs every retry and says nothing else; here the first of an outage is told, and then one a
minute at most.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from seedance_async.cli.streams import say

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGERS: Final = ("seedance_async.transport", "seedance_async.scheduling.poller")
RETRY: Final = "; again in "
INTERVAL: Final = 60.0  # s


class _Teller(logging.Handler):
    """Says what is logged about retries, rarely, and every warning."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._told_at = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        """Say it, unless something like it was said a moment ago."""
        if getattr(record, "outage", False):
            return  # told here in its own way
        if record.levelno >= logging.WARNING:
            say(record.getMessage())
        elif RETRY in record.getMessage() and self._is_time():
            say(f"the API cannot be reached, or refuses for now; trying again: {record.getMessage()}")

    def _is_time(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._told_at < INTERVAL:
            return False
        self._told_at = now
        return True


@contextmanager
def outages_told() -> Iterator[None]:
    """Tell on stderr about the API's outages, while a command runs."""
    teller = _Teller()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(teller)
        logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(teller)
            logger.setLevel(level)
