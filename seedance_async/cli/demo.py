"""``seedance demo``: a batch on a built-in manifest, with no key, no network and no money.

It runs through the real client, over a real socket, against a sandbox in the same process. The totals at the
end come from the sandbox's records, not from the client's. The sandbox's clock, and with it the window of its
rate limit, runs ``SPEED`` times as fast, and the client is configured for that.

The directory is an ordinary batch directory with an additional file that marks it as the demo's. Each demo
overwrites such a directory, and ``seedance batch`` refuses to use it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import anyio
from cyclopts import Parameter

import seedance_async
from seedance_async import sandbox as emulator
from seedance_async.cli.batch_display import choose_display, write_table
from seedance_async.cli.batch_run import BatchRun
from seedance_async.cli.demo_jobs import demo_jobs
from seedance_async.cli.output import write_message
from seedance_async.cli.paths import check_writable, output_flag
from seedance_async.cli.sandbox import SPEED, sandbox_client
from seedance_async.errors import ConfigurationError
from seedance_async.exit_codes import ExitCode
from seedance_async.models import RateLimit
from seedance_async.safe_files import replacing
from seedance_async.time_format import format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seedance_async import Job
    from seedance_async.cli.batch_status import Status
    from seedance_async.sandbox import Sandbox

MARK: Final = ".seedance-demo"
"""File that marks a directory as the demo's; files are replaced only there."""

BATCH_FILES: Final = (
    "gallery.html",
    "results.jsonl",
    "journal.sqlite",
    "journal.sqlite-wal",
    "journal.sqlite-shm",
    "journal.pid",
)
MEDIA_SUFFIXES: Final = (".mp4", ".png", ".jpg")


async def demo(
    *,
    output: Annotated[
        Path, output_flag("Directory for the files; those of an earlier demo are replaced.")
    ] = (Path("demo-out")),
    jobs: Annotated[int, Parameter(name="--jobs", help="Number of clips and pictures to make.")] = 12,
) -> int:
    """Run a small batch with no key, no network and no money, and write its gallery.

    Example: seedance demo -o demo
    """
    if jobs < 1:
        raise ConfigurationError("--jobs must be at least 1")
    manifest = demo_jobs(jobs)
    check_writable(output)
    await anyio.to_thread.run_sync(_clear, output, manifest)
    batch = BatchRun(output, choose_display("seedance demo", output, line_interval=60 / SPEED))
    async with emulator.Sandbox(speed=SPEED) as sandbox:
        _introduce(sandbox, jobs)
        async with sandbox_client(sandbox) as client:
            await batch.run(client, seedance_async.BatchRunner(client, output), manifest)
    page = await batch.write_gallery()
    if batch.status is None:
        return ExitCode.FAILED
    write_table(_totals(batch.status, sandbox, _media(output, manifest), output))
    if page is not None:
        write_table({"gallery": page.resolve().as_uri()})
    return batch.status.summary.exit_code


def is_demo_directory(directory: Path) -> bool:
    """Whether a directory belongs to the demo."""
    return (directory / MARK).exists()


def _clear(directory: Path, jobs: Sequence[Job]) -> None:
    """Remove the files of an earlier demo whose names this one uses, and mark the directory.

    Raises:
        ConfigurationError: there are files with these names in a directory that is not the demo's.
    """
    found = [path for path in _paths(directory, jobs) if os.path.lexists(path)]
    if found and not is_demo_directory(directory):
        reason = "exists, and no earlier demo made it; name another directory with --output"
        raise ConfigurationError(f"{found[0]} {reason}")
    for path in found:
        path.unlink()
    directory.mkdir(parents=True, exist_ok=True)
    with replacing(directory / MARK) as file:
        file.write(b"`seedance demo` works here and replaces its own files.\n")


def _paths(directory: Path, jobs: Sequence[Job]) -> Iterator[Path]:
    """Yield every file that the demo may write."""
    yield from (directory / name for name in BATCH_FILES)
    for path in _possible_media(directory, jobs):
        yield path
        yield path.with_name(f"{path.name}.json")


def _possible_media(directory: Path, jobs: Sequence[Job]) -> Iterator[Path]:
    for job in jobs:
        for stem in (job.name, f"{job.name}-last-frame"):
            yield from (directory / f"{stem}{suffix}" for suffix in MEDIA_SUFFIXES)


def _media(directory: Path, jobs: Sequence[Job]) -> list[Path]:
    """Return the media files that exist."""
    return [path for path in _possible_media(directory, jobs) if path.is_file()]


def _introduce(sandbox: Sandbox, jobs: int) -> None:
    minute = format_seconds(60 / SPEED)
    write_message(f"{jobs} jobs for the sandbox at {sandbox.base_url}, in this process.")
    write_message(f"Its clock runs {SPEED:g} times as fast: a minute passes in {minute}.")


def _totals(status: Status, sandbox: Sandbox, media: Sequence[Path], directory: Path) -> dict[str, str]:
    """Return the totals, from the sandbox's own records."""
    jobs, saved = status.summary.total, status.count(seedance_async.State.SAVED)
    here, there = format_seconds(status.seconds), format_seconds(status.seconds * SPEED)
    charged = [entry.credits for entry in sandbox.ledger if entry.kind == "charge"]
    limit, megabytes = RateLimit(), sum(path.stat().st_size for path in media) / 1e6
    return {
        "jobs": f"{jobs}, of which {saved} saved and {jobs - saved} failed",
        "time": f"{here} here, {there} on the sandbox's clock, which is {SPEED:g} times as fast",
        "requests": f"{len(sandbox.requests)} for {jobs} jobs; the minimum is {2 * jobs}",
        "limit": (
            f"{sandbox.worst_window().arrivals} requests in the fullest {limit.period:g} s, "
            f"{limit.requests} allowed"
        ),
        "credits": f"{sum(charged)} (play money) for {len(charged)} paid tasks",
        "files": f"{len(media)} in {directory} ({megabytes:.1f} MB)",
    }
