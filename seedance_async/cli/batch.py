"""``seedance batch``: the command that runs a manifest into a directory, and resumes it when run again.

However a run ends, the directory records what was sent and paid, and the same command resumes from there. At
the end of a run with jobs left, it prints the command that resumes it.
"""

from __future__ import annotations

import os
import shlex
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

from attrs import evolve
from cyclopts import Parameter

import seedance_async
from seedance_async import sandbox as emulator
from seedance_async.batch import names
from seedance_async.batch.journal.remains import JOURNAL
from seedance_async.batch.manifest_source import check_there, is_read_once
from seedance_async.batch.reroll import takes_fault
from seedance_async.cli import hooks
from seedance_async.cli.batch_display import choose_display
from seedance_async.cli.batch_options import Options, flag
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
    from collections.abc import Iterator, Mapping

    from seedance_async import BatchRunner, SeedanceClient, SeedanceError, Summary
    from seedance_async.batch.states import State
    from seedance_async.cli.batch_display import Display
    from seedance_async.cli.batch_run import Shortfall

SANDBOX_MEMORY: Final = "sandbox.jsonl"
"""File of the sandbox account's state, in the batch's directory."""

RETRY_FAILED: Final = (
    "to send failed and refused jobs again, as new jobs that are paid: the same command with --retry-failed"
)


async def batch(
    manifest: Annotated[
        str | None, Parameter(help="JSON lines, a JSON array, CSV or TOML; - is stdin.")
    ] = None,
    /,
    *,
    output: Annotated[Path | None, output_flag("The batch's directory; created if it is missing.")] = None,
    options: Options | None = None,
    dry_run: Annotated[bool, flag("Check the whole manifest and estimate; nothing is sent.")] = False,
    list_fields: Annotated[bool, flag("List the fields of --output-name; nothing is sent.")] = False,
    media: Media | None = None,
    connection: Connection | None = None,
) -> int:
    """Run every job of a manifest; run the same command again to resume.

    DIR gets the media files, a JSON sidecar for each, results.jsonl with one line
    for each job, gallery.html, and journal.sqlite, which records what was sent
    and paid. Ctrl-C stops in an orderly way.

    Exit codes: 0 all saved; 1 some failed, were refused or are blocked; 2 usage
    or manifest error, nothing sent; 3 stopped for credits; 4 key refused; 5 some
    are uncertain; 6 stopped by a canary; 130 interrupted.

    Example: seedance batch jobs.jsonl -o boats --max-credits 200
    """
    if list_fields:
        return _list_fields()
    if manifest is None or (output is None and not dry_run):
        raise ConfigurationError(_what_is_missing(manifest, options))
    options, media, connection = options or Options(), media or Media(), connection or Connection()
    _check(output, options, connection)
    if options.engine is not None:
        _check_for_engine(output, options, media, connection)
    media.check()
    check_there(manifest)
    if dry_run or output is None:
        return await _estimate(manifest, output, options, media, connection)
    if options.engine is not None:
        from seedance_async.cli import engine  # noqa: PLC0415 - an extra

        return await engine.EngineCommand(manifest, output, options.engine, options).run()
    return await _Command(manifest, output, options, media, connection).run()


async def _estimate(
    manifest: str, output: Path | None, options: Options, media: Media, connection: Connection
) -> int:
    """Write what a run with these flags would take."""
    return await print_estimate(
        manifest,
        output,
        rate_limit(SPEED) if options.sandbox else connection.rate_limit,
        options=options.plan(),
        recorded=NOTHING_RECORDED if options.sandbox else recorded_prices(connection),
        share_posts=not options.no_share_posts and options.max_in_flight is None,
        as_json=options.as_json,
        scale=1 / SPEED if options.sandbox else None,
        max_credits=options.max_credits,
        has_store=media.is_given or options.sandbox,
    )


def _what_is_missing(manifest: str | None, options: Options | None) -> str:
    form = "seedance batch MANIFEST --output DIR"
    if manifest is not None:
        return f"--output DIR is missing: {form}"
    if options is not None and options.reroll:
        return f"MANIFEST is missing: {form} --reroll NAME…; all words after --reroll are names"
    return f"MANIFEST is missing: {form}"


def _list_fields() -> int:
    for name, meaning in names.FIELDS.items():
        write_data(f"{{{name}}}\t{meaning}")
    return ExitCode.OK


def _check(output: Path | None, options: Options, connection: Connection) -> None:
    """Check that the flags are valid and go together, for a dry run as well.

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
            raise ConfigurationError("--on-event-for selects the events of --on-event CMD: give that as well")
    if options.reroll_refunded < 0:
        raise ConfigurationError("--reroll-refunded must be 0 or more: how often a job is sent again at most")
    if fault := takes_fault(options.takes, options.reroll):
        raise ConfigurationError(f"--takes {fault}")
    options.plan()
    if output is None:
        return
    check_writable(output)
    if is_demo_directory(output):
        reason = "belongs to `seedance demo`, which overwrites it each time; name another directory"
        raise ConfigurationError(f"--output {output}: {reason}")


def _check_for_engine(output: Path | None, options: Options, media: Media, connection: Connection) -> None:
    """Check that the flags can be used with an engine, whose workers do the sending.

    Raises:
        ConfigurationError: they cannot.
    """
    if foreign := options.not_for_an_engine():
        reason = "only --max-credits, --json and --dry-run can be used with it"
        raise ConfigurationError(f"not with --engine: {', '.join(foreign)}; {reason}")
    if foreign := [*connection.flags(), *media.flags()]:
        reason = "give these flags to `seedance worker`, which does the sending"
        raise ConfigurationError(f"not with --engine: {', '.join(foreign)}; {reason}")
    if output is not None and (output / JOURNAL).exists():
        reason = "has a batch that runs on this host only; name another directory"
        raise ConfigurationError(f"--output {output} {reason}")


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
        """Run the batch, with ``--on-event`` if given, and return the exit code."""
        options = self._options
        display = choose_display(self._manifest, self._directory, as_json=options.as_json)
        if options.on_event is None:
            return await self._show(display)
        command, kinds = hooks.parse_command(options.on_event), hooks.parse_kinds(options.on_event_for)
        names, key = (self._manifest, self._directory), self._connection.api_key
        async with hooks.with_events(display, command, kinds=kinds, key=key, names=names) as both:
            return await self._show(both)

    async def _show(self, display: Display) -> int:
        batch = BatchRun(self._directory, display, is_recorded=not self._options.sandbox)
        with interruptible(display) as interruption:
            await self._run(batch)
        if batch.status is None:
            self._write_command("interrupted before anything was sent; to continue:")
            return ExitCode.INTERRUPTED
        summary = batch.status.summary
        code = ExitCode.INTERRUPTED if interruption.cancelled_caught else summary.exit_code
        display.ended(batch.status, code, await batch.write_gallery())
        self._write_advice(summary, code, batch.shortfall)
        return code

    async def _run(self, batch: BatchRun) -> None:
        async with AsyncExitStack() as opened:
            if self._options.sandbox:
                opened.enter_context(_no_unused_memory(self._directory))
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
        options, plan = self._options, self._options.plan()
        return seedance_async.BatchRunner(
            client,
            self._directory,
            max_credits=options.max_credits,
            max_in_flight=options.max_in_flight,
            output_name=options.output_name,
            resubmit_uncertain=options.resubmit_uncertain,
            retry_failed=plan.retry_failed,
            reroll_refunded=plan.reroll_refunded,
            until=plan.until,
            reroll=plan.reroll,
            takes=plan.takes,
            adopt=plan.adopt,
            ignore=sorted(plan.ignored),
            finish=plan.finish,
            canary=options.canary,
            accept_delivery=options.accept_delivery,
            embed=not options.no_embed,
            share_posts=not options.no_share_posts,
            project=options.project,
        )

    def _write_advice(self, summary: Summary, code: ExitCode, shortfall: Shortfall | None) -> None:
        """Write why the run stopped, and the command that resumes it."""
        _write_takes(summary)
        if summary.stopped is not None and code != ExitCode.INTERRUPTED:
            write_message(_stopping(summary.stopped))
        if isinstance(summary.stopped, UnauthorizedError) and not self._options.sandbox:
            write_message(f"  {about_refused_key(self._connection.key_source())}")
        if left := summary.left:
            self._write_command(*self._way_on(summary, left, shortfall))
        elif code == ExitCode.INTERRUPTED and not summary.total:
            self._write_command("interrupted before anything was sent; to continue:")
        elif code == ExitCode.FAILED:
            write_message(RETRY_FAILED)

    def _way_on(
        self, summary: Summary, left: Mapping[State, int], shortfall: Shortfall | None
    ) -> tuple[str, Options]:
        """Return the line before the command that resumes the batch, and that command's options."""
        options = self._options
        counts = ", ".join(f"{count} {state}" for state, count in left.items())
        reason = f"to continue with what is left ({counts})"
        if _is_mismatch(summary.stopped):
            return f"{reason} all the same:", evolve(options, accept_delivery=True)
        if summary.later == sum(count for state, count in summary.counts.items() if state in left):
            # Only jobs that --until left for later remain: this stage is over.
            return f"{reason}:", evolve(options, until=None, finish=None, set_fields=())
        if shortfall is not None:
            return f"{reason}, {_costs(shortfall)}:", evolve(options, max_credits=shortfall.cap)
        return f"{reason}:", options

    def _write_command(self, reason: str, options: Options | None = None) -> None:
        """Write the command that resumes the batch, with this run's options unless others are given."""
        options = options or self._options
        words = ["seedance", "batch", self._manifest, "-o", str(self._directory)]
        words += [*options.words(), *self._media.words(), *self._connection.words()]
        write_message(reason)
        write_message(f"  {shlex.join(words)}")
        if secrets := self._connection.secret_flags():  # their values must not end up in a log
            write_message(f"  and {' and '.join(secrets)}, as before")
        if is_read_once(self._manifest):
            write_message(f"with the same jobs on {self._manifest} again")


def _write_takes(summary: Summary) -> None:
    """Write how many jobs were edited or rerolled, and under which names their earlier takes stay."""
    changes = summary.changes
    if paid := changes.edited - changes.found:
        write_message(_edited(paid))
    if changes.found:
        write_message(_found(changes.found))
    if summary.rerolled:
        write_message(_rerolled(summary.rerolled))


def _edited(jobs: int) -> str:
    each = "it is a new job" if jobs == 1 else "each is a new job"
    return (
        f"{jobs:,} edited since the last run: {each}, paid separately; the earlier result stays, as "
        "NAME-before-edit"
    )


def _found(jobs: int) -> str:
    now = (
        "its request now equals an earlier one, and it gets that result"
        if jobs == 1
        else "each request now equals an earlier one, and the job gets that result"
    )
    return f"{jobs:,} edited since the last run, at no cost: {now}"


def _rerolled(takes: int) -> str:
    subject = "1 new take," if takes == 1 else f"{takes:,} new takes, each"
    return (
        f"{subject} paid separately: the newest has the job's own name; earlier takes stay, as NAME-take-1, …"
    )


@contextmanager
def _no_unused_memory(directory: Path) -> Iterator[None]:
    """Remove the sandbox's new state file again if no batch was begun."""
    memory = directory / SANDBOX_MEMORY
    made, is_new = missing(directory), not os.path.lexists(memory)
    try:
        yield
    finally:
        if is_new and not os.path.lexists(directory / JOURNAL):
            memory.unlink(missing_ok=True)
            remove_empty(made)


def _is_mismatch(stopped: SeedanceError | None) -> bool:
    """Whether a canary has stopped the run because its result is not what was requested."""
    return isinstance(stopped, CanaryError) and bool(stopped.mismatches)


def _stopping(stopped: SeedanceError) -> str:
    return f"stopped{' ' if _is_mismatch(stopped) else ': '}{stopped.message}"


def _costs(shortfall: Shortfall) -> str:
    """Say what the remaining jobs cost, as far as it is known."""
    known = f"which costs up to {credit_count(shortfall.rest)} more"
    unknown = f"{shortfall.unpriced} of them at a price that is not known yet"
    if not shortfall.unpriced:
        return known
    return f"{known}, and {unknown}" if shortfall.rest else unknown
