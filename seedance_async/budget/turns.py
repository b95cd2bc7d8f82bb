"""The order of those who wait for slots of one account in several processes: interactive ones go first.

Each process that waits writes so next to its claims. A process with scheduled work (a batch) takes no slot
while a process with interactive work waits. A steady stream of interactive requests must not stop work that
is already paid, so every fifth slot goes to scheduled work first. Between processes with the same kind of
work, one that has many more slots than another one that waits lets that one go first: chance alone would not
share evenly.

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
"""A process goes before us if it has fewer slots than this share of ours, less one."""

WAIT_LASTS: Final = 3.0
"""Seconds after which a wait that was not written again is ignored: its process may be dead."""
YIELD_CHECK: Final = 0.1
"""Seconds between two looks whether the process that we let go first has taken its slot."""


class Wait(IntEnum):
    """What a process waits for a slot with."""

    NONE = 0
    SCHEDULED = 1
    INTERACTIVE = 2

    @classmethod
    def of(cls, value: int) -> Wait:
        """The wait of this number; what cannot be is none."""
        return cls(value) if value in {1, 2} else cls.NONE


@frozen
class Waiting:
    """A process that waits for a slot, or does not.

    Attributes:
        wait: what it waits with.
        slots: how many it has taken that have not come back.
    """

    wait: Wait
    slots: int = 0


def others_first(mine: Waiting, others: Iterable[Waiting], *, in_a_row: int) -> bool:
    """Whether one of the others goes before us.

    Args:
        mine: what we wait with, and have.
        others: the same of each other process.
        in_a_row: slots that interactive ones were given since the last scheduled one.
    """
    first = Wait.SCHEDULED if in_a_row >= INTERACTIVE_IN_A_ROW else Wait.INTERACTIVE
    most = FAIR * mine.slots - 1
    return any(
        (other.wait is first and mine.wait is not first) or (other.wait is mine.wait and other.slots < most)
        for other in others
        if other.wait is not Wait.NONE
    )


def after(in_a_row: int, granted: Wait) -> int:
    """What ``in_a_row`` is once a slot was given."""
    return in_a_row + 1 if granted is Wait.INTERACTIVE else 0
