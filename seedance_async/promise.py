"""A value that one worker will have and others wait for; and a bell that wakes whoever sleeps on it."""

from __future__ import annotations

from typing import Generic, TypeVar

import anyio

Value = TypeVar("Value")


class Promise(Generic[Value]):
    """Settled once, with a value or an error; waiting never consumes it."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._value: Value
        self._error: Exception | None = None

    @property
    def settled(self) -> bool:
        """True once ``keep`` or ``fail`` was called."""
        return self._event.is_set()

    @property
    def kept(self) -> bool:
        """True once there is a value."""
        return self.settled and self._error is None

    def keep(self, value: Value) -> None:
        """Settle with a value. Settling twice changes nothing."""
        if not self.settled:
            self._value = value
            self._event.set()

    def fail(self, error: Exception) -> None:
        """Settle with an error, raised in every waiter. Settling twice changes nothing."""
        if not self.settled:
            self._error = error
            self._event.set()

    async def wait(self) -> Value:
        """The value, as soon as there is one.

        Raises:
            Exception: what ``fail`` was given.
        """
        await self._event.wait()
        return self.result()

    def result(self) -> Value:
        """The value of a settled promise, or its error raised; for the places that must not await."""
        if self._error is not None:
            raise self._error
        return self._value


class Bell:
    """Wakes one sleeper; a ring while nobody sleeps is heard by the next who lies down."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        """Something changed: look again."""
        self._event.set()

    async def sleep(self, seconds: float | None = None) -> None:
        """Return at the next ring, or after ``seconds``."""
        with anyio.move_on_after(seconds):
            await self._event.wait()
        if self._event.is_set():
            self._event = anyio.Event()
