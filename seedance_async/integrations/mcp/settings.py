"""The settings of the MCP server, read from its environment: no argument of a tool changes them.

``SEEDANCE_MCP_UNASKED_CREDITS_DAY`` is what plans may cost in a UTC day, all of them together, without a
person being asked; 0 where it is not set, so that each plan asks. ``SEEDANCE_MCP_WORKSPACE`` is the folder
that all files are in, else the current one; it may hold neither the home directory nor the state directory.
``SEEDANCE_MAX_CREDITS_DAY`` and ``SEEDANCE_MAX_CREDITS_MONTH`` hold as well, for everything that this
machine sends, no matter who allowed it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from seedance_async.errors import ConfigurationError
from seedance_async.record.recording import credits_of
from seedance_async.state_files import state_directory

UNASKED: Final = "SEEDANCE_MCP_UNASKED_CREDITS_DAY"
WORKSPACE: Final = "SEEDANCE_MCP_WORKSPACE"
TOKEN: Final = "SEEDANCE_MCP_TOKEN"  # noqa: S105 - the name of a variable
LEAST_TOKEN: Final = 20
"""Characters of a token of the user's own."""


@frozen(kw_only=True)
class Settings:
    """What the person who starts the server has set.

    Attributes:
        workspace: the folder that all files are in, resolved.
        unasked_a_day: credits that plans may cost in a UTC day without a person being asked.
    """

    workspace: Path
    unasked_a_day: float = 0.0


def read_settings(workspace: Path | None = None) -> Settings:
    """The settings of the environment.

    Args:
        workspace: else the environment's, else the current folder.

    Raises:
        ConfigurationError: one makes no sense.
    """
    text = os.environ.get(WORKSPACE, "").strip()
    folder = workspace or (Path(text) if text else Path())
    try:
        root = folder.expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as problem:
        raise ConfigurationError(f"the workspace {folder} is no folder: {problem}") from None
    if not root.is_dir():
        raise ConfigurationError(f"the workspace {root} is no folder")
    if root == Path(root.anchor) or any(place.is_relative_to(root) for place in _private_places()):
        raise ConfigurationError(
            f"the workspace {root} would open everything in it to an agent, including your home directory or "
            f"the record of what was allowed: name a folder for this work, with --workspace or {WORKSPACE}"
        )
    return Settings(workspace=root, unasked_a_day=credits_of(UNASKED) or 0.0)


def read_token() -> str | None:
    """The token of the environment, for the server over HTTP; None where none is set.

    Raises:
        ConfigurationError: it is too short, or cannot stand in a header.
    """
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        return None
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{TOKEN} must be {LEAST_TOKEN} or more printable ASCII characters")
    return token


def _private_places() -> list[Path]:
    """Folders that no workspace may hold: the home directory, and that of the record of plans."""
    places: list[Path] = []
    for place_of in (Path.home, state_directory):
        with suppress(OSError, RuntimeError):  # a user without a home directory
            places.append(place_of().resolve())
    return places
