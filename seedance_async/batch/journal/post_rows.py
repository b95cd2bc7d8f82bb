"""The rows of POSTs: creating one for planned jobs, finding the one that serves a job, and closing it.

Part of ``Store``; everything here runs inside one of its transactions.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Final

from seedance_async import clocks, posts, wire
from seedance_async.batch import keys
from seedance_async.batch.journal.link_rows import LinkRows
from seedance_async.batch.journal.records import EXTRA, damage
from seedance_async.batch.journal.schema import MAX_NUMBER
from seedance_async.batch.states import MOVES, State
from seedance_async.errors import JournalError
from seedance_async.filenames import fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from seedance_async.batch.journal.file import File
    from seedance_async.batch.journal.records import Row
    from seedance_async.models import Submission


class PostRows(LinkRows):
    """The posts of one batch, and the state changes of the jobs they serve.

    Attributes:
        counts: number of the manifest's jobs in each state.
        others: number of other jobs in each state: other takes, and jobs removed from the manifest.
        credits_used: charged so far, in all runs.
        credits_refunded: refunded so far, in all runs.
        credits_doubted: possibly charged under keys that ``--resubmit-uncertain`` gave up.
        unknown_sidecars: see ``remains.unknown_sidecars``.
    """

    def __init__(self, file: File) -> None:
        super().__init__(file)
        self.counts: Counter[State] = Counter()
        self.others: Counter[State] = Counter()
        self._nonce = b""
        self._account = ""
        self.unknown_sidecars: Mapping[str, tuple[Path, str]] = {}
        self.credits_used: float = 0.0
        self.credits_refunded: float = 0.0
        self.credits_doubted: float = 0.0
        self.reload()

    def reload(self) -> None:
        """Read the values that are kept in memory from the file again."""
        facts: dict[str, object] = dict(self.file.rows("SELECT name, value FROM meta"))
        self._nonce = _nonce(facts.get("nonce"))
        self.run: int = int(_amount("run", facts.get("run")))
        self.credits_used = _amount("credits_used", facts.get("credits_used"))
        self.credits_refunded = _amount("credits_refunded", facts.get("credits_refunded"))
        self.credits_doubted = _amount("credits_doubted", facts.get("credits_doubted", 0.0))
        self.others = self._counted(f"SELECT state, count(*) FROM ({_OTHERS}) GROUP BY state")
        self.counts = self._counted("SELECT state, count(*) FROM jobs GROUP BY state") - self.others
        self._read_tariffs()
        self.has_links: bool = self.file.row("SELECT 1 FROM links LIMIT 1") is not None
        self.has_inputs: bool = self.file.row("SELECT 1 FROM inputs LIMIT 1") is not None

    def _counted(self, query: str) -> Counter[State]:
        return Counter({State(state): jobs for state, jobs in self.file.rows(query)})

    def recount(self, number: int, before: State, after: State) -> None:
        """Update the counts after a job has changed its state in the file."""
        is_job = self.file.row(f"SELECT 1 FROM jobs WHERE number = ? AND NOT ({EXTRA})", number) is not None
        counts = self.counts if is_job else self.others
        counts[before] -= 1
        counts[after] += 1

    def _make_post(self, numbers: Sequence[int], now: float, urls: Mapping[str, str]) -> None:
        """Store the intent of one POST for planned jobs; ``urls`` are those of local files."""
        rows = [self._job(number, "name, path, body, digest, state") for number in numbers]
        names, paths, bodies, digests, states = map(list, zip(*rows, strict=True))
        if set(states) != {State.PLANNED}:
            raise JournalError(f"jobs {numbers} are {states}; only planned jobs can get a new POST")
        if len(set(digests)) > 1:
            raise JournalError(f"jobs {numbers} do not ask for the same, so they cannot share a POST")
        if keys.digest(paths[0], bodies[0]) != digests[0]:
            raise damage(f"the request of {names[0]!r}, which is not the one planned,")
        self._check_not_saved(names)
        for number in numbers:
            self._resolve(number)
            self.resolve_inputs(number, urls)
        identity = posts.body(self._as_identified(numbers[0], bodies[0]), len(numbers))
        body = posts.body(self._as_sent(numbers[0], bodies[0]), len(numbers))
        post = self._row_for(keys.joined(names), keys.digest(paths[0], identity), paths[0], body)
        self.file.write(
            "UPDATE posts SET state = ?, account = ?, crashes = 0, intended_at = ? WHERE id = ?",
            State.SUBMITTING,
            self._account,
            now,
            post,
        )
        if boot := clocks.boot_id():
            self.file.write("INSERT OR REPLACE INTO boots VALUES (?, ?, ?)", post, boot, clocks.boot_time())
        for place, number in enumerate(numbers):
            self._move(number, State.SUBMITTING, "post = ?, place = ?", post, place)

    def _check_not_saved(self, names: Sequence[str]) -> None:
        """Check that no file next to the journal is the result of a job that is about to be sent.

        Raises:
            JournalError: one is, and the journal does not know of it.
        """
        for name in names:
            if fold(name) in self.unknown_sidecars:
                path, key = self.unknown_sidecars[fold(name)]
                raise JournalError(
                    f"{path} says that {name!r:.80} is paid under the key {key:.40}, and the journal does "
                    "not know it: the journal is an older copy, and would pay again. Put the one that "
                    "belongs to these files in its place; if the file is of another batch, move it away"
                )

    def _row_for(self, name: str, digest: bytes, path: str, body: bytes) -> int:
        """Return the row of a POST that is to be sent: an existing planned one with this body, or a new one.

        If the links have other URLs now, the body differs, and the next generation of the key is used: the
        server would refuse another body under the old key, and nothing was paid under it.
        """
        for generation in count(1):
            key = keys.derive(self._nonce, name=name, generation=generation, digest=digest)
            row = self.file.row("SELECT id, state, body FROM posts WHERE key = ?", key)
            if row is None:
                insert = (
                    "INSERT INTO posts (key, path, body, generation, state) VALUES (?, ?, ?, ?, 'planned')"
                )
                self.file.write(insert, key, path, body, generation)
                row = self.file.row("SELECT id, state, body FROM posts WHERE key = ?", key)
            if row is not None and row[1:] == (State.PLANNED, body):
                return int(row[0])
        raise AssertionError("count() does not end")

    def _post_of(self, number: int) -> tuple[int, str, bytes, str, int]:
        """Return the POST that serves a job: row, path, body, key, and the number of jobs it serves.

        Raises:
            JournalError: its body is not that of the job.
        """
        name, post, path, body, digest = self._job(number, "name, post, path, body, digest")
        if keys.digest(path, body) != digest:
            raise damage(f"the request of {name!r}, which is not the one planned,")
        row = self.file.row("SELECT path, body, key FROM posts WHERE id = ?", post)
        served = 0 if row is None or row[0] != path else _jobs_served(self._as_sent(number, body), row[1])
        if row is None or not served:
            raise damage(f"what {name!r} is to be sent as, together with others,")
        return post, row[0], row[1], row[2], served

    def _doubt_about(self, submission: Submission, post: int, asked: int | None) -> str | None:
        """Return why an answer cannot be the complete answer to a POST; None if it can.

        Args:
            submission: the answer.
            post: the row of the POST; the answer's tasks are assigned to it.
            asked: number of tasks that the answer must name; None if it need not name all.
        """
        named = submission.task_ids
        for task_id in named:
            self.file.write("INSERT OR IGNORE INTO tasks VALUES (?, ?)", task_id, post)
        marks = ", ".join("?" * len(named))
        foreign = self.file.row(f"SELECT id FROM tasks WHERE id IN ({marks}) AND post <> ?", *named, post)
        if foreign is not None:
            return f"the answer names {foreign[0]}, which is a task of another POST"
        if asked is not None and len(named) < asked:
            return f"the answer names {', '.join(named)}, {len(named)} of {asked} tasks, and does not say why"
        return None

    def _waiting_members(self, number: int) -> list[Row]:
        """Return number and place of each job that waits for the same answer, including this one."""
        return self.file.rows(
            "SELECT number, place FROM jobs "
            "WHERE post = (SELECT post FROM jobs WHERE number = ?) AND state = ? ORDER BY place",
            number,
            State.SUBMITTING,
        ) or [(number, 0)]

    def _close_post(self, number: int, state: State) -> None:
        """Set the final state of a job's POST; a POST in which other jobs were accepted stays accepted."""
        self.file.write(
            "UPDATE posts SET state = ? WHERE id = (SELECT post FROM jobs WHERE number = ?) AND state <> ?",
            state,
            number,
            State.ACCEPTED,
        )

    def _job(self, number: int, columns: str) -> Row:
        row = self.file.row(f"SELECT {columns} FROM jobs WHERE number = ?", number)
        if row is None:
            raise JournalError(f"the journal has no job {number}")
        return row

    def _move(self, number: int, to: State, changes: str, *values: object) -> None:
        """Change the state of a job.

        Raises:
            JournalError: the table of states does not allow this change.
        """
        state = self._check_move(number, to)
        self.file.write(
            f"UPDATE jobs SET state = ?, run = ?, {changes} WHERE number = ?", to, self.run, *values, number
        )
        self.recount(number, state, to)

    def _check_move(self, number: int, to: State) -> State:
        state = State(self._job(number, "state")[0])
        if to not in MOVES[state]:
            raise JournalError(f"job {number} is {state}; from there it cannot become {to}")
        return state


_OTHERS: Final = (
    "SELECT state FROM jobs WHERE listed = 0 "
    "UNION ALL SELECT state FROM older JOIN jobs USING (number) WHERE listed = 1"
)
"""The states of all rows that are not jobs of the manifest themselves."""


def _jobs_served(single: bytes, body: bytes) -> int:
    """Return how many jobs with the body ``single`` a POST serves; 0 if its body is for something else."""
    asked = wire.loads(body)
    served = (jobs for jobs in range(1, posts.MOST_JOBS + 1) if asked == wire.loads(posts.body(single, jobs)))
    return next(served, 0)


def _nonce(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) != keys.NONCE_BYTES:
        raise damage("nonce of the batch")
    return value


def _amount(name: str, value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= MAX_NUMBER:
        raise damage(f"{name} of the batch")
    return value
