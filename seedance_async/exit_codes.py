"""Exit codes of the command line, which a batch's summary has too; scripts decide by these numbers."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    """Everything asked for is there."""
    FAILED = 1
    """Something failed, was refused or could not be saved."""
    USAGE = 2
    """A flag, the manifest or the batch's directory is wrong; nothing was sent."""
    OUT_OF_CREDITS = 3
    """Stopped by a 402 or a cap; top up and run the command again."""
    KEY_REFUSED = 4
    """The API refused the key."""
    UNCERTAIN = 5
    """A job may have been accepted and paid; nobody can know."""
    CANARY = 6
    """Stopped by a canary: the first job of a kind is not what was asked for."""
    INTERRUPTED = 130
    """Stopped by a signal; run the command again."""
