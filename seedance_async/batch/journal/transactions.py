"""A decorator that runs a method as one transaction, and reloads values kept in memory if it fails."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.batch.journal.file import File


class Reloadable(Protocol):
    """An object that keeps values of a file in memory."""

    file: File

    def reload(self) -> None:
        """Read these values from the file again."""


S = TypeVar("S", bound=Reloadable)
P = ParamSpec("P")
T = TypeVar("T")


def transaction(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Run a method as one transaction."""

    @functools.wraps(method)
    def whole(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return self.file.transaction(lambda: method(self, *args, **kwargs))
        except BaseException:
            with suppress(Exception):  # if the file cannot be read, the first failure is the one to raise
                self.reload()
            raise

    return whole
