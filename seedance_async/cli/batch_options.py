"""Flags of ``seedance batch`` that say how a batch is run, and what follows from them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from attrs import field, fields, frozen
from cyclopts import Parameter

from seedance_async.batch import names
from seedance_async.batch.finals import parse_changes
from seedance_async.batch.run_options import PlanOptions
from seedance_async.cli.prompt_findings import Ignore, codes
from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


ENGINE_OPTIONS: Final = frozenset({"engine", "max_credits", "as_json"})
"""Options that can be used with ``--engine``."""

SPELLINGS: Final = {"set_fields": "--set"}
"""Flags whose name differs from that of their option."""


def flag(help_text: str) -> Parameter:
    """Return the parameter of a switch without a negative form."""
    return Parameter(negative=(), show_default=False, help=help_text)


@Parameter(name="*")
@frozen(kw_only=True)
class Options:
    """How a batch is run."""

    max_credits: Annotated[
        float | None, Parameter(help="Most credits that the batch may cost over all runs, refunds deducted.")
    ] = None
    max_in_flight: Annotated[
        int | None,
        Parameter(help="Most jobs that are submitted and not finished; default: as many as are useful."),
    ] = None
    output_name: Annotated[
        str, Parameter(help="Path of a job's files in DIR; see --list-fields.", name="--output-name")
    ] = names.DEFAULT
    resubmit_uncertain: Annotated[
        bool, flag("Send uncertain jobs again, however old they are. They may be paid twice.")
    ] = False
    retry_failed: Annotated[
        bool, flag("Send jobs again that failed or were refused in earlier runs; they are paid for again.")
    ] = False
    reroll_refunded: Annotated[
        int,
        Parameter(
            help="Send jobs again that failed and were refunded, at most this often each, over all runs."
        ),
    ] = 0
    until: Annotated[
        str | None,
        Parameter(help="Run only jobs whose names match ('still-*'), with their sources; then stop."),
    ] = None
    reroll: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            negative=(),
            help="Make new takes of jobs with these names ('still-*'), or of those rejected; old takes stay.",
        ),
    ] = None
    takes: Annotated[int, Parameter(help="Number of new takes of each job of --reroll.")] = 1
    no_adopt: Annotated[
        bool, flag("Pay for a renamed job as a new one, instead of giving it its earlier result.")
    ] = False
    ignore: Ignore = ()
    canary: Annotated[
        bool,
        flag("First send one job of each kind; stop (6) if the result is not what was requested."),
    ] = False
    accept_delivery: Annotated[
        bool,
        flag("Continue although a canary's result is not what was requested, or costs more than expected."),
    ] = False
    finish: Annotated[
        Literal["kept"] | None,
        Parameter(show_choices=False, help="kept: make the kept takes again, with the changes of --set."),
    ] = None
    set_fields: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set", negative=(), show_default=False, help="FIELD=VALUE of the finals; may be repeated."
        ),
    ] = ()
    no_embed: Annotated[bool, flag("Do not write the prompts into the files' own metadata.")] = False
    no_share_posts: Annotated[
        bool, flag("Send each of several equal pictures in its own POST, instead of up to four in one.")
    ] = False
    project: Annotated[
        str | None,
        Parameter(help="Project of the costs in seedance spend; default SEEDANCE_PROJECT, else DIR's name."),
    ] = None
    engine: Annotated[
        str | None,
        Parameter(
            help="Enqueue the jobs for the workers of a distributed engine, postgresql://… or "
            "sqlite:///FILE, and follow them; see seedance worker."
        ),
    ] = field(default=None, repr=False)
    sandbox: Annotated[bool, flag("Run the batch against a sandbox: no key, no network, no money.")] = False
    on_event: Annotated[
        str | None,
        Parameter(
            help="A program that gets each event of --json, without URLs, on its stdin; its environment does "
            "not have SEEDANCE_API_KEY."
        ),
    ] = None
    on_event_for: Annotated[
        str | None,
        Parameter(help="Send it only these events, of started, planned, job, progress, stopping, ended."),
    ] = None
    as_json: Annotated[
        bool,
        Parameter(
            name="--json", negative=(), show_default=False, help="Write events for programs to stdout."
        ),
    ] = False

    def not_for_an_engine(self) -> list[str]:
        """Return the given flags that cannot be used with ``--engine``."""
        others = [each for each in fields(Options) if each.name not in ENGINE_OPTIONS]
        given = [each.name for each in others if getattr(self, each.name) != each.default]
        return [SPELLINGS.get(name, f"--{name.replace('_', '-')}") for name in given]

    def changes(self) -> dict[str, object] | None:
        """Return the fields that change in finals; None without ``--finish``.

        Raises:
            ConfigurationError: the flags do not go together.
        """
        if self.finish is None:
            if self.set_fields:
                raise ConfigurationError("--set changes the fields of finals: give --finish kept as well")
            return None
        if not self.set_fields:
            raise ConfigurationError(
                "--finish kept needs --set FIELD=VALUE, such as --set resolution=1080p: without a change the "
                "same request would be paid for again"
            )
        return parse_changes(self.set_fields)

    def plan(self) -> PlanOptions:
        """Return which jobs are sent.

        Raises:
            ConfigurationError: the flags do not go together.
        """
        return PlanOptions(
            until=self.until,
            reroll=tuple(self.reroll or ()),
            takes=self.takes,
            adopt=not self.no_adopt,
            ignored=codes(self.ignore),
            finish=self.changes(),
            retry_failed=self.retry_failed,
            reroll_refunded=self.reroll_refunded,
        )

    def words(self) -> list[str]:
        """Return the flags of the command that resumes this run.

        They do not include those that would pay again for jobs that this run has already sent again.
        """
        switches = {
            "--no-adopt": self.no_adopt,
            "--canary": self.canary,
            "--accept-delivery": self.accept_delivery,
            "--no-embed": self.no_embed,
            "--no-share-posts": self.no_share_posts,
            "--sandbox": self.sandbox,
            "--json": self.as_json,
        }
        words = [word for pair in self._values() for word in pair]
        return words + [name for name, is_set in switches.items() if is_set]

    def _values(self) -> Iterator[tuple[str, str]]:
        """Yield the flags that have a value, with their values."""
        given = {
            "--max-credits": None if self.max_credits is None else f"{self.max_credits:.10g}",
            "--max-in-flight": self.max_in_flight,
            "--reroll-refunded": self.reroll_refunded or None,
            "--until": self.until,
            "--finish": self.finish,
            "--project": self.project,
            "--on-event": self.on_event,
            "--on-event-for": self.on_event_for,
            "--output-name": None if self.output_name == names.DEFAULT else self.output_name,
        }
        yield from ((name, str(value)) for name, value in given.items() if value is not None)
        yield from (("--set", text) for text in self.set_fields)
        yield from (("--ignore", code) for code in self.ignore)
