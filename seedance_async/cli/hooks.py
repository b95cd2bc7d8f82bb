"""The user's program for a batch's events: ``--on-event CMD``, which gets each event as JSON on its stdin.

It is started once for each event, one at a time, so events arrive in order. The batch never waits for it:
events are queued, the oldest are dropped when the queue is full, and a program that hangs is killed. A
program that fails does not affect the batch; one message reports it.

It is started without a shell. Data from servers and manifests is on its stdin only, never in its arguments.
It gets neither the API key nor URLs, which are signed. It runs in its own session, so that Ctrl-C does not
reach it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections import deque
from contextlib import asynccontextmanager, suppress
from difflib import get_close_matches
from threading import Condition, Thread
from typing import TYPE_CHECKING, Final

from seedance_async.cli.batch_display import EventDisplay
from seedance_async.cli.exits import code_of
from seedance_async.daemon_thread import DaemonThread
from seedance_async.errors import ConfigurationError, SeedanceError
from seedance_async.logs import Log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from pathlib import Path

    from seedance_async import JobResult, RunPlan
    from seedance_async.cli.batch_display import Display
    from seedance_async.cli.batch_status import Status, StatusSource

log: Log = Log(__name__)

KINDS: Final = ("started", "planned", "job", "progress", "stopping", "ended")
"""All events; see ``batch_display``."""

LAST: Final = frozenset({"stopping", "ended"})
"""Events that are still delivered at the end, when all others are dropped."""

PATIENCE: Final = 10.0
"""Seconds that a program may take for one event."""

GRACE: Final = 5.0
"""Seconds for the queued events after the batch has ended, and as many more for ``LAST``."""

QUEUE: Final = 1_000
"""Most events in the queue."""

MOST_HANGS: Final = 3
"""Number of hangs in a row after which a program gets no more events."""

KEY_VARIABLE: Final = "SEEDANCE_API_KEY"


def parse_command(text: str) -> list[str]:
    """Split a command into words, as a shell would.

    Raises:
        ConfigurationError: there is no such program, or a quote is not closed.
    """
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise ConfigurationError(f"--on-event {text!r}: {problem}") from None
    if not words:
        raise ConfigurationError("--on-event is empty; name a program, such as ./notify.sh")
    if shutil.which(words[0]) is None:
        raise ConfigurationError(f"--on-event: there is no executable program {words[0]!r}")
    return words


def parse_kinds(text: str | None) -> frozenset[str]:
    """Return the events named in a comma-separated text; all events for None.

    Raises:
        ConfigurationError: an event is not known.
    """
    if text is None:
        return frozenset(KINDS)
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in KINDS:
            near = get_close_matches(word.lower(), KINDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigurationError(f"--on-event-for {word} is not one of {', '.join(KINDS)}{hint}")
    if not words:
        raise ConfigurationError(f"--on-event-for is empty; name some of {', '.join(KINDS)}")
    return frozenset(words)


def environment_without(key: str | None, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for a program: none of them holds the API key.

    Args:
        key: that is in use; None if it is not known here.
        variables: of this process.
    """
    secrets = [secret for secret in (key, variables.get(KEY_VARIABLE)) if secret]
    return {
        name: value
        for name, value in variables.items()
        if name != KEY_VARIABLE and not any(secret in value for secret in secrets)
    }


class Hook:
    """Queue of events for one program, which a separate thread runs.

    Args:
        command: the program and its arguments.
        kinds: the events that it gets.
        environment: its variables.
        patience: seconds for one event.
        grace: seconds for the queued events at the end.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        kinds: Iterable[str] = KINDS,
        environment: Mapping[str, str],
        patience: float = PATIENCE,
        grace: float = GRACE,
    ) -> None:
        self._command = list(command)
        self._kinds = frozenset(kinds)
        self._environment = dict(environment)
        self._patience = patience
        self._grace = grace
        self._events: deque[tuple[str, bytes]] = deque()
        self._changed = Condition()
        self._closing = False
        self._hangs = 0
        self._warned = False
        self._dropped = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._current = ""
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._work, name="seedance-hook", daemon=True)
        self._thread.start()

    def send(self, kind: str, fields: Mapping[str, object]) -> None:
        """Queue an event; returns at once."""
        if kind not in self._kinds:
            return
        shown = {name: value for name, value in fields.items() if name != "urls"}
        text = json.dumps({"event": kind, **shown}) + "\n"
        with self._changed:
            if len(self._events) >= QUEUE:
                self._events.popleft()
                self._dropped += 1
            self._events.append((kind, text.encode()))
            self._changed.notify()

    async def close(self) -> None:
        """Deliver the queued events for a while, then only the last events, then stop, in a bounded time."""
        await asyncio.get_running_loop().run_in_executor(DaemonThread(), self._close)
        if self._dropped:
            log.warning("--on-event: %d events were dropped, because the program is too slow", self._dropped)

    def _close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(self._grace)
        if self._thread.is_alive():
            self._drop_except(LAST)
            self._thread.join(self._grace)
        self._drop_except(frozenset())

    def _drop_except(self, kinds: frozenset[str]) -> None:
        """Drop all queued events except these kinds, and end the program if it handles another one."""
        with self._changed:
            left = [event for event in self._events if event[0] in kinds]
            self._dropped += len(self._events) - len(left)
            self._events = deque(left)
            current, process = self._current, self._process
        if process is not None and current not in kinds:
            self._dropped += 1
            _kill(process)

    # --- in the thread

    def _work(self) -> None:
        while (event := self._next()) is not None:
            fault = self._run(event[1])
            if fault is not None and not self._warned:
                self._warned = True
                self._warn(f"--on-event: {fault}; the batch is not affected")
            if self._hangs >= MOST_HANGS:
                self._warn("--on-event: the program hangs every time, so it gets no more events")
                self._kinds = frozenset()
                return

    def _next(self) -> tuple[str, bytes] | None:
        with self._changed:
            while not self._events and not self._closing:
                self._changed.wait()
            if not self._events:
                return None
            self._current = self._events[0][0]
            return self._events.popleft()

    def _run(self, event: bytes) -> str | None:
        """Run the program for one event; return why that failed, or None."""
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as problem:
            return f"{self._command[0]} cannot be started: {problem.strerror}"
        self._process = process
        try:
            process.communicate(event, timeout=self._patience)  # a program that does not read has not failed
        except subprocess.TimeoutExpired:
            self._hangs += 1
            _kill(process)
            return f"{self._command[0]} has not ended after {self._patience:g} s, and was killed"
        except OSError as problem:
            _kill(process)
            return f"{self._command[0]} cannot be sent an event: {problem.strerror}"
        finally:
            self._process = None
        self._hangs = 0
        if process.returncode:
            return f"{self._command[0]} has failed with exit code {process.returncode}"
        return None

    def _warn(self, message: str) -> None:
        """Log a warning from the event loop's thread, to which a live display belongs."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(log.warning, "%s", message)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and its child processes."""
    with suppress(OSError):
        if process.poll() is None and os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        elif process.poll() is None:
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)


class Displays:
    """Several displays of one batch."""

    def __init__(self, *displays: Display) -> None:
        self._displays = displays

    def start(self, monitor: StatusSource) -> None:
        """Start every display."""
        for display in self._displays:
            display.start(monitor)

    def planned(self, plan: RunPlan) -> None:
        """Show what is about to be sent."""
        for display in self._displays:
            display.planned(plan)

    def job_ended(self, result: JobResult) -> None:
        """Show a job that has ended."""
        for display in self._displays:
            display.job_ended(result)

    def stopping(self, reason: str) -> None:
        """Show that nothing more is sent."""
        for display in self._displays:
            display.stopping(reason)

    def stop(self) -> None:
        """Stop every display."""
        for display in self._displays:
            display.stop()

    def ended(self, status: Status, code: int, page: Path | None) -> None:
        """Show the totals."""
        for display in self._displays:
            display.ended(status, code, page)


@asynccontextmanager
async def with_events(
    display: Display,
    command: Sequence[str],
    *,
    kinds: Iterable[str],
    key: str | None,
    names: tuple[str, Path],
) -> AsyncIterator[Display]:
    """Yield a display that also sends the events of the given one to a program.

    Args:
        display: shows the batch to the user.
        command: the program and its arguments.
        kinds: the events that it gets.
        key: the API key, if it is known here.
        names: the manifest, as the user named it, and the batch's directory.
    """
    hook = Hook(command, kinds=kinds, environment=environment_without(key, os.environ))
    try:
        yield Displays(display, EventDisplay(*names, hook.send))
    except SeedanceError as error:  # the display has not ended, so the event is sent from here
        hook.send("ended", {"exit_code": code_of(error), "reason": error.message})
        raise
    finally:
        await hook.close()
