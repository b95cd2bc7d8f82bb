"""The state that a budget remembers, stamps of used slots and lessons of refusals; here, as long as it lives.

A process that starts with an empty memory bursts into a window that its earlier life has filled, and is
refused. The memories that outlive it are `file_memory`, which one machine shares, and `shared_memory`, which
all hosts do.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from attrs import Factory, define

from seedance_async.budget.pace import Pace
from seedance_async.budget.turns import Wait, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

SLACK: Final = 0.05  # s; what clocks and floats may differ by
CHECK_EVERY: Final = 0.5  # s
SETTLING: Final = 1.0  # s, for those who check to be heard
LONGEST_PERIOD: Final = 3600.0  # s; a longer one in a memory is not believed


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
        spacing: seconds to keep between any two requests for now, whatever refusals have taught.
        wait: what this budget waits for a slot with.
        others_wait: what other budgets wait with, and have.
        in_a_row: slots given to interactive ones since the last scheduled one, see `turns`.
    """

    claims: tuple[float, ...] = ()
    others: tuple[float, ...] = ()
    pace: Pace = Factory(Pace)
    certain: bool = True
    now: float = 0.0
    share: float = 1.0
    spacing: float = 0.0
    wait: Wait = Wait.NONE
    others_wait: tuple[Waiting, ...] = ()
    in_a_row: int = 0


class BudgetMemory(Protocol):
    """Remembers one account's state.

    Attributes:
        check_every: seconds after which whoever waits opens it again, as it may be lost; or None.
    """

    check_every: float | None

    def open(self, clock: Callable[[], float]) -> AbstractContextManager[BudgetState]:
        """The state as it stands now by the caller's clock, to be changed in place; kept after the block."""
        ...

    async def commit(self) -> bool:
        """Whether what was changed last holds for everybody.

        False: others had changed what it was decided on, which is known now. The change was ours alone: undo
        it, and decide again.
        """
        ...

    async def serve(self, changed: Callable[[], object]) -> None:
        """Do what must be done beside the work; call ``changed`` when there is news. Ends by cancellation."""
        ...


class LocalMemory:
    """The two methods that do nothing, for memories whose ``open`` block is never interrupted by others."""

    async def commit(self) -> bool:
        """True: the block has seen to it."""
        return True

    async def serve(self, changed: Callable[[], object]) -> None:
        """Nothing is to be done."""


class NoMemory(LocalMemory):
    """Remembers as long as the budget lives."""

    check_every: float | None = None

    def __init__(self) -> None:
        self._state = BudgetState()

    @contextmanager
    def open(self, clock: Callable[[], float]) -> Iterator[BudgetState]:
        """The state of this budget alone."""
        self._state.now = clock()
        yield self._state


def bounded(slots: Iterable[float], latest: float) -> list[float]:
    """Seconds until slots return; those that cannot be are taken for the latest."""
    return [slot if -SLACK <= slot <= latest + SLACK else latest for slot in slots]
