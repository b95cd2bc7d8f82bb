"""``seedance batch``: a manifest into a directory, and run again, what is left of it.

However it ends, the directory knows what was sent and paid, and the same command goes on from there. The
command says so whenever there is something left to do.
"""

from __future__ import annotations

import shlex
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

from attrs import frozen
from cyclopts import Parameter

import seedance_async
from seedance_async import sandbox as emulator
from seedance_async.batch import names
from seedance_async.batch.report import write_gallery
from seedance_async.batch.states import ENDED
from seedance_async.cli import places
from seedance_async.cli.batch_shows import show
from seedance_async.cli.batch_standing import Observer
from seedance_async.cli.connection import Connection
from seedance_async.cli.demo import SPEED
from seedance_async.cli.estimate import tell
from seedance_async.cli.exits import FAILED, INTERRUPTED, OK
from seedance_async.cli.interrupts import interruptible
from seedance_async.cli.sandbox import rate_limit
from seedance_async.cli.streams import data, say
from seedance_async.errors import ConfigurationError, JournalError
from seedance_async.models import RateLimit
from seedance_async.scheduling.forecast import Forecast

if TYPE_CHECKING:
    from seedance_async import BatchRunner, SeedanceClient, Summary
    from seedance_async.cli.batch_shows import Show
    from seedance_async.cli.batch_standing import Standing

SANDBOX_MEMORY: Final = "sandbox.jsonl"
"""What the account of ``--sandbox`` remembers, in the batch's directory."""


def _flag(told: str) -> Parameter:
    return Parameter(negative=(), show_default=False, help=told)


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
    no_embed: Annotated[bool, _flag("Leave the prompts out of the files' own metadata.")] = False
    no_share_posts: Annotated[
        bool, _flag("Send each of several equal pictures in a POST of its own, not up to four in one.")
    ] = False
    sandbox: Annotated[bool, _flag("Play it through in a sandbox: no key, no network, no money.")] = False
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="Events for programs on stdout.")
    ] = False

    def words(self) -> list[str]:
        """The flags as somebody would type them again."""
        told: list[str] = []
        if self.max_credits is not None:
            told += ["--max-credits", f"{self.max_credits:.10g}"]
        if self.max_in_flight is not None:
            told += ["--max-in-flight", str(self.max_in_flight)]
        if self.output_name != names.DEFAULT:
            told += ["--output-name", self.output_name]
        if self.no_embed:
            told.append("--no-embed")
        if self.no_share_posts:
            told.append("--no-share-posts")
        return [*told, *(["--sandbox"] if self.sandbox else []), *(["--json"] if self.as_json else [])]


async def batch(
    manifest: Annotated[str | None, Parameter(help="JSON lines, a JSON array or CSV; - is stdin.")] = None,
    /,
    *,
    output: Annotated[
        Path | None,
        Parameter(
            name=("--output", "-o"),
            converter=places.directory,
            help="The batch's directory; made if it is missing.",
        ),
    ] = None,
    options: Options | None = None,
    dry_run: Annotated[bool, _flag("Check the whole manifest and estimate; nothing is sent.")] = False,
    list_fields: Annotated[bool, _flag("What --output-name may use; nothing is sent.")] = False,
    connection: Connection | None = None,
) -> int:
    """Make every job of a manifest; run it again to go on where it stopped.

    DIR gets the files, each with a JSON of what made it, results.jsonl with a
    line a job, gallery.html, and journal.sqlite, which remembers what was sent
    and paid. Ctrl-C stops it in good order.

    Exit codes: 0 all saved; 1 some failed or were refused; 2 a mistake, nothing
    sent; 3 stopped for credits; 4 key refused; 5 some are uncertain;
    130 interrupted.
    """
    if list_fields:
        for name, meaning in names.FIELDS.items():
            data(f"{{{name}}}\t{meaning}")
        return OK
    if manifest is None or (output is None and not dry_run):
        missing = "MANIFEST" if manifest is None else "--output DIR"
        raise ConfigurationError(f"{missing} is missing: seedance batch MANIFEST --output DIR")
    options, connection = options or Options(), connection or Connection()
    if options.sandbox and (foreign := connection.flags()):
        told = f"--sandbox has a key, an address and a clock of its own; leave out {' and '.join(foreign)}"
        raise ConfigurationError(told)
    names.Template(options.output_name)  # a trial run, too, tells what is wrong with it
    if output is not None:
        places.check(output)
    if dry_run or output is None:
        limit = rate_limit(SPEED) if options.sandbox else connection.rate_limit
        return await tell(
            manifest,
            output,
            limit,
            share_posts=not options.no_share_posts and options.max_in_flight is None,
            retry_failed=options.retry_failed,
            as_json=options.as_json,
            scale=1 / SPEED if options.sandbox else None,
        )
    return await _Batch(manifest, output, options, connection).run()


class _Batch:
    """One run of the command."""

    def __init__(self, manifest: str, directory: Path, options: Options, connection: Connection) -> None:
        self._manifest = manifest
        self._directory = directory
        self._options = options
        self._connection = connection
        self._standing: Standing | None = None  # until the journal is open

    async def run(self) -> int:
        """Run it, tell how it ended, and how to go on."""
        seen = show(self._manifest, self._directory, as_json=self._options.as_json)
        with interruptible(ask=lambda: seen.stopping(STOPPING), leave=seen.stop) as interruption:
            await self._make(seen)
        standing = self._standing
        if standing is None:
            self._tell_command("interrupted before anything was sent; to go on:")
            return INTERRUPTED
        code = INTERRUPTED if interruption.cancelled_caught else standing.summary.exit_code
        seen.ended(standing, code, await self._gallery())
        self._tell_how_to_go_on(standing.summary, code)
        return code

    async def _make(self, seen: Show) -> None:
        async with AsyncExitStack() as opened:
            client = await self._client(opened)
            self._warn(client)
            runner = await opened.enter_async_context(self._runner(client))
            with await Observer.of(runner, client) as observer:
                seen.start(observer.standing)
                try:
                    await self._follow(runner, observer, seen)
                finally:
                    seen.stop()
                    self._standing = observer.standing()

    async def _follow(self, runner: BatchRunner, observer: Observer, seen: Show) -> None:
        try:
            async with aclosing(runner.run(self._manifest)) as results:
                async for result in results:
                    seen.told(result)
                    await observer.keep()
        finally:
            with suppress(JournalError):  # whatever ended the run is worth more than its chart
                await observer.keep(at_end=True)

    async def _gallery(self) -> Path | None:
        try:
            return await write_gallery(self._directory)
        except (OSError, JournalError) as problem:  # what is saved is saved, and the exit code says so
            say(f"the gallery could not be written: {problem}")
            return None

    def _warn(self, client: SeedanceClient) -> None:
        """Before anything is sent: the same jobs in another directory are other jobs."""
        # Looked up only now: the budget's limiter takes long to load for a help page.
        from seedance_async.budget import outlives_a_process  # noqa: PLC0415
        from seedance_async.cli.elsewhere import remember  # noqa: PLC0415

        if not self._options.sandbox and outlives_a_process(client.engine.transport.base_url):
            for place in remember(self._manifest, self._directory):
                say(f"note: {place} is a batch of the same manifest; here its jobs are paid for once more")

    async def _client(self, opened: AsyncExitStack) -> SeedanceClient:
        if not self._options.sandbox:
            return await opened.enter_async_context(self._connection.client())
        memory = self._directory / SANDBOX_MEMORY
        sandbox = await opened.enter_async_context(emulator.Sandbox(speed=SPEED, memory=memory))
        say(f"sandbox: play money, and a clock that runs {SPEED:g} times as fast")
        limit = RateLimit.parse(rate_limit(SPEED))
        client = seedance_async.SeedanceClient(
            sandbox.api_key, sandbox.base_url, rate_limit=limit, forecasts=Forecast(scale=1 / SPEED)
        )
        return await opened.enter_async_context(client)

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
            embed=not options.no_embed,
            share_posts=not options.no_share_posts,
        )

    def _tell_how_to_go_on(self, summary: Summary, code: int) -> None:
        if summary.changes.edited:
            say(
                f"{summary.changes.edited} edited since the run before: each is a new job, paid for itself; "
                "what was made before stays, as NAME-before-edit"
            )
        if summary.stopped is not None and code != INTERRUPTED:
            say(f"stopped: {summary.stopped.message}")
        if left := {state: count for state, count in summary.counts.items() if state not in ENDED}:
            told = ", ".join(f"{count} {state}" for state, count in left.items())
            self._tell_command(f"to go on with what is left ({told}):")
        elif code == INTERRUPTED and not summary.total:
            self._tell_command("interrupted before anything was sent; to go on:")
        elif code == FAILED:
            say("to send anew what failed or was refused, at its price: the same command with --retry-failed")

    def _tell_command(self, why: str) -> None:
        """Say the command that goes on."""
        words = ["seedance", "batch", self._manifest, "-o", str(self._directory)]
        words += [*self._options.words(), *self._connection.words()]
        say(why)
        say(f"  {shlex.join(words)}")


STOPPING: Final = (
    "stopping: answers on the wire are waited for and written down; Ctrl-C again ends it at once"
)
