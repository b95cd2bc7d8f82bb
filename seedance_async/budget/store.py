"""The interface of a server for shared budgets: one small text an account, replaced only if unchanged.

That one operation is enough. It is atomic at the server, so no process holds a lock while it decides, and a
process that is stopped in the middle stops no other.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import frozen

MOST_CHARACTERS: Final = 1 << 20
"""Of a text: far more than the budget of any account needs."""


class StoreAwayError(Exception):
    """The server cannot be reached, or does not do what it is asked. The text holds no password."""


@frozen(kw_only=True)
class Kept:
    """What a server keeps under a name.

    Attributes:
        version: rises with every writing; 0 if nothing is kept. The first is the server's time, so that what
            was lost and begun again is not taken for what was there.
        text: what was written last; None if nothing is kept.
        at: the server's time in seconds, of the moment in which this was true.
        server: a name for the life of the server: another one after a restart or a failover.
        up_for: seconds since this life began.
    """

    version: int
    text: str | None
    at: float
    server: str
    up_for: float


class Store(Protocol):
    """Keeps texts by name."""

    async def read(self, name: str) -> Kept:
        """What is kept.

        Raises:
            StoreAwayError: nothing was heard.
        """
        ...

    async def replace(self, name: str, version: int, text: str) -> Kept | None:
        """Write, if what is kept has this version; None if it has another.

        Raises:
            StoreAwayError: it may have been written or not.
        """
        ...

    async def close(self) -> None:
        """Close the connection; never raises."""
        ...
