"""The exit codes of the command line, also in a batch's summary; scripts depend on these numbers."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of a command."""

    OK = 0
    """Everything requested was done."""
    FAILED = 1
    """Something failed, was refused or could not be saved."""
    USAGE = 2
    """A flag, the manifest or the batch's directory is wrong; nothing was sent."""
    OUT_OF_CREDITS = 3
    """Stopped by a 402 or a cap; top up and run the command again."""
    KEY_REFUSED = 4
    """The API refused the key."""
    UNCERTAIN = 5
    """A job may have been accepted and paid; its outcome cannot be known."""
    CANARY = 6
    """Stopped by a canary: the first job of a kind is not what was requested."""
    INTERRUPTED = 130
    """Stopped by a signal; run the command again."""
