"""The cost of a batch here: planning its jobs, the memory they take, and finding where the last run ended.

Memory is the client process's own high-water mark. It plans a whole manifest and takes the first jobs to
their saved files, against a sandbox without a limit in another process. A resume begins with a journal in
which all jobs but the last are saved; it ends when the request for that one arrives.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import anyio

from benchmarks.report import Size, Table
from seedance_async import BatchRunner, RateLimit, SeedanceClient
from seedance_async.batch.intake import take_manifest
from seedance_async.batch.journal import Journal
from seedance_async.sandbox import Conditions, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from seedance_async.batch.jobs import JobResult
    from seedance_async.batch.journal import Store

SPEED: Final = 60.0
UNLIMITED: Final = RateLimit(requests=1_000_000_000, period=60.0 / SPEED)
SAVED_JOBS: Final = 500
IN_FLIGHT: Final = 100

SERVER: Final = f"""
import anyio
from seedance_async.sandbox import Conditions, Sandbox

async def main():
    world = Conditions(requests={UNLIMITED.requests}, speed={SPEED})
    async with Sandbox(conditions=world, credits=10**9) as sandbox:
        print(sandbox.base_url, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""

CLIENT: Final = """
import sys
import anyio
from benchmarks.batch import take_some

anyio.run(take_some, *sys.argv[1:])
"""


def run(size: Size) -> list[Table]:
    """Measure all three."""
    quick = size is Size.QUICK
    return [_planning(quick=quick), _memory(quick=quick), _resuming(quick=quick)]


# --- planning


def _planning(*, quick: bool) -> Table:
    sizes = (20_000,) if quick else (20_000, 200_000)
    return Table(
        name="batch: planning",
        conditions="a JSON-lines manifest of named clips, checked and journalled whole; wall time",
        columns=("jobs", "jobs/s, first time", "jobs/s, with one line more", "seconds, unchanged"),
        rows=tuple((size, *anyio.run(_plan, size)) for size in sizes),
    )


async def _plan(size: int) -> tuple[int, int, float]:
    with TemporaryDirectory() as name:
        manifest = _manifest(Path(name), size)
        journal = await Journal.open(Path(name) / "out")
        try:
            fresh = await _seconds_to_take(journal, manifest)
            unchanged = await _seconds_to_take(journal, manifest)
            with manifest.open("a") as file:
                file.write(_line(size))
            changed = await _seconds_to_take(journal, manifest)
        finally:
            await journal.close()
    return round(size / fresh), round(size / changed), round(unchanged, 3)


async def _seconds_to_take(journal: Journal, manifest: Path) -> float:
    began = time.perf_counter()
    await take_manifest(journal, manifest)
    return time.perf_counter() - began


# --- memory


def _memory(*, quick: bool) -> Table:
    sizes = (2_000, 20_000) if quick else (10_000, 100_000, 1_000_000)
    saved = SAVED_JOBS // 10 if quick else SAVED_JOBS
    with _server() as url:
        rows = [(size, saved, *_peaks(url, size, saved)) for size in sizes]
    return Table(
        name="batch: memory",
        conditions=f"most resident memory of the process, {IN_FLIGHT} pictures in flight; imports alone take "
        f"{_imports_mb():g} MB",
        columns=("jobs", "of them saved", "MB when planned", "MB at the end"),
        rows=tuple(rows),
    )


def _peaks(url: str, size: int, saved: int) -> tuple[float, float]:
    with TemporaryDirectory() as name:
        manifest = _manifest(Path(name), size, pictures=True)
        found = _python(CLIENT, url, str(manifest), str(saved))
    planned, ended = map(float, found.split())
    return planned, ended


async def take_some(url: str, manifest: str, saved: str) -> None:
    """In the measured process: run a batch until so many jobs are saved, and print the two peaks."""
    async with (
        SeedanceClient("sk_test_sandbox", url, rate_limit=UNLIMITED) as client,
        BatchRunner(client, Path(manifest).parent / "out", max_in_flight=IN_FLIGHT) as batch,
    ):
        results = batch.run(manifest)
        await anext(results)
        planned = peak_mb()
        for _ in range(int(saved) - 1):
            await anext(results)
        await results.aclose()
    print(planned, peak_mb())


def peak_mb() -> float:
    """The most memory that this process ever had resident, in MB; Linux states it for the process alone."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return round(int(found.group(1)) / 1024, 1) if found else 0.0


def _imports_mb() -> float:
    return float(_python("from benchmarks.batch import peak_mb; print(peak_mb())"))


def _python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])  # noqa: S603 - our own code
    return done.stdout


@contextmanager
def _server() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own code
        try:
            yield (process.stdout or sys.stdin).readline().strip()
        finally:
            process.kill()


# --- resuming


def _resuming(*, quick: bool) -> Table:
    sizes = (20_000,) if quick else (20_000, 1_000_000)
    return Table(
        name="batch: resuming",
        conditions="all jobs but the last are saved, the manifest is unchanged; from opening client and "
        "directory to the arrival of the POST",
        columns=("saved jobs", "journal MB", "seconds"),
        rows=tuple((size, *anyio.run(_resume, size)) for size in sizes),
    )


async def _resume(size: int) -> tuple[int, float]:
    with TemporaryDirectory() as name:
        directory = Path(name) / "out"
        manifest = _manifest(Path(name), size + 1)
        await _finish_all_but_last(directory, manifest, size)
        arrived = anyio.Event()

        def price(_: object) -> int:
            arrived.set()
            return 30

        async with Sandbox(conditions=Conditions(requests=UNLIMITED.requests, price=price)) as sandbox:
            began = anyio.current_time()
            async with (
                SeedanceClient(sandbox.api_key, sandbox.base_url, rate_limit=UNLIMITED) as client,
                BatchRunner(client, directory) as batch,
                anyio.create_task_group() as listeners,
            ):
                listeners.start_soon(_listen, batch.run(manifest))
                await arrived.wait()
                took = anyio.current_time() - began
                listeners.cancel_scope.cancel()
        return _megabytes(directory / "journal.sqlite"), round(took, 2)


def _megabytes(file: Path) -> int:
    return round(file.stat().st_size / 1e6)


async def _listen(results: AsyncGenerator[JobResult]) -> None:
    async for _ in results:
        pass


async def _finish_all_but_last(directory: Path, manifest: Path, size: int) -> None:
    """A journal as a batch leaves it that was stopped before its last job."""
    journal = await Journal.open(directory)
    try:
        await take_manifest(journal, manifest)
        await journal.do(_save_first, journal.store, size)
        (directory / "boat.mp4").touch()
    finally:
        await journal.close()


SAVED: Final = """
INSERT INTO posts (id, key, path, body, intended_at, generation, state)
    SELECT number, printf('00000000-0000-5000-8000-%012x', number), path, body, 1.0, 1, 'accepted'
    FROM jobs WHERE number <= :size;
INSERT INTO tasks SELECT printf('sd2_%016d', id), id FROM posts;
UPDATE jobs SET state = 'saved', post = number, place = 0, accepted_at = 2.0, ended_at = 3.0,
    task_ids = json_array(printf('sd2_%016d', number)),
    tasks = json_array(json_object('id', printf('sd2_%016d', number), 'status', 'completed',
        'model', 'seedance2', 'credits_used', 30)),
    credits_used = 30, files = json_array('boat.mp4') WHERE number <= :size;
"""


def _save_first(store: Store, size: int) -> None:
    """All files of the jobs are one, which is there; what is measured is the journal."""

    def write() -> None:
        for statement in SAVED.replace(":size", str(size)).split(";")[:-1]:
            store.file.connection.execute(statement)

    store.file.transaction(write)


# --- manifests


def _manifest(directory: Path, size: int, *, pictures: bool = False) -> Path:
    manifest = directory / "jobs.jsonl"
    with manifest.open("w") as file:
        file.writelines(_line(number, pictures=pictures) for number in range(size))
    return manifest


def _line(number: int, *, pictures: bool = False) -> str:
    found = {
        "name": f"boat-{number}",
        "model": "nano-banana-pro" if pictures else "seedance2",
        "prompt": f"A paper boat crosses pond number {number} under a stone bridge, in the first rain",
    }
    return json.dumps(found) + "\n"
