"""The options of one run of a batch, grouped for the modules that use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from seedance_async.errors import ConfigurationError


@frozen(kw_only=True)
class PlanOptions:
    """The choice of a manifest's jobs for a run; ``BatchRunner`` has arguments of the same names.

    Attributes:
        until: send only jobs whose names match this pattern, and their sources; None for all.
        reroll: names, or patterns of names, of jobs that are made again.
        takes: number of new takes of each.
        adopt: whether renamed jobs adopt their earlier results.
        ignored: codes of rules that are not applied to any prompt.
        finish: make the kept takes again with these fields changed, instead of the manifest's jobs; or None.
        retry_failed: whether failed and refused jobs are sent again.
        reroll_refunded: how often a job that failed and was refunded is repeated, over all runs.
    """

    until: str | None = None
    reroll: tuple[str, ...] = ()
    takes: int = 1
    adopt: bool = True
    ignored: frozenset[str] = frozenset()
    finish: Mapping[str, object] | None = None
    retry_failed: bool = False
    reroll_refunded: int = 0


ALL_JOBS: Final = PlanOptions()


@frozen(kw_only=True)
class RunOptions:
    """The options for the execution of a run.

    Attributes:
        max_in_flight: most jobs submitted and not finished at once; None for no limit.
        share_posts: whether equal jobs may share a POST.
        replay_window: seconds for which the server is assumed to remember an idempotency key.
        pay_twice: whether an uncertain job may get a new key if its own can never be accepted.
        project: the project to which the costs belong in the account record.
        reroll_refunded: how often a job that failed and was refunded is repeated, over all runs.
        canary: whether one job of each kind is sent alone first.
        accept_delivery: whether the run goes on after a canary's mismatch.
    """

    max_in_flight: int | None
    share_posts: bool
    replay_window: float
    pay_twice: bool
    project: str | None
    reroll_refunded: int = 0
    canary: bool = False
    accept_delivery: bool = False


def refuse(faults: Mapping[str, str | None]) -> None:
    """Raise an error with the problems of all options.

    Args:
        faults: by option, its problem; None if it is valid.

    Raises:
        ConfigurationError: an option is invalid.
    """
    found = [f"{name} {fault}" for name, fault in faults.items() if fault is not None]
    if found:
        raise ConfigurationError("; ".join(found))
