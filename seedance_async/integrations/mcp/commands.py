"""The commands that a person runs in the place of an agent, which is only told them.

Names of jobs in them are what somebody else has thought of: they are words of a shell, and no flags. Pure.
"""

from __future__ import annotations

import json
import math
import shlex
from typing import TYPE_CHECKING, Final

from seedance_async.integrations.mcp.workspace import BATCHES, MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.integrations.mcp.orders import Order

MOST_BYTES: Final = 800
"""Of the names of a reroll, as they stand in an answer: a person may get them in a command, never cut."""

FILL_IN: Final = "CREDITS"
"""Stands in a command for a number that only a person can give, so that it does not run before they have."""


def for_a_person(order: Order) -> dict[str, object]:
    """The command by which a person sends a plan, or goes on with it, and what they have to fill in."""
    told: dict[str, object] = {"command": _command(order)}
    if order.unpriced:
        told["fill_in"] = f"the person replaces {FILL_IN} by the most that the whole batch may cost"
    return told


def is_too_long(names: Sequence[str]) -> bool:
    """Whether the names of a reroll are more than fits into an answer with a command."""
    return len(json.dumps(shlex.join(_anew(names)), ensure_ascii=False).encode()) > MOST_BYTES


def _command(order: Order) -> str:
    folder = f"{BATCHES}/{order.batch_id}"
    words = ["seedance", "batch", f"{folder}/{MANIFEST}", "-o", folder]
    most = FILL_IN if order.unpriced else str(math.ceil(order.spent + order.credits))
    words += ["--max-credits", most]
    if order.reroll:
        words += ["--takes", str(order.takes), *_anew(order.reroll)]
    return f"cd {shlex.quote(order.workspace)} && {shlex.join(words)}"


def _anew(names: Sequence[str]) -> list[str]:
    """The words of a command that make these jobs anew: a name that looks like a flag stays a name."""
    return [f"--reroll={name}" for name in names]
