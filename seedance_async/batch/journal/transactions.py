"""A method as one transaction: whole or not at all, and what is kept in memory as the file has it."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.batch.journal.file import File


class Recalling(Protocol):
    """What keeps something of a file in memory."""

    file: File

    def recall(self) -> None:
        """Read that anew."""


S = TypeVar("S", bound=Recalling)
P = ParamSpec("P")
T = TypeVar("T")


def transaction(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Make a method one transaction."""

    @functools.wraps(method)
    def whole(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return self.file.transaction(lambda: method(self, *args, **kwargs))
        except BaseException:
            with suppress(
                Exception
            ):  # the file cannot be read any more: the first failure is the one to raise
                self.recall()
            raise

    return whole
