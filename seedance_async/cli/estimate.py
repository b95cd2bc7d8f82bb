"""``seedance estimate``: what a manifest will take in requests, minutes and credits, before it is sent."""

from __future__ import annotations

import json
import os
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from seedance_async.batch import estimate as reckoning
from seedance_async.batch.states import State
from seedance_async.batch.survey import survey
from seedance_async.cli.exits import OK
from seedance_async.cli.places import directory as directory_of
from seedance_async.cli.streams import data
from seedance_async.models import RateLimit, time_scale
from seedance_async.scheduling.forecast import Forecast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seedance_async.batch.estimate import Cost, Estimate, Range
    from seedance_async.batch.ledger import Tariff
    from seedance_async.batch.survey import Survey

SOURCES: Final = {
    "learned": "charged in this batch before",
    "documented": "an example of the vendor's",
    "observed": "seen by users",
}
"""Who says what a job costs; nobody publishes prices, and what is charged decides."""


async def estimate(
    manifest: Annotated[str, Parameter(help="JSON lines, a JSON array or CSV; - is stdin.")],
    /,
    *,
    output: Annotated[
        Path | None,
        Parameter(
            name=("--output", "-o"),
            converter=directory_of,
            help="A batch's directory, if it has begun: what is left of it, by what it has learned.",
        ),
    ] = None,
    rate_limit: Annotated[
        str | None, Parameter(help="Requests/seconds; else SEEDANCE_RATE_LIMIT, else 30/60.")
    ] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="One JSON object.")
    ] = False,
) -> int:
    """Tell how many requests, minutes and credits a manifest will take, and who says so. Nothing is sent."""
    return await tell(manifest, output, rate_limit, as_json=as_json)


async def tell(
    manifest: str,
    directory: Path | None,
    rate_limit: str | None,
    *,
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
    outlook = reckoning.estimate(
        found.jobs(State.PLANNED),
        posts=found.posts() if share_posts else None,
        running=found.jobs(State.SUBMITTING, State.ACCEPTED),
        forecast=forecast,
        limit=limit,
        prices=found.prices,
    )
    if as_json:
        data(json.dumps(_document(found, outlook, limit)))
    else:
        for subject, line in _lines(found, outlook, limit):
            data(f"{subject:<9} {line}".rstrip())
    return OK


def _lines(found: Survey, outlook: Estimate, limit: RateLimit) -> Iterator[tuple[str, str]]:
    yield "jobs", _jobs(found, outlook)
    if not outlook.jobs + outlook.running:
        return
    yield "requests", f"{_span(outlook.requests)}, at most {limit.requests} in {limit.period:g} s"
    yield "time", f"{_time(outlook.seconds)}, by {_durations(found)}"
    yield "credits", _credits(found, outlook)
    widest = max((len(_name(cost.tariff)) for cost in outlook.costs), default=0)
    for cost in outlook.costs:
        yield "", f"{cost.jobs:,} of {_name(cost.tariff):<{widest}}  {_price(cost)}"


def _jobs(found: Survey, outlook: Estimate) -> str:
    total = sum(found.tally.values())
    told = f"{outlook.jobs:,} to send"
    others = {state: sum(found.jobs(state).values()) for state in State if state is not State.PLANNED}
    done = ", ".join(f"{count:,} {state}" for state, count in others.items() if count)
    return f"{told} of {total:,}; {done}" if done else told


def _durations(found: Survey) -> str:
    if found.durations:
        return f"what {len(found.durations)} tasks of this batch took"
    return "a guess: 19 clips that a user reported took 102 to 268 s"


def _credits(found: Survey, outlook: Estimate) -> str:
    told = _span(outlook.credits)
    if outlook.unpriced:
        told += f" and the price of {outlook.unpriced:,} jobs that nobody has told"
    return f"{told}, beside {found.spent:,.10g} spent" if found.spent else told


def _name(tariff: Tariff) -> str:
    kind = tariff.kind
    words = [kind.model, kind.quality_tier, kind.channel, kind.resolution]
    told = " ".join(word for word in words if word and word != "standard")
    seconds = f" {kind.seconds} s" if kind.seconds else ""
    return f"{told}{seconds}{f', {tariff.tasks} at once' if tariff.tasks > 1 else ''}"


def _price(cost: Cost) -> str:
    price = cost.price
    if price is None:
        return "price unknown"
    each = reckoning.Range(price.low, price.high)
    return f"{_span(each)} each ({SOURCES[price.source]})"


def _span(span: Range) -> str:
    return f"{span.low:,.10g}" if span.low == span.high else f"{span.low:,.10g} to {span.high:,.10g}"


def _time(seconds: Range) -> str:
    unit, length = ("h", 3600) if seconds.high >= 5400 else ("min", 60) if seconds.high >= 90 else ("s", 1)
    low, high = (
        f"{value / length:.{0 if value >= 10 * length else 1}f}" for value in (seconds.low, seconds.high)
    )
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _document(found: Survey, outlook: Estimate, limit: RateLimit) -> Mapping[str, object]:
    states = {state: sum(found.jobs(state).values()) for state in State}
    return {
        "counts": {state: count for state, count in states.items() if count},
        "jobs": outlook.jobs,
        "rate_limit": f"{limit.requests}/{limit.period:g}",
        "requests": [outlook.requests.low, outlook.requests.high],
        "seconds": [round(outlook.seconds.low), round(outlook.seconds.high)],
        "seconds_source": "learned" if found.durations else "prior",
        "credits": [outlook.credits.low, outlook.credits.high],
        "jobs_without_price": outlook.unpriced,
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
            for cost in outlook.costs
        ],
    }
