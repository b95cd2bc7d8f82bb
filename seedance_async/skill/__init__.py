"""The skill: one file that teaches an agent to use the ``seedance`` command, and the places it is put into.

Claude Code looks for skills in ``.claude/skills`` of a project or of the home folder, Codex and others that
keep to the common place in ``.agents/skills``. What is written ends with a checksum: a file without it, or
with another one, belongs to another program or was edited, and stays as it is.

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
"""Whose skills are looked for where, below a project or the home folder."""

_SEAL: Final = re.compile(rb"\n<!-- written by seedance skill, ([0-9a-f]{16}) -->\n\Z")


def text() -> str:
    """The skill as it is shipped."""
    return resources.files(__name__).joinpath(FILE).read_text(encoding="utf-8")


def install(folder: Path) -> dict[str, Path]:
    """Put the skill where agents look.

    Args:
        folder: a project, or the home folder.

    Returns:
        The file for each agent.

    Raises:
        ConfigurationError: a file of somebody else's is in a place, or there is no such folder. Nothing was
            written.
        OSError: a file cannot be written.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"--install {folder}: there is no such folder; name a project, or your home")
    places = {agent: folder / place / NAME / FILE for agent, place in PLACES.items()}
    for path in places.values():
        if os.path.lexists(path) and not is_ours(path):
            raise ConfigurationError(
                f"{path} is there already, and is not as seedance skill has written it; move it away first"
            )
    content = text().encode()
    for path in places.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content + _seal(content))
    return places


def is_ours(path: Path) -> bool:
    """Whether a file is as ``install`` has written it, in this version or another."""
    if path.is_symlink() or not path.is_file():
        return False
    content = path.read_bytes()
    found = _SEAL.search(content)
    return found is not None and _seal(content[: found.start()]) == found[0]


def _seal(content: bytes) -> bytes:
    return f"\n<!-- written by seedance skill, {hashlib.sha256(content).hexdigest()[:16]} -->\n".encode()
