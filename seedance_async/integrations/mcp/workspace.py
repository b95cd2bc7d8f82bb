"""The workspace: the one folder that an agent's files come from and go to.

A path that an agent gives has to be inside the workspace, without a symbolic link on the way: each folder is
opened relative to its parent, so none can be replaced by a link in between. Batches are in a folder of their
own, named by the server.

Blocking.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.errors import ConfigurationError
from seedance_async.integrations.mcp.answers import RefusedError
from seedance_async.safe_files import BINARY, NOT_THROUGH_LINKS

if TYPE_CHECKING:
    from io import BufferedReader

BATCHES: Final = "seedance"
"""The folder of the workspace that batches are in."""

DOWNLOADS: Final = "downloads"
MANIFEST: Final = "manifest.jsonl"
INPUTS: Final = "inputs"

PLAN_ID: Final = re.compile(r"[0-9]{8}-[0-9a-f]{8}")

_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


@frozen
class Workspace:
    """A folder, and what may be done in it.

    Attributes:
        root: of it, resolved.
    """

    root: Path

    def open(self, text: str | Path) -> BufferedReader:
        """Open a file of the workspace to be read.

        Args:
            text: its path, relative to the workspace or absolute.

        Raises:
            RefusedError: it is not in the workspace, has a link on its way, or is no plain file.
        """
        parts = self._parts(text)
        try:
            number = _opened(self.root, parts)
            file = os.fdopen(number, "rb")
        except (OSError, ValueError) as problem:
            reason = "it cannot be opened without following a link, or is not there"
            raise _outside(text, f"{reason} ({getattr(problem, 'strerror', None) or problem})") from None
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise _outside(text, "it is not a plain file")
        return file

    def batches(self) -> Path:
        """The folder that batches are in, made if it is missing.

        Raises:
            ConfigurationError: something else is in its place.
        """
        folder = self.root / BATCHES
        folder.mkdir(exist_ok=True)
        if folder.resolve() != folder:
            raise ConfigurationError(f"{folder} is a link: batches would go elsewhere; remove it")
        return folder

    def batch(self, plan_id: str) -> Path:
        """The directory of a batch.

        Raises:
            RefusedError: this is no id of a plan.
            ConfigurationError: something else is in its place.
        """
        if not PLAN_ID.fullmatch(plan_id):
            raise unknown_plan(plan_id)
        directory = self.batches() / plan_id
        if directory.is_symlink():
            raise ConfigurationError(f"{directory} is a link: the batch would go elsewhere; remove it")
        return directory

    def downloads(self) -> Path:
        """The folder for the files of single tasks.

        Raises:
            ConfigurationError: something else is in its place.
        """
        folder = self.batches() / DOWNLOADS
        if folder.is_symlink():
            raise ConfigurationError(f"{folder} is a link: files would go elsewhere; remove it")
        return folder

    def shown(self, path: Path) -> str:
        """A path relative to the workspace, for answers."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return path.name

    def _parts(self, text: str | Path) -> tuple[str, ...]:
        """The names on the way from the root to a file; ``..`` is taken away before links could count."""
        if "\0" in str(text) or not str(text).strip():
            raise _outside(text, "it is not a path")
        whole = Path(os.path.normpath(self.root / text))
        if not whole.is_relative_to(self.root) or whole == self.root:
            raise _outside(text, "it is not in the workspace")
        return whole.relative_to(self.root).parts


def unknown_plan(plan_id: object) -> RefusedError:
    """The refusal of an id that no plan or batch has."""
    return RefusedError(
        "UnknownPlan",
        f"no plan or batch of this workspace has the id {str(plan_id)!r:.60}",
        what_to_do="use an id from an answer of plan or reroll; list_tasks shows the batch of each task",
        next_call="plan(jobs=[...])",
    )


def _outside(text: str | Path, reason: str) -> RefusedError:
    return RefusedError(
        "NotInWorkspace",
        f"{str(text)!r:.120} is not used: {reason}",
        what_to_do="name a file of the workspace itself, by its path in it, or an https URL",
    )


def _opened(root: Path, parts: tuple[str, ...]) -> int:
    """Open a file by one folder after the other, none of which is a link.

    Raises:
        OSError: something on the way is a link or not there.
    """
    if os.open not in os.supports_dir_fd:  # Windows
        path = root.joinpath(*parts)
        if path.resolve() != path:
            raise OSError(0, "a link is on the way", str(path))
        return os.open(path, os.O_RDONLY | BINARY)
    folder = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1], os.O_RDONLY | NOT_THROUGH_LINKS, dir_fd=folder)
    finally:
        os.close(folder)
