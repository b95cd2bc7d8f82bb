"""``seedance batch``: a manifest into a directory, and run again, what is left of it.

However it ends, the directory knows what was sent and paid, and the same command goes on from there. The
command says so whenever there is something left to do.
"""

from __future__ import annotations

import os
import shlex
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Final, Literal

from attrs import evolve, frozen
from cyclopts import Parameter

import seedance_async
from seedance_async import sandbox as emulator
from seedance_async.batch import names
from seedance_async.batch.finish import parse_changes
from seedance_async.batch.journal.remains import JOURNAL
from seedance_async.batch.manifest_source import check_there, is_read_once
from seedance_async.batch.reroll import takes_fault
from seedance_async.batch.states import ENDED, State
from seedance_async.cli import hooks
from seedance_async.cli.batch_display import choose_display
from seedance_async.cli.batch_run import BatchRun
from seedance_async.cli.connection import Connection
from seedance_async.cli.demo import is_demo_directory
from seedance_async.cli.estimate import print_estimate, recorded_prices
from seedance_async.cli.exits import about_refused_key
from seedance_async.cli.interrupts import interruptible
from seedance_async.cli.media import Media, PlayStore
from seedance_async.cli.output import write_data, write_message
from seedance_async.cli.paths import check_writable, output_flag
from seedance_async.cli.sandbox import SPEED, rate_limit, refusals_as_mistakes, sandbox_client
from seedance_async.credit_format import credit_count
from seedance_async.errors import CanaryError, ConfigurationError, UnauthorizedError
from seedance_async.exit_codes import ExitCode
from seedance_async.prices import NOTHING_RECORDED
from seedance_async.safe_files import missing, remove_empty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedance_async import BatchRunner, SeedanceClient, SeedanceError, Summary
    from seedance_async.cli.batch_display import Display
    from seedance_async.cli.batch_run import Shortfall

SANDBOX_MEMORY: Final = "sandbox.jsonl"
"""What the account of ``--sandbox`` remembers, in the batch's directory."""

EDITED: Final = (
    "edited since the run before: each is a new job, paid for itself; "
    "what was made before stays, as NAME-before-edit"
)
REROLLED: Final = (
    "new takes, each paid for itself: the newest has the job's own name; what was made before stays, as "
    "NAME-take-1, …"
)
RETRY_FAILED: Final = (
    "to send anew what failed or was refused, at its price: the same command with --retry-failed"
)


def _flag(help_text: str) -> Parameter:
    return Parameter(negative=(), show_default=False, help=help_text)


@Parameter(name="*")
@frozen(kw_only=True)
class Options:
    """How a batch is run."""

    max_credits: Annotated[
        float | None, Parameter(help="Most credits that it may cost over all its runs, refunds deducted.")
    ] = None
    max_in_flight: Annotated[
        int | None, Parameter(help="Most jobs submitted and not finished at a time; else as many as pay.")
    ] = None
    output_name: Annotated[
        str, Parameter(help="Where a job's files go in DIR; see --list-fields.", name="--output-name")
    ] = names.DEFAULT
    resubmit_uncertain: Annotated[
        bool, _flag("Send jobs whose outcome is unknown again, however old they are. They may be paid twice.")
    ] = False
    retry_failed: Annotated[
        bool, _flag("Send jobs anew that failed or were refused in earlier runs, at their price.")
    ] = False
    reroll_refunded: Annotated[
        int, Parameter(help="Make jobs anew that failed and were refunded, so often at most, over all runs.")
    ] = 0
    until: Annotated[
        str | None, Parameter(help="Only jobs with such names ('still-*') and their sources; then stop.")
    ] = None
    reroll: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            negative=(),
            help="Make jobs with such names ('still-*'), or what is rejected, anew; what was made stays.",
        ),
    ] = None
    takes: Annotated[int, Parameter(help="So many new ones of each job of --reroll.")] = 1
    no_adopt: Annotated[
        bool, _flag("Pay for a job that is renamed, in the place of taking over what was made of it.")
    ] = False
    canary: Annotated[
        bool, _flag("Send the first job of each kind alone; stop (6) if it is not what was asked for.")
    ] = False
    accept_delivery: Annotated[
        bool, _flag("Go on though a canary is not what was asked for, or costs more than expected.")
    ] = False
    finish: Annotated[
        Literal["kept"] | None,
        Parameter(
            show_choices=False, help="kept: make the takes again that are kept, with what --set changes."
        ),
    ] = None
    set_fields: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set", negative=(), show_default=False, help="FIELD=VALUE of the finals; may be repeated."
        ),
    ] = ()
    no_embed: Annotated[bool, _flag("Leave the prompts out of the files' own metadata.")] = False
    no_share_posts: Annotated[
        bool, _flag("Send each of several equal pictures in a POST of its own, not up to four in one.")
    ] = False
    project: Annotated[
        str | None,
        Parameter(help="Whose costs these are in seedance spend; else SEEDANCE_PROJECT, else DIR's name."),
    ] = None
    sandbox: Annotated[bool, _flag("Play it through in a sandbox: no key, no network, no money.")] = False
    on_event: Annotated[
        str | None,
        Parameter(
            help="A program that gets each event of --json, but no URLs, on its stdin; SEEDANCE_API_KEY is "
            "not among its variables."
        ),
    ] = None
    on_event_for: Annotated[
        str | None, Parameter(help="Only these events: started, job, progress, stopping, ended.")
    ] = None
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="Events for programs on stdout.")
    ] = False

    def changes(self) -> dict[str, object] | None:
        """The fields that finals have changed; None if no finals are asked for.

        Raises:
            ConfigurationError: the flags make no sense.
        """
        if self.finish is None:
            if self.set_fields:
                raise ConfigurationError("--set changes the fields of finals: give --finish kept as well")
            return None
        if not self.set_fields:
            raise ConfigurationError(
                "--finish kept needs --set FIELD=VALUE, such as --set resolution=1080p: without a change the "
                "same would be paid for again"
            )
        return parse_changes(self.set_fields)

    def words(self) -> list[str]:
        """The flags of the command that goes on.

        Not those that would have jobs paid for once more that this run was asked to send again.
        """
        given = {
            "--max-credits": None if self.max_credits is None else f"{self.max_credits:.10g}",
            "--max-in-flight": None if self.max_in_flight is None else str(self.max_in_flight),
            "--reroll-refunded": str(self.reroll_refunded) if self.reroll_refunded else None,
            "--until": self.until,
            "--finish": self.finish,
            "--project": self.project,
            "--on-event": self.on_event,
            "--on-event-for": self.on_event_for,
            "--output-name": None if self.output_name == names.DEFAULT else self.output_name,
        }
        switches = {
            "--no-adopt": self.no_adopt,
            "--canary": self.canary,
            "--accept-delivery": self.accept_delivery,
            "--no-embed": self.no_embed,
            "--no-share-posts": self.no_share_posts,
            "--sandbox": self.sandbox,
            "--json": self.as_json,
        }
        words = [word for name, value in given.items() if value is not None for word in (name, value)]
        words += [word for text in self.set_fields for word in ("--set", text)]
        return words + [name for name, is_set in switches.items() if is_set]


async def batch(
    manifest: Annotated[
        str | None, Parameter(help="JSON lines, a JSON array, CSV or TOML; - is stdin.")
    ] = None,
    /,
    *,
    output: Annotated[Path | None, output_flag("The batch's directory; made if it is missing.")] = None,
    options: Options | None = None,
    dry_run: Annotated[bool, _flag("Check the whole manifest and estimate; nothing is sent.")] = False,
    list_fields: Annotated[bool, _flag("What --output-name may use; nothing is sent.")] = False,
    media: Media | None = None,
    connection: Connection | None = None,
) -> int:
    """Make every job of a manifest; run it again to go on where it stopped.

    DIR gets the files, each with a JSON of what made it, results.jsonl with a
    line a job, gallery.html, and journal.sqlite, which remembers what was sent
    and paid. Ctrl-C stops it in good order.

    Exit codes: 0 all saved; 1 some failed, were refused or are blocked; 2 a
    mistake, nothing sent; 3 stopped for credits; 4 key refused; 5 some are
    uncertain; 6 stopped by a canary; 130 interrupted.
    """
    if list_fields:
        return _list_fields()
    if manifest is None or (output is None and not dry_run):
        missing = "MANIFEST" if manifest is None else "--output DIR"
        raise ConfigurationError(f"{missing} is missing: seedance batch MANIFEST --output DIR")
    options, media, connection = options or Options(), media or Media(), connection or Connection()
    _check(output, options, connection)
    media.check()
    check_there(manifest)
    if dry_run or output is None:
        return await print_estimate(
            manifest,
            output,
            rate_limit(SPEED) if options.sandbox else connection.rate_limit,
            recorded=NOTHING_RECORDED if options.sandbox else recorded_prices(connection),
            share_posts=not options.no_share_posts and options.max_in_flight is None,
            retry_failed=options.retry_failed,
            reroll_refunded=options.reroll_refunded,
            until=options.until,
            rerolled=options.reroll or (),
            takes=options.takes,
            adopts=not options.no_adopt,
            finish=options.changes(),
            as_json=options.as_json,
            scale=1 / SPEED if options.sandbox else None,
            max_credits=options.max_credits,
            has_store=media.is_given or options.sandbox,
        )
    return await _Command(manifest, output, options, media, connection).run()


def _list_fields() -> int:
    for name, meaning in names.FIELDS.items():
        write_data(f"{{{name}}}\t{meaning}")
    return ExitCode.OK


def _check(output: Path | None, options: Options, connection: Connection) -> None:
    """See that the flags make sense, also for a trial run.

    Raises:
        ConfigurationError: they do not.
    """
    if options.sandbox and (foreign := connection.flags()):
        reason = f"--sandbox has a key, an address and a clock of its own; leave out {' and '.join(foreign)}"
        raise ConfigurationError(reason)
    names.Template(options.output_name)
    if options.on_event is not None:
        hooks.parse_command(options.on_event)
    if options.on_event_for is not None:
        hooks.parse_kinds(options.on_event_for)
        if options.on_event is None:
            raise ConfigurationError("--on-event-for says what a program is told of; name it by --on-event")
    if options.reroll_refunded < 0:
        raise ConfigurationError("--reroll-refunded must be 0 or more: how often a job is made anew at most")
    if fault := takes_fault(options.takes, options.reroll):
        raise ConfigurationError(f"--takes {fault}")
    options.changes()
    if output is None:
        return
    check_writable(output)
    if is_demo_directory(output):
        reason = "belongs to `seedance demo`, which begins it anew each time; name another directory"
        raise ConfigurationError(f"--output {output}: {reason}")


class _Command:
    """One run of the command."""

    def __init__(
        self, manifest: str, directory: Path, options: Options, media: Media, connection: Connection
    ) -> None:
        self._manifest = manifest
        self._directory = directory
        self._options = options
        self._media = media
        self._connection = connection

    async def run(self) -> int:
        """Run the batch, write how it ended, and how to go on; tell a program of it, where one is named."""
        options = self._options
        display = choose_display(self._manifest, self._directory, as_json=options.as_json)
        if options.on_event is None:
            return await self._show(display)
        command, kinds = hooks.parse_command(options.on_event), hooks.parse_kinds(options.on_event_for)
        names, key = (self._manifest, self._directory), self._connection.api_key
        async with hooks.telling(display, command, kinds=kinds, key=key, names=names) as both:
            return await self._show(both)

    async def _show(self, display: Display) -> int:
        batch = BatchRun(self._directory, display, is_recorded=not self._options.sandbox)
        with interruptible(display) as interruption:
            await self._run(batch)
        if batch.status is None:
            self._write_command("interrupted before anything was sent; to go on:")
            return ExitCode.INTERRUPTED
        summary = batch.status.summary
        code = ExitCode.INTERRUPTED if interruption.cancelled_caught else summary.exit_code
        display.ended(batch.status, code, await batch.write_gallery())
        self._write_advice(summary, code, batch.shortfall)
        return code

    async def _run(self, batch: BatchRun) -> None:
        async with AsyncExitStack() as opened:
            if self._options.sandbox:
                opened.enter_context(_no_memory_of_nothing(self._directory))
            client = await self._client(opened)
            await batch.run(client, self._runner(client), self._manifest)

    async def _client(self, opened: AsyncExitStack) -> SeedanceClient:
        if not self._options.sandbox:
            client = self._connection.client(somebody_waits=False, media_store=self._media.store())
            return await opened.enter_async_context(client)
        memory = self._directory / SANDBOX_MEMORY
        with refusals_as_mistakes():
            sandbox = await opened.enter_async_context(emulator.Sandbox(speed=SPEED, memory=memory))
        write_message(f"sandbox: play money, and a clock that runs {SPEED:g} times as fast")
        store = self._media.store() if self._media.is_given else PlayStore()
        return await opened.enter_async_context(sandbox_client(sandbox, media_store=store))

    def _runner(self, client: SeedanceClient) -> BatchRunner:
        options = self._options
        return seedance_async.BatchRunner(
            client,
            self._directory,
            max_credits=options.max_credits,
            max_in_flight=options.max_in_flight,
            output_name=options.output_name,
            resubmit_uncertain=options.resubmit_uncertain,
            retry_failed=options.retry_failed,
            reroll_refunded=options.reroll_refunded,
            until=options.until,
            reroll=options.reroll or (),
            takes=options.takes,
            adopt=not options.no_adopt,
            canary=options.canary,
            accept_delivery=options.accept_delivery,
            finish=options.changes(),
            embed=not options.no_embed,
            share_posts=not options.no_share_posts,
            project=options.project,
        )

    def _write_advice(self, summary: Summary, code: ExitCode, shortfall: Shortfall | None) -> None:
        """Write what there is to know before the command is run again."""
        _write_takes(summary)
        if summary.stopped is not None and code != ExitCode.INTERRUPTED:
            write_message(_stopping(summary.stopped))
        if isinstance(summary.stopped, UnauthorizedError) and not self._options.sandbox:
            write_message(f"  {about_refused_key(self._connection.key_source())}")
        settled = {*ENDED, State.BLOCKED}
        if left := {state: count for state, count in summary.counts.items() if state not in settled}:
            counts = ", ".join(f"{count} {state}" for state, count in left.items())
            reason = f"to go on with what is left ({counts})"
            if _is_mismatch(summary.stopped):
                self._write_command(f"{reason} all the same:", evolve(self._options, accept_delivery=True))
            elif summary.later == sum(left.values()):  # this stage is over
                self._write_command(
                    f"{reason}:", evolve(self._options, until=None, finish=None, set_fields=())
                )
            elif shortfall is None:
                self._write_command(f"{reason}:")
            else:
                options = evolve(self._options, max_credits=shortfall.cap)
                self._write_command(f"{reason}, {_costs(shortfall)}:", options)
        elif code == ExitCode.INTERRUPTED and not summary.total:
            self._write_command("interrupted before anything was sent; to go on:")
        elif code == ExitCode.FAILED:
            write_message(RETRY_FAILED)

    def _write_command(self, reason: str, options: Options | None = None) -> None:
        """Write the command that goes on, with other options where some are given."""
        options = options or self._options
        words = ["seedance", "batch", self._manifest, "-o", str(self._directory)]
        words += [*options.words(), *self._media.words(), *self._connection.words()]
        write_message(reason)
        write_message(f"  {shlex.join(words)}")
        if secrets := self._connection.secret_flags():  # which a log would keep
            write_message(f"  and {' and '.join(secrets)}, as before")
        if is_read_once(self._manifest):
            write_message(f"with the same jobs through {self._manifest} once more")


def _write_takes(summary: Summary) -> None:
    """Write what was made anew, and where that leaves what was made before."""
    if summary.changes.edited:
        write_message(f"{summary.changes.edited} {EDITED}")
    if summary.rerolled:
        write_message(f"{summary.rerolled} {REROLLED}")


@contextmanager
def _no_memory_of_nothing(directory: Path) -> Iterator[None]:
    """Where no batch has come of it, take away what the sandbox has made to remember it by."""
    memory = directory / SANDBOX_MEMORY
    made, is_new = missing(directory), not os.path.lexists(memory)
    try:
        yield
    finally:
        if is_new and not os.path.lexists(directory / JOURNAL):
            memory.unlink(missing_ok=True)
            remove_empty(made)


def _is_mismatch(stopped: SeedanceError | None) -> bool:
    """Whether a canary has stopped a run that came otherwise than asked."""
    return isinstance(stopped, CanaryError) and bool(stopped.mismatches)


def _stopping(stopped: SeedanceError) -> str:
    return f"stopped{' ' if _is_mismatch(stopped) else ': '}{stopped.message}"


def _costs(shortfall: Shortfall) -> str:
    """What the rest costs, as far as anybody knows."""
    known = f"which costs up to {credit_count(shortfall.rest)} more"
    unknown = f"{shortfall.unpriced} of them at a price that nobody knows yet"
    if not shortfall.unpriced:
        return known
    return f"{known}, and {unknown}" if shortfall.rest else unknown
