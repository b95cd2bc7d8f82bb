"""``seedance estimate``: what a manifest will take in requests, minutes and credits, before it is sent."""

from __future__ import annotations

import json
import os
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from seedance_async.batch import estimate as batch_estimate
from seedance_async.batch.states import State
from seedance_async.batch.survey import survey
from seedance_async.cli.connection import Connection
from seedance_async.cli.output import write_data, write_message
from seedance_async.cli.paths import output_flag
from seedance_async.errors import ConfigurationError, RecordError
from seedance_async.exit_codes import ExitCode
from seedance_async.models import RateLimit, time_scale
from seedance_async.prices import NOTHING_RECORDED
from seedance_async.record import Reader, record_path
from seedance_async.scheduling.forecast import Forecast
from seedance_async.time_format import format_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seedance_async.batch.estimate import Cost, Estimate, Range
    from seedance_async.batch.survey import Survey
    from seedance_async.models import Kind
    from seedance_async.prices import Tariff

SOURCES: Final = {
    "learned": "charged in this batch before",
    "recorded": "the most that this account was charged before",
    "documented": "an example of the vendor's",
    "observed": "seen by users",
}
"""Where the price of a job is from; nobody publishes prices, and what is charged decides."""


async def estimate(
    manifest: Annotated[str, Parameter(help="JSON lines, a JSON array or CSV; - is stdin.")],
    /,
    *,
    output: Annotated[
        Path | None,
        output_flag("A batch's directory, if it has begun: what is left of it, by what it has learned."),
    ] = None,
    connection: Connection | None = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="One JSON object.")
    ] = False,
) -> int:
    """Estimate the requests, minutes and credits that a manifest will take. Nothing is sent."""
    connection = connection or Connection()
    return await print_estimate(
        manifest, output, connection.rate_limit, recorded=recorded_prices(connection), as_json=as_json
    )


async def print_estimate(
    manifest: str,
    directory: Path | None,
    rate_limit: str | None,
    *,
    recorded: Mapping[Kind, float] = NOTHING_RECORDED,
    share_posts: bool = True,
    retry_failed: bool = False,
    as_json: bool,
    scale: float | None = None,
) -> int:
    """Check a manifest, and write what it will take.

    Args:
        manifest: path of it.
        directory: of the batch, if there is one.
        rate_limit: such as ``30/60``; else the environment's.
        recorded: what the account was charged for one task of each kind.
        share_posts: whether equal jobs go out together.
        retry_failed: whether failed jobs go out again.
        as_json: whether to write JSON.
        scale: how long a second of the vendor's takes; else the environment's.
    """
    text = rate_limit or os.environ.get("SEEDANCE_RATE_LIMIT")
    limit = RateLimit.parse(text) if text else RateLimit()
    found = await survey(manifest, directory, retry_failed=retry_failed)
    forecast = Forecast(scale=scale or time_scale(os.environ.get("SEEDANCE_TIME_SCALE") or "1"))
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
    if as_json:
        write_data(json.dumps(_document(found, expected, limit)))
    else:
        for subject, line in _lines(found, expected, limit):
            write_data(f"{subject:<9} {line}".rstrip())
    return ExitCode.OK


def recorded_prices(connection: Connection) -> Mapping[Kind, float]:
    """What the account was charged before; nothing where no key says which account it is."""
    if not (connection.api_key or os.environ.get("SEEDANCE_API_KEY")):
        return NOTHING_RECORDED
    try:
        return Reader(record_path(connection.account())).prices()
    except (ConfigurationError, RecordError) as problem:
        write_message(f"prices charged before are not known: {problem.message}")
        return NOTHING_RECORDED


def _lines(found: Survey, expected: Estimate, limit: RateLimit) -> Iterator[tuple[str, str]]:
    yield "jobs", _jobs(found, expected)
    if not expected.jobs + expected.running:
        return
    yield "requests", f"{_range(expected.requests)}, at most {limit.requests} in {limit.period:g} s"
    yield "time", f"{format_range(expected.seconds.low, expected.seconds.high)}, by {_durations(found)}"
    yield "credits", _credits(found, expected)
    widest = max((len(_name(cost.tariff)) for cost in expected.costs), default=0)
    for cost in expected.costs:
        yield "", f"{cost.jobs:,} of {_name(cost.tariff):<{widest}}  {_price(cost)}"


def _jobs(found: Survey, expected: Estimate) -> str:
    total = sum(found.tally.values())
    to_send = f"{expected.jobs:,} to send"
    others = {state: sum(found.jobs(state).values()) for state in State if state is not State.PLANNED}
    done = ", ".join(f"{count:,} {state}" for state, count in others.items() if count)
    return f"{to_send} of {total:,}; {done}" if done else to_send


def _durations(found: Survey) -> str:
    if found.durations:
        return f"what {len(found.durations)} tasks of this batch took"
    return "a guess: 19 clips that a user reported took 102 to 268 s"


def _credits(found: Survey, expected: Estimate) -> str:
    text = _range(expected.credits)
    if expected.unpriced:
        text += f" and the unknown price of {expected.unpriced:,} jobs"
    return f"{text}, beside {found.spent:,.10g} spent" if found.spent else text


def _name(tariff: Tariff) -> str:
    kind = tariff.kind
    words = [kind.model, kind.quality_tier, kind.channel, kind.resolution]
    name = " ".join(word for word in words if word and word != "standard")
    seconds = f" {kind.seconds} s" if kind.seconds else ""
    return f"{name}{seconds}{f', {tariff.tasks} at once' if tariff.tasks > 1 else ''}"


def _price(cost: Cost) -> str:
    price = cost.price
    if price is None:
        return "price unknown"
    each = batch_estimate.Range(price.low, price.high)
    return f"{_range(each)} each ({SOURCES[price.source]})"


def _range(span: Range) -> str:
    return f"{span.low:,.10g}" if span.low == span.high else f"{span.low:,.10g} to {span.high:,.10g}"


def _document(found: Survey, expected: Estimate, limit: RateLimit) -> Mapping[str, object]:
    states = {state: sum(found.jobs(state).values()) for state in State}
    return {
        "counts": {state: count for state, count in states.items() if count},
        "jobs": expected.jobs,
        "rate_limit": f"{limit.requests}/{limit.period:g}",
        "requests": [expected.requests.low, expected.requests.high],
        "seconds": [round(expected.seconds.low), round(expected.seconds.high)],
        "seconds_source": "learned" if found.durations else "prior",
        "credits": [expected.credits.low, expected.credits.high],
        "jobs_without_price": expected.unpriced,
        "credits_spent": found.spent,
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
            }
            for cost in expected.costs
        ],
    }
