"""The repr of an object whose construction failed."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def even_if_unfinished(describe: Callable[[T], str]) -> Callable[[T], str]:
    """Decorate a ``__repr__`` so that it works before ``__init__`` has ended.

    A traceback with local variables shows an object whose ``__init__`` raised.
    """

    @wraps(describe)
    def described(self: T) -> str:
        try:
            return describe(self)
        except AttributeError:
            return f"<{type(self).__name__}, not constructed>"

    return described
