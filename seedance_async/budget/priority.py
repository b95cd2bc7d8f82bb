"""The priority among processes that wait for slots of one account: interactive work goes first.

Each process that waits for a slot writes this next to its claims. A process with scheduled work (a batch)
takes no slot while a process with interactive work waits. A steady stream of interactive requests must not
stop work that is already paid for, so every fifth slot goes to scheduled work first. Between processes with
the same kind of work, a process that has many more slots than another one that waits lets the other go first:
chance alone would not share the slots evenly.

Pure.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

INTERACTIVE_IN_A_ROW: Final = 4
FAIR: Final = 0.7
"""A process goes before us if it has fewer slots than this share of ours, minus one."""

WAIT_LASTS: Final = 3.0
"""Seconds after which a wait that was not written again is ignored: its process may have ended."""
YIELD_CHECK: Final = 0.1
"""Seconds between two checks whether the process that we let go first has taken its slot."""


class Wait(IntEnum):
    """The kind of work for which a process waits for a slot; ``NONE`` if it does not wait."""

    NONE = 0
    SCHEDULED = 1
    INTERACTIVE = 2

    @classmethod
    def of(cls, value: int) -> Wait:
        """The wait with this number; ``NONE`` for an unknown one."""
        return cls(value) if value in {1, 2} else cls.NONE


@frozen
class Waiting:
    """The state of a process that may wait for a slot.

    Attributes:
        wait: the kind of work it waits for.
        slots: how many slots it has taken that are not free again.
    """

    wait: Wait
    slots: int = 0


def others_first(mine: Waiting, others: Iterable[Waiting], *, in_a_row: int) -> bool:
    """Whether one of the others goes before us.

    Args:
        mine: our own state.
        others: the state of each other process.
        in_a_row: slots given to interactive work since the last one for scheduled work.
    """
    first = Wait.SCHEDULED if in_a_row >= INTERACTIVE_IN_A_ROW else Wait.INTERACTIVE
    most = FAIR * mine.slots - 1
    return any(
        (other.wait is first and mine.wait is not first) or (other.wait is mine.wait and other.slots < most)
        for other in others
        if other.wait is not Wait.NONE
    )


def after(in_a_row: int, granted: Wait) -> int:
    """The value of ``in_a_row`` after a slot was given."""
    return in_a_row + 1 if granted is Wait.INTERACTIVE else 0
