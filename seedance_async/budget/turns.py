"""The order of those who wait for slots of one account in several processes: interactive ones go first.

Everybody who waits says so beside the stamps. A process that does scheduled work, a batch's, leaves as many
free slots as interactive ones wait elsewhere. So that a stream of these cannot starve what is already paid,
every fifth slot is the other way round.

Pure.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

INTERACTIVE_IN_A_ROW: Final = 4
WAIT_LASTS: Final = 3.0
"""Seconds for which a wait is believed that nobody has said again: its process may be dead."""


class Wait(IntEnum):
    """What a process waits for a slot with."""

    NONE = 0
    SCHEDULED = 1
    INTERACTIVE = 2

    @classmethod
    def of(cls, value: int) -> Wait:
        """The wait of this number; what cannot be is none."""
        return cls(value) if value in {1, 2} else cls.NONE


def ahead(mine: Wait, others: Iterable[Wait], *, in_a_row: int) -> int:
    """How many of the others go before us.

    Args:
        mine: what we wait with.
        others: what each other process waits with.
        in_a_row: slots that interactive ones were given since the last scheduled one.
    """
    scheduled_first = in_a_row >= INTERACTIVE_IN_A_ROW
    first = Wait.SCHEDULED if scheduled_first else Wait.INTERACTIVE
    return 0 if mine is first else sum(other is first for other in others)


def after(in_a_row: int, granted: Wait) -> int:
    """What ``in_a_row`` is once a slot was given."""
    return in_a_row + 1 if granted is Wait.INTERACTIVE else 0
