"""The planning of a manifest's jobs, and their matching with the jobs of earlier runs.

A job is recognised by its name. With the same request it is the same job and keeps its state. With another
request it is *edited*: if it was never charged, it is replaced; if it was sent, the sent job is kept under
``…-before-edit`` and its result is collected, and a new job is planned under the name. A job without a name
is recognised by its request only: otherwise a line inserted at the top would change the names of all
following jobs, and they would be paid again. See ``unnamed_jobs`` for their names.

A job that the manifest no longer lists is deleted if it was never sent, and kept otherwise; a new job with
the same request adopts it, see ``adoption``.

Memory use does not grow with the manifest: the file's unique index detects names that are used twice, and a
temporary table has the jobs that are still listed.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import field, frozen

from seedance_async import wire
from seedance_async.batch import keys
from seedance_async.batch.journal import input_checks, link_checks, projects, unnamed_jobs
from seedance_async.batch.journal.adoption import Adopted, adopt
from seedance_async.batch.journal.broken import Broken, BrokenLines
from seedance_async.batch.journal.input_rows import with_marks
from seedance_async.batch.journal.name_clashes import ResultTakenError, same_result, used_twice
from seedance_async.batch.journal.records import Changes, Draft, damage
from seedance_async.batch.states import NEVER_PAID, State
from seedance_async.errors import ManifestError, place_of
from seedance_async.filenames import fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seedance_async.batch.journal.records import Row
    from seedance_async.batch.journal.store import Store

LineProblem: TypeAlias = tuple[int, str, str]
"""Line, field and reason."""

_INSERT: Final = (
    "INSERT INTO jobs (name, fold, unnamed, listed, line, take, tariff, path, body, digest, state, run) "
    "VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, 'planned', 0)"
)

_UPDATE_LINES: Final = (
    "UPDATE jobs SET line = listed.line FROM temp.listed AS listed "
    "WHERE listed.number = jobs.number AND listed.line IS NOT jobs.line AND listed.line IS NOT NULL"
)
"""Updates the line numbers of jobs that have moved in the manifest."""

_KEEP_ORDERED: Final = (
    "INSERT OR IGNORE INTO temp.listed SELECT further.number, further.line FROM older "
    "JOIN jobs AS further USING (number) JOIN jobs AS newest ON newest.fold = older.fold "
    "JOIN temp.listed AS listed ON listed.number = newest.number "
    "WHERE older.ordered = 1 AND further.digest = newest.digest"
)
"""Keeps ordered takes that are not made yet listed, as long as their job is listed with the same request."""

_NO_OLDER_RESULTS: Final = "DELETE FROM older WHERE number IN (SELECT number FROM temp.listed)"
"""A job that the manifest lists is no longer an older result of another job."""

PAGE: Final = 500


@frozen
class Taken:
    """The result of planning some drafts.

    Attributes:
        numbers: the numbers of their jobs.
        problems: the problems of drafts that did not become jobs.
    """

    numbers: list[int] = field(factory=list[int])
    problems: list[LineProblem] = field(factory=list[LineProblem])


class Planner:
    """One reading of a manifest into a journal. To be created and used in the journal's thread.

    Args:
        store: the journal's store.
        whole: store everything in one transaction, when the manifest is finished. Otherwise each call of
            ``take`` is a transaction.
        adopts: whether new jobs adopt the results of removed jobs; has an effect only with ``whole``.

    Attributes:
        adopted: the jobs that were found under another name, once the manifest is finished.
    """

    def __init__(self, store: Store, *, whole: bool, adopts: bool = True) -> None:
        self._store = store
        self._file = store.file
        self._fresh = store.file.row("SELECT 1 FROM jobs LIMIT 1") is None
        self._check_names_and_digests()
        self._whole = whole
        self._adopts = whole and adopts and not self._fresh
        self.adopted: list[Adopted] = []
        if whole:
            self._file.begin()
        self._added = 0
        self._edited = 0
        self._broken = BrokenLines()
        self._found = 0
        self._has_finals = False
        self._have_projects = projects.any_at_all(store.file)
        self._file.write("DROP TABLE IF EXISTS temp.listed")
        self._file.write("CREATE TEMP TABLE listed (number INTEGER PRIMARY KEY, line INTEGER)")
        self._file.write("DROP TABLE IF EXISTS temp.added")
        self._file.write("CREATE TEMP TABLE added (number INTEGER PRIMARY KEY)")
        unnamed_jobs.begin(store)
        self._file.write("DROP TABLE IF EXISTS temp.edited")
        self._file.write("CREATE TEMP TABLE edited (number INTEGER PRIMARY KEY, name TEXT, fold TEXT)")

    def take(self, drafts: Sequence[Draft | Broken]) -> Taken:
        """Plan some jobs, in the order of their lines. A name may be used once, also by an invalid line."""
        try:
            return self._file.transaction(lambda: self._take(drafts))
        except BaseException:
            self._store.reload()
            raise

    def take_finals(self, drafts: Sequence[Draft]) -> Taken:
        """Plan finals of kept takes, after all jobs of the manifest."""
        self._file.transaction(self._forget_listed_finals)
        self._has_finals = True
        return self.take(drafts)

    def link_problems(self, assets: Mapping[str, str] | None = None) -> list[LineProblem]:
        """Return the problems of links; to be called after all jobs were planned.

        Args:
            assets: the value of each asset of the manifest.
        """
        listed = "1" if self._fresh else "number IN (SELECT number FROM temp.listed)"
        others = link_checks.OtherNames(self._broken, assets or {})
        return list(link_checks.problems(self._store, checked=listed, there=listed, others=others))

    def input_problems(self, gone: Mapping[str, str], *, has_store: bool) -> list[LineProblem]:
        """Return why local files cannot be sent; to be called after all jobs were planned.

        Args:
            gone: by path, why a file that earlier runs read cannot be read now.
            has_store: whether a media store is configured.
        """
        return list(input_checks.problems(self._store, gone, has_store=has_store, fresh=self._fresh))

    def finish(self, *, manifest: str) -> Changes:
        """Finish the reading: handle jobs that the manifest no longer lists, and return all changes.

        Args:
            manifest: fingerprint of the manifest's bytes, to recognise it unchanged in the next run.
        """
        try:
            changes = self._file.transaction(lambda: self._finish(manifest))
            self._file.end(keep=True)
        finally:
            self._store.reload()
        return changes

    def abandon(self) -> None:
        """End the reading early; with ``whole``, nothing of it is stored."""
        self._file.end(keep=False)
        self._store.reload()

    def _check_names_and_digests(self) -> None:
        """Check that names and digests are intact: otherwise a job would count as new, and be paid again.

        Raises:
            JournalError: one is damaged.
        """
        last = 0
        columns = "number, name, fold, unnamed, path, body, digest"
        while rows := self._file.rows(
            f"SELECT {columns} FROM jobs WHERE number > ? ORDER BY number LIMIT ?", last, PAGE
        ):
            for number, name, folded, unnamed, path, body, digest in rows:
                if fold(name) != folded or (unnamed and not name.startswith("job-")):
                    raise damage(f"the name of job {number} ({name!r:.80})")
                if keys.digest(path, body) != digest:
                    raise damage(f"the request of job {number} ({name!r:.80})")
            last = rows[-1][0]

    def _forget_listed_finals(self) -> None:
        """Forget which finals the manifest lists: a listed job is not a final, even if it was made as one."""
        self._file.write("DELETE FROM finals WHERE number IN (SELECT number FROM temp.listed)")

    def _take(self, drafts: Sequence[Draft | Broken]) -> Taken:
        sound = [draft for draft in drafts if isinstance(draft, Draft)]
        linked = not self._whole and any(draft.links for draft in sound)  # with whole, checked at the end
        if self._fresh and not self._broken and len(sound) == len(drafts) and not linked:
            self._file.write("SAVEPOINT chunk")
            try:
                return self._insert_all(sound)
            except sqlite3.IntegrityError:  # a name is used twice: find out which
                self._file.write("ROLLBACK TO chunk")
                self._store.reload()
        return self._take_linked(drafts) if linked else self._take_each(drafts)

    def _take_linked(self, drafts: Sequence[Draft | Broken]) -> Taken:
        """Plan linked jobs of a program one by one: each job must come after the sources of its links.

        Raises:
            ManifestError: a source is missing, or does not make the output; none of the jobs is stored.
        """
        problems: list[LineProblem] = []
        taken = Taken()
        for draft in drafts:
            problems += link_checks.unknown(self._store, draft) if isinstance(draft, Draft) else ()
            self._take_next(draft, taken)
        checked = f"number IN ({', '.join(map(str, taken.numbers))})"
        if problems := problems or list(link_checks.problems(self._store, checked=checked)):
            raise ManifestError(problems, source="jobs", is_file=False)
        return taken

    def _take_each(self, drafts: Sequence[Draft | Broken]) -> Taken:
        taken = Taken()
        for draft in drafts:
            self._take_next(draft, taken)
        return taken

    def _take_next(self, draft: Draft | Broken, taken: Taken) -> None:
        earlier = None if draft.name is None else self._namesake(draft.name)
        if earlier is not None and draft.name is not None:
            line, name = earlier
            reason = used_twice(draft.name, name, self._where(line))
            taken.problems.append((draft.line, "name", reason))
            self._broken.add(_as_broken(draft), is_named=False)
        elif isinstance(draft, Broken):
            self._broken.add(draft)
        else:
            self._take_one(draft, taken)

    def _where(self, line: int) -> str:
        return f"line {line}" if self._whole else place_of(line)

    def _namesake(self, name: str) -> tuple[int, str] | None:
        """Return the line of this reading that has the same name, and its spelling; None if there is none."""
        if (broken := self._broken.get(name)) is not None:
            return broken.line, str(broken.name)
        row = self._file.row("SELECT number, line, name FROM jobs WHERE fold = ?", fold(name))
        line = None if row is None else self._listed_at(*row[:2])
        return None if row is None or line is None else (line, row[2])

    def _insert_all(self, drafts: Sequence[Draft]) -> Taken:
        last = self._last_number()
        rows = [self._row(draft, draft.name or _name(draft)) for draft in drafts]
        self._file.connection.executemany(_INSERT, rows)
        self._added += len(rows)
        numbers = list(range(last + 1, self._last_number() + 1))
        for number, draft in zip(numbers, drafts, strict=True):
            if draft.links:
                self._store.write_links(number, draft.links)
            if draft.inputs:
                self._store.write_inputs(number, draft.inputs)
            self._put_project(number, draft)
        return Taken(numbers=numbers)

    def _put_project(self, number: int, draft: Draft) -> None:
        if draft.project is not None or self._have_projects:
            projects.put(self._file, number, draft.project)

    def _take_one(self, draft: Draft, taken: Taken) -> None:
        try:
            number = self._find_unnamed(draft) if draft.name is None else self._find_named(draft)
        except ResultTakenError as clash:
            taken.problems.append((draft.line, "name", str(clash)))
            return
        taken.numbers.append(number)
        self._put_project(number, draft)
        if draft.inputs:
            self._store.place_inputs(number, draft.inputs)
        if not self._fresh:
            self._file.write("INSERT INTO temp.listed VALUES (?, ?)", number, draft.line)

    def _find_unnamed(self, draft: Draft) -> int:
        row = None
        if not self._fresh:
            row = self._file.row(
                "SELECT number, listed FROM jobs WHERE unnamed = 1 AND digest = ? "
                "AND number NOT IN (SELECT number FROM temp.listed) ORDER BY number LIMIT 1",
                draft.digest,
            )
        row, name = row or self._unnamed_at_same_place(draft), _name(draft)
        number = self._insert(draft, self._store.free_name(name)) if row is None else self._keep(*row)
        if self._whole and not self._fresh:
            unnamed_jobs.note(self._store, number, name)
        return number

    def _unnamed_at_same_place(self, draft: Draft) -> Row | None:
        """Return the job of the same place if an earlier version serialised the same request differently."""
        row = self._file.row(
            "SELECT number, listed, line, path, body FROM jobs WHERE unnamed = 1 AND fold = ?", _name(draft)
        )
        if row is None:
            return None
        number, listed, line, path, body = row
        taken = self._listed_at(number, line) is not None
        return (number, listed) if not taken and _same_request(path, body, draft) else None

    def _find_named(self, draft: Draft) -> int:
        name = draft.name or ""
        row = self._file.row(
            "SELECT number, listed, digest, state, path, body FROM jobs WHERE fold = ?", fold(name)
        )
        if row is not None and (row[2] == draft.digest or _same_request(row[4], row[5], draft)):
            return self._keep(row[0], row[1])
        before = self._by_history(name, draft)
        if row is None:
            return self._insert(draft, name) if before is None else self._take_back(before, name, draft)
        number, _, _, state, *_ = row
        self._edited += 1
        if before is None and state in NEVER_PAID:
            return self._replace(number, draft)
        self._make_room(number, name, state)
        if before is not None:
            self._found += 1
            return self._take_back(before, name, draft)
        return self._insert(draft, name, new=False)

    def _by_history(self, name: str, draft: Draft) -> int | None:
        """Return the newest job that once had this name and has this request; it may be paid.

        Raises:
            ResultTakenError: it belongs to another line.
        """
        row = self._file.row(
            "SELECT number, name, line FROM former_names JOIN jobs USING (number) "
            "WHERE former_names.fold = ? AND digest = ? ORDER BY number DESC LIMIT 1",
            fold(name),
            draft.digest,
        )
        if row is None:
            return None
        number, other, at = row
        if (line := self._listed_at(number, at)) is not None:
            raise ResultTakenError(same_result(name, other, self._where(line)))
        return int(number)

    def _make_room(self, number: int, name: str, state: State) -> None:
        if state in NEVER_PAID:
            self._file.write("DELETE FROM jobs WHERE number = ?", number)
        else:
            self._store.set_aside(number, self._store.free_name(f"{name}-before-edit"))
            self._file.write("INSERT OR IGNORE INTO temp.edited VALUES (?, ?, ?)", number, name, fold(name))

    def _take_back(self, number: int, name: str, draft: Draft) -> int:
        """Give a job a name that it had before."""
        self._store.rename(number, name, at_once=True)
        self._file.write("UPDATE jobs SET listed = 1, line = ? WHERE number = ?", draft.line, number)
        return number

    def _listed_at(self, number: int, line: int) -> int | None:
        """Return the line of this reading that lists a job; None if none does yet."""
        if self._fresh:
            return line
        row = self._file.row("SELECT line FROM temp.listed WHERE number = ?", number)
        return None if row is None else int(row[0])

    def _keep(self, number: int, listed: int) -> int:
        if not listed:
            self._file.write("UPDATE jobs SET listed = 1 WHERE number = ?", number)
        return number

    def _replace(self, number: int, draft: Draft) -> int:
        """Replace the request of a job that was never charged."""
        self._file.write(
            "UPDATE jobs SET listed = 1, line = ?, take = ?, tariff = ?, path = ?, body = ?, digest = ?, "
            "state = 'planned', post = NULL, place = NULL, ended_at = NULL, error = NULL WHERE number = ?",
            *self._request(draft),
            number,
        )
        self._store.write_links(number, draft.links)
        self._store.write_inputs(number, draft.inputs)
        return number

    def _insert(self, draft: Draft, name: str, *, new: bool = True) -> int:
        self._file.write(_INSERT, *self._row(draft, name))
        self._added += new
        number = self._last_number()
        if self._adopts:  # the number alone does not show it: SQLite reuses those of deleted jobs
            self._file.write("INSERT INTO temp.added VALUES (?)", number)
        if draft.links:
            self._store.write_links(number, draft.links)
        if draft.inputs:
            self._store.write_inputs(number, draft.inputs)
        return number

    def _row(self, draft: Draft, name: str) -> tuple[object, ...]:
        return (name, fold(name), draft.name is None, *self._request(draft))

    def _request(self, draft: Draft) -> tuple[object, ...]:
        tariff = self._store.tariff_id(draft.tariff)
        return (draft.line, draft.take, tariff, draft.path, draft.body, draft.digest)

    def _last_number(self) -> int:
        row = self._file.row("SELECT max(number) FROM jobs")
        return int(row[0] or 0) if row else 0

    def _finish(self, manifest: str) -> Changes:
        removed = 0
        if not self._fresh:
            if self._adopts:
                recognised, set_aside = adopt(self._store)
                self.adopted = [job for job in recognised if job.before != job.name]
                only_links_changed = len(recognised) - len(self.adopted)
                self._edited += set_aside - only_links_changed
            self._file.write(_NO_OLDER_RESULTS)
            if not self._has_finals:
                self._forget_listed_finals()
            self._file.write(_KEEP_ORDERED)
            self._file.write(_UPDATE_LINES)
            unlisted = "number NOT IN (SELECT number FROM temp.listed)"
            row = self._file.row(f"SELECT count(*) FROM jobs WHERE listed = 1 AND {unlisted}")
            removed = row[0] if row else 0
            self._file.write(f"DELETE FROM jobs WHERE state IN ('planned', 'blocked') AND {unlisted}")
            self._file.write(f"UPDATE jobs SET listed = 0 WHERE listed = 1 AND {unlisted}")
            edited, found = unnamed_jobs.settle(self._store)
            removed, self._added = removed - edited, self._added - (edited - found)
            self._edited, self._found = self._edited + edited, self._found + found
        self._store.remember_fact("manifest", manifest)
        drifts = link_checks.drifts(self._store)
        adopted = len(self.adopted)
        added = sum(each.is_added for each in self.adopted)
        return Changes(
            added=self._added - added,
            removed=removed,
            edited=self._edited,
            found=self._found + adopted - added,
            adopted=adopted,
            drifts=drifts,
        )


def _as_broken(draft: Draft | Broken) -> Broken:
    if isinstance(draft, Broken):
        return draft
    links = tuple((name, link) for link, name in draft.links.items())
    return Broken(draft.line, draft.name, draft.tariff.kind.model, links)


def _same_request(path: str, body: bytes, draft: Draft) -> bool:
    """Whether a stored request equals the draft's, although another version serialised it differently.

    Without this, an update of the package could make every job count as edited, and be paid again.
    """
    if path != draft.path:
        return False
    fields = wire.loads(body)
    try:
        marked = with_marks(dict(fields))  # type: ignore[call-overload]  # our own object
        serialised = wire.encode(wire.build(draft.tariff.kind.model or "", marked))
    except ValueError:  # the validation rules have changed since
        return False
    return serialised == draft.body


def _name(draft: Draft) -> str:
    name = f"job-{draft.place:06d}"
    return name if draft.take == 1 else f"{name}-{draft.take}"
