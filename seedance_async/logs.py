"""Loggers that cannot fail: a filter or handler that raises loses its line only.

``logging`` protects a program from handlers that cannot write, and from nothing else: what a filter raises
comes out of ``log.info`` in the task that logs, which all callers may share.
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
    """The logger of a module; ``logging`` knows it by the module's name.

    No method raises. A failure is shown on stderr, unless ``logging.raiseExceptions`` is off, as ``logging``
    itself does it with handlers.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, *values: object) -> None:
        """Log what only a developer of this package wants to know."""
        self._write(logging.DEBUG, message, values)

    def info(self, message: str, *values: object, extra: Mapping[str, object] | None = None) -> None:
        """Log what goes on."""
        self._write(logging.INFO, message, values, extra)

    def warning(self, message: str, *values: object, extra: Mapping[str, object] | None = None) -> None:
        """Log what somebody should look at."""
        self._write(logging.WARNING, message, values, extra)

    def critical(self, message: str, *values: object, exc_info: BaseException | None = None) -> None:
        """Log a fault of this package, with its traceback."""
        self._write(logging.CRITICAL, message, values, exc_info=exc_info)

    def shows_debug(self) -> bool:
        """Whether anybody reads what ``debug`` is given."""
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
        except (Exception, asyncio.CancelledError):  # the latter out of a future: nothing here awaits
            if logging.raiseExceptions and sys.stderr is not None:
                with suppress(OSError, ValueError):  # stderr is gone, too
                    traceback.print_exc()
