"""The order of those who wait for slots of one account in several processes: interactive ones go first.

Everybody who waits says so beside the stamps. A process that does scheduled work, a batch's, takes no slot
while an interactive one waits elsewhere, which is for as long as that one needs to take its own. So that a
stream of these cannot starve what is already paid, every fifth slot is the other way round.

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
YIELD_CHECK: Final = 0.1
"""Seconds after which who lets another one go first looks whether it has gone."""


class Wait(IntEnum):
    """What a process waits for a slot with."""

    NONE = 0
    SCHEDULED = 1
    INTERACTIVE = 2

    @classmethod
    def of(cls, value: int) -> Wait:
        """The wait of this number; what cannot be is none."""
        return cls(value) if value in {1, 2} else cls.NONE


def others_first(mine: Wait, others: Iterable[Wait], *, in_a_row: int) -> bool:
    """Whether one of the others goes before us.

    Args:
        mine: what we wait with.
        others: what each other process waits with.
        in_a_row: slots that interactive ones were given since the last scheduled one.
    """
    first = Wait.SCHEDULED if in_a_row >= INTERACTIVE_IN_A_ROW else Wait.INTERACTIVE
    return mine is not first and first in others


def after(in_a_row: int, granted: Wait) -> int:
    """What ``in_a_row`` is once a slot was given."""
    return in_a_row + 1 if granted is Wait.INTERACTIVE else 0
