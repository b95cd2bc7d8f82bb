"""The commands that a person runs in the place of an agent, which is only told them.

They have ids and numbers of ours in them, and no name or pattern that somebody else has thought of. Pure.
"""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Final

from seedance_async.integrations.mcp.workspace import BATCHES, MANIFEST

if TYPE_CHECKING:
    from seedance_async.integrations.mcp.orders import Order

FILL_IN: Final = "CREDITS"
"""Stands in a command for a number that only a person can give, so that it does not run before they have."""


def to_allow(order: Order) -> dict[str, object]:
    """The command that allows a plan: the server sends it then, if it still is what was planned."""
    words = ["seedance", "mcp", "--workspace", order.workspace, "--allow", order.plan_id]
    return _told(order, [*words, "--max-credits", _most(order, order.credits)])


def to_go_on(order: Order) -> dict[str, object]:
    """The command that goes on with a batch which its cap has stopped.

    Args:
        order: of the batch, with what that has spent, and what is still to be paid.
    """
    folder = f"{BATCHES}/{order.batch_id}"
    words = ["seedance", "batch", f"{folder}/{MANIFEST}", "-o", folder]
    return _told(
        order, [*words, "--max-credits", _most(order, order.spent + order.credits)], folder=order.workspace
    )


def _most(order: Order, amount: float) -> str:
    return FILL_IN if order.unpriced else str(math.ceil(amount))


def _told(order: Order, words: list[str], *, folder: str | None = None) -> dict[str, object]:
    change = f"cd {shlex.quote(folder)} && " if folder else ""
    told: dict[str, object] = {"command": f"{change}{shlex.join(words)}"}
    if order.unpriced:
        told["fill_in"] = f"the person replaces {FILL_IN} by the most that it may cost"
    return told
