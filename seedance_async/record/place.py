"""The place of an account's record: one file beside the one that shares the account's request budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async.state_files import account_file

if TYPE_CHECKING:
    from pathlib import Path


def record_path(account: str) -> Path:
    """The file of the account of this name (``ApiKey.account``), in the state directory.

    Raises:
        ConfigurationError: the user has no home directory, and no variable names a place.
    """
    return account_file(account, "record", ".sqlite", what="the account's record")
