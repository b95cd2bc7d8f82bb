"""The place of an account's record: one file beside the one that shares the account's request budget."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from seedance_async.budget.file_memory import state_directory
from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def record_path(account: str) -> Path:
    """The file of the account of this name (``ApiKey.account``), in the state directory.

    Raises:
        ConfigurationError: the user has no home directory, and no variable names a place.
    """
    name = blake2b(account.encode(), digest_size=16, person=b"seedance-record").hexdigest()
    try:
        return state_directory() / f"record-{name}.sqlite"
    except RuntimeError as problem:
        raise ConfigurationError(
            f"there is no place for the account's record ({problem}): set SEEDANCE_STATE_DIR"
        ) from None
