"""The record of one account, from an event loop.

SQLite runs in one thread of its own, so that the loop never waits for a disk; what is asked of it first is
done first. Whoever sends a POST waits until its intent is written: well under a millisecond, and at most for
``PATIENCE``, where a disk hangs. After that nobody waits until the disk has answered again.
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
from seedance_async.record.limits import Hold, Refusal, Wait
from seedance_async.record.reading import Reader
from seedance_async.record.store import Answer, Opened, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from seedance_async.models import CreditLimits, Kind, Submission, Task
    from seedance_async.record.asked import Asked

log: Log = Log(__name__)

PATIENCE: Final = 5.0
"""Seconds for which a POST waits for the record where no limit is set, if the disk hangs."""

PATIENCE_IN_VAIN: Final = 0.05
"""As ``PATIENCE``, once the record has failed, until it works again."""

PATIENCE_UNDER_LIMITS: Final = 10.0
"""As ``PATIENCE``, where a limit is to be checked: without an answer the POST does not leave."""

LOGGED_POSTS: Final = 1000
"""POSTs whose records, some 15 kB each, are in the log before it is copied into the file and used anew."""

MOST_MISSED: Final = 1000
"""Answers that wait for a disk that cannot be written to."""

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 0.5
"""Seconds between two looks at whether the POST before has ended."""

T = TypeVar("T")

_warned: set[Path] = set()  # the files that were warned of in this process


class AccountRecord:
    """The record of one account, from an event loop; one that is off does nothing.

    Args:
        path: of its file; None for a record that is off.
        limits: standing limits that POSTs have to stay under.
        with_prompts: whether prompts are written down.

    Attributes:
        has_limits: whether any is set.
    """

    def __init__(self, path: Path | None, limits: CreditLimits, *, with_prompts: bool = False) -> None:
        self.with_prompts: bool = with_prompts
        self.has_limits: bool = limits.are_set
        self._patience = PATIENCE_UNDER_LIMITS if limits.are_set else PATIENCE
        self._store = Store(path, limits, patience=self._patience / 4) if path else None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seedance-record")
        self._has_answered: Callable[[], bool] = lambda: True  # else the disk hangs
        self._posts = 0
        self._failure: Exception | None = None
        self._missed: deque[Callable[[], object]] = deque(maxlen=MOST_MISSED)

    def start(self) -> None:
        """Begin to open the file, so that the first POST finds it open. Nobody is warned before that."""
        if self._store is not None:
            self.begin(self._store.open)

    def entry(self, asked: Asked) -> Entry:
        """The entry of a POST that is about to leave; nothing is written yet."""
        return Entry(self, self._store, asked)

    async def finished(self, task: Task) -> None:
        """Write down how a task ended, and what was refunded, before anybody learns of it."""
        if self._store is not None:
            await self.do(partial(self._store.finish, task), later=True)

    async def prices(self) -> Mapping[Kind, float]:
        """The highest price seen of one task of each kind; nothing where that cannot be read."""
        if self._store is None:
            return {}
        try:
            return await to_thread.run_sync(Reader(self._store.path).prices)
        except RecordError as problem:
            log.warning("prices charged before are not known: %s", problem.message)
            return {}

    async def close(self) -> None:
        """Write down what is left to, and close the file."""
        if self._store is not None:
            await self.do(self._store.close)
        self._thread.shutdown(wait=False)

    # --- for the entries

    def check_failure(self, store: Store) -> None:
        """An intent could not be written: warn once for each file, and stop the POST under a limit.

        Raises:
            StandingLimitError: there is a limit, and it cannot be checked.
        """
        reason = "it does not answer" if self._failure is None else str(self._failure)
        if self.has_limits:
            raise StandingLimitError(
                f"a standing limit of credits is set, and the account's record {store.path}, by which it is "
                f"counted, cannot be used ({reason}): nothing was sent. Make room, or mend the file; moved "
                "away, it begins anew with nothing spent"
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
        """Copy the log into the file every ``LOGGED_POSTS``, beside the work; closing the file does, too."""
        self._posts += 1
        if self._posts % LOGGED_POSTS == 0:
            asyncio.get_running_loop().run_in_executor(None, store.checkpoint)

    async def do(self, operation: Callable[[], T], *, later: bool = False) -> T | None:
        """Do something in the record's thread; None if it does not work, or not in time."""
        return await self.answer(self.begin(operation, later=later))

    def begin(self, operation: Callable[[], T], *, later: bool = False) -> asyncio.Future[T | None]:
        """Do something in the record's thread, after all that was asked for before; need not be awaited.

        With ``later``, what fails because the disk is full or somebody keeps the file locked is done before
        the next operation that works.
        """
        return asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, operation, later)

    @property
    def _works(self) -> bool:
        return self.has_limits or self._failure is None

    async def answer(self, asked: asyncio.Future[T | None]) -> T | None:
        """What an operation gives, unless the disk hangs: what was asked for is done all the same."""
        if self._has_answered() or self.has_limits:
            with anyio.CancelScope(shield=True):
                await asyncio.wait([asked], timeout=self._patience if self._works else PATIENCE_IN_VAIN)
            self._has_answered = asked.done
        return asked.result() if asked.done() else None

    def _guarded(self, operation: Callable[[], T], later: bool) -> T | None:
        try:
            while self._missed:
                self._missed[0]()
                self._missed.popleft()
            done = operation()
        except (sqlite3.Error, OSError, ValueError) as problem:  # ValueError: text that is none
            self._failure = problem
            if later and isinstance(problem, sqlite3.OperationalError | OSError):
                self._missed.append(operation)
            return None
        self._failure = None
        return done


class Entry:
    """One POST in the record, while it is sent."""

    def __init__(self, record: AccountRecord, store: Store | None, asked: Asked) -> None:
        self._record = record
        self._store = store
        self._asked = asked
        self._opened: Opened | None = None  # set and read in the record's thread
        self._is_accepted = False

    async def intend(self) -> bool:
        """Write the POST down, if the limits allow it; False where another one has to end first.

        A caller that leaves meanwhile sends nothing, and holds nothing.

        Raises:
            StandingLimitError: the limits do not allow it, or cannot be checked; nothing may be sent.
        """
        if (store := self._store) is None:
            return True
        asking: asyncio.Future[Answer | None] = self._record.begin(lambda: self._intend(store))
        try:
            answer: Answer | None = await self._record.answer(asking)
        except BaseException:
            self._give_up(store, "not sent", is_unpaid=True)
            raise
        if answer is None:
            self._record.check_failure(store)
        return self._may_leave(answer)

    async def room(self) -> None:
        """Wait until the limits allow the POST, or never will.

        Raises:
            StandingLimitError: they do not, or cannot be checked.
        """
        if (store := self._store) is None:
            return
        pause = FIRST_PAUSE
        while not self._may_leave(await self._record.do(lambda: store.look(self._asked))):
            await anyio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Write down how the POST that is sent in this block ends, unless it is accepted."""
        try:
            yield
        except BaseException as error:
            if not self._is_accepted and self._store is not None:
                self._give_up(self._store, type(error).__name__, is_unpaid=_proves_unpaid(error))
            raise

    def retried(self) -> None:
        """An attempt has failed, and another one follows: others need not wait for its answer."""
        store = self._store
        if store is not None and self._record.has_limits:
            self._record.begin(lambda: self._with_opened(store.retried))

    async def accepted(self, submission: Submission) -> None:
        """Write down what it was answered."""
        self._is_accepted = True
        if (store := self._store) is not None:
            await self._record.do(lambda: store.accept(self._asked, self._opened, submission), later=True)
            self._record.count_post(store)

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
        """Do something with the row of the POST, if it could be written; for the record's thread."""
        if self._opened is not None:
            operation(self._opened)


def _proves_unpaid(error: BaseException) -> bool:
    """Whether what ended a POST shows that it was not charged: refused, or never on the wire."""
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return getattr(error, "idempotency_key", None) is None  # which the transport adds where it may be
    return isinstance(error, SeedanceError) and not isinstance(error, UncertainSubmissionError)
