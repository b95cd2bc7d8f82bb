"""The setting ``shared_budget``: the URL of the server through which all hosts share an account's budget.

The URL may contain a password, and so may a library's error about it. So errors get a text of our own and are
returned, for the caller to raise them from a stack frame that does not hold the URL.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

from seedance_async.budget.postgres_store import PostgresStore
from seedance_async.budget.redis_store import RedisStore
from seedance_async.budget.shared_memory import SharedMemory, fingerprint
from seedance_async.errors import ConfigurationError
from seedance_async.server_urls import server_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.budget.shared_store import Store
    from seedance_async.models import RateLimit

VARIABLE: Final = "SEEDANCE_SHARED_BUDGET"
EXAMPLES: Final = "postgresql://user:password@host/database or redis://:password@host:6379/0"

_STORES: Final[dict[str, Callable[[str], Store]]] = {
    "postgresql": PostgresStore,
    "postgres": PostgresStore,
    "redis": RedisStore,
    "rediss": RedisStore,
}


class SharedBudget:
    """A server that stores budgets.

    Args:
        open_store: makes a store, which connects to the server at its first use.
        shown: the server's address without a password.
    """

    def __init__(self, open_store: Callable[[], Store], shown: str) -> None:
        self._open_store = open_store
        self._shown = shown

    def __repr__(self) -> str:
        return f"SharedBudget({self._shown!r})"

    def memory(self, account: str, limit: RateLimit) -> SharedMemory:
        """The memory of an account's used slots and learned pace; for one event loop."""
        return SharedMemory(fingerprint(account), self._open_store(), limit=limit, shown=self._shown)


def read_shared_budget(given: object) -> SharedBudget | ConfigurationError | None:
    """The server of the ``shared_budget`` given, else of the environment variable; None if neither is set.

    An error is returned, not raised: see the module.
    """
    if given is not None and not isinstance(given, str):
        kind = type(given).__name__  # a driver's own URL shows its password
        return ConfigurationError(f"shared_budget must be a URL such as {EXAMPLES}, as str; got {kind}")
    url = (given if given is not None else os.environ.get(VARIABLE, "")).strip()
    if not url and given is None:
        return None
    address = server_url(url, _STORES)
    if address is None:
        message = f"shared_budget (or {VARIABLE}) must look like {EXAMPLES}; escape @ / ? # in a password"
        return ConfigurationError(message)
    open_store = partial(_STORES[address.scheme], url)
    try:
        open_store()
    except ConfigurationError as problem:
        message = problem.message
    else:
        return SharedBudget(open_store, address.shown)
    return ConfigurationError(message)
