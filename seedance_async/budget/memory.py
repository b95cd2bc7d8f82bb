"""Where the budget keeps what must outlive the process: stamps of used slots, and what refusals taught.

A process that starts with an empty memory bursts into a window that its earlier life has filled, and is
refused.
"""

from __future__ import annotations

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
        mine: ascending instants at which this process's slots come back.
        others: the same for other processes and earlier lives.
        pace: what refusals have taught whom ever.
    """

    mine: tuple[float, ...] = ()
    others: tuple[float, ...] = ()
    pace: Pace = Factory(Pace)


class BudgetMemory(Protocol):
    """Remembers one account's record."""

    def open(self, now: float) -> AbstractContextManager[Record]:
        """The record as it stands at ``now``, to be changed in place; kept when the block ends."""
        ...


class NoMemory:
    """Remembers as long as the process lives."""

    def __init__(self) -> None:
        self._record = Record()

    @contextmanager
    def open(self, now: float) -> Iterator[Record]:  # noqa: ARG002
        """The record of this process alone."""
        yield self._record
