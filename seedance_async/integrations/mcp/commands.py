"""The command by which a person allows a plan, where the agent's host shows no forms.

It contains ids and numbers of the server, and no name or pattern that an agent has chosen. Pure.
"""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Final

from seedance_async.credit_format import credit_count

if TYPE_CHECKING:
    from seedance_async.integrations.mcp.orders import Order

FILL_IN: Final = "CREDITS"
"""Stands in a command for a number that only a person can give, so that it does not run before they have."""


def to_allow(order: Order) -> dict[str, object]:
    """The command that allows a plan: the server then sends it, if it still is what was planned.

    Args:
        order: of the plan. Where its cap has stopped it, ``credits`` is what it costs all in all.
    """
    most = FILL_IN if order.unpriced else str(math.ceil(order.credits))
    words = [
        "seedance",
        "mcp",
        "--workspace",
        order.workspace,
        "--allow",
        order.plan_id,
        "--max-credits",
        most,
    ]
    command: dict[str, object] = {"command": shlex.join(words)}
    if not order.unpriced:
        return command
    so_far = f", with the {credit_count(order.credits)} of known price" if order.credits else ""
    return {**command, "fill_in": f"the person replaces {FILL_IN} by the most that the plan may cost{so_far}"}
