"""Two ways to wait for another coroutine: a future for a value, and a signal for a change."""

from __future__ import annotations

from typing import Generic, TypeVar

import anyio

Value = TypeVar("Value")


class Future(Generic[Value]):
    """A value that is set later and once; waiting does not consume it."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._value: Value
        self._error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether ``set_result`` or ``set_error`` was called."""
        return self._event.is_set()

    @property
    def has_result(self) -> bool:
        """Whether there is a value."""
        return self.is_done and self._error is None

    def set_result(self, value: Value) -> None:
        """Set the value. Does nothing if the future is done."""
        if not self.is_done:
            self._value = value
            self._event.set()

    def set_error(self, error: Exception) -> None:
        """Raise this error in every waiter. Does nothing if the future is done."""
        if not self.is_done:
            self._error = error
            self._event.set()

    async def wait(self) -> Value:
        """Wait for the value, and return it.

        Raises:
            Exception: the error given to ``set_error``.
        """
        await self._event.wait()
        return self.result()

    def result(self) -> Value:
        """Return the value of a future that is done, or raise its error; for code that must not await."""
        if self._error is not None:
            raise self._error
        return self._value


class Signal:
    """A signal that wakes all coroutines that wait for a change.

    It has no memory: check the condition, then wait, without another ``await`` in between.
    """

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def set(self) -> None:
        """Wake all waiting coroutines."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self, timeout: float | None = None) -> None:
        """Return at the next change, or after ``timeout`` seconds."""
        event = self._event = self._event or anyio.Event()
        with anyio.move_on_after(timeout):
            await event.wait()
