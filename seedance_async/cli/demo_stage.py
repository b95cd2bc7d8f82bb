"""What is seen of the demo: a row for every job that is drawn anew on a terminal, plain lines elsewhere.

How far a job is comes from the sandbox, which is at hand here and knows when each task will be done; a real
server does not tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self, TypedDict

import anyio
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from seedance_async.cli.progress import LiveView, clock
from seedance_async.cli.sandbox import PERIOD, REQUESTS
from seedance_async.cli.streams import is_live, say, terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from rich.console import RenderableType

    from seedance_async.cli.demo_jobs import DemoJob
    from seedance_async.models import Task
    from seedance_async.sandbox import Sandbox
    from seedance_async.sandbox import Task as SandboxTask

AROUND_THE_ROWS: Final = 8
"""Lines of the screen that are not rows."""

WIDE: Final = 100
"""Columns of a terminal from which on there is room for prompts."""


class Stage:
    """Shows the jobs while it is entered.

    Args:
        jobs: all of them, in order.
        sandbox: where they are made.
        speed: how many times faster than the account's clock its own runs.
    """

    def __init__(self, jobs: Sequence[DemoJob], sandbox: Sandbox, *, speed: float) -> None:
        self._jobs = jobs
        self._sandbox = sandbox
        self._speed = speed
        self._endings: dict[str, Text] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._view = LiveView(self._render, leave=True) if is_live() else None

    def __enter__(self) -> Self:
        say(f"{len(self._jobs)} jobs for the sandbox at {self._sandbox.base_url}, in this very process.")
        say(
            f"Its clock runs {self._speed:g} times as fast: a minute passes in {clock(PERIOD / self._speed)}."
        )
        if self._view:
            self._view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._view:
            self._view.stop()

    def saved(self, job: DemoJob, task: Task, files: Sequence[Path]) -> None:
        """A job's files are there."""
        megabytes = sum(path.stat().st_size for path in files) / 1e6
        made_in = clock((task.duration or 0.0) * self._speed)
        told = f"{made_in:>7}  {task.credits_used or 0:>3g} cr  {megabytes:>4.1f} MB"
        self._end(job, Text(told, style="green"), f"saved {files[0]} ({told.strip()})")

    def failed(self, job: DemoJob) -> None:
        """A job will not be finished."""
        self._end(job, Text("failed", style="red"), f"failed {job.name}")

    def _end(self, job: DemoJob, ending: Text, line: str) -> None:
        self._endings[job.name] = ending
        if self._view is None:
            say(f"[{len(self._endings)}/{len(self._jobs)}] {line}")

    def _render(self) -> RenderableType:
        now = anyio.current_time()
        tasks = {task.request.prompt: task for task in self._sandbox.tasks.values()}
        columns = [name for name in _COLUMNS if name != "prompt" or terminal().width >= WIDE]
        table = Table(box=None, padding=(0, 1), show_header=False, expand="prompt" in columns)
        for name in columns:
            table.add_column(name, **_COLUMNS[name])
        for job in self._rows():
            cells = self._cells(job, tasks.get(job.request.prompt), now)
            table.add_row(*(cells[name] for name in columns))
        return Group(Text(), table, Text(), self._footer(now))

    def _rows(self) -> Sequence[DemoJob]:
        """As many jobs as the terminal has room for, those that are still to be finished first."""
        room = max(4, terminal().height - AROUND_THE_ROWS)
        if len(self._jobs) <= room:
            return self._jobs
        unfinished = [job for job in self._jobs if job.name not in self._endings]
        finished = [job for job in self._jobs if job.name in self._endings]
        return (finished[-max(0, room - len(unfinished)) :] + unfinished)[:room]

    def _cells(self, job: DemoJob, task: SandboxTask | None, now: float) -> dict[str, RenderableType]:
        mark, state = self._state(job, task, now)
        style = "dim" if task is None else ""
        return {
            "mark": mark,
            "name": Text(job.name, style=style),
            "model": Text(job.request.model, style="cyan"),
            "shape": Text(job.shape, style=style),
            "prompt": Text(job.request.prompt, style=style, no_wrap=True, overflow="ellipsis"),
            "state": state,
        }

    def _state(
        self, job: DemoJob, task: SandboxTask | None, now: float
    ) -> tuple[RenderableType, RenderableType]:
        if job.name in self._endings:
            ending = self._endings[job.name]
            return Text("✗" if ending.style == "red" else "✓", style=ending.style), ending
        if task is None:
            return Text("·", style="dim"), Text("waiting for its turn", style="dim")
        length, done = task.ends_at - task.accepted_at, now - task.accepted_at
        if done >= length:
            return self._spinner, Text("done, on its way", style="cyan")
        return self._spinner, ProgressBar(total=length, completed=done, width=26, complete_style="yellow")

    def _footer(self, now: float) -> Text:
        window = PERIOD / self._speed
        recent = sum(record.at > now - window for record in self._sandbox.requests)
        spent = sum(entry.credits for entry in self._sandbox.ledger if entry.kind == "charge")
        told = Text("  last minute ", no_wrap=True)
        told.append("▮" * recent, style="yellow")
        told.append("▯" * (REQUESTS - recent), style="dim")
        told.append(f" {recent:>2} of {REQUESTS} requests\n", style="bold" if recent == REQUESTS else "")
        told.append(f"  altogether  {len(self._sandbox.requests)} requests · {spent} credits · ")
        told.append(f"{len(self._endings)} of {len(self._jobs)} saved", style="green")
        return told


class _Column(TypedDict, total=False):
    """What `Table.add_column` is told."""

    justify: Literal["right"]
    no_wrap: bool
    ratio: int
    width: int


_COLUMNS: Final[dict[str, _Column]] = {
    "mark": {"width": 1},
    "name": {"no_wrap": True},
    "model": {"no_wrap": True},
    "shape": {"justify": "right", "no_wrap": True},
    "prompt": {"ratio": 1, "no_wrap": True},
    "state": {"width": 26, "no_wrap": True},
}
