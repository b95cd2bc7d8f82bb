"""``seedance prompt``: prompts compared with the vendor's guide, and prompts built in its forms."""

from __future__ import annotations

from cyclopts import App

from seedance_async.cli import prompt_build, prompt_lint


def app() -> App:
    """Return the command with its subcommands."""
    group = App(
        name="prompt",
        help="Compare prompts with the prompt guide, and build them in its forms; nothing is sent.",
        version_flags=[],
    )
    group.command(prompt_lint.lint)
    group.command(prompt_build.build)
    return group
