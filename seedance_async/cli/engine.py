"""``seedance batch --engine``: the command that enqueues a manifest for a distributed engine and follows it.

Nothing is sent from here, and no key is needed. The directory gets ``results.jsonl`` and the gallery; the
media files are where the workers save them, which should be the same directory on shared storage.
"""

from __future__ import annotations

import shlex
import time
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from seedance_async.batch import results
from seedance_async.batch.manifest_source import is_read_once
from seedance_async.batch.report import write_gallery_of_entries
from seedance_async.batch.summary import SETTLED
from seedance_async.cli.batch_display import (
    EVENT_INTERVAL,
    SHOWN_STATES,
    job_fields,
    job_line,
    write_event,
    write_table,
)
from seedance_async.cli.interrupts import interruptible
from seedance_async.cli.output import write_message
from seedance_async.cli.progress import LINE_INTERVAL, Ticker
from seedance_async.credit_format import format_credits
from seedance_async.exit_codes import ExitCode
from seedance_async.integrations.engine import BatchEngine, Follower
from seedance_async.time_format import format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from seedance_async import JobResult, Summary
    from seedance_async.cli.batch_options import Options

LEFT: Final = "the workers continue; to follow again:"


class FollowDisplay:
    """Display of a batch that workers run: lines for a log, or events for a program.

    Args:
        as_json: whether to write events.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._began_at = time.monotonic()
        self._ticker = Ticker(self, EVENT_INTERVAL if as_json else LINE_INTERVAL)
        self._follower: Follower

    def start(self, follower: Follower, origin: Mapping[str, object]) -> None:
        """Start the display."""
        self._follower = follower
        if self._as_json:
            write_event("started", origin)
        self._ticker.start()

    def refresh(self) -> None:
        """Write the current state of the batch."""
        summary = self._follower.summary
        if self._as_json:
            write_event("progress", self._numbers(summary))
        else:
            ended = sum(summary.counts.get(state, 0) for state in SETTLED)
            write_message(f"[{ended}/{summary.total}] {_counts(summary)} · {_credits(summary)}")

    def job_ended(self, result: JobResult) -> None:
        """Write a job's event; in a log only a job that is not saved."""
        if self._as_json:
            write_event("job", job_fields(result))
        elif result.state in SHOWN_STATES:
            write_message(job_line(result))

    def stopping(self, reason: str) -> None:
        """Do nothing: Ctrl-C ends only the following, not the workers."""

    def stop(self) -> None:
        """Stop the display."""
        self._ticker.stop()

    def ended(self, summary: Summary, code: int, page: Path | None) -> None:
        """Write the totals."""
        stopped = summary.stopped
        if self._as_json:
            reason, gallery = stopped and stopped.message, page and str(page)
            fields = {"exit_code": code, "reason": reason, "gallery": gallery}
            write_event("ended", {**fields, **self._numbers(summary)})
            return
        rows = {
            "jobs": f"{summary.total:,}: {_counts(summary)}",
            "time": format_seconds(time.monotonic() - self._began_at),
            "credits": _credits(summary),
        }
        write_table(rows if page is None else {**rows, "gallery": page.resolve().as_uri()})

    def _numbers(self, summary: Summary) -> dict[str, object]:
        return {
            "counts": summary.counts,
            "credits_used": summary.credits_used,
            "credits_refunded": summary.credits_refunded,
            "credits_reserved": summary.credits_reserved,
            "max_credits": summary.max_credits,
            "seconds": round(time.monotonic() - self._began_at, 3),
        }


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
        self._display = FollowDisplay(as_json=options.as_json)
        self._follower: Follower | None = None

    async def run(self) -> int:
        """Enqueue the jobs, follow them, write the totals, and return the exit code."""
        with interruptible(self._display) as interruption:
            async with self._engine as engine:
                await self._follow(engine)
        follower = self._follower
        if follower is None:
            write_message(
                "interrupted; the workers run the jobs enqueued so far. To enqueue the rest, run again"
            )
            return ExitCode.INTERRUPTED
        page = await to_thread.run_sync(self._write, follower)
        summary = follower.summary
        code = ExitCode.INTERRUPTED if interruption.cancelled_caught else summary.exit_code
        self._display.ended(summary, code, page)
        self._write_advice(summary, code)
        return code

    async def _follow(self, engine: BatchEngine) -> None:
        await engine.check_results(self._directory)
        await engine.enqueue(self._manifest)
        follower = self._follower = engine.follow()
        await to_thread.run_sync(partial(self._directory.mkdir, parents=True, exist_ok=True))
        write_message(
            f"enqueued at {engine.shown}; to run the jobs: seedance worker --engine URL -o {self._directory}"
        )
        origin = {"manifest": self._manifest, "directory": str(self._directory)}
        self._display.start(follower, origin)
        try:
            async with aclosing(follower.ends()) as ends:
                async for entry, error, earlier in ends:
                    await to_thread.run_sync(results.add, self._directory, entry)
                    result = results.result(entry, self._directory, error=error, earlier=earlier)
                    self._display.job_ended(result)
        finally:
            self._display.stop()

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
        write_message(LEFT if code == ExitCode.INTERRUPTED else "to go on with what is left:")
        cap = self._options.max_credits
        words = ["seedance", "batch", self._manifest, "--engine", self._engine.shown]
        words += ["-o", str(self._directory)]
        words += [] if cap is None else ["--max-credits", f"{cap:.10g}"]
        words += ["--json"] if self._options.as_json else []
        write_message(f"  {shlex.join(words)}")
        if is_read_once(self._manifest):
            write_message(f"with the same jobs on {self._manifest} again")


def _counts(summary: Summary) -> str:
    return ", ".join(f"{count} {state}" for state, count in summary.counts.items())


def _credits(summary: Summary) -> str:
    cap = "" if summary.max_credits is None else f" of at most {summary.max_credits:,.10g}"
    return f"{format_credits(summary.credits_used, summary.credits_refunded, with_unit=True)}{cap}"
