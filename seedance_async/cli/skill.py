"""``seedance skill``: the skill for agents, printed or installed where Claude Code and Codex look for it."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import Annotated

from cyclopts import Parameter

from seedance_async import skill as skills
from seedance_async.cli.output import write_data
from seedance_async.exit_codes import ExitCode


def skill(
    *,
    install: Annotated[
        Path | None, Parameter(help="Install the skill in this folder: a project's, or your home folder.")
    ] = None,
) -> int:
    """Print the skill that teaches an agent to use this command, or install it.

    With --install DIR it is written to DIR/.claude/skills/seedance/SKILL.md for
    Claude Code and to DIR/.agents/skills/seedance/SKILL.md for Codex. A file
    there that is not this skill, or that was edited, is not replaced.

    Example: seedance skill --install .
    """
    if install is None:
        write_data(skills.text().rstrip("\n"))
        return ExitCode.OK
    for agent, path in skills.install(install.expanduser()).items():
        write_data(f"{agent:<12} {path}")
    return ExitCode.OK
