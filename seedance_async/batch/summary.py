"""The summary of a batch, and the exit code that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from seedance_async.batch.journal import Changes
from seedance_async.batch.states import ENDED, State
from seedance_async.convertible import Convertible
from seedance_async.errors import (
    CanaryError,
    CreditCapError,
    InsufficientCreditsError,
    SeedanceError,
    UnauthorizedError,
)
from seedance_async.exit_codes import ExitCode

SETTLED: Final = frozenset({*ENDED, State.BLOCKED})
"""States that another run does not change."""


@frozen(kw_only=True)
class Summary(Convertible):
    """The state of a batch.

    Attributes:
        counts: number of jobs in each state, over all runs; each by its newest result.
        others: number of other results in each state: older and further takes, and jobs removed from the
            manifest.
        credits_used: charged so far, over all runs.
        credits_refunded: refunded so far, over all runs.
        credits_reserved: held for jobs whose price is not known yet.
        max_credits: the cap; None for no cap.
        changes: the differences from the manifest of the previous run.
        stopped: why no more jobs were sent; None if the run was not stopped.
        later: number of jobs left for a later run, because they were not chosen.
        rerolled: number of new takes that this run was ordered to make.
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
    others: Mapping[State, int] = field(factory=dict)

    @property
    def total(self) -> int:
        """Number of all jobs."""
        return sum(self.counts.values())

    @property
    def left(self) -> dict[State, int]:
        """Number of jobs and other results in each state that another run would continue with."""
        sums = {state: self.counts.get(state, 0) + self.others.get(state, 0) for state in State}
        return {state: count for state, count in sums.items() if count and state not in SETTLED}

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command line.

        0: every chosen job is saved. 1: some failed, were refused or blocked, or could not be finished. 3:
        stopped for credits. 4: the key was refused. 5: uncertain jobs remain. 6: stopped by a canary. Older
        takes and jobs removed from the manifest do not count, except that a run that was stopped with any of
        them left does not end with 0.
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
        is_cut = self.stopped is not None and bool(self.left)
        is_saved = self.counts.get(State.SAVED, 0) == wanted
        return ExitCode.OK if is_saved and not is_cut else ExitCode.FAILED
