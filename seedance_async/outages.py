"""Outages: how many requests in a row nobody has answered, and the one warning of each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from attrs import define

from seedance_async import clocks
from seedance_async.errors import ConnectionFailedError
from seedance_async.logs import Log
from seedance_async.protocol import Failure

log: Log = Log("seedance_async.transport")
"""The transport's own: whoever watches its log for retries sees outages there."""

OUTAGE: Final = 3
"""Requests in a row without an answer that are worth a warning."""


@define
class Outages:
    """What is known of the connection to the API."""

    _unanswered: int = 0

    def note(self, outcome: object, *, patience: float) -> None:
        """Warn once in an outage: a program that looks at warnings only must not seem to hang.

        Args:
            outcome: of an attempt.
            patience: seconds for which it is tried again.
        """
        unanswered = isinstance(outcome, Failure) and isinstance(outcome.error, ConnectionFailedError)
        self._unanswered = self._unanswered + 1 if unanswered else 0
        if isinstance(outcome, Failure) and self._unanswered == OUTAGE:
            until = datetime.fromtimestamp(clocks.wall_now() + patience, UTC).astimezone()
            message = "%d requests in a row were not answered (%s); trying on until %s, for %g s from now"
            values = (OUTAGE, outcome.error.message, f"{until:%H:%M:%S}", patience)
            log.warning(message, *values, extra={"outage": True})
