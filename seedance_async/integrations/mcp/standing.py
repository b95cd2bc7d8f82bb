"""The state of a batch as an answer reports it: counts, newest files, problems, and when to come back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread
from attrs import frozen

from seedance_async.batch.results_reading import read
from seedance_async.batch.states import ENDED, State
from seedance_async.client import SeedanceClient
from seedance_async.credit_format import credit_count
from seedance_async.errors import CreditCapError, SeedanceError, StandingLimitError
from seedance_async.integrations.mcp.answers import RefusedError, explained, name_of, text_of
from seedance_async.integrations.mcp.orders import Order
from seedance_async.integrations.mcp.running import Running, open_jobs
from seedance_async.integrations.mcp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from seedance_async.batch.jobs import JobResult
    from seedance_async.batch.results_reading import Result
    from seedance_async.batch.summary import Summary

LONGEST_PAUSE: Final = 300
"""Most seconds in ``come_back_in``."""

ELSEWHERE_PAUSE: Final = 30
SHORT_PAUSE: Final = 5
SHOWN: Final = 8


@frozen
class Standing:
    """The state of a batch now.

    Args:
        client: open.
        workspace: of the batch.
        order: the plan that it runs for.
        running: its newest run in this process, if any.
    """

    _client: SeedanceClient
    _workspace: Workspace
    _order: Order
    _running: Running | None

    async def facts(self) -> dict[str, object]:
        """The state as the fields of an answer."""
        running = self._running
        if running is None or running.summary is None:
            return await self._on_disk()
        facts = self._of_run(running, running.summary)
        if running.is_over:  # the results on disk are complete
            _, jobs = await to_thread.run_sync(_counts_on_disk, self._workspace.batch(self._order.batch_id))
            facts |= _given({"stale": _stale(jobs)})
        return facts

    @property
    def _stopped(self) -> Exception | None:
        return None if self._running is None else _stopped(self._running)

    def _of_run(self, running: Running, summary: Summary) -> dict[str, object]:
        stopped = self._stopped
        state = "running"
        if running.is_over:
            state = "stopped" if stopped is not None or open_jobs(summary.counts) else "ended"
        facts = {
            "state": state,
            "counts": {str(key): count for key, count in summary.counts.items()},
            "credits": _credits(summary),
            "newest": [self._saved(result) for result in reversed(running.newest)],
            "problems": [_failed(result) for result in reversed(running.failures)],
            "why": None if stopped is None else why(stopped),
            **(self._when(summary) if state == "running" else {}),
            "next": self._next(state),
        }
        return _given(facts)

    async def _on_disk(self) -> dict[str, object]:
        """The state of a batch without a run in this process, as its results on disk have it."""
        order, stopped = self._order, self._stopped
        directory = self._workspace.batch(order.batch_id)
        counts, jobs = await to_thread.run_sync(_counts_on_disk, directory)
        state = self._state(is_begun=bool(jobs), has_ended=len(jobs) >= order.jobs and not open_jobs(counts))
        saved = [each for each in jobs if each.state == State.SAVED][-SHOWN:]
        failed = [each for each in jobs if each.state in set(ENDED) - {State.SAVED}][-SHOWN:]
        facts = {
            "state": state,
            "counts": dict(counts),
            "newest": [
                {
                    "name": name_of(each.name),
                    "files": [self._workspace.shown(directory / name) for name in each.files],
                }
                for each in reversed(saved)
            ],
            "problems": [_failed(each) for each in reversed(failed)],
            "stale": _stale(jobs),
            "why": None if stopped is None else why(stopped),
            "come_back_in": {"elsewhere": ELSEWHERE_PAUSE, "running": SHORT_PAUSE}.get(state),
            "next": self._next(state),
        }
        return _given(facts)

    def _state(self, *, is_begun: bool, has_ended: bool) -> str:
        """The state of a batch without a run in this process.

        Args:
            is_begun: whether it has results.
            has_ended: whether all its jobs have ended; new takes of a reroll are not among them.
        """
        if self._order.ended:
            return "ended"
        if self._running is not None and not self._running.is_over:
            return "running"  # it is being prepared
        if self._stopped is not None:
            return "stopped"
        if self._order.allowed is not None:
            return "elsewhere"
        if not is_begun:
            return "planned"
        return "ended" if has_ended else "elsewhere"  # a person has run it from the command line

    def _next(self, state: str) -> str:
        batch, plan = self._order.batch_id, self._order.plan_id
        return {
            "running": f'wait("{batch}")',
            "ended": f'look("{batch}")',
            "planned": f'submit("{plan}")',
            "elsewhere": f'another process is running it; wait("{batch}") later',
            "stopped": f'do what "why" says, then submit("{plan}"): it resumes, and nothing is paid twice',
        }[state]

    def _when(self, summary: Summary) -> dict[str, object]:
        """When to come back, by the forecast."""
        waiting = summary.counts.get(State.PLANNED, 0)
        left = max(0.0, self._client.expected_end(waiting=waiting) - anyio.current_time())
        return {"seconds_left": round(left), "come_back_in": min(LONGEST_PAUSE, max(1, round(left)))}

    def _saved(self, result: JobResult) -> dict[str, object]:
        return _given(
            {
                "name": name_of(result.name),
                "files": [self._workspace.shown(path) for path in result.files],
                "mismatches": list(result.mismatches),
            }
        )


def _counts_on_disk(directory: Path) -> tuple[Mapping[str, int], list[Result]]:
    """Counts and results of a batch, which any process may have written. Blocking.

    Raises:
        OSError: they cannot be read.
    """
    found = read(directory)
    jobs = [each for each in found.values() if each.in_manifest and each.older_of is None]
    return Counter(each.state for each in jobs), jobs


def _stale(jobs: Iterable[Result]) -> list[str]:
    """The first jobs that were made of something that has been made again since."""
    return [name_of(each.name) for each in jobs if each.fields.get("stale") is True][:SHOWN]


def is_stopped_by_cap(running: Running) -> bool:
    """Whether a run has ended because it needs more credits than were allowed for its plan."""
    stopped = _stopped(running)
    return isinstance(stopped, CreditCapError) and not isinstance(stopped, StandingLimitError)


def _stopped(running: Running) -> Exception | None:
    """What has stopped a run in this process; None where it runs, has ended well, or is run elsewhere."""
    return running.stopped if running.is_over and not running.is_elsewhere else None


def progress(summary: Summary) -> str:
    """The state of a batch on one line."""
    counts = ", ".join(f"{count} {state}" for state, count in summary.counts.items())
    return f"{counts}; {credit_count(summary.credits_used - summary.credits_refunded)}"


def why(stopped: Exception) -> dict[str, object]:
    """Why a batch stopped, as fields of an answer."""
    if isinstance(stopped, SeedanceError):
        facts = explained(stopped)
        return {name: facts[name] for name in ("error", "message", "what_to_do")}
    if isinstance(stopped, RefusedError):
        return {"error": stopped.kind, "message": stopped.message, "what_to_do": stopped.what_to_do}
    return {"error": type(stopped).__name__, "what_to_do": "tell the person; the server's log says more"}


def _credits(summary: Summary) -> dict[str, object]:
    refunded = summary.credits_refunded or None
    return _given({"used": summary.credits_used, "refunded": refunded, "cap": summary.max_credits})


def _failed(result: JobResult | Result) -> dict[str, object]:
    error = result.error if isinstance(result.error, str | None) else result.error.message
    reason = None if error is None else text_of(error, 160)
    return _given({"name": name_of(result.name), "state": str(result.state), "error": reason})


def _given(facts: Mapping[str, object]) -> dict[str, object]:
    """The facts without empty ones."""
    empty: Iterable[object] = (None, [], {})
    return {name: value for name, value in facts.items() if value not in empty}
