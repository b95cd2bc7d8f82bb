"""The skill: a file that teaches an agent to use the ``seedance`` command, and its installation.

Claude Code looks for skills in ``.claude/skills`` of a project or of the home folder, Codex and others in the
common place ``.agents/skills``. An installed file ends with a checksum: a file without one, or with a wrong
one, is another file or was edited, and is not replaced.

Blocking.
"""

from __future__ import annotations

import hashlib
import os
import re
from importlib import resources
from typing import TYPE_CHECKING, Final

from seedance_async.errors import ConfigurationError
from seedance_async.safe_files import replacing

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "seedance"
FILE: Final = "SKILL.md"
PLACES: Final = {"Claude Code": ".claude/skills", "Codex": ".agents/skills"}
"""Folder of each agent's skills, below a project or the home folder."""

_SEAL: Final = re.compile(rb"\n<!-- written by seedance skill, ([0-9a-f]{16}) -->\n\Z")


def text() -> str:
    """Return the skill as shipped."""
    return resources.files(__name__).joinpath(FILE).read_text(encoding="utf-8")


def install(folder: Path) -> dict[str, Path]:
    """Install the skill where agents look for it.

    Args:
        folder: a project, or the home folder.

    Returns:
        The file for each agent.

    Raises:
        ConfigurationError: there is a file that ``install`` has not written, or the folder does not exist.
            Nothing was written.
        OSError: a file cannot be written.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"--install {folder}: no such folder; name a project or your home folder")
    places = {agent: folder / place / NAME / FILE for agent, place in PLACES.items()}
    for path in places.values():
        if os.path.lexists(path) and not is_ours(path):
            raise ConfigurationError(
                f"{path} exists and is not as seedance skill has written it; move it away first"
            )
    content = text().encode()
    for path in places.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content + _seal(content))
    return places


def is_ours(path: Path) -> bool:
    """Whether a file is exactly as ``install`` of this or another version has written it."""
    if path.is_symlink() or not path.is_file():
        return False
    content = path.read_bytes()
    found = _SEAL.search(content)
    return found is not None and _seal(content[: found.start()]) == found[0]


def _seal(content: bytes) -> bytes:
    return f"\n<!-- written by seedance skill, {hashlib.sha256(content).hexdigest()[:16]} -->\n".encode()
