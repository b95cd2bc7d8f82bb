"""The account's allowance of requests: thirty in any sixty seconds, and never one more."""

from __future__ import annotations

from seedance_async.budget.gate import Budget, Slot
from seedance_async.budget.memory import BudgetMemory, NoMemory

__all__ = ["Budget", "BudgetMemory", "NoMemory", "Slot"]
