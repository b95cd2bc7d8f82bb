"""``seedance generate``: one job from the prompt to its files, with options made from the request classes.

A paid job must be collectable whatever happens. So the idempotency key is written before anything is sent,
and the task ids as soon as they are known; on an interruption the command that collects the job is written.
"""

from __future__ import annotations

import inspect
import shlex
import typing
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import anyio
import attrs
from cyclopts import App, Group, Parameter

from seedance_async import wire
from seedance_async.batch.mismatches import wish_of
from seedance_async.cli.collect import save, wait_for_all, write_final
from seedance_async.cli.connection import Connection
from seedance_async.cli.expectation import check_cap, expectation, expected_price
from seedance_async.cli.media import Media
from seedance_async.cli.output import write_message
from seedance_async.cli.paths import Output, check_writable
from seedance_async.cli.prompt_findings import Ignore, codes, warnings_of
from seedance_async.cli.tasks import TimeoutFlag, report
from seedance_async.credit_format import format_credits
from seedance_async.errors import ConfigurationError
from seedance_async.media.written import as_written
from seedance_async.models import MEDIA_FIELDS, REQUEST_TYPES
from seedance_async.models.reference import ABOUT
from seedance_async.models.rules import accepted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from cyclopts import Token

    from seedance_async import SeedanceClient
    from seedance_async.models import Request, Submission, Task

SUMMARIES: Final = {
    "seedance2": "A clip by Seedance 2: from text, from a start frame, or from reference media.",
    "gpt-image-2": "One to four pictures by GPT Image 2.",
    "nano-banana-pro": "A picture by Nano Banana Pro.",
}

Prompt = Annotated[str, Parameter(help="What to make.")]
IdempotencyKey = Annotated[
    str | None,
    Parameter(help="Key of an earlier run of the same command: collects its job instead of paying again."),
]
MaxCredits = Annotated[float | None, Parameter(help="Send nothing that may cost more credits than this.")]
NoEmbed = Annotated[
    bool,
    Parameter(negative=(), show_default=False, help="Do not write the prompt into the files' own metadata."),
]


def app() -> App:
    """Return the command, with a subcommand for each model."""
    group = App(
        name="generate",
        help="Make one clip or picture, wait for it and save it; the paths go to stdout.",
        usage="Usage: seedance generate MODEL PROMPT [OPTIONS]",
        group_commands=Group("Models: seedance generate MODEL --help"),
        version_flags=[],
    )
    for model, request_type in REQUEST_TYPES.items():
        group.command(_command(model, request_type), name=model)
    return group


async def generate(
    request: Request,
    *,
    directory: Path,
    key: str | None,
    timeout: float | None,
    max_credits: float | None,
    embed: bool,
    media: Media,
    connection: Connection,
) -> int:
    """Submit a request, wait for its tasks, save their files, and return the exit code.

    Raises:
        CreditCapError: it may cost more than ``max_credits``; nothing was sent.
    """
    price = expected_price(request, connection)
    check_cap(price, max_credits)
    job = _Job(request, key=key or str(uuid.uuid4()), directory=directory, embed=embed, connection=connection)
    async with connection.client(media_store=media.store()) as client:
        write_message(expectation(price, client.forecast(request)))
        try:
            return await job.run(client, timeout=timeout)
        except anyio.get_cancelled_exc_class():
            job.write_how_to_collect()
            raise


class _Job:
    def __init__(
        self, request: Request, *, key: str, directory: Path, embed: bool, connection: Connection
    ) -> None:
        self._request = request
        self._key = key
        self._directory = directory
        self._connection = connection
        self._prompt = request.prompt if embed else None
        self._submission: Submission | None = None

    async def run(self, client: SeedanceClient, *, timeout: float | None) -> int:
        write_message(f"idempotency key {self._key}")
        self._submission = await client.submit(self._request, idempotency_key=self._key)
        _write_accepted(self._submission)
        done: list[Task] = []

        def on_final(task: Task) -> None:
            write_final(task)
            if task.is_completed:
                done.append(task)

        errors = await wait_for_all(client, self._submission.task_ids, timeout=timeout, on_final=on_final)
        wish = wish_of(self._request.model, wire.fields(self._request))
        errors += await save(client, done, self._directory, prompt=self._prompt, wish=wish)
        return report(errors, self._connection, directory=self._directory)

    def write_how_to_collect(self) -> None:
        if self._submission is None:
            write_message(
                "interrupted while submitting: the job may be paid. To collect it, run the same command with"
            )
            write_message(f"  --idempotency-key {self._key}")
            return
        ids = [*self._submission.task_ids, *self._connection.words()]
        wait = shlex.join(["seedance", "wait", *ids])
        download = shlex.join(["seedance", "download", *ids, "-o", str(self._directory)])
        write_message("interrupted: the job is paid and the server continues it. To collect it:")
        write_message(f"  {wait} && {download}")


def _write_accepted(submission: Submission) -> None:
    used = submission.credits_used
    price = "" if used is None else f" · {format_credits(used, with_unit=True)}"
    write_message(f"{' '.join(submission.task_ids)} accepted{price}")


def _command(model: str, request_type: type[Request]) -> Callable[..., Coroutine[Any, Any, int]]:
    """A function whose signature has the request's fields, for cyclopts to make flags of."""

    async def command(
        prompt: Prompt,
        /,
        *,
        output: Output = Path(),
        idempotency_key: IdempotencyKey = None,
        timeout: TimeoutFlag = None,
        max_credits: MaxCredits = None,
        no_embed: NoEmbed = False,
        ignore: Ignore = (),
        media: Media | None = None,
        connection: Connection | None = None,
        **fields: object,
    ) -> int:
        if idempotency_key is not None and not idempotency_key.strip():
            reason = "leave it out for a new job, or give the key of an earlier run"
            raise ConfigurationError(f"--idempotency-key is empty; {reason}")
        # cyclopts only separates the flags; the request checks all of them at once.
        fields |= {name: as_written(fields[name], "") for name in MEDIA_FIELDS if name in fields}
        request = wire.build(model, {"prompt": prompt, **fields})
        for warning in warnings_of(request, codes(ignore)):
            write_message(str(warning))
        check_writable(output)
        return await generate(
            request,
            directory=output,
            key=idempotency_key,
            timeout=timeout,
            max_credits=max_credits,
            embed=not no_embed,
            media=media or Media(),
            connection=connection or Connection(),
        )

    prompt, *own, _ = inspect.signature(command).parameters.values()
    command.__doc__ = f'{SUMMARIES[model]}\n\nExample: seedance generate {model} "A paper boat" -o out'
    command.__signature__ = inspect.Signature([prompt, *_flags(request_type), *own])  # type: ignore[attr-defined]  # as inspect documents it
    return command


def _flags(request_type: type[Request]) -> Iterator[inspect.Parameter]:
    hints = typing.get_type_hints(request_type)
    for field in attrs.fields(request_type):
        if field.name != "prompt":
            yield inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[_plain_type(hints[field.name]), _flag(field, hints[field.name])],
            )


def _flag(field: attrs.Attribute[object], hint: object) -> Parameter:
    repeated = typing.get_origin(hint) is tuple
    one_name = f"--{field.name.removesuffix('s').replace('_', '-')}" if repeated else None
    default = str(field.default) if isinstance(field.default, str | int) and hint is not bool else None
    return Parameter(
        name=one_name,
        help=_help(field, hint),
        show_default=(lambda _: default) if default else False,
        negative=() if repeated else None,
        converter=None if repeated or hint is bool else _as_written,
    )


def _help(field: attrs.Attribute[object], hint: object) -> str:
    """Return a line about a field, with what it accepts if cyclopts does not list it."""
    about = ABOUT[field.name]
    if hint is bool:
        return f"{about} On by default." if field.default else about
    is_number = typing.get_origin(hint) is not Literal and field.name not in MEDIA_FIELDS
    return f"{about} Accepts {accepted(field)}." if is_number else about


def _plain_type(hint: object) -> object:
    """Return the type from which cyclopts takes the number of values and the choices of a flag."""
    if typing.get_origin(hint) is tuple:
        return list[str] | None
    if typing.get_origin(hint) is Literal or hint in {int, bool}:
        return hint | None  # type: ignore[operator]  # a Literal and a class both take `|`
    return hint


def _as_written(_: object, tokens: Sequence[Token]) -> object:
    """Return a whole number if the text is one, else the text itself, which the request then checks."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        return text
