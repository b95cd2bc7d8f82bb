"""Code that is not ours: where it runs, and what its failure ends.

Its failure ends what it serves, and nothing beside it:

| code of the caller's | runs in | its failure ends |
|---|---|---|
| a source of requests or jobs | a task of its own in the run | the run, after all that is paid was yielded |
| filters and handlers of ``logging`` | wherever a line is written | the line (``logs``) |
| a session's trace hooks | the request that they watch | their own call (``api_session``) |
| a session's middlewares, connector, resolver | the request | the attempt (``transport``) |
| whoever leaves, cancels or times out | the caller's own task | what that task waits for |

None of it runs in a task that others share without one of these boundaries. Tasks of the engine's group are
guarded once more: what comes out of one of them ends this one. A POST on the wire is shielded from it all.

A failure is any exception, and a cancellation that nobody asked of us: ``await`` on a task that was cancelled
elsewhere raises ``CancelledError`` in the one who waits, and a task group would take that for its own.
"""

from __future__ import annotations

import asyncio
import traceback

from seedance_async.errors import SeedanceError


def cancellations() -> int:
    """How often the current task was asked to end; see ``is_stray``."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def is_stray(problem: BaseException, *, since: int) -> bool:
    """Whether a cancellation came out of foreign code, while nobody has asked the current task to end.

    Args:
        problem: what was raised.
        since: ``cancellations()`` before the foreign code ran.
    """
    return isinstance(problem, asyncio.CancelledError) and cancellations() <= since


def as_reported(problem: BaseException, *, code: str) -> BaseException:
    """What the caller of ``code`` is told of its failure: a cancellation there is none of the caller's."""
    if not isinstance(problem, asyncio.CancelledError):
        return problem
    reported = SeedanceError(f"{code} was cancelled: it awaited something that somebody else has cancelled")
    reported.__cause__ = problem
    return reported


def place(problem: BaseException) -> str:
    """A failure's class and the line that raised it, for a log: its text and its locals may hold the key."""
    frames = traceback.extract_tb(problem.__traceback__, limit=-1)
    where = [f" at {frame.filename}:{frame.lineno}, in {frame.name}" for frame in frames]
    return type(problem).__name__ + "".join(where)


def leave_frames(passing: BaseException, before: BaseException | None) -> None:
    """Let an exception go on as itself, without what the session put on it: its frames hold the key.

    Args:
        passing: whatever is neither an answer nor a failure.
        before: what the caller was already handling; it is the caller's, and stays whole.
    """
    if isinstance(passing, Exception):  # a fault in somebody's code: where it was may be known
        passing.add_note("".join(["raised at\n", *traceback.format_tb(passing.__traceback__)]))
    inner = passing.__context__
    if inner is not before and isinstance(inner, asyncio.CancelledError):
        leave_frames(inner, before)  # anyio looks here for a cancellation of its own
    elif inner is not before:
        passing.__context__ = None
    passing.__cause__ = passing.__traceback__ = None
    passing.__suppress_context__ = False  # which setting a cause turns on
