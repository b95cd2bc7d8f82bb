"""``seedance estimate``: the requests, minutes and credits that a manifest will take, before it is sent."""

from __future__ import annotations

import json
import os
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from seedance_async.batch import estimate as batch_estimate
from seedance_async.batch.run_options import ALL_JOBS, PlanOptions
from seedance_async.batch.run_plan import run_plan
from seedance_async.batch.states import State
from seedance_async.batch.survey import survey
from seedance_async.cli.connection import Connection
from seedance_async.cli.output import write_data, write_message
from seedance_async.cli.paths import output_flag
from seedance_async.cli.plan_words import cap_words, credit_fields, credits_words, jobs_words, range_words
from seedance_async.cli.prompt_findings import Ignore, codes, rule_count
from seedance_async.credit_format import counted
from seedance_async.errors import ConfigurationError, RecordError
from seedance_async.exit_codes import ExitCode
from seedance_async.models import RateLimit, time_scale
from seedance_async.prices import NOTHING_RECORDED
from seedance_async.prompts import Level
from seedance_async.prompts.batch_lint import BatchLint
from seedance_async.record import Reader, record_path
from seedance_async.scheduling.forecast import Forecast
from seedance_async.time_format import format_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seedance_async.batch.estimate import Cost, Estimate
    from seedance_async.batch.run_plan import RunPlan
    from seedance_async.batch.survey import Survey
    from seedance_async.models import Kind
    from seedance_async.prices import Tariff

REROLLS: Final = "failed and refunded jobs are sent again, at most {} each; these figures do not include that"

UNFINISHED: Final = (State.PLANNED, State.SUBMITTING, State.ACCEPTED)

GUESSES: Final = {
    "seedance2": "19 clips that a user reported took 102 to 268 s",
    None: "pictures in two examples of the vendor's took 84 and 102 s",
}
"""What the expected time of a model's tasks is based on until one of them has finished."""

SOURCES: Final = {
    "learned": "charged in this batch before",
    "recorded": "the most that this account was charged before",
    "documented": "an example of the vendor's",
    "observed": "seen by users",
}
"""Where the price of a job is from. Prices are not published; the credits charged are what counts."""


async def estimate(
    manifest: Annotated[str, Parameter(help="JSON lines, a JSON array, CSV or TOML; - is stdin.")],
    /,
    *,
    output: Annotated[
        Path | None,
        output_flag("Directory of a batch already begun: estimates the rest, from its own times and prices."),
    ] = None,
    ignore: Ignore = (),
    connection: Connection | None = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="One JSON object.")
    ] = False,
) -> int:
    """Estimate the requests, minutes and credits that a manifest will take. Nothing is sent.

    Example: seedance estimate jobs.jsonl
    """
    connection = connection or Connection()
    return await print_estimate(
        manifest,
        output,
        connection.rate_limit,
        options=PlanOptions(ignored=codes(ignore)),
        recorded=recorded_prices(connection),
        as_json=as_json,
    )


async def print_estimate(
    manifest: str,
    directory: Path | None,
    rate_limit: str | None,
    *,
    options: PlanOptions = ALL_JOBS,
    recorded: Mapping[Kind, float] = NOTHING_RECORDED,
    share_posts: bool = True,
    as_json: bool,
    scale: float | None = None,
    max_credits: float | None = None,
    has_store: bool = True,
) -> int:
    """Check a manifest, and write what it will take.

    Args:
        manifest: its path.
        directory: of the batch, if there is one.
        rate_limit: such as ``30/60``; default that of the environment.
        options: which jobs are counted as to be sent.
        recorded: what the account was charged for one task of each kind.
        share_posts: whether equal jobs share a POST.
        as_json: whether to write JSON.
        scale: length of one of the vendor's seconds here, in seconds; default that of the environment.
        max_credits: the batch's cap; None without one.
        has_store: whether there is a media store for local files; without one, a local file is an error.

    Returns:
        The exit code.
    """
    text = rate_limit or os.environ.get("SEEDANCE_RATE_LIMIT")
    limit = RateLimit.parse(text) if text else RateLimit()
    lint = BatchLint(options.ignored)
    found = await survey(manifest, directory, options, has_store=has_store, lint=lint)
    prompts = lint.summary()
    scale = scale or time_scale(os.environ.get("SEEDANCE_TIME_SCALE") or "1")
    forecast = Forecast(scale=scale)
    for kind, seconds in found.durations:
        forecast.observe(kind, seconds)
    expected = batch_estimate.estimate(
        found.jobs(State.PLANNED),
        posts=found.posts() if share_posts else None,
        running=found.jobs(State.SUBMITTING, State.ACCEPTED),
        forecast=forecast,
        limit=limit,
        prices=found.prices,
        recorded=recorded,
    )
    plan = run_plan(
        found.tally, prices=found.prices, recorded=recorded, spent=found.spent, max_credits=max_credits
    )
    if as_json:
        findings = [rule_count(each, prompts.jobs) for each in prompts.at_least(Level.WARNING)]
        write_data(json.dumps({**_document(found, expected, plan, limit), "prompts": findings}))
    else:
        for subject, line in _lines(found, expected, plan, limit, speed=1 / scale):
            write_data(f"{subject:<9} {line}".rstrip())
        if options.reroll_refunded:
            write_data(f"{'rerolls':<9} {REROLLS.format(times(options.reroll_refunded))}")
        for each in prompts.at_least(Level.WARNING):
            write_data(f"{'prompts':<9} {each.words(prompts.jobs)}")
    return ExitCode.OK


def times(count: int) -> str:
    """Return ``once``, or ``3 times``."""
    return "once" if count == 1 else f"{count} times"


def recorded_prices(connection: Connection, *, warns: bool = True) -> Mapping[Kind, float]:
    """Return what the account was charged before for each kind; empty without a key, which names the account.

    Args:
        connection: of the account.
        warns: whether to write a message if the record cannot be read; opening a client writes one as well.
    """
    if not (connection.api_key or os.environ.get("SEEDANCE_API_KEY")):
        return NOTHING_RECORDED
    try:
        return Reader(record_path(connection.account())).prices()
    except (ConfigurationError, RecordError) as problem:
        if warns:
            write_message(f"prices charged before are not known: {problem.message}")
        return NOTHING_RECORDED


def _lines(
    found: Survey, expected: Estimate, plan: RunPlan, limit: RateLimit, *, speed: float
) -> Iterator[tuple[str, str]]:
    yield "jobs", jobs_words(plan)
    if not expected.jobs + expected.running:
        return
    yield "requests", _requests(expected, limit)
    faster = "" if speed == 1 else f", {speed:.10g} times as fast here"
    time = format_range(expected.seconds.low, expected.seconds.high)
    yield "time", f"{time}, by {_durations(found)}{faster}"
    yield "credits", credits_words(plan)
    widest = max((len(_name(cost.tariff)) for cost in expected.costs), default=0)
    for cost in expected.costs:
        yield "", f"{cost.jobs:,} of {_name(cost.tariff):<{widest}}  {_price(cost)}"
    if plan.max_credits is not None:
        yield "cap", cap_words(plan)


def _requests(expected: Estimate, limit: RateLimit) -> str:
    needed, span = expected.needed, expected.requests
    words = f"{needed:,} needed"
    if span.high > needed:
        words += f"; {range_words(span.low, span.high)} with early polls, which use free slots"
    return f"{words}; at most {limit.requests} in {limit.period:g} s"


def _durations(found: Survey) -> str:
    learned = _learned(found)
    guesses = {GUESSES.get(model, GUESSES[None]) for model, count in learned.items() if not count}
    parts = []
    if total := sum(learned.values()):
        parts.append(f"what {counted(total, 'task')} of this batch took")
    if guesses:
        parts.append(f"a guess: {', '.join(sorted(guesses))}")
    return " and ".join(parts)


def _learned(found: Survey) -> dict[str, int]:
    """Return, for each model with unfinished jobs, the number of tasks whose duration is known."""
    models = dict.fromkeys(tariff.kind.model for tariff in found.jobs(*UNFINISHED))
    return {str(model): sum(kind.model == model for kind, _ in found.durations) for model in models}


def _name(tariff: Tariff) -> str:
    return f"{tariff.kind.words}{f', {tariff.tasks} at once' if tariff.tasks > 1 else ''}"


def _price(cost: Cost) -> str:
    price = cost.price
    if price is None:
        return "price unknown"
    basis = f": {price.basis}" if price.basis else ""
    source = f"{SOURCES[price.source]}{basis}"
    if price.low_source is not None:
        source = f"{price.low:,.10g} {SOURCES[price.low_source]}, {price.high:,.10g} {source}"
    return f"{range_words(price.low, price.high)} each ({source})"


def _document(found: Survey, expected: Estimate, plan: RunPlan, limit: RateLimit) -> Mapping[str, object]:
    learned = _learned(found)
    return {
        "counts": plan.counts,
        "jobs": expected.jobs,
        "rate_limit": f"{limit.requests}/{limit.period:g}",
        "requests_needed": expected.needed,
        "requests": [expected.requests.low, expected.requests.high],
        "seconds": [round(expected.seconds.low), round(expected.seconds.high)],
        "seconds_source": _seconds_source(learned),
        **credit_fields(plan),
        "costs": [
            {
                "model": cost.tariff.kind.model,
                "quality_tier": cost.tariff.kind.quality_tier,
                "channel": cost.tariff.kind.channel,
                "resolution": cost.tariff.kind.resolution,
                "seconds": cost.tariff.kind.seconds,
                "batch_count": cost.tariff.tasks,
                "jobs": cost.jobs,
                "credits_each": None if cost.price is None else [cost.price.low, cost.price.high],
                "source": "unknown" if cost.price is None else cost.price.source,
                "sources": None if cost.price is None else cost.price.sources,
            }
            for cost in expected.costs
        ],
    }


def _seconds_source(learned: Mapping[str, int]) -> str:
    if not any(learned.values()):
        return "prior"
    return "learned" if all(learned.values()) else "learned and prior"
