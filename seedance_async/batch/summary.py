"""How a batch stands, as one value, and the exit code that says so."""

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
"""States that another run leaves as they are."""


@frozen(kw_only=True)
class Summary(Convertible):
    """How a batch stands.

    Attributes:
        counts: jobs in each state, over all runs; each by its newest result.
        others: what there is beside them, in each state: older and further takes of the jobs, and jobs that
            are gone from the manifest.
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
    others: Mapping[State, int] = field(factory=dict)

    @property
    def total(self) -> int:
        """Jobs in all."""
        return sum(self.counts.values())

    @property
    def left(self) -> dict[State, int]:
        """How much another run would go on with, in each state; of the others, too."""
        sums = {state: self.counts.get(state, 0) + self.others.get(state, 0) for state in State}
        return {state: count for state, count in sums.items() if count and state not in SETTLED}

    @property
    def exit_code(self) -> ExitCode:
        """What the command line ends with.

        0: every job that was wanted is saved. 1: some failed, were refused or blocked, or could not be
        finished. 3: stopped for credits. 4: the key was refused. 5: uncertain jobs remain. 6: stopped by a
        canary. What became of older takes, and of jobs gone from the manifest, is no part of it; only a run
        that was stopped before all was done never ends with 0.
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
