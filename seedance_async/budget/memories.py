"""The choice of where an account's budget is remembered: at a server, in this machine's file, or nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async.budget.file_memory import FileMemory, outlives_a_process
from seedance_async.budget.memory import BudgetMemory, NoMemory

if TYPE_CHECKING:
    from yarl import URL

    from seedance_async.budget.shared import SharedBudget
    from seedance_async.models import RateLimit


def memory_of(account: str, base_url: URL, limit: RateLimit, shared: SharedBudget | None) -> BudgetMemory:
    """The memory of an account's used slots and learned pace.

    Without a shared server, the budget of a sandbox is kept in this process only.
    """
    if shared is not None:
        return shared.memory(account, limit)
    return FileMemory(account, limit=limit) if outlives_a_process(base_url) else NoMemory()
