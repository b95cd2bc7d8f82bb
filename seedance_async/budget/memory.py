"""What the budget remembers, the stamps of used slots and what refusals taught; here, as long as it lives.

A process that starts with an empty memory bursts into a window that its earlier life has filled, and is
refused. The memory that outlives it is `file_memory`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from attrs import Factory, define

from seedance_async.budget.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


@define(kw_only=True)
class Record:
    """What is remembered about one account; instants are on the caller's clock.

    Attributes:
        claims: lists the instants until which this budget's slots are taken, for memories that share them.
        others: ascending instants until which other budgets' slots are, in other processes and earlier lives.
        pace: what refusals have taught, whoever of them was refused.
        certain: nobody else can change it now; else somebody keeps it, and this is what was known last.
    """

    claims: Callable[[], Iterable[float]] = tuple
    others: tuple[float, ...] = ()
    pace: Pace = Factory(Pace)
    certain: bool = True


class BudgetMemory(Protocol):
    """Remembers one account's record."""

    def open(self, now: float) -> AbstractContextManager[Record]:
        """The record as it stands at ``now``, to be changed in place; kept when the block ends."""
        ...


class NoMemory:
    """Remembers as long as the budget lives."""

    def __init__(self) -> None:
        self._record = Record()

    @contextmanager
    def open(self, now: float) -> Iterator[Record]:  # noqa: ARG002
        """The record of this budget alone."""
        yield self._record
