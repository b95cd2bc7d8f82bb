"""``seedance demo``: the main job of this package with no key, no network and no money.

A small production runs through the real client, over a real socket, against the sandbox in this very
process. The account of it at the end is the sandbox's, who saw the other end of the wire, not the client's.
The sandbox's clock runs ``SPEED`` times as fast, its limit's window too, and the client is told so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import anyio
from cyclopts import Parameter

import seedance_async
from seedance_async import sandbox as emulator
from seedance_async.batch import gallery
from seedance_async.cli.demo_jobs import demo_jobs
from seedance_async.cli.demo_stage import Stage
from seedance_async.cli.exits import code_of_all
from seedance_async.cli.places import check
from seedance_async.cli.places import directory as directory_of
from seedance_async.cli.progress import clock
from seedance_async.cli.sandbox import PERIOD, REQUESTS
from seedance_async.cli.streams import data
from seedance_async.cli.tasks import report
from seedance_async.errors import ConfigurationError, SeedanceError
from seedance_async.models import RateLimit
from seedance_async.plain_files import replacing
from seedance_async.scheduling.forecast import Forecast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seedance_async import Completion, SeedanceClient
    from seedance_async.cli.demo_jobs import DemoJob
    from seedance_async.sandbox import Sandbox

SPEED: Final = 20.0
"""A clip of three minutes is ready after nine seconds: long enough to watch, short enough to wait for."""

PAGE: Final = "gallery.html"
MARK: Final = ".seedance-demo"
"""Lies in a directory where a demo has played; only there are files replaced."""

MEDIA_SUFFIXES: Final = (".mp4", ".png", ".jpg")


async def demo(
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"), converter=directory_of)] = Path("demo-out"),
    jobs: Annotated[int, Parameter(name="--jobs")] = 12,
) -> int:
    """Make a small production with no key, no network and no money, and a gallery of it.

    Args:
        output: Directory for the files. Those of an earlier demo are replaced.
        jobs: How many clips and pictures to make.
    """
    if jobs < 1:
        raise ConfigurationError("--jobs must be at least 1")
    production = _Production(demo_jobs(jobs), output)
    check(output)
    await anyio.to_thread.run_sync(production.clear)
    async with emulator.Sandbox(speed=SPEED) as sandbox:
        limit = RateLimit(requests=REQUESTS, period=PERIOD / SPEED)
        async with seedance_async.SeedanceClient(
            sandbox.api_key, sandbox.base_url, rate_limit=limit, forecasts=Forecast(scale=1 / SPEED)
        ) as client:
            began_at = anyio.current_time()
            with Stage(production.jobs, sandbox, speed=SPEED) as stage:
                await production.run(client, stage)
            took = anyio.current_time() - began_at
    page = production.write_gallery()
    _tell(production, sandbox, took=took, page=page)
    return code_of_all(production.errors)


class _Production:
    """The jobs, and what became of them."""

    def __init__(self, jobs: Sequence[DemoJob], directory: Path) -> None:
        self.jobs = jobs
        self.directory = directory
        self.files: dict[int, list[Path]] = {}
        self.endings: dict[int, Completion] = {}
        self.errors: list[SeedanceError] = []

    def clear(self) -> None:
        """Remove what an earlier demo left under the names that this one uses, and mark the directory.

        Raises:
            ConfigurationError: such files are there, and no demo has marked the directory: they are not ours.
        """
        mark = self.directory / MARK
        found = [path for path in self._paths() if os.path.lexists(path)]
        if found and not mark.exists():
            told = "is there, and no earlier demo made it; name another directory with --output"
            raise ConfigurationError(f"{found[0]} {told}")
        for path in found:
            path.unlink()
        self.directory.mkdir(parents=True, exist_ok=True)
        with replacing(mark) as file:
            file.write(b"`seedance demo` works here and replaces its own files.\n")

    def _paths(self) -> Iterator[Path]:
        """Every file that may be made."""
        yield self.directory / PAGE
        for job in self.jobs:
            for name in (job.name, f"{job.name}-last-frame"):
                yield from (self.directory / f"{name}{suffix}" for suffix in MEDIA_SUFFIXES)

    async def run(self, client: SeedanceClient, stage: Stage) -> None:
        """Have everything made, and save each result while the others are still in the making."""
        async with anyio.create_task_group() as saving:
            async for ending in client.as_completed(job.request for job in self.jobs):
                self.endings[ending.index] = ending
                saving.start_soon(self._save, client, stage, ending)

    async def _save(self, client: SeedanceClient, stage: Stage, ending: Completion) -> None:
        job = self.jobs[ending.index]
        try:
            if ending.error is not None:
                raise ending.error
            (task,) = ending.tasks
            self.files[ending.index] = await client.download(
                task, self.directory, name=job.name, prompt=job.request.prompt
            )
        except SeedanceError as error:
            self.errors.append(error)
            stage.failed(job)
        else:
            stage.saved(job, task, self.files[ending.index])

    def write_gallery(self) -> Path:
        """Write the page that shows everything, and return where it is."""
        page = self.directory / PAGE
        page.parent.mkdir(parents=True, exist_ok=True)
        exhibits = [self._exhibit(index) for index in range(len(self.jobs))]
        with replacing(page) as file:
            file.write(gallery.render(exhibits, title="seedance demo").encode())
        return page

    def _exhibit(self, index: int) -> gallery.Exhibit:
        job, ending = self.jobs[index], self.endings[index]
        task = ending.tasks[0] if ending.tasks else None
        return gallery.Exhibit(
            name=job.name,
            model=job.request.model,
            prompt=job.request.prompt,
            files=tuple(path.name for path in self.files.get(index, ())),
            shape=job.shape,
            credits=task.credits_used if task else None,
            seconds=task.duration * SPEED if task and task.duration else None,
            error=None if ending.error is None else ending.error.message,
        )


def _tell(production: _Production, sandbox: Sandbox, *, took: float, page: Path) -> None:
    """Write what was done, by the sandbox's own records."""
    jobs, saved = len(production.jobs), len(production.files)
    files = [path for paths in production.files.values() for path in paths]
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    charged = [entry for entry in sandbox.ledger if entry.kind == "charge"]
    told = {
        "jobs": f"{jobs}, of which {saved} saved and {jobs - saved} failed",
        "time": f"{clock(took)} here, {clock(took * SPEED)} on the account's clock, {SPEED:g} times as fast",
        "requests": f"{len(sandbox.requests)} for {jobs} jobs; {2 * jobs} is the least that can do it",
        "limit": f"{sandbox.worst_window().arrivals} requests in the fullest 60 s, {REQUESTS} allowed",
        "credits": f"{sum(entry.credits for entry in charged)} of play money for {len(charged)} paid tasks",
        "files": f"{len(files)} in {production.directory} ({megabytes:.1f} MB)",
        "gallery": page.resolve().as_uri(),
    }
    report(production.errors)
    for subject, line in told.items():
        data(f"{subject:<9} {line}")
