"""The account's allowance of requests: thirty in any sixty seconds, and never one more."""

from __future__ import annotations

from seedance_async.budget.file_memory import FileMemory, outlives_a_process, state_directory
from seedance_async.budget.gate import Budget, Slot
from seedance_async.budget.memory import BudgetMemory, BudgetState, NoMemory

__all__ = [
    "Budget",
    "BudgetMemory",
    "BudgetState",
    "FileMemory",
    "NoMemory",
    "Slot",
    "outlives_a_process",
    "state_directory",
]
