"""The rows of links: which outputs jobs take from other jobs, when they may be sent, and what prevents it.

A link refers to its source by name: whichever job has the name now is the source. Part of ``Store``; methods
that change rows run inside one of its transactions.
"""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Final

from seedance_async import posts
from seedance_async.batch.journal.input_rows import InputRows
from seedance_async.batch.journal.queries import READY
from seedance_async.batch.journal.records import as_json, damage, tasks_of
from seedance_async.batch.states import HAS_OUTPUT, State
from seedance_async.errors import JournalError
from seedance_async.filenames import fold
from seedance_async.models.links import Link, parse_link

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from seedance_async.answers import Task
    from seedance_async.models import Kind
    from seedance_async.prices import Tariff


class LinkRows(InputRows):
    """The links of one batch.

    Attributes:
        has_links: whether there are any.
    """

    has_links: bool = False

    def write_links(self, number: int, links: Collection[Link]) -> None:
        """Replace the links of a job."""
        self.file.write("DELETE FROM links WHERE job = ?", number)
        self.has_links = self.has_links or bool(links)
        for link in links:
            self.file.write(
                "INSERT INTO links (job, text, source, output, place) VALUES (?, ?, ?, ?, ?)",
                number,
                str(link),
                fold(link.job),
                link.output,
                link.place,
            )

    # --- sending

    def _resolve(self, number: int) -> None:
        """Store the URL that replaces each link of a job that is about to be sent."""
        for text, link, tasks in self._linked(number):
            task, url = link.task(tasks), link.url(tasks)
            if task is None or url is None:
                raise JournalError(f"{text!r:.80} has no URL")
            self.file.write(
                "UPDATE links SET url = ?, task = ? WHERE job = ? AND text = ?", url, task.id, number, text
            )

    def _as_sent(self, number: int, body: bytes) -> bytes:
        """Return a job's body in which its links and local files are replaced by their stored URLs."""
        return posts.resolved(self._resolved(number, body, "url"), self._file_urls(number))

    def _file_urls(self, number: int) -> dict[str, str]:
        found = self.input_urls(number)
        known = {ref: url for ref, url in found.items() if url is not None}
        if len(known) < len(found):
            raise damage(f"the local files of job {number}")
        return known

    def _as_identified(self, number: int, body: bytes) -> bytes:
        """Return the body that a job's key is derived from: each link is replaced by its text and task id.

        URLs are not used, because they change: those of outputs at each poll, those of local files at each
        signing. An older copy of the journal that is restored must derive the key under which the job was
        paid.
        """
        return self._resolved(number, body, "text || ' ' || task")

    def _resolved(self, number: int, body: bytes, value: str) -> bytes:
        """Return a job's body with each link replaced by ``value``, a trusted SQL expression."""
        found: dict[str, str | None] = dict(
            self.file.rows(f"SELECT text, {value} FROM links WHERE job = ?", number)
        )
        known = {text: each for text, each in found.items() if each is not None}
        if len(known) < len(found):
            raise damage(f"the links of job {number}")
        return posts.resolved(body, known)

    def outdated_sources(self, numbers: Sequence[int], *, since: float, until: float) -> list[int]:
        """Return the sources of these planned jobs whose URLs were not received between these instants.

        A URL from the future was recorded by a wrong clock, so its age is unknown.
        """
        marks = ", ".join("?" * len(numbers))
        rows = self.file.rows(
            "SELECT DISTINCT edges.source FROM edges JOIN jobs ON jobs.number = edges.job "
            "JOIN jobs AS source ON source.number = edges.source "
            f"WHERE edges.job IN ({marks}) AND jobs.state = 'planned' "
            "AND ifnull(source.urls_at, 0) NOT BETWEEN ? AND ?",
            *numbers,
            since,
            until,
        )
        return [number for (number,) in rows]

    # --- dependent jobs

    def production(self, numbers: Sequence[int], *, whole: bool = False) -> list[tuple[int, Tariff]]:
        """Return the planned jobs, with tariffs, that these jobs need in addition to be of use.

        These are the first job that depends on them and on which no other job depends, and its direct and
        indirect sources.

        Args:
            numbers: the jobs.
            whole: include these jobs in the result.
        """
        takers = self._reached(numbers, "source", "job")
        last = min((job for job in takers if not takers[job]), default=None)
        if last is None:
            return []
        needed = self._reached([last], "job", "source").keys() - (set() if whole else set(numbers))
        marks = ", ".join("?" * len(needed))
        rows = self.file.rows(f"SELECT number, tariff FROM jobs WHERE number IN ({marks})", *sorted(needed))
        return [(number, self.tariff(tariff)) for number, tariff in rows]

    def begun(self) -> list[int]:
        """Return the planned jobs that have a link to a job that was sent."""
        rows = self.file.rows(
            "SELECT DISTINCT edges.job FROM edges JOIN jobs ON jobs.number = edges.job "
            "JOIN jobs AS source ON source.number = edges.source "
            f"WHERE jobs.listed = 1 AND jobs.state = 'planned' AND {self._chosen} "
            "AND source.state IN ('submitting', 'accepted', 'completed', 'saved') ORDER BY edges.job",
        )
        return [job for (job,) in rows]

    def sources_of(self, numbers: Sequence[int]) -> list[int]:
        """Return the jobs whose output these jobs use."""
        query = "SELECT DISTINCT source FROM edges WHERE job IN (SELECT value FROM json_each(?))"
        return [source for (source,) in self.file.rows(query, as_json(list(numbers)))]

    def path_after(self, numbers: Sequence[int]) -> tuple[Kind, ...]:
        """Return the kinds of the longest chain of planned jobs that depend on these, in order."""
        takers = self._reached(numbers, "source", "job")
        paths: dict[int, tuple[int, ...]] = {}
        for job in TopologicalSorter(takers).static_order():  # the ends of chains come first
            after = max((paths[taker] for taker in takers[job]), key=len, default=())
            paths[job] = after if job in numbers else (job, *after)
        longest = max((paths[number] for number in numbers), key=len)
        rows = (self.file.row("SELECT tariff FROM jobs WHERE number = ?", job) for job in longest)
        return tuple(self.tariff(row[0]).kind for row in rows if row is not None)

    def _reached(self, numbers: Sequence[int], here: str, there: str) -> dict[int, set[int]]:
        """Return the graph of planned jobs that these lead to: for each job, the next ones.

        ``here`` and ``there`` are the columns of ``edges`` that give the direction.
        """
        marks = ", ".join("?" * len(numbers))
        steps = (
            f"reached JOIN edges ON edges.{here} = reached.number "
            f"JOIN jobs ON jobs.number = edges.{there} "
            f"AND jobs.listed = 1 AND jobs.state = 'planned' AND {self._chosen}"
        )
        rows = self.file.rows(
            f"WITH RECURSIVE reached (number) AS (SELECT number FROM jobs WHERE number IN ({marks}) "
            f"UNION SELECT jobs.number FROM {steps}) SELECT reached.number, jobs.number FROM {steps}",
            *numbers,
        )
        graph: dict[int, set[int]] = {number: set() for number in numbers}
        for job, reached in rows:
            graph.setdefault(job, set()).add(reached)
            graph.setdefault(reached, set())
        return graph

    # --- waiting

    def obstacle(self, number: int) -> str | None:
        """Return why a job cannot be sent in this run; None if it can, now or once its sources are done."""
        query = (
            "SELECT links.text, source.name, source.state, source.tasks FROM links "
            "LEFT JOIN jobs AS source ON source.fold = links.source WHERE links.job = ?"
        )
        for text, name, state, tasks in self.file.rows(query, number):
            if state in _WITHOUT_OUTPUT:
                return f"it takes {text!r:.80}, and {name!r:.80} {_WITHOUT_OUTPUT[state]}"
            link = link_of(text)
            if state in HAS_OUTPUT and link.url(tasks_of(tasks, f"tasks of {name!r}")) is None:
                lacks = f"it takes {text!r:.80}, and {name!r:.80} came without that"
                return f"{lacks}; a new take may have it: --reroll, or reroll= in Python"
        return None

    def takers(self, number: int) -> list[int]:
        """Return the planned jobs that have a link to this one."""
        rows = self.file.rows(
            "SELECT job FROM edges JOIN jobs ON jobs.number = job "
            "WHERE source = ? AND listed = 1 AND state = ?",
            number,
            State.PLANNED,
        )
        return [job for (job,) in rows]

    def waiting(self) -> list[int]:
        """Return the planned jobs that have links."""
        rows = self.file.rows(
            "SELECT DISTINCT job FROM links JOIN jobs ON jobs.number = links.job WHERE state = ?",
            State.PLANNED,
        )
        return [job for (job,) in rows]

    def is_ready(self, number: int) -> bool:
        """Whether a job is chosen for this run, and each of its sources has an output."""
        such = f"number = ? AND {self._chosen} AND {READY}"
        return self.file.row(f"SELECT 1 FROM jobs WHERE {such}", number) is not None

    def want(self, pattern: str, only: Sequence[int] | None = None) -> int | None:
        """Choose for this run only the jobs whose names match a pattern, and their sources.

        Args:
            pattern: a pattern of names, with ``*``, ``?`` and ``[…]``.
            only: numbers of the jobs to search; None for all.

        Returns:
            The number of jobs left for a later run; None if no name matches (then the choice is unchanged).
        """
        self.file.write("DROP TABLE IF EXISTS temp.wanted")
        self.file.write("CREATE TEMP TABLE wanted (number INTEGER PRIMARY KEY)")
        self.file.write(
            "WITH RECURSIVE found (number) AS (SELECT number FROM jobs WHERE listed = 1 AND name GLOB ?1 "
            "AND (?2 IS NULL OR number IN (SELECT value FROM json_each(?2))) "
            "UNION SELECT source FROM found JOIN edges ON edges.job = found.number "
            "UNION SELECT older.number FROM found JOIN jobs USING (number) "
            "JOIN older ON older.fold = jobs.fold AND older.ordered = 1) "
            "INSERT INTO wanted SELECT number FROM found",
            pattern,
            None if only is None else as_json(list(only)),
        )
        if self.file.row("SELECT 1 FROM temp.wanted LIMIT 1") is None:
            return None
        self._chosen = "jobs.number IN (SELECT number FROM temp.wanted)"
        unsent = "listed = 1 AND state IN ('planned', 'blocked') AND number NOT IN (SELECT number FROM older)"
        row = self.file.row(f"SELECT count(*) FROM jobs WHERE {unsent} AND NOT {self._chosen}")
        return int(row[0]) if row else 0

    def _linked(self, number: int) -> Iterator[tuple[str, Link, tuple[Task, ...]]]:
        """Yield every link of a job, with the tasks of its source."""
        query = (
            "SELECT links.text, source.name, source.tasks FROM links "
            "LEFT JOIN jobs AS source ON source.fold = links.source WHERE links.job = ?"
        )
        for text, name, tasks in self.file.rows(query, number):
            yield text, link_of(text), tasks_of(tasks, f"tasks of {name!r:.80}")


def link_of(text: str) -> Link:
    """Return the link of a row.

    Raises:
        JournalError: the text is not a link.
    """
    link = parse_link(text)
    if link is None:
        raise damage(f"link {text!r:.80}")
    return link


_WITHOUT_OUTPUT: Final[Mapping[str | None, str]] = {
    None: "is gone",
    State.FAILED: "has failed",
    State.REFUSED: "was refused",
    State.UNCERTAIN: "is uncertain",
    State.BLOCKED: "is blocked",
}
"""By state of a source, why it gives no output in this run."""
