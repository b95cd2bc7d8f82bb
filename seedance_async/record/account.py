"""The asynchronous interface to the record of one account.

SQLite runs in one thread of its own, so that the event loop never waits for a disk. Operations run in the
order in which they were requested. A POST waits until its intent is written: usually well under a
millisecond, and at most ``PATIENCE`` if the disk hangs. From then on operations do not wait at all, until the
disk answers.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from anyio import to_thread

from seedance_async.errors import RecordError, SeedanceError, StandingLimitError, UncertainSubmissionError
from seedance_async.logs import Log
from seedance_async.prices import Tariff
from seedance_async.record.limits import Hold, Refusal, Wait
from seedance_async.record.reading import Reader
from seedance_async.record.store import Answer, Opened, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from seedance_async.models import CreditLimits, Kind, Submission, Task
    from seedance_async.record.asked import Asked

log: Log = Log(__name__)

PATIENCE: Final = 5.0
"""Longest time in seconds that a POST waits for the record if no limit is set and the disk hangs."""

PATIENCE_AFTER_FAILURE: Final = 0.05
"""Like ``PATIENCE``, after the record has failed and until it works again."""

PATIENCE_UNDER_LIMITS: Final = 10.0
"""Like ``PATIENCE``, if a limit has to be checked: without an answer the POST is not sent."""

CHECKPOINT_POSTS: Final = 1000
"""Number of POSTs between two checkpoints of the write-ahead log; each adds about 15 kB to the log."""

MAX_POSTPONED: Final = 1000
"""Most operations that are kept for a retry while the disk cannot be written to."""

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 0.5
"""Seconds between two checks whether the POST before has ended."""

T = TypeVar("T")

_warned: set[Path] = set()  # the files for which this process has logged a warning


class AccountRecord:
    """The record of one account, for use in an event loop. A record that is switched off does nothing.

    Args:
        path: path of its file; None switches the record off.
        limits: the standing limits that POSTs must not exceed.
        with_prompts: whether prompts are stored.

    Attributes:
        has_limits: whether a limit is set.
        confirmed: the kinds of POSTs whose answers state what their tasks do.
    """

    def __init__(self, path: Path | None, limits: CreditLimits, *, with_prompts: bool = False) -> None:
        self.with_prompts: bool = with_prompts
        self.has_limits: bool = limits.are_set
        self._patience = PATIENCE_UNDER_LIMITS if limits.are_set else PATIENCE
        self._store = Store(path, limits, patience=self._patience / 4) if path else None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seedance-record")
        self._has_answered: Callable[[], bool] = lambda: True  # False: the last operation still hangs
        self._posts = 0
        self.confirmed: set[Tariff] = set()
        self._failure: Exception | None = None
        self._postponed: deque[Callable[[], object]] = deque(maxlen=MAX_POSTPONED)

    def start(self) -> None:
        """Begin to open the file, so that it is open at the first POST. A failure is reported only then."""
        if self._store is not None:
            self.begin(self._store.open)

    def entry(self, asked: Asked) -> Entry:
        """Return the entry of a POST that is about to be sent; nothing is written yet."""
        return Entry(self, self._store, asked)

    async def finished(self, task: Task) -> None:
        """Store how a task ended and what was refunded; awaited before the caller gets the task."""
        if self._store is not None:
            await self.do(partial(self._store.finish, task), later=True)

    async def prices(self) -> Mapping[Kind, float]:
        """Return the highest price seen for one task of each kind; empty if it cannot be read."""
        if self._store is None:
            return {}
        try:
            return await to_thread.run_sync(Reader(self._store.path).prices)
        except RecordError as problem:
            log.warning("prices charged before are not known: %s", problem.message)
            return {}

    async def close(self) -> None:
        """Finish the operations that were requested, and close the file."""
        if self._store is not None:
            await self.do(self._store.close)
        self._thread.shutdown(wait=False)

    # --- called by the entries

    def check_failure(self, store: Store) -> None:
        """Handle an intent that could not be written: warn once per file, or stop the POST under a limit.

        Raises:
            StandingLimitError: a limit is set, and it cannot be checked.
        """
        reason = "it does not answer" if self._failure is None else str(self._failure)
        if self.has_limits:
            raise StandingLimitError(
                f"a standing limit of credits is set, and the account's record {store.path}, by which it is "
                f"counted, cannot be used ({reason}): nothing was sent. Free some disk space, or repair the "
                "file; if you move it away, a new record begins with nothing spent"
            )
        if store.path not in _warned:
            _warned.add(store.path)
            log.warning(
                "the account's record %s cannot be written (%s): POSTs leave all the same, and are missing "
                "in `seedance tasks` and `seedance spend`",
                store.path,
                reason,
            )

    def count_post(self, store: Store) -> None:
        """Run a checkpoint every ``CHECKPOINT_POSTS``, in another thread. Closing the file runs one, too."""
        self._posts += 1
        if self._posts % CHECKPOINT_POSTS == 0:
            asyncio.get_running_loop().run_in_executor(None, store.checkpoint)

    async def do(self, operation: Callable[[], T], *, later: bool = False) -> T | None:
        """Run an operation in the record's thread; return None if it fails or takes too long."""
        return await self.answer(self.begin(operation, later=later))

    def begin(self, operation: Callable[[], T], *, later: bool = False) -> asyncio.Future[T | None]:
        """Queue an operation for the record's thread. Its future need not be awaited.

        With ``later``, an operation that fails because the disk is full or the file is locked is repeated
        before the next operation.
        """
        return asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, operation, later)

    @property
    def _works(self) -> bool:
        return self.has_limits or self._failure is None

    async def answer(self, future: asyncio.Future[T | None]) -> T | None:
        """Return the result of an operation; None if the disk hangs (the operation stays queued)."""
        if self._has_answered() or self.has_limits:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(
                    [future], timeout=self._patience if self._works else PATIENCE_AFTER_FAILURE
                )
            self._has_answered = future.done
        return future.result() if future.done() else None

    def _guarded(self, operation: Callable[[], T], later: bool) -> T | None:
        try:
            while self._postponed:
                self._postponed[0]()
                self._postponed.popleft()
            result = operation()
        except (sqlite3.Error, OSError, ValueError) as problem:  # ValueError: text that is not valid Unicode
            self._failure = problem
            if later and isinstance(problem, sqlite3.OperationalError | OSError):
                self._postponed.append(operation)
            return None
        self._failure = None
        return result


class Entry:
    """The record's entry of one POST, while the POST is sent.

    Attributes:
        is_to_confirm: whether the sender is to call ``confirmed``, until which other POSTs wait. Under a
            standing limit an answer may state less than the POST costs, until one has agreed with its tasks.
    """

    def __init__(self, record: AccountRecord, store: Store | None, asked: Asked) -> None:
        self._record = record
        self._store = store
        self._asked = asked
        self._opened: Opened | None = None  # set and read in the record's thread
        self._is_accepted = False
        self.is_to_confirm: bool = False

    async def intend(self) -> bool:
        """Store the intent of the POST if the limits allow it.

        If the caller is cancelled meanwhile, nothing is sent and no credits stay held.

        Returns:
            False if another POST has to end first; then nothing was stored.

        Raises:
            StandingLimitError: the limits do not allow the POST, or cannot be checked; it must not be sent.
        """
        if (store := self._store) is None:
            return True
        future: asyncio.Future[Answer | None] = self._record.begin(lambda: self._intend(store))
        try:
            answer: Answer | None = await self._record.answer(future)
        except BaseException:
            self._give_up(store, "not sent", is_unpaid=True)
            raise
        if answer is None:
            self._record.check_failure(store)
        return self._may_leave(answer)

    async def room(self) -> None:
        """Wait until the limits allow the POST.

        Raises:
            StandingLimitError: they will not allow it, or cannot be checked.
        """
        if (store := self._store) is None:
            return
        pause = FIRST_PAUSE
        while not self._may_leave(await self._record.do(lambda: store.check_limits(self._asked))):
            await anyio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Store how the POST that is sent in this block ended, if it was not accepted."""
        try:
            yield
        except BaseException as error:
            if not self._is_accepted and self._store is not None:
                self._give_up(self._store, type(error).__name__, is_unpaid=_proves_unpaid(error))
            raise

    def retried(self) -> None:
        """Store that an attempt failed and another one follows: other POSTs no longer wait for this one."""
        store = self._store
        if store is not None and self._record.has_limits:
            self._record.begin(lambda: self._with_opened(store.retried))

    async def accepted(self, submission: Submission) -> None:
        """Store the answer to the POST."""
        self._is_accepted = True
        if (store := self._store) is not None:
            self.is_to_confirm = (
                self._record.has_limits and self._tariff(submission) not in self._record.confirmed
            )
            accept = partial(store.accept, self._asked, to_confirm=self.is_to_confirm)
            await self._record.do(lambda: accept(self._opened, submission), later=True)
            self._record.count_post(store)

    async def confirmed(self, submission: Submission, tasks: Sequence[Task]) -> None:
        """Store what the tasks of the POST state as their charge.

        Without tasks, because they could not be asked, the answer is believed, and the next one confirmed.
        """
        if (store := self._store) is not None:
            confirm = partial(store.confirm, self._asked.key, submission, tasks)
            if await self._record.do(confirm, later=True):
                self._record.confirmed.add(self._tariff(submission))

    def _tariff(self, submission: Submission) -> Tariff:
        return Tariff(self._asked.kind, len(submission.task_ids))

    def _may_leave(self, answer: Answer | Hold | None) -> bool:
        if isinstance(answer, Refusal):
            raise StandingLimitError(answer.reason)
        return not isinstance(answer, Wait)

    def _intend(self, store: Store) -> Answer:
        answer = store.intend(self._asked)
        if isinstance(answer, Opened):
            self._opened = answer
        return answer

    def _give_up(self, store: Store, error: str, *, is_unpaid: bool) -> None:
        self._record.begin(
            lambda: store.give_up(self._asked, self._opened, error=error, is_unpaid=is_unpaid), later=True
        )

    def _with_opened(self, operation: Callable[[Opened], None]) -> None:
        """Call an operation with the row of the POST, if there is one. Runs in the record's thread."""
        if self._opened is not None:
            operation(self._opened)


def _proves_unpaid(error: BaseException) -> bool:
    """Whether an exception proves that the POST was not charged: it was refused, or never on the wire."""
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return (
            getattr(error, "idempotency_key", None) is None
        )  # the transport sets it if it may have been sent
    return isinstance(error, SeedanceError) and not isinstance(error, UncertainSubmissionError)
