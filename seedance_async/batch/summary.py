"""How a batch stands, as one value, and the exit code that says so."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from seedance_async.batch.journal import Changes
from seedance_async.batch.states import State
from seedance_async.convertible import Convertible
from seedance_async.errors import (
    CanaryError,
    CreditCapError,
    InsufficientCreditsError,
    SeedanceError,
    UnauthorizedError,
)
from seedance_async.exit_codes import ExitCode


@frozen(kw_only=True)
class Summary(Convertible):
    """How a batch stands.

    Attributes:
        counts: jobs in each state, over all runs.
        credits_used: charged so far, over all runs.
        credits_refunded: given back so far, over all runs.
        credits_reserved: held for jobs whose price is not known yet.
        max_credits: the cap; None without one.
        changes: how the manifest differs from the one of the run before.
        stopped: why no more jobs were sent; None if that did not happen.
        later: jobs that were left for a later run, because they are not wanted yet.
        rerolled: new takes of jobs that this run was told to make anew.
    """

    counts: Mapping[State, int]
    credits_used: float = 0.0
    credits_refunded: float = 0.0
    credits_reserved: float = 0.0
    max_credits: float | None = None
    changes: Changes = field(factory=Changes)
    stopped: SeedanceError | None = None
    later: int = 0
    rerolled: int = 0

    @property
    def total(self) -> int:
        """Jobs in all."""
        return sum(self.counts.values())

    @property
    def exit_code(self) -> ExitCode:
        """What the command line ends with.

        0: every job that was wanted is saved. 1: some failed, were refused or blocked, or could not be
        finished. 3: stopped for credits. 4: the key was refused. 5: uncertain jobs remain. 6: stopped by a
        canary.
        """
        if isinstance(self.stopped, UnauthorizedError):
            return ExitCode.KEY_REFUSED
        if isinstance(self.stopped, InsufficientCreditsError | CreditCapError):
            return ExitCode.OUT_OF_CREDITS
        if isinstance(self.stopped, CanaryError):
            return ExitCode.CANARY
        if self.counts.get(State.UNCERTAIN) or self.counts.get(State.SUBMITTING):
            return ExitCode.UNCERTAIN
        wanted = self.total - self.later
        return ExitCode.OK if self.counts.get(State.SAVED, 0) == wanted else ExitCode.FAILED
