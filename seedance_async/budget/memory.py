"""The state that a budget remembers, stamps of used slots and lessons of refusals; here, as long as it lives.

A process that starts with an empty memory bursts into a window that its earlier life has filled, and is
refused. The memory that outlives it is `file_memory`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from attrs import Factory, define

from seedance_async.budget.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


@define(kw_only=True)
class BudgetState:
    """What is remembered about one account; instants are on the caller's clock.

    Attributes:
        claims: instants until which this budget's slots are taken, for memories that share them.
        others: ascending instants until which other budgets' slots are, in other processes and earlier lives.
        pace: what refusals have taught, whoever of them was refused.
        certain: nobody else can change it now; else somebody keeps it, and this is what was known last.
        now: the instant at which all this holds, read once it could not change any more.
        share: of the window this budget may use: less than 1 where others cannot be seen.
    """

    claims: tuple[float, ...] = ()
    others: tuple[float, ...] = ()
    pace: Pace = Factory(Pace)
    certain: bool = True
    now: float = 0.0
    share: float = 1.0


class BudgetMemory(Protocol):
    """Remembers one account's state.

    Attributes:
        check_every: seconds after which whoever waits opens it again, as it may be lost; or None.
    """

    check_every: float | None

    def open(self, clock: Callable[[], float]) -> AbstractContextManager[BudgetState]:
        """The state as it stands now by the caller's clock, to be changed in place; kept after the block."""
        ...


class NoMemory:
    """Remembers as long as the budget lives."""

    check_every: float | None = None

    def __init__(self) -> None:
        self._state = BudgetState()

    @contextmanager
    def open(self, clock: Callable[[], float]) -> Iterator[BudgetState]:
        """The state of this budget alone."""
        self._state.now = clock()
        yield self._state
