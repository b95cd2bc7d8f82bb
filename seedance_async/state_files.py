"""The state files of this user, which outlive a process: their directory, and their names for an account.

A name contains a digest of the account, so that the directory does not show to which key it belongs.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from seedance_async.errors import ConfigurationError


def state_directory() -> Path:
    """``$SEEDANCE_STATE_DIR``, else ``seedance_async`` in ``$XDG_STATE_HOME``, else in ``~/.local/state``.

    Raises:
        RuntimeError: none of them is set and the user has no home directory.
    """
    if own := os.environ.get("SEEDANCE_STATE_DIR"):
        return Path(own)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "seedance_async"


def account_name(account: str, kind: str) -> str:
    """The name of an account's file, without its suffix.

    Args:
        account: the account's name, see ``ApiKey.account``.
        kind: the kind of file, such as ``record``; at most seven characters.
    """
    return f"{kind}-{account_digest(account, kind)}"


def account_digest(account: str, kind: str) -> str:
    """A hash of an account's name, different for each kind of file; 32 hexadecimal digits.

    Args:
        account: the account's name, see ``ApiKey.account``.
        kind: as in ``account_name``.
    """
    return blake2b(account.encode(), digest_size=16, person=f"seedance-{kind}".encode()).hexdigest()


def account_file(account: str, kind: str, suffix: str, *, what: str) -> Path:
    """The path of an account's file in the state directory.

    Args:
        account: the account's name, see ``ApiKey.account``.
        kind: as in ``account_name``.
        suffix: the suffix with its dot.
        what: a name of the file for the error message.

    Raises:
        ConfigurationError: the user has no home directory, and no variable names a directory.
    """
    try:
        return state_directory() / f"{account_name(account, kind)}{suffix}"
    except RuntimeError as problem:
        raise ConfigurationError(
            f"there is no place for {what} ({problem}): set SEEDANCE_STATE_DIR"
        ) from None
