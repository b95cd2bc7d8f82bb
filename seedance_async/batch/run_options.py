"""The options of one run of a batch, as its parts need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from seedance_async.errors import ConfigurationError


@frozen(kw_only=True)
class PlanOptions:
    """Which jobs of a manifest a run is to send; what ``BatchRunner`` takes under the same names.

    Attributes:
        until: only jobs whose names match this pattern, and what they take; None for all.
        reroll: names, or patterns of names, of jobs that are made anew.
        takes: how many new ones of each.
        adopt: whether renamed jobs take over what was made of them.
        ignored: codes of rules that no prompt is held to.
        finish: the kept takes, made again with these fields changed, instead; None for the manifest's jobs.
        retry_failed: whether what failed or was refused is sent anew.
        reroll_refunded: how often a job that failed and was refunded is made anew, over all runs.
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
    """How a batch is run.

    Attributes:
        max_in_flight: most jobs submitted and not finished at once; None for no bound.
        share_posts: whether jobs that ask for the same may share a POST.
        replay_window: seconds for which a key is taken to be remembered by the server.
        pay_twice: whether a job of unknown outcome may take a new key where its own leads no further.
        project: whose costs the POSTs are in the account's record.
        reroll_refunded: how often a job that failed and was refunded is made anew, over all runs.
        canary: whether of each kind one job goes alone.
        accept_delivery: whether its delivery stops nothing.
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
    """Refuse options with all that is wrong about them, by name.

    Raises:
        ConfigurationError: something is.
    """
    found = [f"{name} {fault}" for name, fault in faults.items() if fault is not None]
    if found:
        raise ConfigurationError("; ".join(found))
