"""The ledger of credits, on which every test of "nothing paid twice" is based.

Its invariant: at every entry, an account's balance is its top-ups minus its charges plus its refunds, and
never negative. Pure: instants are arguments, in seconds on the server's clock.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from seedance_async.sandbox.tasks import Task


@frozen(kw_only=True)
class Entry:
    """One charge, refund or top-up.

    Attributes:
        at: when it took effect, on the server's clock.
        credits: the amount, never negative; ``kind`` states the direction.
        balance: the account's balance afterwards.
        task_id: the task charged or refunded; None for a top-up.
        idempotency_key: the key of the POST that made the task.
    """

    at: float
    kind: Literal["top-up", "charge", "refund"]
    account: str
    credits: int
    balance: int
    task_id: str | None = None
    idempotency_key: str | None = None


class Ledger:
    """Every charge, refund and top-up, in order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._balances: dict[str, int] = {}

    def balance(self, account: str) -> int:
        """The present credits of an account."""
        return self._balances.get(account, 0)

    def top_up(self, account: str, amount: int, *, at: float) -> Entry:
        """Add credits that were bought.

        Raises:
            ValueError: the amount is negative.
        """
        if amount < 0:
            raise ValueError(f"a top-up adds credits, got {amount}")
        balance = self._add(account, amount)
        return self._append(Entry(at=at, kind="top-up", account=account, credits=amount, balance=balance))

    def charge(self, task: Task) -> Entry:
        """Charge the price of a task, at the instant at which it was accepted.

        Raises:
            ValueError: the balance is too low.
        """
        balance = self.balance(task.account)
        if task.credits > balance:
            raise ValueError(f"{task.account} has {balance} credits and cannot pay {task.credits}")
        return self._append(
            _entry("charge", task, at=task.accepted_at, balance=self._add(task.account, -task.credits))
        )

    def refund(self, task: Task) -> Entry:
        """Refund the price of a task, at the instant at which it failed."""
        return self._append(
            _entry("refund", task, at=task.ends_at, balance=self._add(task.account, task.credits))
        )

    def _add(self, account: str, amount: int) -> int:
        self._balances[account] = balance = self.balance(account) + amount
        return balance

    def _append(self, entry: Entry) -> Entry:
        self.entries.append(entry)
        return entry


def _entry(kind: Literal["charge", "refund"], task: Task, *, at: float, balance: int) -> Entry:
    return Entry(
        at=at,
        kind=kind,
        account=task.account,
        credits=task.credits,
        balance=balance,
        task_id=task.id,
        idempotency_key=task.idempotency_key,
    )
