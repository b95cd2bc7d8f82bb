"""Random fault schedules: runs of twenty jobs with random faults, under every reading of the documents.

A schedule is drawn from its number: which faults apply, how the vendor's open questions are answered, how
the server counts, how long things take. The properties are checked on what the sandbox saw:

* no job is paid twice, as long as the server honours its keys;
* none is lost silently: what is paid was delivered, or reported with its task's id, or reported as uncertain
  under its key, and a batch that is run again without faults, a few times at most, collects it;
* the run ends, every job is reported once, and only errors of the documented tree come out;
* both ledgers agree, and nothing is left over: no task, no thread, no descriptor.

The test suite runs a sample. Many more, on one core: ``python -m tests.faults.soak --schedules 10000``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import struct
import sys
import tempfile
import threading
from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
from attrs import field, frozen

from seedance_async import (
    BatchRunner,
    GptImage2,
    InsufficientCreditsError,
    InvalidRequestError,
    Job,
    NanoBananaPro,
    NotFoundError,
    RateLimit,
    RateLimitedError,
    RetryPolicy,
    Seedance2Video,
    SeedanceClient,
    SeedanceError,
    Timeouts,
    UnauthorizedError,
    UncertainSubmissionError,
)
from seedance_async.batch.states import ENDED, State
from seedance_async.sandbox import Behaviour, Conditions, Fault, Sandbox, media_server, virtual_time
from seedance_async.sandbox.faults import NAMED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from seedance_async.models import Request
    from seedance_async.sandbox.outputs import Clip, Picture
    from seedance_async.sandbox.tasks import Task

JOBS: Final = 20
RUNS_TO_THE_END: Final = 3
"""So often a batch is run again: the files of a job may take their URLs' whole life to arrive."""

TEN_DAYS: Final = 10 * 86400.0
REFUSALS: Final = (
    InsufficientCreditsError, InvalidRequestError, NotFoundError, RateLimitedError, UnauthorizedError
)  # fmt: skip
"""What says that nothing was charged."""

_NOBODY: Final = SeedanceError()
DEFINITIVE: Final = (400, 401, 402, 404, 429)
"""Refusals that say "not charged". A server that charges and says so lies, and no client can know."""


@frozen(kw_only=True)
class Schedule:
    """One run to be made."""

    number: int
    behaviour: Behaviour
    conditions: Conditions
    faults: tuple[Fault, ...]
    credits: int
    retry: RetryPolicy
    by_batch: bool

    @classmethod
    def drawn(cls, number: int) -> Schedule:
        """The schedule of this number, always the same."""
        rng = random.Random(f"soak {number}")
        span = rng.choice([(5.0, 60.0), (90.0, 300.0), (1.0, 2000.0)])
        return cls(
            number=number,
            behaviour=_behaviour(rng),
            conditions=Conditions(
                seed=number,
                duration=lambda _order, chance: chance.uniform(*span),
                failure_rate=rng.choice([0.0, 0.0, 0.1, 0.5]),
                latency=rng.choice([(0.0, 0.0), (0.01, 0.2), (0.5, 5.0)]),
            ),
            faults=tuple(_fault(rng) for _ in range(rng.randint(1, 8))),
            credits=rng.choice([100_000, 100_000, 200]),
            retry=rng.choice([RetryPolicy(), RetryPolicy(max_elapsed=60.0, conflict_wait=60.0)]),
            by_batch=number % 2 == 1,
        )

    @property
    def lies(self) -> bool:
        """Whether replies may contain wrong figures or ids."""
        return any(fault.effect == "edit" for fault in self.faults)

    @property
    def copies(self) -> bool:
        """Whether a POST may arrive twice. A refusal of the copy hides the first, and no client can know."""
        return any(fault.effect == "duplicate" for fault in self.faults)

    @property
    def closes_keys(self) -> bool:
        """Whether a key may be answered with the same refusal for ever, or for longer than a run asks."""
        open_points = self.behaviour
        for_ever = open_points.repeated_key == "reject" or open_points.stored != {"2xx"}
        return for_ever or open_points.still_running == "task"

    @property
    def urls_expire_unused(self) -> bool:
        """Whether a URL may be over before its file can be asked for."""
        return self.behaviour.url_life < 2 * self.conditions.latency[1]


@frozen(kw_only=True)
class Told:
    """What the caller knows of one job in the end."""

    prompt: str
    error: SeedanceError | None
    ids: frozenset[str] = frozenset()
    key: str | None = None
    state: State | None = None

    def names(self, task: Task) -> bool:
        """Whether the caller can find this task by what was said."""
        if task.id in self.ids:
            return True
        accepted = bool(self.ids)  # under a key, with ids that are not its own
        uncertain = isinstance(self.error, UncertainSubmissionError)
        on_record = self.state in {State.SUBMITTING, State.UNCERTAIN}
        return self.key == task.idempotency_key and (accepted or uncertain or on_record)


@frozen
class Violations:
    """The properties that did not hold in a run."""

    messages: list[str] = field(factory=list)

    def on_loop_error(self, _: object, context: dict[str, Any]) -> None:
        """Handle an error of the loop, of which there must be none."""
        self.messages.append(f"the loop reports {context.get('message')}: {context.get('exception')!r}")

    def check(self, holds: bool, message: str) -> None:
        """Record the message if a property does not hold."""
        if not holds:
            self.messages.append(message)


def run(schedule: Schedule) -> list[str]:
    """Run a schedule and return its violations."""
    random.seed(schedule.number)  # the client's jitter
    violations = Violations()
    before, threads = _held(), set(threading.enumerate())
    with tempfile.TemporaryDirectory() as directory:
        try:
            virtual_time.run(_live, schedule, violations, Path(directory))
        except BaseException as crash:
            violations.messages.append(f"crashed: {crash!r}")
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=5.0)  # a thread that is ending may be late on a busy machine
    after = _held()
    more = any(now > then for now, then in zip(after, before, strict=True))
    violations.check(not more, f"threads and descriptors: {before} before, {after} after")
    return violations.messages


async def _live(schedule: Schedule, violations: Violations, directory: Path) -> None:
    asyncio.get_running_loop().set_exception_handler(violations.on_loop_error)
    with anyio.fail_after(TEN_DAYS):
        async with Sandbox(
            behaviour=schedule.behaviour,
            conditions=schedule.conditions,
            faults=schedule.faults,
            credits=schedule.credits,
        ) as sandbox:
            make = _batch if schedule.by_batch else _stream
            async with _client(schedule, sandbox) as client:
                reported, booked = await make(client, directory)
            _check_jobs(schedule, sandbox, reported, violations)
            _check_credits(schedule, sandbox, reported, booked, violations)
            if schedule.by_batch:
                sandbox.faults.clear()
                sandbox.top_up(100_000)
                for _ in range(RUNS_TO_THE_END):
                    async with _client(schedule, sandbox) as client:
                        reported, booked = await _batch(client, directory)
                    _check_jobs(schedule, sandbox, reported, violations)
                    _check_credits(schedule, sandbox, reported, booked, violations)
                    if all(each.state in ENDED for each in reported):
                        break
                _check_end(schedule, sandbox, reported, violations)
    await anyio.sleep(1.0)
    # The sandbox's own handlers may still sleep for a caller who has left: a server does not notice.
    ours = {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task.get_coro())}
    left = ours - {asyncio.current_task()}
    violations.check(not left, f"left running: {left}")


@asynccontextmanager
async def _client(schedule: Schedule, sandbox: Sandbox) -> AsyncGenerator[SeedanceClient]:
    async with SeedanceClient(
        sandbox.api_key,
        sandbox.base_url,
        rate_limit=RateLimit(),
        retry=schedule.retry,
        timeouts=Timeouts(wait=3000.0),
    ) as client:
        client.running_engine().downloads._max_bytes = 2**20  # the endless ones end sooner
        yield client


async def _stream(client: SeedanceClient, _: Path) -> tuple[list[Told], float]:
    results = [result async for result in client.as_completed(requests())]
    reported = [
        Told(
            prompt=result.request.prompt,
            error=result.error,
            ids=frozenset(result.submission.task_ids if result.submission else ()),
            key=(result.submission or result.error or _NOBODY).idempotency_key,
        )
        for result in results
    ]
    return reported, client.usage.credits_used


async def _batch(client: SeedanceClient, directory: Path) -> tuple[list[Told], float]:
    jobs = [Job(request, name=f"job {number}") for number, request in enumerate(requests())]
    prompts = {job.name: job.request.prompt for job in jobs}
    async with BatchRunner(client, directory) as batch:
        results = [result async for result in batch.run(jobs)]
        # What is on record is not lost: the next run sends the same bytes under that key.
        store = batch.journal.store
        entries = {job.name: await batch.journal.do(store.entry, n) for n, job in enumerate(jobs, start=1)}
    reported = [
        Told(
            prompt=prompts[result.name],
            error=result.error,
            ids=frozenset(result.task_ids),
            key=entries[result.name].key,
            state=entries[result.name].state,
        )
        for result in results
    ]
    return reported, batch.summary.credits_used


def requests() -> list[Request]:
    """Twenty jobs of all three models, told apart by their prompts."""
    return [
        (Seedance2Video, GptImage2, NanoBananaPro)[number % 3](prompt=f"A boat on pond {number}")
        for number in range(JOBS)
    ]


def _check_jobs(
    schedule: Schedule, sandbox: Sandbox, reported: Sequence[Told], violations: Violations
) -> None:
    prompts = sorted(each.prompt for each in reported)
    violations.check(sorted(request.prompt for request in requests()) == prompts, f"reported {prompts}")
    paid = _paid(sandbox)
    for each in reported:
        tasks = paid[each.prompt]
        found = all(map(each.names, tasks)) or (schedule.copies and isinstance(each.error, REFUSALS))
        violations.check(len(tasks) <= 1, f"{each.prompt} is paid {len(tasks)} times")
        violations.check(found, f"{each.prompt} is paid and lost: {each}")
        violations.check(bool(tasks) or each.error is not None, f"{each.prompt} is done and was never paid")
        violations.check(
            each.error is None or isinstance(each.error, SeedanceError), f"{each.error!r} is not of the tree"
        )


def _check_credits(
    schedule: Schedule, sandbox: Sandbox, reported: Sequence[Told], booked: float, violations: Violations
) -> None:
    """Check that exactly the credits of the tasks that the caller knows are booked."""
    known = {task_id for each in reported for task_id in each.ids}
    charged = sum(task.credits for task in sandbox.tasks.values() if task.id in known)
    violations.check(schedule.lies or booked == charged, f"{booked} booked, {charged} charged")


def _check_end(
    schedule: Schedule, sandbox: Sandbox, reported: Sequence[Told], violations: Violations
) -> None:
    """Check that a batch run again without faults collects what was paid, where its key allows it."""
    if schedule.lies:
        return
    paid = _paid(sandbox)
    for each in reported:
        for task in paid[each.prompt]:
            ends = {"completed": State.SAVED, "failed": State.FAILED}[task.outcome]
            closed = each.state is State.UNCERTAIN and schedule.closes_keys
            expired = each.state is State.COMPLETED and schedule.urls_expire_unused
            violations.check(
                each.state is ends or closed or expired, f"{each.prompt} is paid and not collected: {each}"
            )


def _paid(sandbox: Sandbox) -> defaultdict[str, list[Task]]:
    """The tasks that were charged, by their prompt."""
    paid = defaultdict(list)
    for task in sandbox.tasks.values():
        paid[task.request.prompt].append(task)
    return paid


def _behaviour(rng: random.Random) -> Behaviour:
    checks = ("auth", "limit", "validation", "balance")
    return Behaviour(
        repeated_key=rng.choice(["replay", "replay", "reject"]),
        still_running=rng.choice(["request", "task"]),
        stored=frozenset({"2xx", *rng.sample(["4xx", "5xx"], rng.randint(0, 2))}),  # type: ignore[arg-type]  # of these words
        same_body=rng.choice(["bytes", "values", "ignored"]),
        key_scope=rng.choice(["endpoint", "account", "key"]),
        gets_count=rng.random() < 0.8,
        key_life=2 * TEN_DAYS,  # the wall clock, by which a batch doubts old keys, stands still meanwhile
        before_key=frozenset(rng.sample(checks, rng.randint(0, 4))),  # type: ignore[arg-type]  # of these words
        window=rng.choice(
            ["fixed", "sliding-log", "sliding-counter", "sliding-counter-strict", "token-bucket"]
        ),
        window_phase=rng.uniform(0.0, 60.0),
        retry_after=rng.choice(["up", "down", "exact"]),
        refused_count=rng.random() < 0.3,
        url_life=rng.choice([86400.0, 30.0, 0.5]),
    )


def _fault(rng: random.Random) -> Fault:
    document = NAMED[rng.choice(sorted(NAMED))].document()
    document |= {
        "on": rng.choice(["submit", "submit", "task", "task", "media", "any"]),
        "moment": rng.choice(["before", "after"]),
        "nth": rng.choice([1, 1, 2, 5, 13]),
        "count": rng.choice([1, 2, 5, 20, None]),
        "probability": rng.choice([1.0, 1.0, 0.5, 0.1]),
        "lasts": rng.choice([1e9, 1e9, 300.0]),
        "seconds": rng.choice([0.01, 1.0, 30.0, 100.0]),
    }
    if document["effect"] == "status" and rng.random() < 0.7:
        document |= {
            "status": rng.choice([400, 401, 402, 404, 408, 409, 418, 422, 429, 500, 502, 503, 504, 520]),
            "headers": rng.choice(
                [{}, {"Retry-After": "7"}, {"Retry-After": "-1"}, {"Retry-After": "99999999"}]
            ),
            "body": rng.choice(["", "", "", "[]", '{"detail":"no"}', "<html>"]),
        }
    if document["status"] in DEFINITIVE:
        document["moment"] = "before"
    return Fault.read(document)


def _held() -> tuple[int, int]:
    """How many threads and descriptors there are, when nothing is left to be collected."""
    gc.collect()
    descriptors = Path("/proc/self/fd")
    return threading.active_count(), len(list(descriptors.iterdir())) if descriptors.exists() else 0


def without_drawing(put: Callable[[object, str, object], None] = setattr) -> None:
    """Let the sandbox serve bytes that begin like media; drawing real media takes the most time."""
    put(media_server, "_make", _sketch)


def _sketch(content: Clip | Picture) -> bytes:
    text = content.prompt.encode() * 200
    match content.content_type:
        case "video/mp4":
            boxes = {b"ftyp": b"isom\0\0\2\0", b"mdat": text}
            return b"".join(struct.pack(">I4s", 8 + len(boxes[kind]), kind) + boxes[kind] for kind in boxes)
        case "image/png":
            return b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IHDR" + bytes(8) + b"IEND" + bytes(4) + text
        case _:
            return b"\xff\xd8\xff\xd9" + text


def main(arguments: Iterable[str] | None = None) -> int:
    """Run many schedules, and print the numbers of those with violations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0)
    options = parser.parse_args(None if arguments is None else list(arguments))
    without_drawing()
    gc.freeze()  # what is loaded by now is never garbage, and is not scanned twice a schedule
    logging.disable()  # thousands of outages are logged; only violations are of interest here
    broken = 0
    for done, number in enumerate(range(options.start, options.start + options.schedules)):
        if done and done % 500 == 0:
            print(f"{done} done, {broken} broken", flush=True)  # noqa: T201
        problems = run(Schedule.drawn(number))
        broken += bool(problems)
        for problem in problems:
            print(f"schedule {number}: {problem}", flush=True)  # noqa: T201
    print(f"{options.schedules} schedules, {broken} broken")  # noqa: T201
    return os.EX_OK if not broken else 1


if __name__ == "__main__":
    sys.exit(main())
