"""Displays of a running batch: a live one on a terminal, sparse lines in a log, events for a program.

Events are JSON objects, one a line on stdout; further fields and further events may come in later versions:

============  =========================================================================================
``started``   ``manifest``, ``directory``
``planned``   before anything is sent: ``jobs`` to be sent, ``counts`` by state, ``later``; ``credits``
              expected, at least and at most, ``credits_of_priced_jobs`` and ``jobs_without_price``,
              ``credits_spent`` by earlier runs; ``max_credits``, and whether it is enough: ``fits_cap``
``job``       a job has come to its end: its line of ``results.jsonl``, and ``earlier``, whether an
              earlier run had brought it there
``progress``  every ten seconds: ``counts`` of jobs by state, and ``others`` (older and further takes, jobs
              gone from the manifest), ``credits_used``, ``credits_refunded``, ``credits_reserved`` and
              ``max_credits`` of all runs; ``requests`` and ``seconds`` of this one,
              ``requests_in_window``, ``seconds_left``
``stopping``  nothing more is sent, because of a signal: ``reason``
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

    from seedance_async import JobResult, RunPlan
    from seedance_async.cli.batch_status import Monitor, Status

EVENT_INTERVAL: Final = 10.0  # s
SHOWN_STATES: Final = frozenset(
    {State.FAILED, State.REFUSED, State.UNCERTAIN, State.BLOCKED, State.COMPLETED, State.ACCEPTED}
)
"""Final states of which a line is written for each job; what left others ``planned`` is said once."""

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
"""What the bar is made of where there are no colours: without them a bar of blocks would look finished."""

MAX_WIDTH: Final = 72


class Display(Protocol):
    """Shows a batch to somebody."""

    def start(self, monitor: Monitor) -> None:
        """The batch begins."""

    def planned(self, plan: RunPlan) -> None:
        """So much is about to be sent."""

    def job_ended(self, result: JobResult) -> None:
        """A job has come to its end."""

    def stopping(self, reason: str) -> None:
        """Nothing more is sent."""

    def stop(self) -> None:
        """There is no more to watch."""

    def ended(self, status: Status, code: int, page: Path | None) -> None:
        """The batch is over, with this exit code; ``page`` is its gallery, if it could be written."""


def choose_display(
    title: str, directory: Path, *, as_json: bool = False, line_interval: float = LINE_INTERVAL
) -> Display:
    """The display for whoever watches: a program, a terminal or a log.

    Args:
        title: the manifest, as the user named it.
        directory: of the batch.
        as_json: whether a program watches.
        line_interval: seconds between the lines of a log.
    """
    if as_json:
        return EventDisplay(title, directory)
    return TerminalDisplay(title, directory) if is_live() else LogDisplay(line_interval)


class LogDisplay:
    """A line for each file that is saved and each job that is not, and now and then one for all of them."""

    def __init__(self, interval: float = LINE_INTERVAL) -> None:
        self._ticker = Ticker(self, interval)
        self._monitor: Monitor

    def start(self, monitor: Monitor) -> None:
        """Begin to write."""
        self._monitor = monitor
        self._ticker.start()

    def refresh(self) -> None:
        """Write how the batch stands."""
        write_message(status_line(self._monitor.status()))

    def planned(self, plan: RunPlan) -> None:
        """Write it."""
        write_message(plan_line(plan))

    def job_ended(self, result: JobResult) -> None:
        """Write its files or, also of an earlier run, why it has none."""
        if not result.earlier and result.state is State.SAVED:
            for file in result.files:
                write_message(f"saved {file}")
        _write_problem(result)

    def stopping(self, reason: str) -> None:
        """Write why."""
        write_message(reason)

    def stop(self) -> None:
        """End."""
        self._ticker.stop()

    def ended(self, status: Status, code: int, page: Path | None) -> None:  # noqa: ARG002 - the shell has it
        """Write the totals to stdout."""
        write_table(totals(status, page))


class TerminalDisplay(LogDisplay):
    """A picture of the batch at the bottom of the terminal; lines of jobs that are not saved scroll above."""

    def __init__(self, title: str, directory: Path) -> None:
        super().__init__()
        self._reason = ""
        names = (without_controls(title), "bold"), (" → ", "dim"), (without_controls(str(directory)), "bold")
        self._spinner = Spinner("dots", text=Text.assemble(" ", *names), style="cyan")
        self._view = LiveView(self)

    def start(self, monitor: Monitor) -> None:
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
    """An event a line on stdout, or wherever else events go.

    Args:
        manifest: as the user named it.
        directory: of the batch.
        emit: takes the name and the fields of each event.
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
        self._monitor: Monitor

    def start(self, monitor: Monitor) -> None:
        """Begin to write."""
        self._monitor = monitor
        self._emit("started", self._origin)
        self._ticker.start()

    def refresh(self) -> None:
        """Write how the batch stands."""
        status = self._monitor.status()
        left = None if status.seconds_left is None else round(status.seconds_left, 3)
        self._emit(
            "progress",
            {**_numbers(status), "requests_in_window": status.requests_in_window, "seconds_left": left},
        )

    def planned(self, plan: RunPlan) -> None:
        """Write it."""
        self._emit("planned", plan_fields(plan))

    def job_ended(self, result: JobResult) -> None:
        """Write all of it."""
        self._emit("job", job_fields(result))

    def stopping(self, reason: str) -> None:
        """Write why."""
        self._emit("stopping", {"reason": reason})

    def stop(self) -> None:
        """End."""
        self._ticker.stop()

    def ended(self, status: Status, code: int, page: Path | None) -> None:
        """Write how."""
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
    """A job as its event has it."""
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
    """A job that is not saved, and why."""
    reason = result.error.message.splitlines()[0] if result.error else "no reason given"
    key = f" (idempotency key {result.idempotency_key})" if result.state is State.UNCERTAIN else ""
    return f"{result.state} {result.name}: {reason}{key}"


def status_line(status: Status) -> str:
    """A batch in one line."""
    if not status.is_planned:
        return _reading(status)
    summary, limit = status.summary, status.limit
    ended = status.count(*SETTLED)
    return " · ".join(
        [
            f"[{ended}/{summary.total}] {_words(summary.counts)}",
            *([f"beside them {_words(summary.others)}"] if summary.others else []),
            f"{status.requests_in_window} of {limit.requests} requests in the last {limit.period:g} s",
            f"{_credits_of(status, with_unit=True)}{_cap(status)}",
            f"{format_seconds(status.seconds)}{time_left(status, before=', ')}{format_speed(status.speed)}",
        ]
    )


def time_left(status: Status, *, before: str) -> str:
    """How long it will take, where that is known."""
    left = round(status.seconds_left or 0)
    return f"{before}about {format_seconds(left)} to go" if left else ""


def totals(status: Status, page: Path | None) -> dict[str, str]:
    """What became of it all."""
    summary = status.summary
    return {
        "jobs": f"{summary.total:,}: {_words(summary.counts)}",
        **({"others": _others(summary.others)} if summary.others else {}),
        "time": f"{format_seconds(status.seconds)}{format_speed(status.speed)}",
        "requests": f"{status.requests:,}",
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
    """What is in the directory beside the manifest's jobs."""
    return (
        f"{sum(others.values()):,}: {_words(others)} (older takes, finals, and jobs gone from the manifest)"
    )


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
    """A batch in a few lines and colours."""
    if not status.is_planned:
        return Text(f"  {_reading(status)}", style="dim")
    return Group(Text(), _bar(status), _legend(status), Text(), _figures(status))


def _bar(status: Status) -> Text:
    """All jobs as one bar, a colour a state."""
    width = min(MAX_WIDTH, max(20, terminal().width - 4))
    sizes = [(state, status.count(state)) for state in COLOURS]
    bar = Text("  ", no_wrap=True)
    for state, cells in _apportion(sizes, total=status.summary.total, cells=width):
        bar.append((SHADES[state] if _is_plain() else "█") * cells, style=COLOURS[state])
    return bar


def _is_plain() -> bool:
    """Whether the terminal shows no colours, because it has none or ``NO_COLOR`` forbids them."""
    console = terminal()
    return console.no_color or (console.is_terminal and console.color_system is None)


def _apportion(sizes: Iterable[tuple[State, int]], *, total: int, cells: int) -> Iterable[tuple[State, int]]:
    """Cells for each state; the rounding of one is made up by the next."""
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
    table.add_row("  requests", _requests(status))
    table.add_row("  credits", _credits(status))
    table.add_row("  time", _time(status))
    if status.summary.others:
        table.add_row("  others", Text(_others(status.summary.others), style="dim"))
    return table


def _requests(status: Status) -> Text:
    """The window as a row of slots."""
    used, allowed = status.requests_in_window, status.limit.requests
    text = Text(no_wrap=True)
    if allowed <= 60:
        text.append("▮" * min(allowed, used), style="yellow")
        text.append("▯" * max(0, allowed - used), style="bright_black")
        text.append(" ")
    text.append(f"{used} of {allowed} in {format_seconds(status.limit.period)}")
    return text.append(f" · {status.requests:,} in all", style="dim")


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
