"""The path of an account's record: a file next to the one that shares the account's request budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async.state_files import account_file

if TYPE_CHECKING:
    from pathlib import Path


def record_path(account: str) -> Path:
    """Return the path for the account of this name (``ApiKey.account``), in the state directory.

    Raises:
        ConfigurationError: the user has no home directory, and no environment variable names a directory.
    """
    return account_file(account, "record", ".sqlite", what="the account's record")
