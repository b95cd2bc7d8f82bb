"""The POSTs on the wire, and the grace period for their answers when a client or a batch closes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

from seedance_async.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Iterator

GRACE: Final = 10.0
"""Seconds for which answers to POSTs on the wire are awaited at closing, as they name what was paid."""


class PostsOnWire:
    """The set of the POSTs on the wire, each with its owner."""

    def __init__(self) -> None:
        self._owners: dict[anyio.CancelScope, object] = {}
        self._one_ended = Signal()

    @contextmanager
    def one(self, owner: object = None) -> Iterator[None]:
        """Count a POST for the block. One with an owner is shielded from cancellation during the grace."""
        with anyio.CancelScope(shield=owner is not None) as scope:
            self._owners[scope] = owner
            try:
                yield
            finally:
                del self._owners[scope]
                self._one_ended.set()

    async def last_answers(self, owner: object = None) -> None:
        """Wait for an owner's POSTs, or all, for at most ``GRACE``; those still unanswered are cancelled."""
        with anyio.move_on_after(GRACE):
            while self._of(owner):
                await self._one_ended.wait()
        for scope in self._of(owner):
            if scope.shield:
                scope.cancel()

    def _of(self, owner: object) -> list[anyio.CancelScope]:
        return [scope for scope, whose in self._owners.items() if owner is None or whose is owner]
