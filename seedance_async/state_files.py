"""Files of this user that outlive a process: where they are, and what those of one account are called.

A name has a digest of the account, so that nothing in the directory says whose key it belongs to.
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
    """What a kind of file of an account is called, without its suffix.

    Args:
        account: its name, ``ApiKey.account``.
        kind: such as ``record``; at most seven characters.
    """
    return f"{kind}-{account_digest(account, kind)}"


def account_digest(account: str, kind: str) -> str:
    """A hash of an account's name, another one for each kind; 32 hexadecimal digits.

    Args:
        account: its name, ``ApiKey.account``.
        kind: as in ``account_name``.
    """
    return blake2b(account.encode(), digest_size=16, person=f"seedance-{kind}".encode()).hexdigest()


def account_file(account: str, kind: str, suffix: str, *, what: str) -> Path:
    """A file of an account in the state directory.

    Args:
        account: its name, ``ApiKey.account``.
        kind: as in ``account_name``.
        suffix: with its dot.
        what: it is, for the message where there is no place for it.

    Raises:
        ConfigurationError: the user has no home directory, and no variable names a place.
    """
    try:
        return state_directory() / f"{account_name(account, kind)}{suffix}"
    except RuntimeError as problem:
        raise ConfigurationError(
            f"there is no place for {what} ({problem}): set SEEDANCE_STATE_DIR"
        ) from None
