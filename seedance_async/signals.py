"""Two ways to wait for another coroutine: a future for a value, and a signal for a change."""

from __future__ import annotations

from typing import Generic, TypeVar

import anyio

Value = TypeVar("Value")


class Future(Generic[Value]):
    """A value that comes later; set once, and waiting does not consume it."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._value: Value
        self._error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """True once ``set_result`` or ``set_error`` was called."""
        return self._event.is_set()

    @property
    def has_result(self) -> bool:
        """True once there is a value."""
        return self.is_done and self._error is None

    def set_result(self, value: Value) -> None:
        """Set the value. Does nothing if the future is done."""
        if not self.is_done:
            self._value = value
            self._event.set()

    def set_error(self, error: Exception) -> None:
        """Have every waiter raise this. Does nothing if the future is done."""
        if not self.is_done:
            self._error = error
            self._event.set()

    async def wait(self) -> Value:
        """The value, as soon as there is one.

        Raises:
            Exception: what ``set_error`` was given.
        """
        await self._event.wait()
        return self.result()

    def result(self) -> Value:
        """The value of a future that is done, or its error raised; for code that must not await."""
        if self._error is not None:
            raise self._error
        return self._value


class Signal:
    """Wakes everybody who waits for a change.

    It keeps nothing: check the condition, and wait without another ``await`` in between.
    """

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def set(self) -> None:
        """Something has changed: wake all who wait."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self, timeout: float | None = None) -> None:
        """Return at the next change, or after ``timeout`` seconds."""
        event = self._event = self._event or anyio.Event()
        with anyio.move_on_after(timeout):
            await event.wait()
