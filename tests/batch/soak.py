"""A large batch among faults, in virtual time, judged by the sandbox's ledger to the credit.

One POST in a hundred loses its answer, one is answered 500 after it was paid, one exchange in a hundred 503,
one 429, and one task fails; downloads break off too. An answer that stays lost leaves its job uncertain, so
the batch is run again until nothing is left to do.

The suite runs small ones. The whole: ``python -m tests.batch.soak --jobs 2000``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import attrs
from attrs import frozen

from seedance_async import BatchRunner, GptImage2, Job, NanoBananaPro, Seedance2Video, SeedanceClient
from seedance_async.batch.states import ENDED
from seedance_async.sandbox import Conditions, Fault, Sandbox, virtual_time
from tests.batch.helpers import PATIENCE, charged, submits

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_RUNS: Final = 10
TAKES: Final = 6


@frozen(kw_only=True)
class Findings:
    """What came of a soak.

    Attributes:
        runs: until nothing was left to do.
        hours: of the account's clock.
        problems: laws that were broken.
    """

    jobs: int
    runs: int
    hours: float
    saved: int
    failed: int
    posts: int
    requests: int
    shared_posts: int
    answers_lost: int
    answers_500: int
    answers_503: int
    answers_429: int
    worst_window: int
    credits_charged: int
    credits_refunded: int
    problems: tuple[str, ...]


def faults(rate: float) -> list[Fault]:
    """The weather; of each kind the same share of the exchanges it can strike."""
    slow_down = {"Retry-After": "3"}
    return [
        Fault(effect="drop", on="submit", count=None, probability=rate),
        Fault(effect="status", on="submit", count=None, probability=rate, status=500),
        Fault(effect="status", on="any", moment="before", count=None, probability=rate, status=503),
        Fault(
            effect="status", on="any", moment="before", count=None, probability=rate, status=429,
            headers=slow_down,
        ),
        Fault(effect="reset", on="media", count=None, probability=rate),
    ]  # fmt: skip


def orders(count: int) -> list[Job]:
    """Jobs of all three models, so many in all; a third are takes of a picture, which share POSTs."""
    takes = [
        Job(GptImage2(prompt=f"A hat for cat {number}"), name=f"hat-{number}", repeat=TAKES)
        for number in range(count // 3 // TAKES)
    ]
    clips = [
        Job(Seedance2Video(prompt=f"A train crosses bridge {number}"), name=f"train-{number}")
        for number in range(count // 20)
    ]
    left = count - len(takes) * TAKES - len(clips)
    pictures = [
        Job(NanoBananaPro(prompt=f"A boat on pond {number}", output_format="jpeg"), name=f"boat-{number}")
        for number in range(left)
    ]
    return [*takes, *clips, *pictures]


async def soak(count: int, directory: Path, *, rate: float, seed: int) -> Findings:
    """Run a batch until nothing is left to do, and judge it."""
    conditions = Conditions(seed=seed, failure_rate=rate, latency=(0.0, 0.3))
    async with Sandbox(conditions=conditions, faults=faults(rate), credits=10**7) as sandbox:
        began = anyio.current_time()
        async with (
            SeedanceClient(sandbox.api_key, sandbox.base_url, retry=PATIENCE) as client,
            BatchRunner(client, directory, max_credits=10**6) as batch,
        ):
            runs, states = 0, Counter[str]()
            while runs < MOST_RUNS and not (states and set(states) <= ENDED):
                states = Counter([str(result.state) async for result in batch.run(orders(count))])
                runs += 1
            booked = batch.summary.credits_used, batch.summary.credits_refunded
        hours = (anyio.current_time() - began) / 3600
        return _findings(sandbox, states, booked, count=count, runs=runs, hours=hours)


def _findings(
    sandbox: Sandbox,
    states: Counter[str],
    booked: tuple[float, float],
    *,
    count: int,
    runs: int,
    hours: float,
) -> Findings:
    refunded = sum(entry.credits for entry in sandbox.ledger if entry.kind == "refund")
    answers = Counter(record.status for record in sandbox.requests if "status" in record.fault)
    window = sandbox.worst_window().arrivals
    sharing = Counter(task.idempotency_key for task in sandbox.tasks.values())
    keys = {key for key, _ in submits(sandbox)}
    laws = {
        f"{states} in the end": set(states) <= ENDED and count == states.total(),
        f"{len(sandbox.tasks)} tasks for {count} jobs": count == len(sandbox.tasks),
        "a key was sent with two bodies": len(keys) == len(set(submits(sandbox))),
        f"{booked} booked, {charged(sandbox), refunded} charged": (charged(sandbox), refunded) == booked,
        f"{window} requests in one window": window <= 30,
    }
    return Findings(
        jobs=count,
        runs=runs,
        hours=round(hours, 2),
        saved=states["saved"],
        failed=states["failed"],
        posts=len(submits(sandbox)),
        requests=len(sandbox.requests),
        shared_posts=sum(jobs > 1 for jobs in sharing.values()),
        answers_lost=sum("drop" in record.fault for record in sandbox.requests),
        answers_500=answers[500],
        answers_503=answers[503],
        answers_429=answers[429],
        worst_window=window,
        credits_charged=charged(sandbox),
        credits_refunded=refunded,
        problems=tuple(reported for reported, holds in laws.items() if not holds),
    )


def main(arguments: Iterable[str] | None = None) -> int:
    """Soak one large batch, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(None if arguments is None else list(arguments))
    began = time.perf_counter()

    async def live() -> Findings:
        with tempfile.TemporaryDirectory() as directory:
            return await soak(options.jobs, Path(directory), rate=options.rate, seed=options.seed)

    found = virtual_time.run(live)
    for name, value in attrs.asdict(found).items():
        print(f"{name:>17}  {value}")  # noqa: T201
    print(f"{'seconds it took':>17}  {time.perf_counter() - began:.0f}")  # noqa: T201
    return bool(found.problems)


if __name__ == "__main__":
    sys.exit(main())
