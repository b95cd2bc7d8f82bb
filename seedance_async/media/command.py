"""A command of the user that publishes a file: it gets the path and prints the URL.

It is started without a shell and without the API key in its environment, and has a time limit.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from seedance_async.errors import ConfigurationError, MediaError
from seedance_async.models.display import without_queries

if TYPE_CHECKING:
    from seedance_async.media.inspection import InputFile

PATIENCE: Final = 300.0
"""The time limit of a command in seconds."""

NOT_FOR_COMMANDS: Final = "SEEDANCE_API_KEY"
"""The environment variable that is not passed to a command."""

MOST_SHOWN: Final = 300


class PublishCommand:
    """A media store that publishes each file with a command.

    Args:
        command: the command line, split into words as a shell does; the path is appended as the last word.
        patience: the time limit in seconds.

    Raises:
        ConfigurationError: the command is empty or cannot be split.
    """

    def __init__(self, command: str, *, patience: float = PATIENCE) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as problem:
            raise ConfigurationError(f"--publish-with cannot be split into words: {problem}") from None
        if not self._words:
            raise ConfigurationError("--publish-with is empty; give a command that prints a URL for a path")
        self._patience = patience

    async def publish(self, file: InputFile) -> str:
        """Run the command for a file, and return the URL that it prints.

        Raises:
            MediaError: it cannot be started, fails, exceeds the time limit, or prints no URL.
        """
        call = _Call([*self._words, str(file.path)], self._patience)
        try:
            return await to_thread.run_sync(call.run, abandon_on_cancel=True)
        finally:
            call.kill()


class _Call:
    """One run of the command, which may be ended from another thread."""

    def __init__(self, words: list[str], patience: float) -> None:
        self._words = words
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False

    def run(self) -> str:
        """Run the command, and return the URL in the last line that it prints."""
        with self._started() as process:
            if self._is_over:
                self._end(process)
            try:
                said, complaint = process.communicate(timeout=self._patience)
            except subprocess.TimeoutExpired:
                self._end(process)
                raise MediaError(
                    f"{self._name} did not end in {self._patience:g} s, and was killed"
                ) from None
        if process.returncode:
            raise MediaError(f"{self._name} failed with code {process.returncode}{_last_line(complaint)}")
        lines = said.decode(errors="replace").split("\n")
        url = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if not url.startswith(("https://", "http://")):
            raise MediaError(
                f"{self._name} printed no https URL{_last_line(url.encode())}; it must print the URL of the "
                "file whose path it gets as its last argument"
            )
        return url

    def kill(self) -> None:
        """Kill the command if it is running."""
        self._is_over = True
        if self._process is not None:
            self._end(self._process)

    @property
    def _name(self) -> str:
        return f"--publish-with {self._words[0]!r:.100}"

    def _started(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name != NOT_FOR_COMMANDS}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command, and no shell
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # so that its child processes are killed with it
            )
        except (OSError, ValueError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else problem
            raise MediaError(f"{self._name} cannot be started: {reason}") from None
        return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is not None:
            return
        with suppress(OSError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()


def _last_line(said: bytes) -> str:
    """The last line of a command's output, for a message, without the signature of a URL in it."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    return f": {without_queries(lines[-1])[:MOST_SHOWN]}" if lines else ""
