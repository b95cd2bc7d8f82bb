"""Outages: the number of consecutive requests without an answer, and one warning per outage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from attrs import define

from seedance_async import clocks
from seedance_async.errors import ConnectionFailedError
from seedance_async.logs import Log
from seedance_async.protocol import Failure

log: Log = Log("seedance_async.transport")
"""The transport's logger, so that outages appear in the same log as retries."""

OUTAGE: Final = 3
"""The number of consecutive requests without an answer that causes a warning."""


@define
class Outages:
    """The state of the connection to the API."""

    _unanswered: int = 0

    def note(self, outcome: object, *, patience: float) -> None:
        """Count an attempt, and warn once per outage, so that a program does not seem to hang.

        Args:
            outcome: the outcome of the attempt.
            patience: seconds for which it will be retried.
        """
        unanswered = isinstance(outcome, Failure) and isinstance(outcome.error, ConnectionFailedError)
        self._unanswered = self._unanswered + 1 if unanswered else 0
        if isinstance(outcome, Failure) and self._unanswered == OUTAGE:
            until = datetime.fromtimestamp(clocks.wall_now() + patience, UTC).astimezone()
            message = "%d requests in a row were not answered (%s); trying on until %s, for %g s from now"
            values = (OUTAGE, outcome.error.message, f"{until:%H:%M:%S}", patience)
            log.warning(message, *values, extra={"outage": True})
