"""Displays of a running batch: a live one on a terminal, occasional lines in a log, events for a program.

Events are JSON objects, one on each line of stdout; later versions may add fields and events:

============  =========================================================================================
``started``   ``manifest``, ``directory``
``planned``   before anything is sent (with ``--engine``, once the jobs are enqueued): ``jobs`` to be
              sent, ``counts`` by state, ``later``; ``credits`` expected, at least and at most,
              ``credits_of_priced_jobs`` and ``jobs_without_price``, ``credits_spent`` by earlier runs;
              ``max_credits``, and whether it is enough: ``fits_cap``
``job``       a job has ended: its line of ``results.jsonl``, and ``earlier``, whether it ended in an
              earlier run
``progress``  every ten seconds: ``counts`` of jobs by state, and ``others`` (older and further takes, jobs
              no longer in the manifest), ``credits_used``, ``credits_refunded``, ``credits_reserved`` and
              ``max_credits`` of all runs; ``requests`` and ``seconds`` of this run,
              ``requests_in_window``, ``seconds_left`` (null with ``--engine``: the workers send)
``stopping``  nothing more is sent, because of a signal: ``reason``; with ``--engine`` the workers continue
``ended``     ``exit_code``, ``reason`` if it was stopped, ``gallery``, and the numbers of ``progress``
============  =========================================================================================
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Group
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from seedance_async.batch.states import State
from seedance_async.batch.summary import SETTLED
from seedance_async.cli.output import is_live, terminal, without_controls, write_data, write_message
from seedance_async.cli.plan_words import plan_fields, plan_line
from seedance_async.cli.progress import LINE_INTERVAL, LiveView, Ticker
from seedance_async.credit_format import format_credits
from seedance_async.errors import MediaError
from seedance_async.time_format import format_seconds, format_speed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from rich.console import RenderableType

    from seedance_async import JobResult, RateLimit, RunPlan
    from seedance_async.cli.batch_status import Status, StatusSource

EVENT_INTERVAL: Final = 10.0  # s
SHOWN_STATES: Final = frozenset(
    {State.FAILED, State.REFUSED, State.UNCERTAIN, State.BLOCKED, State.COMPLETED, State.ACCEPTED}
)
"""Final states that get a line for each job. Why others were left ``planned`` is written once, at the end."""

COLOURS: Final = {
    State.SAVED: "green",
    State.COMPLETED: "cyan",
    State.ACCEPTED: "yellow",
    State.SUBMITTING: "bright_yellow",
    State.PLANNED: "bright_black",
    State.BLOCKED: "bright_black",
    State.UNCERTAIN: "magenta",
    State.REFUSED: "bright_red",
    State.FAILED: "red",
}
"""Every state, in the order of the bar."""

SHADES: Final = {
    State.SAVED: "█",
    State.COMPLETED: "▓",
    State.ACCEPTED: "▒",
    State.SUBMITTING: "▒",
    State.PLANNED: "░",
    State.BLOCKED: "░",
    State.UNCERTAIN: "?",
    State.REFUSED: "x",
    State.FAILED: "x",
}
"""Characters of the bar on a terminal without colours, where a bar of equal blocks would look finished."""

MAX_WIDTH: Final = 72


class Display(Protocol):
    """Display of a running batch, for a person or a program."""

    def start(self, monitor: StatusSource) -> None:
        """Start the display: the batch begins."""

    def planned(self, plan: RunPlan) -> None:
        """Show what is about to be sent."""

    def job_ended(self, result: JobResult) -> None:
        """Show a job that has ended."""

    def stopping(self, reason: str) -> None:
        """Show that nothing more is sent, and why."""

    def stop(self) -> None:
        """Stop the display: the run has ended."""

    def ended(self, status: Status, code: int, page: Path | None) -> None:
        """Show the totals and the exit code; ``page`` is the gallery, if it could be written."""


def choose_display(
    title: str, directory: Path, *, as_json: bool = False, line_interval: float = LINE_INTERVAL
) -> Display:
    """Return the display for a program, a terminal or a log.

    Args:
        title: the manifest, as the user named it.
        directory: of the batch.
        as_json: whether to write events for a program.
        line_interval: seconds between the lines of a log.
    """
    if as_json:
        return EventDisplay(title, directory)
    return TerminalDisplay(title, directory) if is_live() else LogDisplay(line_interval)


class LogDisplay:
    """A line for each saved file and each job that is not saved, and one about all jobs at an interval."""

    def __init__(self, interval: float = LINE_INTERVAL) -> None:
        self._ticker = Ticker(self, interval)
        self._monitor: StatusSource

    def start(self, monitor: StatusSource) -> None:
        """Start writing lines."""
        self._monitor = monitor
        self._ticker.start()

    def refresh(self) -> None:
        """Write the current status."""
        write_message(status_line(self._monitor.status()))

    def planned(self, plan: RunPlan) -> None:
        """Write the plan."""
        write_message(plan_line(plan))

    def job_ended(self, result: JobResult) -> None:
        """Write a line for each file; if the job is not saved, also in an earlier run, the reason."""
        if not result.earlier and result.state is State.SAVED:
            for file in result.files:
                write_message(f"saved {file}")
        _write_problem(result)

    def stopping(self, reason: str) -> None:
        """Write the reason."""
        write_message(reason)

    def stop(self) -> None:
        """Stop writing lines."""
        self._ticker.stop()

    def ended(self, status: Status, code: int, page: Path | None) -> None:  # noqa: ARG002 - the shell has it
        """Write the totals to stdout."""
        write_table(totals(status, page))


class TerminalDisplay(LogDisplay):
    """Live picture of the batch at the bottom of the terminal; lines about jobs not saved scroll above."""

    def __init__(self, title: str, directory: Path) -> None:
        super().__init__()
        self._reason = ""
        names = (without_controls(title), "bold"), (" → ", "dim"), (without_controls(str(directory)), "bold")
        self._spinner = Spinner("dots", text=Text.assemble(" ", *names), style="cyan")
        self._view = LiveView(self)

    def start(self, monitor: StatusSource) -> None:
        """Begin to draw."""
        self._monitor = monitor
        self._view.start()

    def job_ended(self, result: JobResult) -> None:
        """Write it above the picture, if it is not saved, also of an earlier run."""
        _write_problem(result)

    def stopping(self, reason: str) -> None:
        """Show why, below the picture."""
        self._reason = reason

    def stop(self) -> None:
        """Take the picture away; the totals follow."""
        self._view.stop()

    def __rich__(self) -> RenderableType:
        reason = [Text(), Text(f"  {self._reason}", style="bold yellow")] if self._reason else []
        return Group(Text(), self._spinner, picture(self._monitor.status()), *reason)


class EventDisplay:
    """Events for a program, one on each line of stdout by default.

    Args:
        manifest: as the user named it.
        directory: of the batch.
        emit: called with the name and the fields of each event.
    """

    def __init__(
        self,
        manifest: str,
        directory: Path,
        emit: Callable[[str, Mapping[str, object]], None] | None = None,
    ) -> None:
        self._emit = emit or write_event
        self._origin = {"manifest": manifest, "directory": str(directory)}
        self._ticker = Ticker(self, EVENT_INTERVAL)
        self._monitor: StatusSource

    def start(self, monitor: StatusSource) -> None:
        """Emit ``started``, and then ``progress`` at an interval."""
        self._monitor = monitor
        self._emit("started", self._origin)
        self._ticker.start()

    def refresh(self) -> None:
        """Emit ``progress``."""
        status = self._monitor.status()
        left = None if status.seconds_left is None else round(status.seconds_left, 3)
        self._emit(
            "progress",
            {**_numbers(status), "requests_in_window": status.requests_in_window, "seconds_left": left},
        )

    def planned(self, plan: RunPlan) -> None:
        """Emit ``planned``."""
        self._emit("planned", plan_fields(plan))

    def job_ended(self, result: JobResult) -> None:
        """Emit ``job``."""
        self._emit("job", job_fields(result))

    def stopping(self, reason: str) -> None:
        """Emit ``stopping``."""
        self._emit("stopping", {"reason": reason})

    def stop(self) -> None:
        """Stop emitting ``progress``."""
        self._ticker.stop()

    def ended(self, status: Status, code: int, page: Path | None) -> None:
        """Emit ``ended``."""
        stopped = status.summary.stopped
        reason = stopped.message if stopped else None
        gallery = None if page is None else str(page)
        self._emit("ended", {"exit_code": code, "reason": reason, "gallery": gallery, **_numbers(status)})


# --- events


def write_event(name: str, fields: Mapping[str, object]) -> None:
    """Write an event to stdout."""
    write_data(json.dumps({"event": name, **fields}))


def _numbers(status: Status) -> dict[str, object]:
    summary = status.summary
    return {
        "counts": summary.counts,
        "others": summary.others,
        "requests": status.requests,
        "credits_used": summary.credits_used,
        "credits_refunded": summary.credits_refunded,
        "credits_reserved": summary.credits_reserved,
        "max_credits": summary.max_credits,
        "seconds": round(status.seconds, 3),
    }


def job_fields(result: JobResult) -> dict[str, object]:
    """Return the fields of a job's event."""
    return {
        "name": result.name,
        "model": result.model,
        "state": result.state,
        "task_ids": result.task_ids,
        "idempotency_key": result.idempotency_key,
        "credits_used": result.credits_used,
        "credits_refunded": result.credits_refunded,
        "urls": result.urls,
        "files": [str(file) for file in result.files],
        "error": None if result.error is None else result.error.message,
        "earlier": result.earlier,
        "stale": result.stale,
        "in_manifest": result.in_manifest,
        "older_of": result.older_of,
        "final_of": result.final_of,
        "seed": result.seed,
        "delivered": [each and each.to_dict() for each in result.delivered],
        "mismatches": result.mismatches,
    }


# --- lines


def _write_problem(result: JobResult) -> None:
    if result.state in SHOWN_STATES or isinstance(result.error, MediaError):
        write_message(job_line(result))


def job_line(result: JobResult) -> str:
    """Return the line about a job that is not saved, with the reason."""
    reason = result.error.message.splitlines()[0] if result.error else "no reason given"
    key = f" (idempotency key {result.idempotency_key})" if result.state is State.UNCERTAIN else ""
    return f"{result.state} {result.name}: {reason}{key}"


def status_line(status: Status) -> str:
    """Return the status of a batch in one line."""
    if not status.is_planned:
        return _reading(status)
    summary, limit, used = status.summary, status.limit, status.requests_in_window
    ended = status.count(*SETTLED)
    return " · ".join(
        [
            f"[{ended}/{summary.total}] {_words(summary.counts)}",
            *([f"others: {_words(summary.others)}"] if summary.others else []),
            *([f"{used} of {limit.requests} requests in the last {limit.period:g} s"] if limit else []),
            f"{_credits_of(status, with_unit=True)}{_cap(status)}",
            f"{format_seconds(status.seconds)}{time_left(status, before=', ')}{format_speed(status.speed)}",
        ]
    )


def time_left(status: Status, *, before: str) -> str:
    """Return the expected time left; empty if it is not known."""
    left = round(status.seconds_left or 0)
    return f"{before}about {format_seconds(left)} to go" if left else ""


def totals(status: Status, page: Path | None) -> dict[str, str]:
    """Return the totals at the end, by name."""
    summary = status.summary
    return {
        "jobs": f"{summary.total:,}: {_words(summary.counts)}",
        **({"others": _others(summary.others)} if summary.others else {}),
        "time": f"{format_seconds(status.seconds)}{format_speed(status.speed)}",
        **({} if status.requests is None else {"requests": f"{status.requests:,}"}),
        "credits": _credits_of(status),
        **({} if page is None else {"gallery": page.resolve().as_uri()}),
    }


def write_table(rows: Mapping[str, str]) -> None:
    """Write named values to stdout, one a line."""
    for name, value in rows.items():
        write_data(f"{name:<9} {value}")


def _reading(status: Status) -> str:
    return f"reading the manifest · {format_seconds(status.seconds)}"


def _others(others: Mapping[State, int]) -> str:
    """Return what the directory holds in addition to the manifest's jobs."""
    total = sum(others.values())
    return f"{total:,}: {_words(others)} (older takes, finals, and jobs no longer in the manifest)"


def _words(counts: Mapping[State, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _credits_of(status: Status, *, with_unit: bool = False) -> str:
    summary = status.summary
    return format_credits(summary.credits_used, summary.credits_refunded, with_unit=with_unit)


def _cap(status: Status) -> str:
    cap = status.summary.max_credits
    return "" if cap is None else f" of at most {cap:,.10g}"


# --- the picture on a terminal


def picture(status: Status) -> RenderableType:
    """Return a picture of the batch, in a few coloured lines."""
    if not status.is_planned:
        return Text(f"  {_reading(status)}", style="dim")
    return Group(Text(), _bar(status), _legend(status), Text(), _figures(status))


def _bar(status: Status) -> Text:
    """Return all jobs as one bar, with a colour for each state."""
    width = min(MAX_WIDTH, max(20, terminal().width - 4))
    sizes = [(state, status.count(state)) for state in COLOURS]
    bar = Text("  ", no_wrap=True)
    for state, cells in _apportion(sizes, total=status.summary.total, cells=width):
        bar.append((SHADES[state] if _is_plain() else "█") * cells, style=COLOURS[state])
    return bar


def _is_plain() -> bool:
    """Whether the terminal shows no colours, because it has none or because of ``NO_COLOR``."""
    console = terminal()
    return console.no_color or (console.is_terminal and console.color_system is None)


def _apportion(sizes: Iterable[tuple[State, int]], *, total: int, cells: int) -> Iterable[tuple[State, int]]:
    """Yield the number of cells for each state; rounding errors do not add up."""
    before, begin = 0, 0
    for state, size in sizes:
        before += size
        end = round(before / total * cells)
        yield state, end - begin
        begin = end


def _legend(status: Status) -> Text:
    legend = Text("  ")
    for state in reversed(State):
        if count := status.count(state):
            legend.append(f"{SHADES[state] if _is_plain() else '■'} ", style=COLOURS[state])
            legend.append(f"{count:,} {state}   ")
    return legend


def _figures(status: Status) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    if status.limit is not None:
        table.add_row("  requests", _requests(status, status.limit))
    table.add_row("  credits", _credits(status))
    table.add_row("  time", _time(status))
    if status.summary.others:
        table.add_row("  others", Text(_others(status.summary.others), style="dim"))
    return table


def _requests(status: Status, limit: RateLimit) -> Text:
    """Return the window of the rate limit as a row of slots."""
    used, allowed = status.requests_in_window or 0, limit.requests
    text = Text(no_wrap=True)
    if allowed <= 60:
        text.append("▮" * min(allowed, used), style="yellow")
        text.append("▯" * max(0, allowed - used), style="bright_black")
        text.append(" ")
    text.append(f"{used} of {allowed} in {format_seconds(limit.period)}")
    return text.append(f" · {status.requests or 0:,} in total", style="dim")


def _credits(status: Status) -> Text:
    summary = status.summary
    text = Text(f"{_credits_of(status)}{_cap(status)}")
    if summary.credits_reserved:
        text.append(f" · {summary.credits_reserved:,.10g} reserved", style="dim")
    return text


def _time(status: Status) -> Text:
    text = Text(format_seconds(status.seconds))
    text.append(time_left(status, before=" · "), style="bold")
    return text.append(format_speed(status.speed), style="dim")
