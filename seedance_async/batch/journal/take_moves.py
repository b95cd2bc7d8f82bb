"""The takes of jobs: older results under other names, files that are still to be renamed, and re-rolls.

A job's name belongs to its newest result. When a job with files loses its name, the pending renaming of its
files is stored in the same transaction, so that it is done even if the process dies. The files are renamed
when a newer result is about to be saved under the name; until then they are the newest.

A re-roll is stored until a run has finished it. Until then the same jobs are not made again, so a command
that was killed can be repeated unchanged.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from seedance_async.batch.journal import projects
from seedance_async.batch.journal.link_moves import LinkMoves
from seedance_async.batch.journal.records import as_json, names
from seedance_async.batch.journal.transactions import transaction
from seedance_async.batch.states import ENDED, State
from seedance_async.filenames import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

_COPIED: Final = "unnamed, listed, line, take, tariff, path, body, digest"
AGAIN: Final = (
    "state = 'planned', post = NULL, place = NULL, accepted_at = NULL, ended_at = NULL, task_ids = NULL, "
    "tasks = NULL, credits_used = NULL, credits_refunded = NULL, error = NULL"
)
"""SQL that plans a failed or refused job again; its earlier cost stays in the sums."""

_UNPRICED: Final = (
    "INSERT OR IGNORE INTO unpriced SELECT post, place, tariff FROM jobs "
    "WHERE state = 'failed' AND credits_used IS NULL AND number IN (SELECT value FROM json_each(?))"
)
"""SQL that keeps the unknown charge of a failed job held, although the job forgets its earlier POST."""

_UNENDED: Final = f"state NOT IN ({', '.join(repr(str(state)) for state in sorted(ENDED))})"


@frozen(kw_only=True)
class Rerolled:
    """The result of an order to make jobs again.

    Attributes:
        takes: number of new takes that are planned.
        jobs: the names of their jobs.
        unfinished: the names of jobs without new takes, because earlier ones are not finished yet.
    """

    takes: int = 0
    jobs: list[str] = field(factory=list[str])
    unfinished: list[str] = field(factory=list[str])


@frozen(kw_only=True)
class Move:
    """A pending renaming of a job's files.

    Attributes:
        name: the job name that the files have now.
        target: the job name that they get; None until the renaming has begun.
        files: the paths that they get, below the batch directory; empty until the renaming has begun.
    """

    name: str
    target: str | None
    files: tuple[str, ...]


class TakeMoves(LinkMoves):
    """The takes of one batch."""

    # --- names, as parts of transactions

    def rename(self, number: int, name: str, *, at_once: bool, recognised: bool = True) -> None:
        """Rename a job, and store that its files are to be renamed.

        Args:
            number: number of the job.
            name: a name that no job has.
            at_once: whether its files are renamed without waiting for a newer result.
            recognised: whether the job can still be found by its former name.
        """
        before, state = self._job(number, "name, state")
        if recognised:
            self.file.write("INSERT OR IGNORE INTO former_names VALUES (?, ?)", fold(before), number)
        self.file.write("DELETE FROM older WHERE number = ?", number)
        self.file.write("UPDATE jobs SET name = ?, fold = ? WHERE number = ?", name, fold(name), number)
        move = self.move_of(number)
        if move is not None and move.target is None and move.name == name:
            self.file.write("DELETE FROM moves WHERE number = ?", number)
        elif move is not None:
            self.file.write("UPDATE moves SET at_once = max(at_once, ?) WHERE number = ?", at_once, number)
        elif state in {State.COMPLETED, State.SAVED}:
            insert = "INSERT INTO moves (number, name, fold, at_once) VALUES (?, ?, ?, ?)"
            self.file.write(insert, number, before, fold(before), at_once)

    def set_aside(self, number: int, name: str) -> None:
        """Rename a job, and make it an older result of the job that will get its present name."""
        (owner,) = self._job(number, "fold")
        self.rename(number, name, at_once=False)
        self.file.write("UPDATE jobs SET listed = 0 WHERE number = ?", number)
        self.file.write("INSERT INTO older VALUES (?, ?, 0)", number, owner)

    def free_name(self, name: str) -> str:
        """Return the name, or the first of ``name-2``, ``name-3``, … that no job has."""
        return next(
            tried
            for number in count(1)
            if not self._has_job(tried := name if number == 1 else f"{name}-{number}")
        )

    def _free_take(self, name: str) -> str:
        """Return the first of ``name-take-1``, ``name-take-2``, … that no job has."""
        return next(tried for number in count(1) if not self._has_job(tried := f"{name}-take-{number}"))

    def _has_job(self, name: str) -> bool:
        return self.file.row("SELECT 1 FROM jobs WHERE fold = ?", fold(name)) is not None

    # --- files that are to be renamed

    def move_of(self, number: int) -> Move | None:
        """Return the pending renaming of a job's files; None if they have its name already."""
        row = self.file.row("SELECT name, target, files FROM moves WHERE number = ?", number)
        if row is None:
            return None
        return Move(name=row[0], target=row[1], files=names(row[2], f"moved files of job {number}"))

    def in_the_way(self, name: str, number: int) -> list[int]:
        """Return the other saved jobs whose files still have the name of this job.

        Args:
            name: name of the job.
            number: number of the job.
        """
        rows = self.file.rows(
            "SELECT number FROM moves JOIN jobs USING (number) "
            "WHERE moves.fold = ? AND number <> ? AND state = 'saved' ORDER BY number",
            fold(name),
            number,
        )
        return [each for (each,) in rows]

    def is_preceded(self, number: int) -> bool:
        """Whether an older result that may have files under this job's name is not saved yet."""
        row = self.file.row(
            "SELECT 1 FROM jobs JOIN moves ON moves.fold = jobs.fold AND moves.number <> jobs.number "
            "JOIN jobs AS older ON older.number = moves.number AND older.state = 'completed' "
            "WHERE jobs.number = ? AND jobs.number NOT IN (SELECT number FROM moves)",
            number,
        )
        return row is not None

    def due_moves(self, *, after: int, limit: int) -> list[int]:
        """Return a page of the jobs whose files are to be renamed now, in order of their numbers.

        Files wait only for a job of the manifest that has their name and is not saved.
        """
        rows = self.file.rows(
            "SELECT number FROM moves JOIN jobs USING (number) WHERE state = 'saved' AND "
            "(at_once = 1 OR target IS NOT NULL OR NOT EXISTS (SELECT 1 FROM jobs AS newer "
            "WHERE newer.fold = moves.fold AND newer.number <> moves.number "
            "AND newer.listed = 1 AND newer.state <> 'saved')) AND number > ? ORDER BY number LIMIT ?",
            after,
            limit,
        )
        return [number for (number,) in rows]

    def is_due(self, number: int) -> bool:
        """Whether the files of a job are to be renamed now."""
        return self.due_moves(after=number - 1, limit=1) == [number]

    @transaction
    def intend_move(self, number: int, target: str, files: Sequence[str]) -> None:
        """Store the new paths of a job's files, before the first file is renamed."""
        self.file.write(
            "UPDATE moves SET target = ?, files = ? WHERE number = ?", target, as_json(files), number
        )

    @transaction
    def confirm_move(self, number: int) -> None:
        """Store that the files have the paths that ``intend_move`` stored."""
        (name,) = self._job(number, "name")
        row = self.file.row("SELECT target, files FROM moves WHERE number = ?", number)
        if row is None or row[0] is None:
            return
        self.file.write("UPDATE jobs SET files = ? WHERE number = ?", row[1], number)
        self.file.write("DELETE FROM moves WHERE number = ?", number)
        if row[0] != name:  # the job was renamed again meanwhile
            insert = "INSERT INTO moves (number, name, fold, at_once) VALUES (?, ?, ?, 1)"
            self.file.write(insert, number, row[0], fold(row[0]))

    # --- re-rolls

    def listed_names(self, *, after: int, limit: int) -> list[tuple[int, str]]:
        """Return a page of numbers and names of the manifest's jobs, without their further takes."""
        rows = self.file.rows(
            "SELECT number, name FROM jobs WHERE listed = 1 AND number > ? "
            "AND number NOT IN (SELECT number FROM older WHERE ordered = 1) ORDER BY number LIMIT ?",
            after,
            limit,
        )
        return [(number, name) for number, name in rows]

    def listed_by_tasks(self, tasks: Sequence[Sequence[str]]) -> list[int]:
        """Return the manifest's jobs whose newest results have exactly these task ids, a sequence per job."""
        rows = self.file.rows(
            "SELECT number FROM jobs WHERE listed = 1 AND number NOT IN (SELECT number FROM older) "
            "AND task_ids IN (SELECT value FROM json_each(?))",
            as_json([as_json(ids) for ids in tasks]),
        )
        return [number for (number,) in rows]

    @transaction
    def reroll(self, numbers: Sequence[int], takes: int) -> Rerolled:
        """Plan further takes of jobs that have ended.

        A result that exists is kept as ``NAME-take-1``, and the last of the new takes gets the job's name. A
        job that failed or was refused is itself planned again.

        Args:
            numbers: numbers of jobs of the manifest.
            takes: number of takes per job.
        """
        rerolled = Rerolled()
        made = 0
        for number in numbers:
            name, state = self._job(number, "name, state")
            is_begun = self.file.row("SELECT 1 FROM rerolls WHERE fold = ?", fold(name)) is not None
            self.file.write("INSERT OR IGNORE INTO rerolls VALUES (?)", fold(name))
            if is_begun or state not in ENDED:
                rerolled.unfinished.append(name)
            else:
                self._take_anew(number, name, state, takes)
                rerolled.jobs.append(name)
                made += takes
        self.reload()
        return Rerolled(takes=made, jobs=rerolled.jobs, unfinished=rerolled.unfinished)

    def _take_anew(self, number: int, name: str, state: State, takes: int) -> None:
        if state == State.SAVED:
            self.set_aside(number, self._free_take(name))
        for _ in range(takes - 1):
            further = self.copy(number, self._free_take(name))
            self.file.write("INSERT INTO older VALUES (?, ?, 1)", further, fold(name))
            self.file.write("UPDATE jobs SET unnamed = 0 WHERE number = ?", further)
        if state == State.SAVED:
            self.copy(number, name)
            self.file.write("UPDATE jobs SET unnamed = 0 WHERE number = ?", number)
        else:
            self.plan_again([number])

    def plan_again(self, numbers: Sequence[int]) -> None:
        """Plan jobs again that failed or were refused, under new keys. Part of a transaction."""
        cell = as_json(list(numbers))
        self.file.write(_UNPRICED, cell)
        again = f"UPDATE jobs SET {AGAIN} WHERE number IN (SELECT value FROM json_each(?))"
        self.file.write(again, cell)

    def copy(self, number: int, name: str) -> int:
        """Plan a job with the same request as another one, and return its number."""
        columns = _COPIED.replace("listed", "1")
        self.file.write(
            f"INSERT INTO jobs (name, fold, {_COPIED}, state, run) "
            f"SELECT ?, ?, {columns}, 'planned', 0 FROM jobs WHERE number = ?",
            name,
            fold(name),
            number,
        )
        ((copy,),) = self.file.rows("SELECT last_insert_rowid()")
        self.file.write(
            "INSERT INTO links (job, text, source, output, place) "
            "SELECT ?, text, source, output, place FROM links WHERE job = ?",
            copy,
            number,
        )
        self.file.write(
            "INSERT INTO inputs (job, ref, path) SELECT ?, ref, path FROM inputs WHERE job = ?", copy, number
        )
        self.file.write("INSERT INTO finals SELECT ?, source FROM finals WHERE number = ?", copy, number)
        projects.copy(self.file, number, copy)
        return int(copy)

    @transaction
    def close_rerolls(self) -> None:
        """Close the re-rolls that a run has finished, so that the same jobs can be made again."""
        ordered = "SELECT older.fold FROM older JOIN jobs USING (number) WHERE ordered = 1"
        self.file.write(
            f"DELETE FROM rerolls WHERE fold NOT IN (SELECT fold FROM jobs WHERE {_UNENDED}) "
            f"AND fold NOT IN ({ordered} AND {_UNENDED})"
        )
        done = f"SELECT number FROM older JOIN jobs USING (number) WHERE ordered = 1 AND NOT {_UNENDED}"
        self.file.write(f"UPDATE jobs SET listed = 0 WHERE number IN ({done})")
        self.file.write(f"UPDATE older SET ordered = 0 WHERE number IN ({done})")

    @transaction
    def promote(self) -> None:
        """If the last new take of a job failed or was refused, give its name to the newest saved take."""
        rows = self.file.rows(
            "SELECT jobs.number, max(older.number) FROM jobs JOIN older ON older.fold = jobs.fold "
            "JOIN jobs AS take ON take.number = older.number AND take.state = 'saved' "
            "WHERE older.ordered = 1 AND jobs.listed = 1 AND jobs.state IN ('failed', 'refused') "
            "GROUP BY jobs.number"
        )
        for failed, saved in rows:
            (name,), (other,) = self._job(failed, "name"), self._job(saved, "name")
            (unnamed,) = self._job(failed, "unnamed")
            self.rename(failed, self.free_name(f"{name}-failed"), at_once=False, recognised=False)
            self.rename(saved, name, at_once=True, recognised=False)
            self.rename(failed, other, at_once=False, recognised=False)
            self.file.write("INSERT INTO older VALUES (?, ?, 1)", failed, fold(name))
            self.file.write("UPDATE jobs SET unnamed = 0 WHERE number = ?", failed)
            self.file.write("UPDATE jobs SET unnamed = ? WHERE number = ?", unnamed, saved)
        self.reload()

    def ordered_takes(self) -> list[int]:
        """Return the numbers of further takes that are planned and were not sent."""
        rows = self.file.rows(
            "SELECT number FROM older JOIN jobs USING (number) "
            "WHERE ordered = 1 AND listed = 1 AND state = 'planned' ORDER BY number"
        )
        return [number for (number,) in rows]
