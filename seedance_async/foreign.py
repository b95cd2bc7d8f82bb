"""Foreign code, which is code of the caller: where it runs, and how its failures are contained.

Its failure ends only what it serves:

| code of the caller's | runs in | its failure ends |
|---|---|---|
| a source of requests or jobs | a separate task of the run | the run, after all paid results were yielded |
| filters and handlers of ``logging`` | wherever a line is written | the line (``logs``) |
| a session's trace hooks | the request that they watch | their own call (``api_session``) |
| a session's middlewares, connector, resolver | the request | the attempt (``transport``) |
| a caller that leaves, cancels or times out | the caller's own task | what that task waits for |

None of it runs without one of these boundaries in a task that others share. The tasks of the engine's group
are guarded again: an exception ends only the task that it comes from. A POST on the wire is shielded from all
this.

A failure is any exception, and also a cancellation that was not requested of the current task: awaiting a
task that was cancelled elsewhere raises ``CancelledError``, which a task group would take for its own
cancellation.
"""

from __future__ import annotations

import asyncio
import traceback

from seedance_async.errors import SeedanceError


def cancellations() -> int:
    """The number of cancellation requests of the current task; see ``is_stray``."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def is_stray(problem: BaseException, *, since: int) -> bool:
    """Whether a cancellation came out of foreign code although the current task was not cancelled.

    Args:
        problem: what was raised.
        since: ``cancellations()`` before the foreign code ran.
    """
    return isinstance(problem, asyncio.CancelledError) and cancellations() <= since


def as_reported(problem: BaseException, *, code: str) -> BaseException:
    """The exception to raise for a failure of ``code``: for a stray cancellation, a ``SeedanceError``."""
    if not isinstance(problem, asyncio.CancelledError):
        return problem
    reported = SeedanceError(f"{code} was cancelled: it awaited something that was cancelled elsewhere")
    reported.__cause__ = problem
    return reported


def place(problem: BaseException) -> str:
    """A failure's class and the line that raised it, for a log: its text and locals may contain the key."""
    frames = traceback.extract_tb(problem.__traceback__, limit=-1)
    where = [f" at {frame.filename}:{frame.lineno}, in {frame.name}" for frame in frames]
    return type(problem).__name__ + "".join(where)


def leave_frames(passing: BaseException, before: BaseException | None) -> None:
    """Remove traceback, cause and context of an exception that passes through, as its frames hold the key.

    Args:
        passing: the exception, which will be raised again.
        before: the exception that the caller was already handling; it is not changed.
    """
    if isinstance(passing, Exception):  # an error in somebody's code, whose location is kept as a note
        passing.add_note("".join(["raised at\n", *traceback.format_tb(passing.__traceback__)]))
    inner = passing.__context__
    if inner is not before and isinstance(inner, asyncio.CancelledError):
        leave_frames(inner, before)  # anyio looks for its own cancellation here
    elif inner is not before:
        passing.__context__ = None
    passing.__cause__ = passing.__traceback__ = None
    passing.__suppress_context__ = False  # setting a cause sets this to True
