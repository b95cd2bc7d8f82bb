"""The planning of a manifest's jobs, matched with what earlier runs left behind.

A job is recognised by its name. With the same request it is the same job and keeps its state; with another
it is *edited*: what was never charged is simply replaced, what was sent stays under ``…-before-edit`` and is
collected, and the name is planned anew. A job without a name is recognised by its request alone, so that a
line put in at the top does not turn every following job into another one and pay for it again; see
``unnamed_jobs`` for what it is called.

What the manifest no longer lists is forgotten if it was never sent, else kept; and a new job that asks for
the same takes it over, see ``adoption``.

A million lines must not cost memory. That no name comes twice is asked of the file's own index; which
earlier jobs are still listed is kept in a temporary table.
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

_PLACE_ANEW: Final = (
    "UPDATE jobs SET line = listed.line FROM temp.listed AS listed "
    "WHERE listed.number = jobs.number AND listed.line IS NOT jobs.line AND listed.line IS NOT NULL"
)
"""Lines may stand elsewhere in the manifest than they did."""

_KEEP_ORDERED: Final = (
    "INSERT OR IGNORE INTO temp.listed SELECT further.number, further.line FROM older "
    "JOIN jobs AS further USING (number) JOIN jobs AS newest ON newest.fold = older.fold "
    "JOIN temp.listed AS listed ON listed.number = newest.number "
    "WHERE older.ordered = 1 AND further.digest = newest.digest"
)
"""Further takes that are still to be made are wanted as long as their job is, and asks for the same."""

_NO_OLDER_RESULTS: Final = "DELETE FROM older WHERE number IN (SELECT number FROM temp.listed)"
"""What stands in the manifest by itself is a job of its own, whatever it was before."""

PAGE: Final = 500


@frozen
class Taken:
    """What became of some drafts.

    Attributes:
        numbers: of the jobs they stand for.
        problems: of the drafts that stand for none.
    """

    numbers: list[int] = field(factory=list[int])
    problems: list[LineProblem] = field(factory=list[LineProblem])


class Planner:
    """One reading of a manifest into a journal. Made and used in the journal's thread.

    Args:
        store: of the journal.
        whole: nothing of it is to be on record before it is finished. Else each handful is, as it comes.
        adopts: whether new jobs take over the results of jobs that are gone; only of a whole manifest.

    Attributes:
        adopted: the jobs that were taken over, once the manifest is finished.
    """

    def __init__(self, store: Store, *, whole: bool, adopts: bool = True) -> None:
        self._store = store
        self._file = store.file
        self._fresh = store.file.row("SELECT 1 FROM jobs LIMIT 1") is None
        self._see_that_all_are_recognised()
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
        """Plan a handful of jobs, in the order of their lines; a name is used once, also by a broken line."""
        try:
            return self._file.transaction(lambda: self._take(drafts))
        except BaseException:
            self._store.recall()
            raise

    def take_finals(self, drafts: Sequence[Draft]) -> Taken:
        """Plan finals of kept takes, once all jobs of the manifest are taken."""
        self._file.transaction(self._part_finals)
        self._has_finals = True
        return self.take(drafts)

    def link_problems(self, assets: Mapping[str, str] | None = None) -> list[LineProblem]:
        """What is wrong with the links, once all jobs are taken.

        Args:
            assets: what each asset of the manifest stands for.
        """
        listed = "1" if self._fresh else "number IN (SELECT number FROM temp.listed)"
        beside = link_checks.Beside(self._broken, assets or {})
        return list(link_checks.problems(self._store, checked=listed, there=listed, beside=beside))

    def input_problems(self, gone: Mapping[str, str], *, has_store: bool) -> list[LineProblem]:
        """What keeps local files of jobs that are to be sent from it, once all jobs are taken.

        Args:
            gone: by path, why files cannot be read that earlier runs knew.
            has_store: whether there is a place where files become URLs.
        """
        return list(input_checks.problems(self._store, gone, has_store=has_store, fresh=self._fresh))

    def finish(self, *, manifest: str) -> Changes:
        """The manifest is read to its end: forget what it no longer lists.

        Args:
            manifest: what its bytes are recognised by when it comes again unchanged.
        """
        try:
            changes = self._file.transaction(lambda: self._finish(manifest))
            self._file.end(keep=True)
        finally:
            self._store.recall()
        return changes

    def abandon(self) -> None:
        """The reading has ended before its end: where it was to be whole, nothing of it stays."""
        self._file.end(keep=False)
        self._store.recall()

    def _see_that_all_are_recognised(self) -> None:
        """A job whose name or request is not found any more would be taken for a new one, and paid again.

        Raises:
            JournalError: there is one, by damage.
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

    def _part_finals(self) -> None:
        """What the manifest asks for by itself is nobody's final, also if it was made as one."""
        self._file.write("DELETE FROM finals WHERE number IN (SELECT number FROM temp.listed)")

    def _take(self, drafts: Sequence[Draft | Broken]) -> Taken:
        sound = [draft for draft in drafts if isinstance(draft, Draft)]
        linked = not self._whole and any(draft.links for draft in sound)  # else all is checked at the end
        if self._fresh and not self._broken and len(sound) == len(drafts) and not linked:
            self._file.write("SAVEPOINT chunk")
            try:
                return self._insert_all(sound)
            except sqlite3.IntegrityError:  # a name comes twice: find out which
                self._file.write("ROLLBACK TO chunk")
                self._store.recall()
        return self._take_linked(drafts) if linked else self._take_each(drafts)

    def _take_linked(self, drafts: Sequence[Draft | Broken]) -> Taken:
        """Take jobs of a program one by one: what they link to has to be on record before them.

        Raises:
            ManifestError: it is not, or a job makes no such output; none of them stays on record.
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
            where = f"line {line}" if self._whole else place_of(line)
            taken.problems.append((draft.line, "name", _used_twice(draft.name, name, where)))
            self._broken.add(_as_broken(draft), is_named=False)
        elif isinstance(draft, Broken):
            self._broken.add(draft)
        else:
            self._take_one(draft, taken)

    def _namesake(self, name: str) -> tuple[int, str] | None:
        """The line of this reading that has a name already, and how it writes it."""
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
        number = self._find_unnamed(draft) if draft.name is None else self._find_named(draft)
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
        row, name = row or self._unnamed_in_its_place(draft), _name(draft)
        number = self._insert(draft, self._store.free_name(name)) if row is None else self._keep(*row)
        if self._whole and not self._fresh:
            unnamed_jobs.note(self._store, number, name)
        return number

    def _unnamed_in_its_place(self, draft: Draft) -> Row | None:
        """The job of the same place, if it asks for the same in the words of an earlier version."""
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
        before = self._by_history(name, draft)
        if row is None:
            return self._insert(draft, name) if before is None else self._take_back(before, name, draft)
        number, listed, digest, state, path, body = row
        if digest == draft.digest or _same_request(path, body, draft):
            return self._keep(number, listed)
        self._edited += 1
        if before is None and state in NEVER_PAID:
            return self._replace(number, draft)
        self._make_room(number, name, state)
        if before is not None:
            self._found += 1
            return self._take_back(before, name, draft)
        return self._insert(draft, name, new=False)

    def _by_history(self, name: str, draft: Draft) -> int | None:
        """The newest job that once had this name and asks for this, whatever it is called: it may be paid.

        None that is a job of the manifest under its present name: another line may stand for it.
        """
        row = self._file.row(
            "SELECT number FROM former_names JOIN jobs USING (number) "
            "WHERE former_names.fold = ? AND digest = ? AND listed = 0 ORDER BY number DESC LIMIT 1",
            fold(name),
            draft.digest,
        )
        return None if row is None else int(row[0])

    def _make_room(self, number: int, name: str, state: State) -> None:
        if state in NEVER_PAID:
            self._file.write("DELETE FROM jobs WHERE number = ?", number)
        else:
            self._store.set_aside(number, self._store.free_name(f"{name}-before-edit"))
            self._file.write("INSERT OR IGNORE INTO temp.edited VALUES (?, ?, ?)", number, name, fold(name))

    def _take_back(self, number: int, name: str, draft: Draft) -> int:
        """Give a job a name again that it had."""
        self._store.rename(number, name, at_once=True)
        self._file.write("UPDATE jobs SET listed = 1, line = ? WHERE number = ?", draft.line, number)
        return number

    def _listed_at(self, number: int, line: int) -> int | None:
        """The line of this reading at which a job was listed already."""
        if self._fresh:
            return line
        row = self._file.row("SELECT line FROM temp.listed WHERE number = ?", number)
        return None if row is None else int(row[0])

    def _keep(self, number: int, listed: int) -> int:
        if not listed:
            self._file.write("UPDATE jobs SET listed = 1 WHERE number = ?", number)
        return number

    def _replace(self, number: int, draft: Draft) -> int:
        """Put another request in the place of one that was never charged."""
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
        if self._adopts:  # not told by its number: that of a job which was deleted is given once more
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
                self.adopted = adopt(self._store)
            self._file.write(_NO_OLDER_RESULTS)
            if not self._has_finals:
                self._part_finals()
            self._file.write(_KEEP_ORDERED)
            self._file.write(_PLACE_ANEW)
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
    """Whether a stored request is the draft's, written down by a version that wrote it otherwise.

    Without this an update of the package would turn every job into an edited one, to be paid again.
    """
    if path != draft.path:
        return False
    fields = wire.loads(body)
    try:
        marked = with_marks(dict(fields))  # type: ignore[call-overload]  # our own object
        written_anew = wire.encode(wire.build(draft.tariff.kind.model or "", marked))
    except ValueError:  # a rule has changed since
        return False
    return written_anew == draft.body


def _name(draft: Draft) -> str:
    name = f"job-{draft.place:06d}"
    return name if draft.take == 1 else f"{name}-{draft.take}"


def _used_twice(name: str, other: str, where: str) -> str:
    if name == other:
        same = f"{name!r:.80} is the name of the job at {where} too"
    else:
        same = f"{name!r:.80} is the name of the job at {where} too, as {other!r:.80} (other letter case)"
    return f"{same}; each job needs its own, because files are named after it"
