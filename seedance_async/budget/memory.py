"""The state that a budget remembers: used slots, and the pace learned from refusals; and its interface.

A process that starts with an empty memory sends requests into a window that the process before it has filled,
and is refused. So there are two memories that outlive the process: `file_memory`, shared on one machine, and
`shared_memory`, shared by all hosts. The memory in this module ends with the process.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from attrs import Factory, define

from seedance_async.budget.pace import Pace
from seedance_async.budget.priority import Wait, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

SLACK: Final = 0.05  # s by which clocks and floats may differ
CHECK_EVERY: Final = 0.5  # s
SETTLING: Final = 1.0  # s, in which the processes that check will have written their claims again
LONGEST_PERIOD: Final = 3600.0  # s; a longer one in a memory is ignored


@define(kw_only=True)
class BudgetState:
    """What is remembered about one account; instants are on the caller's clock.

    Attributes:
        is_shared: whether others read the memory; if not, ``claims`` and ``wait`` are not kept.
        claims: instants until which this budget's slots are taken.
        others: ascending instants until which slots of other budgets are taken, in other processes and in
            earlier processes that have ended.
        pace: the pace learned from all refusals, of this budget and others.
        certain: True: no other process can change the state now. False: another process keeps it locked, and
            this is the last known state.
        now: the instant for which the state is valid, read when it could not change any more.
        share: the part of the window that this budget may use: less than 1 if others cannot be seen.
        spacing: seconds to keep between any two requests for now, in addition to ``pace``.
        wait: the kind of work for which this budget waits for a slot.
        others_wait: the same of other budgets, with the number of their slots.
        in_a_row: slots given to interactive work since the last one for scheduled work, see `priority`.
    """

    is_shared: bool = True
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
    """The interface of a memory of one account's state.

    Attributes:
        check_every: seconds after which a waiting budget opens the memory again, as it may have been lost;
            None if it cannot be lost.
    """

    check_every: float | None

    def open(self, clock: Callable[[], float]) -> AbstractContextManager[BudgetState]:
        """The present state, on the caller's clock; what the block changes in it is stored."""
        ...

    async def commit(self) -> bool:
        """Whether the last change is valid for all processes.

        False: others had changed the state on which it was decided. Their change is known now; the caller
        must undo its own and decide again.
        """
        ...

    async def serve(self, changed: Callable[[], object]) -> None:
        """Run the background work until cancelled; call ``changed`` when others have changed the state."""
        ...


class LocalMemory:
    """Default ``commit`` and ``serve``, for memories that no other process can change during ``open``."""

    async def commit(self) -> bool:
        """Return True: the ``open`` block has already stored the change."""
        return True

    async def serve(self, changed: Callable[[], object]) -> None:
        """Return at once: there is no background work."""


class NoMemory(LocalMemory):
    """A memory that ends with the budget."""

    check_every: float | None = None

    def __init__(self) -> None:
        self._state = BudgetState(is_shared=False)

    @contextmanager
    def open(self, clock: Callable[[], float]) -> Iterator[BudgetState]:
        """The state of this budget alone."""
        self._state.now = clock()
        yield self._state


def bounded(slots: Iterable[float], latest: float) -> list[float]:
    """Seconds until each slot becomes free; an impossible value is replaced by ``latest``."""
    return [slot if -SLACK <= slot <= latest + SLACK else latest for slot in slots]
