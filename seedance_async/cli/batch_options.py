"""The flags of ``seedance batch`` that say how a batch is run, and what follows from them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from attrs import field, fields, frozen
from cyclopts import Parameter

from seedance_async.batch import names
from seedance_async.batch.finish import parse_changes
from seedance_async.batch.run_options import PlanOptions
from seedance_async.cli.prompt_findings import Ignore, codes
from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


ENGINE_OPTIONS: Final = frozenset({"engine", "max_credits", "as_json"})
"""The options that go with ``--engine``."""

SPELLINGS: Final = {"set_fields": "--set"}
"""Flags that are not called as their option is."""


def flag(help_text: str) -> Parameter:
    """A switch that has no negative form."""
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
        bool, flag("Send jobs whose outcome is unknown again, however old they are. They may be paid twice.")
    ] = False
    retry_failed: Annotated[
        bool, flag("Send jobs anew that failed or were refused in earlier runs, at their price.")
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
        bool, flag("Pay for a job that is renamed, in the place of taking over what was made of it.")
    ] = False
    ignore: Ignore = ()
    canary: Annotated[
        bool, flag("Send the first job of each kind alone; stop (6) if it is not what was asked for.")
    ] = False
    accept_delivery: Annotated[
        bool, flag("Go on though a canary is not what was asked for, or costs more than expected.")
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
    no_embed: Annotated[bool, flag("Leave the prompts out of the files' own metadata.")] = False
    no_share_posts: Annotated[
        bool, flag("Send each of several equal pictures in a POST of its own, not up to four in one.")
    ] = False
    project: Annotated[
        str | None,
        Parameter(help="Whose costs these are in seedance spend; else SEEDANCE_PROJECT, else DIR's name."),
    ] = None
    engine: Annotated[
        str | None,
        Parameter(
            help="Enqueue for the workers of a distributed engine, postgresql://… or sqlite:///FILE, and "
            "follow; see seedance worker."
        ),
    ] = field(default=None, repr=False)
    sandbox: Annotated[bool, flag("Play it through in a sandbox: no key, no network, no money.")] = False
    on_event: Annotated[
        str | None,
        Parameter(
            help="A program that gets each event of --json, but no URLs, on its stdin; SEEDANCE_API_KEY is "
            "not among its variables."
        ),
    ] = None
    on_event_for: Annotated[
        str | None, Parameter(help="Only these events: started, planned, job, progress, stopping, ended.")
    ] = None
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="Events for programs on stdout.")
    ] = False

    def not_for_an_engine(self) -> list[str]:
        """The flags that were given and do not go with ``--engine``."""
        others = [each for each in fields(Options) if each.name not in ENGINE_OPTIONS]
        given = [each.name for each in others if getattr(self, each.name) != each.default]
        return [SPELLINGS.get(name, f"--{name.replace('_', '-')}") for name in given]

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

    def plan(self) -> PlanOptions:
        """Which jobs are sent.

        Raises:
            ConfigurationError: the flags make no sense.
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
        """The flags of the command that goes on.

        Not those that would have jobs paid for once more that this run was asked to send again.
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
        """The flags that have a value, and it."""
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
