"""The interface of a server for shared budgets: one small text per account, replaced by compare-and-swap.

That one operation is enough. It is atomic at the server, so no process holds a lock while it decides, and a
process that is stopped in between does not block the others.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import frozen

MOST_CHARACTERS: Final = 1 << 20
"""The longest text that is accepted: far longer than the budget of any account."""


class StoreUnavailableError(Exception):
    """The server cannot be reached, or the operation failed. The message contains no password."""


@frozen(kw_only=True)
class Kept:
    """What a server stores under a name.

    Attributes:
        version: rises with every write; 0 if nothing is stored. The first version is the server's time, so
            that a text that was lost and written again cannot have the version of the old one.
        text: the last text written; None if nothing is stored.
        at: the server's time in seconds at which this was read.
        server: identifies one run of the server: it changes with a restart or a failover.
        up_for: seconds since that run began.
    """

    version: int
    text: str | None
    at: float
    server: str
    up_for: float


class Store(Protocol):
    """A server that stores texts by name."""

    async def read(self, name: str) -> Kept:
        """What is stored under a name.

        Raises:
            StoreUnavailableError: the server did not answer as expected.
        """
        ...

    async def replace(self, name: str, version: int, text: str) -> Kept | None:
        """Write and return what is stored then, if it had this version; None if it had another.

        Raises:
            StoreUnavailableError: the text may or may not have been written.
        """
        ...

    async def close(self) -> None:
        """Close the connection; never raises."""
        ...
