"""Command ``seedance``: its subcommands, and the one place where an error becomes an exit code."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Final

from cyclopts import App
from cyclopts.exceptions import CycloptsError, UnknownOptionError, UnusedCliTokensError

from seedance_async import __version__
from seedance_async.cli import (
    batch,
    demo,
    estimate,
    expand,
    export,
    fields,
    generate,
    mcp,
    prompt,
    record,
    review,
    sandbox,
    skill,
    tasks,
    worker,
)
from seedance_async.cli.connection import Connection
from seedance_async.cli.exits import code_of, lines_of
from seedance_async.cli.output import help_console, log_notices, prepare, take_write_errors, write_message
from seedance_async.cli.unused_words import flag_with_value, mistake_words, unused_words, without
from seedance_async.errors import SeedanceError
from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ABOUT = """Seedance videos and images in bulk: nothing paid twice, nothing paid lost.

Start with `seedance demo`: no key, no network, no money."""

ORDER: Final = (
    "demo generate fields batch worker review prompt expand export estimate status wait download tasks spend "
    "sandbox skill mcp"
)
"""The commands in the order of the help, in which a new user needs them."""


def build() -> App:
    """Return the command with all its subcommands."""
    app = App(
        name="seedance",
        help=ABOUT,
        help_format="rich",  # plain text; markdown would cost a third of the start-up time
        version=__version__,
        version_flags=["--version"],
        exit_on_error=False,
        print_error=False,
        console=help_console(),
    )
    app.command(demo.demo)
    app.command(generate.app())
    app.command(batch.batch, usage="Usage: seedance batch MANIFEST --output DIR [OPTIONS]")
    app.command(worker.worker, usage="Usage: seedance worker --engine URL --output DIR [OPTIONS]")
    app.command(estimate.estimate)
    app.command(expand.expand)
    app.command(fields.fields)
    app.command(prompt.app())
    app.command(export.export, usage="Usage: seedance export DIR [OPTIONS]")
    app.command(review.review)
    app.command(tasks.status)
    app.command(tasks.wait)
    app.command(tasks.download)
    app.command(record.tasks)
    app.command(record.spend)
    app.command(sandbox.sandbox)
    app.command(skill.skill)
    app.command(mcp.mcp)
    app.register_install_completion_command(
        help="Install tab completion for this shell (bash, zsh, fish, PowerShell), and print where it is."
    )
    for position, name in enumerate(ORDER.split()):
        app[name].sort_key = position
        app[name].help = flowing(app[name].help)
    for lesser in (app["prompt"]["lint"], app["prompt"]["build"]):
        lesser.help = flowing(lesser.help)
    return app


def flowing(docstring: str) -> str:
    """Each paragraph on one line, which the help breaks where the terminal ends; not where one is indented.

    A docstring's own lines are as long as the source's: in a narrow terminal each would leave a short rest.
    """
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    return "\n\n".join(
        paragraph if "\n " in f"\n{paragraph}" else " ".join(paragraph.split("\n"))
        for paragraph in paragraphs
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    prepare()
    try:
        return asyncio.run(execute(arguments))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _parsed(arguments: Sequence[str]) -> tuple[Callable[..., object], inspect.BoundArguments]:
    """Return the command and its arguments, as cyclopts reads them.

    A single ``-``, and a text of several words that begins with a hyphen, is an argument, not an option. Any
    other word with a hyphen is an option: otherwise a mistyped flag would be sent, and paid for, as a prompt.
    """
    try:
        command, bound, _ = build().parse_args(arguments)
    except UnknownOptionError as mistake:
        text = mistake.token.value
        if "--" in arguments or text not in arguments or (text != "-" and len(text.split()) < 2):
            raise
        place = arguments.index(text)
        return _parsed([*arguments[:place], *arguments[place + 1 :], "--", text])
    return command, bound


def _key_source(arguments: Sequence[str]) -> str:
    """Return the flag or the variable that the key of a command line comes from."""
    is_given = any(argument.partition("=")[0] == "--api-key" for argument in arguments)
    return Connection(api_key="" if is_given else None).key_source()


def _about_unused(arguments: Sequence[str], unused: Sequence[str]) -> str:
    """Return the message about unused words; the arguments are parsed again without them."""
    if message := flag_with_value(arguments, unused):
        return message
    left = without(arguments, unused)
    try:
        _, bound = _parsed(left)
        subject = next((value for value in bound.args if isinstance(value, str)), None)
    except CycloptsError:
        subject = None
    return unused_words(left, unused, subject)


async def execute(arguments: Sequence[str]) -> int:
    """Run one command line in the present event loop and return its exit code."""
    code = await _run(arguments)
    return (code or ExitCode.FAILED) if take_write_errors() else code


async def _run(arguments: Sequence[str]) -> int:
    try:
        command, bound = _parsed(arguments)
        with log_notices():
            code = command(*bound.args, **bound.kwargs)
            code = await code if inspect.isawaitable(code) else code
        return code if isinstance(code, int) else ExitCode.OK
    except UnusedCliTokensError as mistake:
        write_message(f"error: {_about_unused(arguments, mistake.unused_tokens or ())}")
        return ExitCode.USAGE
    except CycloptsError as mistake:
        write_message(f"error: {mistake_words(arguments, str(mistake))}")
        return ExitCode.USAGE
    except SeedanceError as error:
        for line in lines_of(error, key_source=_key_source(arguments)):
            write_message(line)
        return code_of(error)
    except OSError as problem:
        write_message(
            f"error: {problem.strerror or problem}{f': {problem.filename}' if problem.filename else ''}"
        )
        return ExitCode.FAILED
