"""``seedance batch --engine``: the command that enqueues a manifest for a distributed engine and follows it.

Nothing is sent from here, and no key is needed. The directory gets ``results.jsonl`` and the gallery; the
media files are where the workers save them, which should be the same directory on shared storage.
"""

from __future__ import annotations

import shlex
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from seedance_async.batch import results
from seedance_async.batch.manifest_source import is_read_once
from seedance_async.batch.report import write_gallery_of_entries
from seedance_async.cli.batch_display import choose_display
from seedance_async.cli.batch_status import Status
from seedance_async.cli.interrupts import interruptible
from seedance_async.cli.output import write_message
from seedance_async.exit_codes import ExitCode
from seedance_async.integrations.engine import BatchEngine, Follower

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async import Summary
    from seedance_async.cli.batch_options import Options

LEAVING: Final = "leaving: the workers continue with what is enqueued; Ctrl-C again ends this command at once"
LEFT: Final = "the workers continue; to follow again:"


class FollowMonitor:
    """Reads the status of a batch that workers make.

    Args:
        follower: of the batch.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._began_at = anyio.current_time()

    def status(self) -> Status:
        """Return the current status of the batch."""
        return Status(
            summary=self._follower.summary,
            requests=None,
            requests_in_window=None,
            limit=None,
            seconds=anyio.current_time() - self._began_at,
            seconds_left=None,
        )


class EngineCommand:
    """One run of the command.

    Args:
        manifest: as the user named it.
        directory: for the results.
        url: of the engine.
        options: of the command.
    """

    def __init__(self, manifest: str, directory: Path, url: str, options: Options) -> None:
        self._manifest = manifest
        self._directory = directory
        self._engine = BatchEngine(url, max_credits=options.max_credits)
        self._options = options
        self._display = choose_display(manifest, directory, as_json=options.as_json)
        self._follower: Follower | None = None
        self._status: Status | None = None

    async def run(self) -> int:
        """Enqueue the jobs, follow them, write the totals, and return the exit code."""
        with interruptible(self._display, LEAVING) as interruption:
            async with self._engine as engine:
                await self._follow(engine)
        follower, status = self._follower, self._status
        if follower is None or status is None:
            write_message(
                "interrupted; the workers run the jobs enqueued so far. To enqueue the rest, run again"
            )
            return ExitCode.INTERRUPTED
        page = await to_thread.run_sync(self._write, follower)
        code = ExitCode.INTERRUPTED if interruption.cancelled_caught else status.summary.exit_code
        self._display.ended(status, code, page)
        self._write_advice(status.summary, code)
        return code

    async def _follow(self, engine: BatchEngine) -> None:
        await engine.check_results(self._directory)
        await engine.enqueue(self._manifest)
        follower = self._follower = engine.follow()
        monitor = FollowMonitor(follower)
        self._status = monitor.status()
        await to_thread.run_sync(partial(self._directory.mkdir, parents=True, exist_ok=True))
        write_message(
            f"enqueued at {engine.shown}; to run the jobs: seedance worker --engine URL -o {self._directory}"
        )
        self._display.start(monitor)
        try:
            if engine.plan is not None:
                self._display.planned(engine.plan)
            async with aclosing(follower.ends()) as ends:
                async for entry, error, earlier in ends:
                    await to_thread.run_sync(results.add, self._directory, entry)
                    result = results.result(entry, self._directory, error=error, earlier=earlier)
                    self._display.job_ended(result)
        finally:
            self._display.stop()
            self._status = monitor.status()

    def _write(self, follower: Follower) -> Path:
        """Write the results and the gallery; blocks."""
        entries = follower.in_order
        results.write_all(self._directory, entries)
        return write_gallery_of_entries(entries, self._directory)

    def _write_advice(self, summary: Summary, code: ExitCode) -> None:
        if summary.stopped is not None:
            write_message(f"stopped: {summary.stopped.message}")
        if not summary.left:
            return
        write_message(LEFT if code == ExitCode.INTERRUPTED else "to continue with what is left:")
        cap = self._options.max_credits
        words = ["seedance", "batch", self._manifest, "--engine", self._engine.shown]
        words += ["-o", str(self._directory)]
        words += [] if cap is None else ["--max-credits", f"{cap:.10g}"]
        words += ["--json"] if self._options.as_json else []
        write_message(f"  {shlex.join(words)}")
        if is_read_once(self._manifest):
            write_message(f"with the same jobs on {self._manifest} again")
