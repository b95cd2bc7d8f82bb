"""``seedance prompt build``: a prompt in the guide's forms, from flags or from questions at a terminal."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Final

from attrs import evolve, frozen
from cyclopts import Parameter

from seedance_async.batch.finals import parse_changes
from seedance_async.batch.jobs import Job
from seedance_async.batch.plain_jobs import plain_line
from seedance_async.cli.output import write_data, write_message
from seedance_async.daemon_thread import DaemonThread
from seedance_async.errors import ConfigurationError
from seedance_async.exit_codes import ExitCode
from seedance_async.media.written import as_written
from seedance_async.models.local_files import LocalFile
from seedance_async.prompts import PromptBuilder, lint_prompt
from seedance_async.prompts.builder import REFERENCE_KINDS
from seedance_async.prompts.parts import PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable


def _repeated(name: str, help_text: str) -> Parameter:
    return Parameter(name=name, negative=(), show_default=False, help=f"{help_text}; may be repeated.")


@Parameter(name="*")
@frozen(kw_only=True)
class Forms:
    """The parts of a prompt."""

    shots: Annotated[tuple[str, ...], _repeated("--shot", "What happens in a shot")] = ()
    opening: Annotated[
        str | None, Parameter(help="URL or path of the picture that the clip begins with.")
    ] = None
    closing: Annotated[str | None, Parameter(help="URL or path of the picture that the clip ends with.")] = (
        None
    )
    references: Annotated[
        tuple[str, ...],
        _repeated(
            "--reference",
            "ROLE=URL; ROLE says what it shows, or is style, camera motion, or 'character: the lead'",
        ),
    ] = ()
    edit: Annotated[str | None, Parameter(help="URL or path of the clip to edit.")] = None
    replace: Annotated[tuple[str, ...], _repeated("--replace", "OLD=NEW: what the edit replaces")] = ()
    keep: Annotated[str | None, Parameter(help="What the edit leaves unchanged.")] = None
    extend: Annotated[str | None, Parameter(help="URL or path of the clip to continue.")] = None
    people: Annotated[tuple[str, ...], _repeated("--person", f"PLACE=WHO; PLACE is {', '.join(PLACES)}")] = ()
    style: Annotated[tuple[str, ...], _repeated("--style", "A word or phrase for the look")] = ()
    drawn: Annotated[
        bool,
        Parameter(
            negative=(), show_default=False, help="The style is a drawn one: repeat it so that it holds."
        ),
    ] = False
    camera: Annotated[str | None, Parameter(help="How the camera moves.")] = None
    locked: Annotated[
        bool, Parameter(negative=(), show_default=False, help="The camera does not move; sends fixed_lens.")
    ] = False
    signs: Annotated[tuple[str, ...], _repeated("--sign", "THING=TEXT that is to be read on it")] = ()
    no_safeguards: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Leave out the guide's constraints.")
    ] = False


async def build(
    scene: Annotated[str | None, Parameter(help="What is seen and heard, and what happens.")] = None,
    /,
    *,
    forms: Forms | None = None,
    set_fields: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            negative=(),
            show_default=False,
            help="FIELD=VALUE of the request, such as duration=8; may be repeated.",
        ),
    ] = (),
    name: Annotated[str | None, Parameter(help="Name of the job, with --json.")] = None,
    as_json: Annotated[
        bool,
        Parameter(
            name="--json", negative=(), show_default=False, help="Print the request, as a line of a manifest."
        ),
    ] = False,
) -> int:
    """Build a prompt in the guide's forms; with --json, the request that goes with it.

    Without arguments, at a terminal, it asks for each part.

    Example: seedance prompt build "A girl runs home" --style anime --json
    """
    asked = forms or Forms()
    if scene is None and asked == Forms():
        if not _is_terminal():
            raise ConfigurationError('describe the scene: seedance prompt build "A boat crosses a pond"')
        scene, asked = await _questions()
    builder = _builder(scene or "", asked)
    request = builder.request(**parse_changes(set_fields))
    write_data(plain_line(Job(request, name=name)) if as_json else request.prompt)
    for finding in lint_prompt(request):
        write_message(str(finding))
    return ExitCode.OK


def _builder(scene: str, forms: Forms) -> PromptBuilder:
    """Return the builder with these parts.

    Raises:
        ConfigurationError: a part does not have the form that its flag needs.
        ValidationError: a part cannot be used.
    """
    builder = _with_media(PromptBuilder(scene), forms)
    if forms.shots:
        builder = builder.shots(*forms.shots)
    if forms.people:
        builder = builder.people(**dict(_pairs("--person", forms.people)))
    if forms.style:
        builder = builder.style(*forms.style, drawn=forms.drawn or None)
    for thing, text in _pairs("--sign", forms.signs):
        builder = builder.sign(text, on=thing)
    if forms.camera is not None and forms.locked:
        raise ConfigurationError("--camera moves the camera, --locked keeps it still: give only one of them")
    if forms.camera is not None or forms.locked:
        builder = builder.camera(forms.camera)
    return builder.safeguards(usual=False) if forms.no_safeguards else builder


def _with_media(builder: PromptBuilder, forms: Forms) -> PromptBuilder:
    if forms.opening is not None:
        builder = builder.opening(_medium(forms.opening))
    if forms.closing is not None:
        builder = builder.closing(_medium(forms.closing))
    for role, url in _pairs("--reference", forms.references):
        kind, mark, text = role.partition(":")
        known = kind.strip().lower() in REFERENCE_KINDS
        medium = _medium(url)
        if known:
            builder = builder.reference(medium, text.strip() if mark else "", kind=kind.strip().lower())
        else:
            builder = builder.reference(medium, role)
    if forms.edit is not None:
        replaced = dict(_pairs("--replace", forms.replace))
        builder = builder.edit(_medium(forms.edit), replace=replaced, keep=forms.keep)
    elif forms.replace or forms.keep is not None:
        raise ConfigurationError("--replace and --keep belong to an edit: name its clip with --edit URL")
    return builder if forms.extend is None else builder.extend(_medium(forms.extend))


def _medium(text: str) -> str:
    """Return a URL or link as it is, and the path of a local file as a `LocalFile`."""
    written = as_written(text, "")
    return written if isinstance(written, LocalFile) else text


def _pairs(flag: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    """Split each text at its first ``=`` into name and value.

    Raises:
        ConfigurationError: a text has no ``=``, or nothing before or after it.
    """
    pairs = [(text, *text.partition("=")) for text in texts]
    if wrong := [text for text, name, mark, value in pairs if not (name.strip() and mark and value.strip())]:
        raise ConfigurationError(f"{flag} {wrong[0]!r:.80} must have the form NAME=VALUE")
    return [(name.strip(), value.strip()) for _, name, _, value in pairs]


# --- questions

SEVERAL: Final = "one on each line, end with an empty line"


def _is_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


async def _questions() -> tuple[str, Forms]:
    """Ask a user at a terminal for the parts; return the scene and the other parts."""
    scene = await _line("What is seen, and what happens?")
    forms = Forms(
        shots=await _lines(f"Several shots? What happens in each, {SEVERAL}."),
        opening=await _line("A picture that the clip begins with? URL or path.") or None,
    )
    if forms.opening is not None:
        forms = evolve(forms, closing=await _line("A picture that the clip ends with? URL or path.") or None)
    else:
        forms = evolve(
            forms,
            references=await _lines(f"References? ROLE=URL, as in the lead, in red=https://…; {SEVERAL}."),
            extend=await _line("A clip to continue? URL or path.") or None,
        )
    return scene, evolve(
        forms,
        people=await _lines(f"Who is where? left=…, right=…; {SEVERAL}."),
        style=await _lines(f"The look? {SEVERAL}."),
        camera=await _line("How does the camera move?") or None,
    )


async def _lines(question: str) -> tuple[str, ...]:
    write_message(question)
    lines = []
    while line := await _read():
        lines.append(line)
    return tuple(lines)


async def _line(question: str) -> str:
    write_message(question)
    return await _read()


async def _read() -> str:
    """Return a line of the terminal; empty at its end. A daemon thread reads it, so the command can exit."""
    line: str = await asyncio.get_running_loop().run_in_executor(DaemonThread(), sys.stdin.readline)
    return line.strip()
