"""Loggers that never raise: if a filter or handler raises, only that log line is lost.

``logging`` protects a program from handlers that cannot write, and from nothing else: an exception from a
filter is raised by ``log.info`` in the task that logs, which all callers may share.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_STACK_LEVEL: Final = 3
"""Frames from ``logging`` up to the line that logs."""


class Log:
    """The logger of a module, with the module's name in ``logging``.

    No method raises. A failure is printed to stderr unless ``logging.raiseExceptions`` is off, as ``logging``
    does for handlers.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, *values: object) -> None:
        """Log details for developers of this package."""
        self._write(logging.DEBUG, message, values)

    def info(self, message: str, *values: object, extra: Mapping[str, object] | None = None) -> None:
        """Log normal progress."""
        self._write(logging.INFO, message, values, extra)

    def warning(self, message: str, *values: object, extra: Mapping[str, object] | None = None) -> None:
        """Log a condition that should be looked at."""
        self._write(logging.WARNING, message, values, extra)

    def critical(self, message: str, *values: object, exc_info: BaseException | None = None) -> None:
        """Log a fault of this package, with its traceback."""
        self._write(logging.CRITICAL, message, values, exc_info=exc_info)

    def shows_debug(self) -> bool:
        """Whether messages of ``debug`` are shown."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def _write(
        self,
        level: int,
        message: str,
        values: tuple[object, ...],
        extra: Mapping[str, object] | None = None,
        exc_info: BaseException | None = None,
    ) -> None:
        try:
            self._logger.log(level, message, *values, extra=extra, exc_info=exc_info, stacklevel=_STACK_LEVEL)
        except (Exception, asyncio.CancelledError):  # the latter comes from a future, as nothing here awaits
            if logging.raiseExceptions and sys.stderr is not None:
                with suppress(OSError, ValueError):  # stderr is closed too
                    traceback.print_exc()
