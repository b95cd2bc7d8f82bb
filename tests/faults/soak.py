"""Random schedules of what goes wrong: runs of twenty jobs, judged by what the sandbox saw.

What a schedule may hold is drawn in ``tests.faults.schedules``. The properties:

* no job is paid twice, as long as the server honours its keys;
* none is lost silently: what is paid was delivered, or reported with its task's id, or reported as uncertain
  under its key, and a batch that is run again without faults, a few times at most, collects it;
* no cap is passed, but for one POST whose price nobody could know, and after it nothing is charged;
* no window of a run has more requests than the limit allows;
* no file that was cut is among the saved ones, and the key is in no file and no message;
* a directory that was moved, replaced or removed, and a journal without its log, end the run with a message,
  and once the user has done what it says the batch goes on;
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
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
from attrs import define, field, frozen

from seedance_async import (
    BatchRunner,
    JobResult,
    JournalError,
    ManifestError,
    RateLimit,
    SeedanceClient,
    SeedanceError,
    Timeouts,
    clocks,
)
from seedance_async.batch.states import ENDED
from seedance_async.sandbox import Sandbox, virtual_time
from tests.faults import judge
from tests.faults.judge import Reported, Violations
from tests.faults.proxy import proxy
from tests.faults.schedules import KEY, TEN_DAYS, Liar, Life, Schedule, Stated, understated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from anyio.abc import TaskGroup


EPOCH: Final = 1.8e9
"""The wall clock when a schedule begins."""

RUNS_TO_THE_END: Final = 3
"""So often a batch is run again: the files of a job may take their URLs' whole life to arrive."""

MOST_JOBS: Final = 1000
_NOBODY: Final = SeedanceError()


def run(schedule: Schedule) -> list[str]:
    """Run a schedule and return its violations."""
    random.seed(schedule.number)  # the client's jitter
    violations = Violations()
    before, threads, wall_now = _held(), set(threading.enumerate()), clocks.wall_now
    with tempfile.TemporaryDirectory() as directory:
        try:
            virtual_time.run(_live, schedule, violations, Path(directory))
        except BaseException as crash:
            violations.messages.append(f"crashed: {crash!r}")
        finally:
            clocks.wall_now = wall_now
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=5.0)  # a thread that is ending may be late on a busy machine
    after = _held()
    more = any(now > then for now, then in zip(after, before, strict=True))
    violations.check(not more, f"threads and descriptors: {before} before, {after} after")
    return violations.messages


async def _live(schedule: Schedule, violations: Violations, directory: Path) -> None:
    asyncio.get_running_loop().set_exception_handler(violations.on_loop_error)
    with anyio.fail_after(TEN_DAYS):
        async with AsyncExitStack() as running:
            sandbox = await running.enter_async_context(
                Sandbox(
                    api_key=KEY,
                    behaviour=schedule.behaviour,
                    conditions=schedule.conditions,
                    faults=schedule.faults,
                    credits=schedule.credits,
                )
            )
            url, liar = sandbox.base_url, Liar(random.Random(schedule.number), schedule.lies or 0)
            if schedule.stated is not None:
                url = await running.enter_async_context(proxy(url, _understating(schedule.stated)))
            if schedule.lies is not None:
                url = await running.enter_async_context(proxy(url, liar))
            if schedule.by_batch:
                await Story(schedule, sandbox, violations, liar, url, directory / "batch").run()
            else:
                async with _client(schedule, url) as client:
                    reported, booked = await _stream(schedule, client)
                judge.check_jobs(schedule, sandbox, reported, violations)
                judge.check_credits(schedule, sandbox, reported, booked, violations)
                judge.check_window(schedule, sandbox.requests, violations)
    await anyio.sleep(1.0)
    # The sandbox's own handlers may still sleep for a caller who has left: a server does not notice.
    ours = {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task.get_coro())}
    left = ours - {asyncio.current_task()}
    violations.check(not left, f"left running: {left}")


def _understating(stated: Stated) -> Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]:
    return lambda _, answer: understated(answer, stated)


@asynccontextmanager
async def _client(schedule: Schedule, url: str) -> AsyncGenerator[SeedanceClient]:
    async with SeedanceClient(
        KEY, url, rate_limit=RateLimit(), retry=schedule.retry, timeouts=Timeouts(wait=3000.0)
    ) as client:
        client.running_engine().downloads._max_bytes = 2**20  # the endless ones end sooner
        yield client


async def _stream(schedule: Schedule, client: SeedanceClient) -> tuple[list[Reported], float]:
    completions = client.as_completed(schedule.requests(), share_posts=schedule.takes > 1)
    results = [result async for result in completions]
    reported = [
        Reported(
            prompt=result.request.prompt,
            error=result.error,
            ids=frozenset(result.submission.task_ids if result.submission else ()),
            key=(result.submission or result.error or _NOBODY).idempotency_key,
        )
        for result in results
    ]
    return reported, client.usage.credits_used


@frozen(kw_only=True)
class Ending:
    """How a life ended.

    Attributes:
        results: that it yielded.
        reported: what is known of every job of the batch; None unless the life came to its end.
        booked: credits.
        refused: why it was not allowed to go on.
    """

    results: Sequence[JobResult] = ()
    reported: Sequence[Reported] | None = None
    booked: float = 0.0
    refused: JournalError | None = None


@define
class Story:
    """The lives of one batch, in this order.

    Attributes:
        place: where the batch is now.
        backup: what the batch was at the end of a life before.
    """

    schedule: Schedule
    sandbox: Sandbox
    violations: Violations
    liar: Liar
    url: str
    place: Path
    backup: Path | None = None
    removed: bool = False
    _copies: int = field(default=0, init=False)

    async def run(self) -> None:
        """All lives, and as many more as it takes to collect what is paid."""
        for life in self.schedule.lives:
            await self._one(life)
            if self.removed:
                return
            await self._afterwards(life)
        self.sandbox.faults.clear()
        self.liar.left = 0
        self.sandbox.top_up(100_000)
        ending = Ending()
        for _ in range(RUNS_TO_THE_END):
            ending = await self._one(Life())
            if all(each.state in ENDED for each in ending.reported or ()):
                break
        judge.check_end(self.schedule, self.sandbox, ending.reported or (), self.violations)

    async def _one(self, life: Life) -> Ending:
        """One life, and what has to hold after it."""
        requests, movements, before = len(self.sandbox.requests), len(self.sandbox.ledger), self.place
        loop = asyncio.get_running_loop()
        clocks.wall_now = lambda: EPOCH + loop.time() + life.clock
        ending = Ending()
        async with anyio.create_task_group() as troubles:
            ending = await self._batch(life, troubles)
            troubles.cancel_scope.cancel()
        attacked = self.removed or self.place != before
        allowed = ending.refused is None or attacked or self._is_about_lost_tasks(ending.refused)
        self.violations.check(allowed, f"refused: {ending.refused}")
        judge.check_window(self.schedule, self.sandbox.requests[requests:], self.violations)
        judge.check_cap(self.schedule, life, self.sandbox.ledger, movements, self.violations)
        judge.check_paid_once(self.schedule, self.sandbox, self.violations)
        if not self.removed:
            judge.check_files(self.place, ending.results, self.violations)
            judge.check_secrecy(self.place, ending.results, self.violations)
        if ending.reported is not None:
            self._check_reported(life, ending.results, ending.reported, ending.booked)
        return ending

    def _is_about_lost_tasks(self, refused: JournalError) -> bool:
        """A sandbox that knows none of the tasks on record looks like one that was started anew.

        It answers 404 to the polls that ask for them, or gave other ids than those of its tasks.
        """
        given = self.schedule.faults  # their ids stay on record when they strike no more
        lost = any(fault.status == 404 and fault.on in {"task", "any"} for fault in given)
        lost |= any("id" in fault.fields and fault.on in {"submit", "any"} for fault in given)
        return lost and "does not know the tasks" in str(refused)

    def _check_reported(
        self, life: Life, results: Sequence[JobResult], reported: Sequence[Reported], booked: float
    ) -> None:
        judge.check_jobs(self.schedule, self.sandbox, reported, self.violations)
        judge.check_credits(self.schedule, self.sandbox, reported, booked, self.violations)
        names = [result.name for result in results]
        collected = {name for name in names if "-before-edit" in name}  # no job of this life, but paid
        asked = set(_names(self.schedule, life))
        once = len(names) == len(set(names)) and (life.fed_back or set(names) - collected == asked)
        self.violations.check(once, f"told {sorted(names)} of {sorted(asked)}")

    async def _batch(self, life: Life, troubles: TaskGroup | None = None) -> Ending:
        jobs = self.schedule.jobs(life.edited)
        source = self.place / "results.jsonl" if life.fed_back else jobs
        if isinstance(source, Path) and not source.exists():
            source = jobs
        try:
            async with _client(self.schedule, self.url) as client:
                if troubles is not None and life.end != "itself":
                    troubles.start_soon(self._end, life, client, troubles.cancel_scope)
                async with BatchRunner(client, self.place, max_credits=life.cap) as batch:
                    if troubles is not None and life.attack != "none":
                        troubles.start_soon(self._attack, life)
                    results = [result async for result in batch.run(source)]
                    entries = await batch.journal.do(batch.journal.store.entries, after=0, limit=MOST_JOBS)
                errors = {result.name: result.error for result in results}
                reported = [judge.reported(entry, errors.get(entry.name)) for entry in entries]
                return Ending(results=results, reported=reported, booked=batch.summary.credits_used)
        except JournalError as problem:
            return Ending(refused=problem)
        except ManifestError as problem:
            self.violations.check(life.fed_back, f"refused: {problem}")
            return Ending()

    async def _end(self, life: Life, client: SeedanceClient, scope: anyio.CancelScope) -> None:
        """Cancel the run, or leave of it what is left of a process that is killed."""
        await life.ends_at.wait()
        if life.end == "killed":
            await _quiet()
            self.place = self._copy()
            session = client.running_engine().transport.session
            assert session.connector is not None
            session.connector._close()  # at once: nothing more leaves
        scope.cancel()

    async def _attack(self, life: Life) -> None:
        await life.attacked_at.wait()
        if not self.place.exists():
            return
        await _quiet()
        if life.attack == "removed":
            self.removed = True
            shutil.rmtree(self.place)
            return
        self._copies += 1
        moved = self.place.with_name(f"moved {self._copies}")
        before, self.place = self.place, self.place.rename(moved)
        if life.attack == "replaced":
            before.mkdir()

    async def _afterwards(self, life: Life) -> None:
        """What becomes of the directory between two lives."""
        await anyio.sleep(life.pause)
        if self.backup is not None:
            self.place, self.backup = self.backup, None
        if life.restored and self.place.exists():
            self.backup = self._copy()
        if life.log_lost:
            await self._lose_the_log()

    async def _lose_the_log(self) -> None:
        """Run the batch without its log. Where that is refused, the user puts the log back."""
        log = self.place / "journal.sqlite-wal"
        if not log.exists() or not log.stat().st_size:
            return
        whole = self._copy()
        log.unlink()
        known = dict(judge.paid_by_prompt(self.sandbox))
        refused = (await self._batch(Life(cap=0.0))).refused
        asks_for_it = refused is not None and "Put the file back" in str(refused)
        self.violations.check(not known or asks_for_it, f"without its log: {refused}")
        if refused is not None:
            self.place = whole

    def _copy(self) -> Path:
        self._copies += 1
        target = self.place.with_name(f"copy {self._copies}")
        if self.place.exists():
            shutil.copytree(self.place, target)
        return target


def _names(schedule: Schedule, life: Life) -> Iterable[str]:
    for job in schedule.jobs(life.edited):
        for take in range(1, job.repeat + 1):
            yield str(job.name) if take == 1 else f"{job.name}-{take}"


async def _quiet() -> None:
    """Wait until no thread is at work, so that the files are those of one instant."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, virtual_time.VirtualLoop)
    while loop.threads_at_work():  # noqa: ASYNC110 - no event tells when the last thread has finished
        await anyio.sleep(1e-6)  # the clock stands still until then


def _held() -> tuple[int, int]:
    """How many threads and descriptors there are, when nothing is left to be collected."""
    gc.collect()
    descriptors = Path("/proc/self/fd")
    return threading.active_count(), len(list(descriptors.iterdir())) if descriptors.exists() else 0


def main(arguments: Iterable[str] | None = None) -> int:
    """Run many schedules, and print the numbers of those with violations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0)
    options = parser.parse_args(None if arguments is None else list(arguments))
    judge.without_drawing()
    gc.freeze()  # what is loaded by now is never garbage, and is not scanned twice a schedule
    logging.disable()  # thousands of outages are logged; only violations are of interest here
    broken = 0
    for done, number in enumerate(range(options.start, options.start + options.schedules)):
        if done and done % 100 == 0:
            print(f"{done} done, {broken} broken", flush=True)  # noqa: T201
        problems = run(Schedule.drawn(number))
        broken += bool(problems)
        for problem in problems:
            print(f"schedule {number}: {problem}", flush=True)  # noqa: T201
    print(f"{options.schedules} schedules, {broken} broken")  # noqa: T201
    return os.EX_OK if not broken else 1


if __name__ == "__main__":
    sys.exit(main())
